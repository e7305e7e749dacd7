"""Words out of damaged files, made fit for a message."""

from __future__ import annotations

import re

TO_PNG = "convert it to PNG, for example with ImageMagick: magick FILE NEW.png"
"""How to convert a picture that is not read."""
JPEG_TO_PNG = (
    "convert it to PNG, for example with Python's imagecodecs: "
    "import imagecodecs as c; c.imwrite('NEW.png', c.imread('FILE'))"
)
"""How to convert a JPEG that libjpeg, and so ImageMagick, does not read."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_QUOTED = re.compile(r"""b?'[^']*'|b?"[^"]*\"""")


def unquoted(error: BaseException) -> str:
    """Return the words of a library about a file in one line, without what it quotes from the file.

    Reasons are stored in feature files, which are shared.
    """
    return plain(_QUOTED.sub("(...)", str(error)))


def plain(text: object, *, most: int = 150) -> str:
    """Return `text` in one line of printable signs, the same in every run.

    Args:
        text: whatever a file or a library says.
        most: signs to keep.
    """
    line = _ADDRESS.sub("", " ".join(str(text).split()))
    return "".join(sign if sign.isprintable() else "?" for sign in line[:most])
