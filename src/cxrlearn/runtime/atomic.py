"""Files that are whole or absent: written under a temporary name in the same folder, then moved.

`write_step` names the moments at which a crash would be most awkward. It does nothing unless a
test installs a hook with `hook_write_steps`; the crash tests kill the process at each of them.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cxrlearn.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_FULL = {
    errno.ENOSPC: "no space left",
    errno.EFBIG: "file size limit",
    errno.EDQUOT: "quota used up",
}
_REASONS = _FULL | {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EISDIR: "a folder stands where a file is needed",
    errno.EROFS: "read-only file system",
    errno.EIO: "input/output error",
    errno.ENAMETOOLONG: "file name too long",
    errno.ELOOP: "too many symbolic links",
    errno.ESTALE: "stale file handle",
    errno.EBUSY: "device or resource busy",
}

_hook: Callable[[str], None] | None = None


def hook_write_steps(hook: Callable[[str], None] | None) -> None:
    """Call `hook(name)` at every write step from now on; None removes it."""
    global _hook  # noqa: PLW0603 - one hook per process, set by crash tests only
    _hook = hook


def write_step(name: str) -> None:
    """Mark the moment `name` of a write sequence."""
    if _hook is not None:
        _hook(name)


@contextmanager
def disk_errors(path: Path, rescue: str) -> Iterator[None]:
    """Turn a failed write to `path` into a `DiskError` that ends with the sentence `rescue`.

    h5py puts the number of the system's error into its text only, so that is searched too.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError: h5py, when closing on a full disk
        reason = _full_reason(error) or _REASONS.get(getattr(error, "errno", None) or 0)
        if reason is None:
            raise
        raise DiskError(f"cannot write {path}: {reason}. {rescue}") from error


def _full_reason(error: OSError | RuntimeError) -> str | None:
    number = getattr(error, "errno", None)
    if number in _FULL:
        return _FULL[number]
    text = str(error)
    for number, reason in _FULL.items():
        if f"errno = {number}" in text or os.strerror(number) in text:
            return reason
    return None


def replace_file(path: Path, write: Callable[[Path], None], *, step: str) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk and move it over `path`.

    Args:
        path: the final name; its folder must exist.
        write: receives the temporary path and closes what it opens.
        step: prefix of the write steps `<step>.begin`, `<step>.written` and `<step>.moved`.

    Raises:
        DiskError: the disk is full or the folder may not be written to; the temporary file is
            removed and whatever stood at `path` stays as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    write_step(f"{step}.begin")
    try:
        with disk_errors(path, "What was there before is untouched."):
            write(temporary)
            _flush(temporary)
        write_step(f"{step}.written")
        with disk_errors(path, "What was there before is untouched."):
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the error of the disk comes first
            temporary.unlink(missing_ok=True)
        raise
    write_step(f"{step}.moved")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str, *, step: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    replace_file(path, lambda temporary: _write_text(temporary, text), step=step)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
