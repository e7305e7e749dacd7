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


@contextmanager
def writer_lock(file: Path) -> Iterator[None]:
    """Hold the lock of the feature file `file`; the system frees it when a process is killed.

    Raises:
        FeatureFileError: another process holds it; the message names process and host.
        DiskError: the folder cannot be written to.
    """
    with disk_errors(file.parent, "Choose another --output-dir."):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file.with_name(f".{file.name}.lock"))
        owner = file.with_name(f".{file.name}.owner")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise FeatureFileError(
                f"{file} is being written by {_owner(owner)}. Wait for it, or use another --output-dir."
            ) from None
    try:
        with disk_errors(file.parent, "Choose another --output-dir."):
            owner.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _owner(path: Path) -> str:
    try:
        who = json.loads(path.read_text())
        return f"process {who['pid']} on {who['host']}"
    except (OSError, ValueError, KeyError):  # it is just starting or stopping
        return "another process"
