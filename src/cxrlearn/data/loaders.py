"""Image files to small grey pictures, in worker processes, in order.

Each file is read once: hashed, decoded, and brought to the size of every preprocessing rule that
wants it. An image that cannot be read comes out as a reason, in its place.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from cxrlearn.data.images import decode_radiograph, read_file
from cxrlearn.errors import HardwareError, UnreadableImageError
from cxrlearn.runtime.memory import ran_short

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Generator, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from cxrlearn.data.images import Intensity

    Rule = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
    """Brings an (H, W) picture to one size; called in the workers, so it must be picklable."""

CHUNK = 4
"""Images that a worker sends at once: few enough to keep the memory in flight small."""


class ImageTask(NamedTuple):
    """One image to decode; a plain tuple, as there are many."""

    path: str
    """The file."""
    rules: tuple[int, ...]
    """Numbers of the rules whose pictures are wanted."""


class TaskList(Protocol):
    """Tasks by number; they may be made when they are asked for."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, position: int) -> ImageTask:
        """Return one."""


@dataclass(frozen=True)
class DecodedImage:
    """What became of an `ImageTask`."""

    position: int
    """Its place in the list of tasks."""
    content_hash: bytes = b""
    """SHA-256 of the file, 64 ASCII digits."""
    size: int = 0
    """Bytes of the file."""
    mtime_ns: int = 0
    """Its modification time when it was read."""
    pictures: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    """By rule; empty when the content is among those known already."""
    constant: bool = False
    """Every pixel has the same value."""
    notices: tuple[str, ...] = ()
    """What was read in another way than the file states."""
    failure: str | None = None
    """Why it could not be read."""
    ran_short: bool = False
    """It could not be read because this process cannot have more memory."""


@dataclass(frozen=True)
class DecodeDataset(Dataset[DecodedImage]):
    """Decodes the task of an index; runs in a worker."""

    tasks: TaskList
    """All images."""
    rules: tuple[Rule, ...]
    """All preprocessing rules."""
    known: Container[bytes]
    """Contents whose features are there for every backbone: hashing is enough."""
    intensity: Intensity
    """How files without a display window become grey."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.tasks)

    def __getitem__(self, position: int) -> DecodedImage:
        """Read, hash, decode and resize one image; what is wrong with it is data, not an error."""
        task = self.tasks[position]
        try:
            # The time is taken first: if the file is replaced meanwhile, the next run notices.
            mtime_ns = modification_time(task.path)
            data = read_file(task.path)
        except (UnreadableImageError, MemoryError) as error:
            return DecodedImage(position, failure=failure_reason(error), ran_short=ran_short(error))
        digest = hashlib.sha256(data).hexdigest().encode()
        done = DecodedImage(position, digest, len(data), mtime_ns)
        return done if digest in self.known else self._decode(data, task, done)

    def _decode(self, data: bytes, task: ImageTask, done: DecodedImage) -> DecodedImage:
        try:
            radiograph = decode_radiograph(data, intensity=self.intensity)
            pictures = {number: self.rules[number](radiograph.pixels) for number in task.rules}
        except (UnreadableImageError, MemoryError) as error:
            return DecodedImage(
                done.position, failure=failure_reason(error), ran_short=ran_short(error)
            )
        return DecodedImage(
            done.position,
            done.content_hash,
            done.size,
            done.mtime_ns,
            pictures,
            radiograph.constant,
            radiograph.notices,
        )


def failure_reason(error: UnreadableImageError | MemoryError) -> str:
    """Return why an image could not be read, for the list of failures."""
    if isinstance(error, MemoryError):
        return "too large for the memory of this machine"
    return str(error)


def short_of_memory(path: str) -> HardwareError:
    """Return the error that stops a run, as every other image would fail too."""
    return HardwareError(
        f"out of memory while decoding {path}. Use fewer --workers or a smaller --batch-size, or "
        "close other programs. What was finished is kept."
    )


def modification_time(path: str) -> int:
    """Return a file's modification time in nanoseconds; 0 if `read_file` will refuse the file."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - of a plain string
    except (OSError, ValueError):
        return 0


@contextmanager
def deaths_named(
    rescue: str = "Finished features are kept; run the same command again",
) -> Iterator[None]:
    """Turn what torch raises when a decoding process dies into an error for the user.

    torch notices by a signal, so the error can come up anywhere in the main thread, not only where
    the next image is asked for.

    Args:
        rescue: what is left, and what to do; the sentence goes on with fewer workers.

    Raises:
        HardwareError: a process died; the message says what to try.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise HardwareError(
            f"a process that decodes images died ({str(error).splitlines()[0]}). {rescue}, with "
            "fewer --workers if memory is short."
        ) from error


def decode_in_order(dataset: DecodeDataset, *, workers: int) -> Generator[DecodedImage, None, None]:
    """Yield every image of the dataset, in order, decoded by `workers` processes (0: by this one).

    Raises:
        HardwareError: a worker process died, or memory is used up; the message says what to try.
    """
    with warnings.catch_warnings():
        # The number of workers is the user's choice; torch would warn about more than cores.
        warnings.filterwarnings("ignore", "This DataLoader will create")
        loader = DataLoader(
            dataset,
            batch_size=CHUNK,
            num_workers=min(workers, -(-len(dataset) // CHUNK)),
            collate_fn=list,
            prefetch_factor=4 if workers and len(dataset) else None,
            worker_init_fn=start_worker,
        )
        with signals_held():
            chunks = iter(loader)
    while True:
        try:
            with deaths_named():
                chunk = deque(next(chunks))
        except StopIteration:
            return
        while chunk:
            decoded = chunk.popleft()
            if decoded.ran_short:
                raise short_of_memory(dataset.tasks[decoded.position].path)
            yield decoded


_CALLERS = (signal.SIGINT, signal.SIGTERM)
"""Signals that a terminal, systemd and SLURM send to the whole group. The caller, who may want to
save first, ends its decoding processes."""


@contextmanager
def signals_held() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait while decoding processes are started.

    They inherit that, so that none comes before `start_worker` has turned it away.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _CALLERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_worker(_number: int) -> None:
    """Make a decoding process leave signals to its caller and the cores to the network."""
    for number in _CALLERS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _CALLERS)
    threading.Thread(target=_leave_with_caller, daemon=True).start()
    torch.set_num_threads(1)
    os.nice(1)  # the process that feeds the network comes first


def _leave_with_caller() -> None:
    """Leave when the caller was killed.

    torch watches the process that started this one, which is the caller where it forks; the server
    that forks for it elsewhere, Python 3.14's default, outlives it.
    """
    caller = multiprocessing.parent_process()
    if caller is not None:
        caller.join()
        os._exit(0)
