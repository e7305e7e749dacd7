"""What C libraries write to stderr: held back, so that the terminal shows our own words only.

libtiff and GDCM report faults there, past Python and without the name of the file.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cxrlearn.data.reasons import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

_STDERR = 2
_TURN = threading.Lock()

# Python prints the warnings of loggers that nobody has configured. These three report breaches of
# a format that do not touch the pixels; what does, they raise.
for _name in ("PIL", "pydicom", "tifffile"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


@contextmanager
def held_back() -> Iterator[list[str]]:
    """Redirect the process's stderr while a library decodes one file.

    Yields:
        A list that holds the lines written, in printable signs, once the block has ended.
    """
    lines: list[str] = []
    with _TURN, tempfile.TemporaryFile() as file:
        try:
            before = os.dup(_STDERR)
        except OSError:  # stderr is closed: there is nothing to keep clean
            yield lines
            return
        try:
            os.dup2(file.fileno(), _STDERR)
            yield lines
        finally:
            os.dup2(before, _STDERR)
            os.close(before)
            file.seek(0)
            text = file.read(65536).decode("utf-8", "replace")
            # A progress bar of another thread may have been drawn meanwhile: no library's words.
            lines += [plain(line) for line in text.splitlines() if line and "\x1b" not in line]
