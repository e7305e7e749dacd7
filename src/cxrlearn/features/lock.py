"""One writer for a feature file; the one who comes second is told who the first is."""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from cxrlearn.errors import FeatureFileError
from cxrlearn.runtime.atomic import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ORPHAN_SECONDS = 15.0
"""How long the decoding processes of a killed run may take to notice that it is gone."""


@contextmanager
def writer_lock(file: Path) -> Iterator[None]:
    """Hold the lock of the feature file `file`; the system frees it when a process is killed.

    Raises:
        FeatureFileError: another process holds it; the message names process and host.
        DiskError: the folder cannot be written to.
    """
    with disk_errors(file.parent, "Choose another folder."):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file.with_name(f".{file.name}.lock"))
        owner = file.with_name(f".{file.name}.owner")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _wait_for_orphans(lock, file, owner)
    try:
        with disk_errors(file.parent, "Choose another folder."):
            who = {"pid": os.getpid(), "host": socket.gethostname()}
            owner.write_text(json.dumps(who), encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _wait_for_orphans(lock: FileLock, file: Path, owner: Path) -> None:
    """Wait a little if the owner was killed: its helpers hold the lock until they notice.

    Raises:
        FeatureFileError: the owner is alive, or its processes do not leave.
    """
    who = _read_owner(owner)
    try:
        lock.acquire(timeout=ORPHAN_SECONDS if _is_dead(who) else 0)
    except Timeout:
        name = f"process {who['pid']} on {who['host']}" if who else "another process"
        raise FeatureFileError(
            f"{file} is being written by {name}. Wait for it, or write into another folder."
        ) from None


def _read_owner(path: Path) -> dict[str, object] | None:
    """Return who holds the lock, or None while it is just starting or stopping."""
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return who if isinstance(who, dict) and {"pid", "host"} <= set(who) else None


def _is_dead(who: dict[str, object] | None) -> bool:
    """Tell whether a process of this host is gone; those of other hosts count as alive."""
    if who is None or who["host"] != socket.gethostname() or os.name != "posix":
        return False
    try:
        os.kill(int(str(who["pid"])), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False
    return False
