"""Opening image files without being held up: a pipe has no end, a device may have none either."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from cxrlearn.data.size_limit import MAX_FILE_BYTES

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file of at most `MAX_FILE_BYTES` for reading.

    Raises:
        IsADirectoryError: it is a folder.
        OSError: it is another kind of special file, too large, missing or forbidden; the last
            argument is the reason.
    """
    status = os.stat(path)  # noqa: PTH116 - a plain string or a path
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder")
    for is_kind, name in _KINDS:
        if is_kind(status.st_mode):
            raise OSError(errno.EINVAL, f"it is {name}, not a file")
    if status.st_size > MAX_FILE_BYTES:
        raise OSError(
            errno.EFBIG,
            f"it has {status.st_size / 1e6:,.0f} MB, and more than {MAX_FILE_BYTES // 1_000_000} "
            "are not read",
        )
    return open(path, "rb")  # noqa: PTH123 - as above
