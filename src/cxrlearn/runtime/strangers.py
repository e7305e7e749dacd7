"""Code of other packages, such as plug-ins: whatever it raises stays an ordinary error."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from cxrlearn.errors import CxrlearnError
from cxrlearn.runtime.memory import out_of_memory
from cxrlearn.runtime.signals import Terminated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class StrangerError(Exception):
    """Code of another package failed; the message says how, in one line."""


@contextmanager
def strangers_code() -> Iterator[None]:
    """Run code of another package: it may fail and ask to exit, but ends nothing but itself.

    What it prints goes to stderr: stdout holds results. A Ctrl-C of the user, SIGTERM and a lack of
    memory are no fault of that code, and pass.

    Raises:
        StrangerError: it raised anything, `SystemExit` and `KeyboardInterrupt` included.
        CxrlearnError: as that code raised it.
    """
    with _interrupts_noted() as interrupts:
        try:
            with redirect_stdout(sys.stderr):
                yield
        except (CxrlearnError, Terminated):
            raise
        except BaseException as error:
            if interrupts or out_of_memory(error):
                raise
            text = " ".join(str(error).split())[:300]
            raise StrangerError(f"{type(error).__name__}: {text}".rstrip(": ")) from error


@contextmanager
def _interrupts_noted() -> Iterator[list[int]]:
    """Fill the list when the user, rather than the code, interrupts."""
    noted: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield noted
        return

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
