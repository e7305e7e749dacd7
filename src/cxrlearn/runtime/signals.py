"""SIGTERM as an exception, so that a workflow can save what is finished before it stops.

And whether it was the user who interrupted: `KeyboardInterrupt` alone does not tell, and code that
is interrupted while it is imported often raises something else.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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


@contextmanager
def interrupts_noted(
    handler: Callable[[int, FrameType | None], object] | None = None,
) -> Iterator[list[int]]:
    """Fill the list when Ctrl-C is pressed while the block runs.

    Args:
        handler: what happens then; None: what would have happened without this block. Where SIGINT
            is ignored, as in background jobs, it stays so.
    """
    noted: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield noted
        return
    then = handler or before

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        then(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _raise(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated
