"""SIGTERM as an exception, so that a workflow can save what is finished before it stops."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Terminated(BaseException):
    """The process was asked to stop by SIGTERM.

    Like `KeyboardInterrupt`, it is no `Exception`: only who saves something, or ends the process,
    catches it.
    """


@contextmanager
def terminate_as_exception() -> Iterator[None]:
    """Raise `Terminated` in the main thread when SIGTERM arrives, while the block runs.

    Further SIGTERMs are ignored from then on, so that saving is not cut short by an impatient
    supervisor. Outside the main thread, where Python cannot handle signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated
