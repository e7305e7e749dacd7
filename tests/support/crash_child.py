"""An embed in a process of its own, to be stopped in every way there is.

The processes are forked from a server that has imported torch already, so that one costs
milliseconds instead of seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

import cxrlearn.workflows.embed_compute
import cxrlearn.workflows.embed_ranks  # noqa: F401 - imported before the fork
from cxrlearn.errors import CxrlearnError
from cxrlearn.runtime.atomic import hook_write_steps
from cxrlearn.runtime.signals import Terminated, terminate_as_exception
from cxrlearn.workflows.embed import run_embed
from cxrlearn.workflows.embed_config import EmbedConfig
from tests.support.tiny_backbone import DELAY, register

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from pathlib import Path

CONTEXT: Any = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pytest", "tests.support.crash_child"])
PATIENCE_SECONDS = 240


@dataclass(frozen=True)
class Job:
    """What a child does."""

    csv: Path
    """The manifest."""
    output_dir: Path
    """Where the feature file goes."""
    workers: int = 0
    batch_size: int = 4
    part_rows: int = 6
    part_seconds: float = 1e9
    delay: float = 0.0
    """Seconds that each forward pass takes longer."""
    kill_at: tuple[str, int] | None = None
    """Write step, and which time, at which the child is killed."""
    full_at: tuple[str, int] | None = None
    """Write step, and which time, after which files cannot grow beyond `file_bytes`."""
    file_bytes: int | None = None
    """Largest size of a file; from the start where `full_at` is None."""
    stderr: Path | None = None
    """Where the child's own words go."""


class Child:
    """A running embed and what it says."""

    def __init__(self, job: Job) -> None:
        """Start it, and wait until it has begun."""
        self._connection, theirs = CONTEXT.Pipe()
        self.process: BaseProcess = CONTEXT.Process(target=_embed, args=(job, theirs))
        self.process.start()
        theirs.close()
        self.images = 0
        self.result: Any = None
        self._hear_until("began")

    def wait_for_images(self, count: int) -> None:
        """Return once that many images have been read."""
        while self.images < count:
            self._hear_until("image")

    def end(self, seconds: float | None = None) -> int | None:
        """Wait for the end; return the exit code, negative for a signal, None while it runs."""
        stop = time.monotonic() + (PATIENCE_SECONDS if seconds is None else seconds)
        while True:
            left = stop - time.monotonic()
            try:
                if left <= 0 or not self._connection.poll(left):
                    return self.process.exitcode
                self._take(self._connection.recv())
            except (EOFError, ConnectionResetError):
                self.process.join(PATIENCE_SECONDS)
                return self.process.exitcode

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send it a signal; with `group`, to its decoding processes too, as a terminal does."""
        pid = self.process.pid
        assert pid is not None
        (os.killpg if group else os.kill)(pid, number)

    def _hear_until(self, kind: str) -> None:
        while self._take(self._connection.recv()) != kind:
            pass

    def _take(self, message: tuple[str, Any]) -> str:
        kind, content = message
        if kind == "image":
            self.images += content
        elif kind == "result":
            self.result = content
        return kind


def finish(job: Job) -> Any:  # noqa: ANN401 - counts, or a message
    """Run a job to its end; return (computed, copied, unchanged, failed).

    Raises:
        AssertionError: it did not end well.
    """
    child = Child(job)
    assert child.end() == 0, child.result
    return child.result


class _Reporter:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def notice(self, message: str) -> None:
        """Drop it."""

    warning = notice

    @contextmanager
    def progress(self, title: str, total: int, *, unit: str = "images") -> Iterator[_Reporter]:
        yield self

    def advance(self, amount: int = 1) -> None:
        self._connection.send(("image", amount))

    def describe(self, text: str) -> None:
        """Drop it."""


def _embed(job: Job, connection: Connection) -> None:
    os.setpgid(0, 0)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # of decoding processes
    os.environ[DELAY] = str(job.delay)
    if job.stderr is not None:
        os.dup2(os.open(job.stderr, os.O_CREAT | os.O_WRONLY), 2)
    _arm(job)
    register()
    config = EmbedConfig(
        model=("tiny-test",),
        csv=job.csv,
        output_dir=job.output_dir,
        device="cpu",
        workers=job.workers,
        batch_size=job.batch_size,
        part_rows=job.part_rows,
        part_seconds=job.part_seconds,
    )
    # A job that a shell started in the background is born deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    connection.send(("began", None))
    code = 0
    try:
        with terminate_as_exception():
            (result,) = run_embed(config, _Reporter(connection)).files
        counts = (result.computed, result.copied, result.unchanged, len(result.failed))
        connection.send(("result", counts))
    except CxrlearnError as error:
        connection.send(("result", str(error)))
        code = error.exit_code
    except Terminated:
        code = 143
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _arm(job: Job) -> None:
    """Make the file system, or the process, fail when it has been told to."""
    counts: dict[str, int] = {}
    if job.full_at is None:
        _limit(job.file_bytes)

    def step(name: str) -> None:
        counts[name] = counts.get(name, 0) + 1
        if job.kill_at == (name, counts[name]):
            os.kill(os.getpid(), signal.SIGKILL)
        if job.full_at == (name, counts[name]):
            _limit(job.file_bytes)

    hook_write_steps(step)


def _limit(file_bytes: int | None) -> None:
    if file_bytes is not None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, hard))
