"""stdout and stderr, as they are: ASCII terminals, full disks, closed pipes, hostile names."""

from __future__ import annotations

import codecs
import errno
import os
import re
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich.markup import escape

from cxrlearn.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

# Controls of ASCII and Latin-1, line separators, marks that change the direction or join letters
# invisibly, halves of pairs (bytes of a name that are no UTF-8), and tags.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_PLAIN = str.maketrans({
    "\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{MINUS SIGN}": "-", "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{MULTIPLICATION SIGN}": "x", "\N{MIDDLE DOT}": "*", "\N{PLUS-MINUS SIGN}": "+/-",
    "\N{GREATER-THAN OR EQUAL TO}": ">=", "\N{LESS-THAN OR EQUAL TO}": "<=", "\N{BULLET}": "*",
    "\N{RIGHTWARDS ARROW}": "->", "\N{ALMOST EQUAL TO}": "~", "\N{NO-BREAK SPACE}": " ",
    "\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"', "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{THIN SPACE}": " ", "\N{NARROW NO-BREAK SPACE}": " ", "\N{DEGREE SIGN}": " deg",
    "\N{SUPERSCRIPT TWO}": "^2", "\N{HEAVY CHECK MARK}": "x", "\N{CHECK MARK}": "x",
})  # fmt: skip
"""How the signs in cxrlearn's own sentences look where only ASCII can be shown."""


class StdoutClosedError(Exception):
    """Whoever read the result has enough: `cxrlearn ... | head -1`."""


def printable(text: str, *, keep: str = "", as_json: bool = False) -> str:
    r"""Return `text` without anything that would steer the terminal or hide from the eye.

    Args:
        text: may hold names of files, labels, patients and packages, and the words of libraries.
        keep: controls that stay.
        as_json: write every sign as JSON does, so that the value stays the same.

    Returns:
        The same with such signs written out: `\x1b`, `\n`, `\u202e`.
    """

    def written_out(match: re.Match[str]) -> str:
        sign = match[0]
        if sign in keep:
            return sign
        if as_json:
            return "".join(f"\\u{unit:04x}" for unit in _utf16(sign))
        return repr(sign)[1:-1]

    return _UNSEEN.sub(written_out, text)


def _utf16(sign: str) -> list[int]:
    data = sign.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]


def shown(text: str) -> str:
    """Return `text` as Rich's markup for the same text, printable: neither styles nor controls."""
    return escape(printable(text))


def prepare_streams() -> None:
    """Make stdout and stderr take any sign, and keep their numbers from files opened later."""
    codecs.register_error("cxrlearn", _in_ascii)
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:  # closed by whoever started this
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="cxrlearn")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Write what an encoding lacks in signs that it has."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end].translate(_PLAIN)
    return signs.encode("ascii", "backslashreplace").decode("ascii"), error.end


@contextmanager
def result_written() -> Iterator[None]:
    """Write a result on stdout, down to the last byte, or say that it could not be.

    Raises:
        StdoutClosedError: nobody reads it any more.
        DiskError: it goes into a file on a full disk, and the like.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:
        _drop(sys.stdout)
        raise StdoutClosedError from error
    except OSError as error:
        _drop(sys.stdout)
        reason = "no space left on device" if error.errno == errno.ENOSPC else error.strerror
        raise DiskError(
            f"cannot write the result to stdout: {reason}. Send it somewhere else; what the "
            "command has saved is kept."
        ) from error


def _drop(stream: TextIO) -> None:
    """Let what is still buffered vanish: Python would try to write it once more in the end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
