"""SIGTERM and Ctrl-C as a flag, for whoever saves at the next good moment and leaves."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlearn.runtime.signals import Terminated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


@dataclass
class StopRequest:
    """Whether the process was asked to stop, and how."""

    signal: signal.Signals | None = None
    """SIGTERM or SIGINT, whichever came first."""

    def __call__(self) -> bool:
        """Tell whether it was asked to stop: the `stop_requested` of the training loop."""
        return self.signal is not None

    def leave(self, saved: str) -> None:
        """End the run as the signal asked, once everything is saved.

        Args:
            saved: what was, for the user.

        Raises:
            KeyboardInterrupt: for Ctrl-C.
            Terminated: for SIGTERM, and where it was another process that was asked.
        """
        raise (KeyboardInterrupt if self.signal is signal.SIGINT else Terminated)(saved)


@contextmanager
def stop_on_signals(*, patient: bool = False) -> Iterator[StopRequest]:
    """Turn SIGTERM and the first Ctrl-C into a request while the block runs.

    A second Ctrl-C does not wait: it raises `KeyboardInterrupt` where the program is. Further
    SIGTERMs are ignored, so that saving is not cut short by an impatient supervisor. Outside the
    main thread, where Python cannot handle signals, nothing changes.

    Args:
        patient: further Ctrl-Cs are ignored too: a terminal and a launcher both pass one on.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        if request.signal is signal.SIGINT and number == signal.SIGINT and not patient:
            raise KeyboardInterrupt
        request.signal = request.signal or signal.Signals(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
