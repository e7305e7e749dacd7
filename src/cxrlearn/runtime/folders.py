"""Folders that are replaced as a whole: filled beside the old one, then swapped with it."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cxrlearn.errors import DiskError
from cxrlearn.runtime.atomic import disk_errors, write_step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def replaced_folder(folder: Path, *, step: str) -> Iterator[Path]:
    """Yield an empty folder beside `folder`, which takes its place when the block is left.

    Whatever ends the process, `folder` is afterwards the old one or the new one, whole. The caller
    carries over into the new folder what it wants to keep; the old one is removed.

    Args:
        folder: the final name; it may be missing.
        step: prefix of the write steps `<step>.filled`, `<step>.swapped` and `<step>.removed`.

    Raises:
        DiskError: it cannot be written; the old folder is unchanged.
    """
    if folder.is_symlink():
        folder = folder.resolve()
    new, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    untouched = "What was there before is untouched."
    with disk_errors(folder, untouched):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _recover(folder, new, old)
        new.mkdir()
    try:
        try:
            yield new
        except DiskError as error:  # of a file in a folder that is gone in a moment
            raise DiskError(str(error).replace(str(new), str(folder))) from error
        write_step(f"{step}.filled")
        with disk_errors(folder, untouched):
            _swap(folder, new, old)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    write_step(f"{step}.swapped")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    write_step(f"{step}.removed")


def _recover(folder: Path, new: Path, old: Path) -> None:
    """Clear away what a killed process left, and finish a swap that it was in the middle of."""
    if old.is_dir() and not folder.exists():
        old.rename(folder)
    for leftover in (new, old):
        if leftover.is_dir():
            shutil.rmtree(leftover)


def _swap(folder: Path, new: Path, old: Path) -> None:
    """Put `new` into the place of `folder`; afterwards the old one is `new` or `old`."""
    if not folder.exists():
        new.rename(folder)
    elif not _exchange(folder, new):
        folder.rename(old)  # for a moment there is neither; `_recover` knows
        try:
            new.rename(folder)
        except BaseException:  # Ctrl-C, too
            old.rename(folder)
            raise


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    with suppress(AttributeError, OSError):
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        paths = os.fsencode(one), os.fsencode(other)
        flags = ctypes.c_uint(_RENAME_EXCHANGE)
        return int(renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], flags)) == 0
    return False


def carry_over(source: Path, target: Path) -> None:
    """Put a file or a folder of files under a second name, without copying where possible.

    Raises:
        OSError: it can be neither linked nor copied.
    """
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, copy_function=_link)
    else:
        _link(str(source), str(target))


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without links
        shutil.copy2(source, target, follow_symlinks=False)
    return target
