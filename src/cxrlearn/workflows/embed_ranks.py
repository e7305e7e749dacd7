"""`embed --gpus`: one process a device, each writing its own parts; the caller merges."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cxrlearn.errors
from cxrlearn.errors import CxrlearnError, HardwareError
from cxrlearn.runtime.devices import resolve_device, usable_cores
from cxrlearn.runtime.memory import out_of_memory, out_of_memory_error
from cxrlearn.runtime.signals import Terminated, terminate_as_exception
from cxrlearn.runtime.words import counted
from cxrlearn.workflows.embed import Outcome, Work
from cxrlearn.workflows.finetune_relay import bug_of_worker, spoken_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from multiprocessing.process import BaseProcess

    from cxrlearn.runtime.events import Progress, Reporter
    from cxrlearn.workflows.embed_config import EmbedConfig

START_METHOD = "spawn"
"""A process that has used CUDA cannot be forked."""
POLL_SECONDS = 0.5
LAST_WORDS_SECONDS = 2.0
"""What a process said before it ended can take this long to be read."""
PATIENCE_SECONDS = 60.0
"""How long the others may take to close their parts after one has failed."""


@dataclass(frozen=True)
class _Rank:
    """One process and its device."""

    number: int
    device: str
    process: BaseProcess

    def __str__(self) -> str:
        return f"worker {self.number} on {self.device}"


def compute_on_ranks(works: Sequence[Work], config: EmbedConfig, reporter: Reporter) -> None:
    """Divide the images of every work over one process a device and wait for all.

    Raises:
        HardwareError: a device is not there, or a process died; finished parts are kept.
        CxrlearnError: what a process reported.
    """
    names = ["cpu" if name == "cpu" else f"cuda:{name}" for name in config.gpus]
    for name in names:
        resolve_device(name, option="--gpus")
    context: Any = multiprocessing.get_context(START_METHOD)
    default = multiprocessing.get_all_start_methods()[0]
    helpers = multiprocessing.get_start_method(allow_none=True) or default
    messages: Any = context.Queue()
    ranks = []
    for number, name in enumerate(names):
        share = [
            replace(work, todo=work.todo[number :: len(names)], done=Outcome()) for work in works
        ]
        arguments = (number, len(names), name, share, config, messages, helpers)
        process = context.Process(target=_rank_main, args=arguments, name=f"embed-{number}")
        with _ctrl_c_ignored():  # it reaches the caller, who ends the ranks; they inherit this
            process.start()
        ranks.append(_Rank(number, name, process))
    total = len({image for work in works for image in work.todo})
    try:
        with reporter.progress(f"embedding on {counted(len(ranks), 'worker')}", total) as progress:
            _collect(ranks, messages, works, reporter, progress)
    finally:
        _stop(ranks)


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _collect(
    ranks: Sequence[_Rank],
    messages: Any,  # noqa: ANN401 - multiprocessing gives its queues no public type
    works: Sequence[Work],
    reporter: Reporter,
    progress: Progress,
) -> None:
    waiting = {rank.number: rank for rank in ranks}
    watch = _Watch()
    while waiting:
        watch.look(waiting.values())
        try:
            number, kind, content = messages.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
        if kind == "progress":
            progress.advance(content)
        elif kind == "notice":
            reporter.notice(content)
        elif kind == "error":
            name, text = content
            raise getattr(cxrlearn.errors, name)(f"{ranks[number]}: {text}")
        elif kind == "bug":
            text, trace = content
            raise bug_of_worker(f"{ranks[number]}: {text}", trace)
        else:
            del waiting[number]
            for work, outcome in zip(works, content, strict=True):
                work.done.add(outcome)


@dataclass
class _Watch:
    """Notices processes that ended without a word."""

    seen_dead: dict[int, float] = field(default_factory=dict)
    """Rank to the moment at which its end was noticed."""

    def look(self, waiting: Iterable[_Rank]) -> None:
        """Refuse a process that has been gone for a while: its last words would have arrived.

        Raises:
            HardwareError: naming the worker and how it ended.
        """
        now = time.monotonic()
        for rank in waiting:
            if rank.process.exitcode is None:
                continue
            if now - self.seen_dead.setdefault(rank.number, now) > LAST_WORDS_SECONDS:
                raise HardwareError(_obituary(rank))


def _obituary(rank: _Rank) -> str:
    code = rank.process.exitcode or 0
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"{rank} died ({how}). What was finished is kept; run the same command again to go on."


def _stop(ranks: Sequence[_Rank]) -> None:
    """Ask those still running to close their parts and go; then insist."""
    for rank in ranks:
        if rank.process.is_alive():
            rank.process.terminate()
    for rank in ranks:
        rank.process.join(PATIENCE_SECONDS)
        if rank.process.is_alive():
            rank.process.kill()
            rank.process.join()


class _Messenger:
    """The `Reporter` and `Progress` of a rank: everything goes to the caller."""

    def __init__(self, number: int, messages: Any) -> None:  # noqa: ANN401 - see `_collect`
        self._number, self._messages = number, messages

    def notice(self, message: str) -> None:
        if self._number == 0:  # all ranks have the same to say
            self._messages.put((self._number, "notice", message))

    warning = notice

    def progress(
        self,
        title: str,  # noqa: ARG002 - the protocol's names
        total: int,  # noqa: ARG002
        *,
        unit: str = "images",  # noqa: ARG002
    ) -> AbstractContextManager[Progress]:
        return nullcontext(self)

    def advance(self, amount: int = 1) -> None:
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            raise Terminated  # nobody would merge: save and go, the next run may already wait
        self._messages.put((self._number, "progress", amount))

    def describe(self, text: str) -> None:
        """Drop it: the caller shows one progress of all ranks."""


def _rank_main(
    number: int,
    ranks: int,
    device: str,
    works: Sequence[Work],
    config: EmbedConfig,
    messages: Any,  # noqa: ANN401
    helpers: str,
) -> None:
    import torch

    from cxrlearn.workflows.embed_compute import compute

    # Decoding processes would be spawned like this one, each with a torch of its own.
    multiprocessing.set_start_method(helpers, force=True)
    torch.set_num_threads(max(1, usable_cores() // ranks))
    messenger = _Messenger(number, messages)
    try:
        with terminate_as_exception():
            compute(
                works,
                config,
                messenger,
                device=resolve_device(device),
                workers=config.workers // ranks,
            )
    except CxrlearnError as error:
        messages.put((number, "error", spoken_error(error)))
    except Exception as error:  # noqa: BLE001 - the caller raises it
        if out_of_memory(error):
            short = out_of_memory_error(error, "Use a smaller --batch-size or fewer --workers.")
            messages.put((number, "error", ("HardwareError", str(short))))
        else:
            text = f"{type(error).__name__}: {error}"
            messages.put((number, "bug", (text, traceback.format_exc())))
    except Terminated:
        messages.cancel_join_thread()
        os._exit(128 + signal.SIGTERM)
    else:
        messages.put((number, "done", [work.done for work in works]))
