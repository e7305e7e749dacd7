"""The identity of an image, and its place on disk, from what a manifest says.

Two spellings of one path are one image: `./a.png` and `a.png`, a path with the backslashes of
Windows, and the two ways in which Unicode writes an accented letter (macOS takes them apart).
"""

from __future__ import annotations

import os
import posixpath
import unicodedata
from pathlib import Path


def image_id(written: str, root: Path) -> str:
    """Return the path relative to `root` with "/", in NFC; absolute if the file lies elsewhere.

    Args:
        written: the cell of the manifest.
        root: the image root; only its name is looked at, not the disk.
    """
    path = _slashes(written)
    if not path.isascii():
        path = unicodedata.normalize("NFC", path)
    if not _is_plain(path):
        base = _absolute(root)
        path = posixpath.normpath(posixpath.join(base, path))
        path = path.removeprefix(base if base.endswith("/") else f"{base}/")
    return path


def path_on_disk(written: str, root: Path) -> Path:
    """Return where the image is: as written, or else in another spelling that exists."""
    if written.isascii() and "\\" not in written:
        return root / written
    spellings = [written, _slashes(written)]
    spellings += [unicodedata.normalize(form, spellings[1]) for form in ("NFC", "NFD")]
    there = (root / spelling for spelling in spellings if os.path.lexists(root / spelling))
    return next(there, root / spellings[1])


def _slashes(written: str) -> str:
    return written.replace("\\", "/") if "\\" in written else written


def _is_plain(path: str) -> bool:
    """Tell whether a path is relative and already in its shortest form."""
    return not path.startswith("/") and all(part not in {"", ".", ".."} for part in path.split("/"))


def _absolute(root: Path) -> str:
    return unicodedata.normalize("NFC", Path(os.path.abspath(root)).as_posix())  # noqa: PTH100 - resolve() would follow links, and ids would change with them
