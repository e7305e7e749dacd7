"""Code of other packages, such as plug-ins: whatever it raises stays an ordinary error."""

from __future__ import annotations

import sys
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from cxrlearn.errors import CxrlearnError
from cxrlearn.runtime.memory import out_of_memory
from cxrlearn.runtime.signals import Terminated, interrupts_noted

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    with interrupts_noted() as interrupts:
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
