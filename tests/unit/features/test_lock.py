from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from cxrlearn.errors import DiskError, FeatureFileError
from cxrlearn.features import lock
from cxrlearn.features.lock import writer_lock

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new" / "tiny.h5"


def owner_of(file: Path) -> Path:
    return file.with_name(f".{file.name}.owner")


def test_the_second_is_told_who_the_first_is(file: Path) -> None:
    with (
        writer_lock(file),
        pytest.raises(FeatureFileError) as caught,
        writer_lock(file),
    ):
        pass
    message = str(caught.value)
    assert f"process {os.getpid()} on {socket.gethostname()}" in message
    assert str(file) in message
    assert caught.value.exit_code == 5


def test_another_file_is_not_locked(file: Path) -> None:
    with writer_lock(file), writer_lock(file.with_name("tiny+fp32.h5")):
        pass


def test_the_lock_is_free_after_success_and_after_an_error(file: Path) -> None:
    with pytest.raises(KeyError), writer_lock(file):
        raise KeyError
    with writer_lock(file):
        assert json.loads(owner_of(file).read_text())["pid"] == os.getpid()
    assert not owner_of(file).exists()


def test_an_unknown_owner_is_another_process(file: Path) -> None:
    with writer_lock(file):
        owner_of(file).write_text("half a li")
        with pytest.raises(FeatureFileError, match="written by another process"), writer_lock(file):
            pass


def test_what_a_killed_owner_left_is_waited_for(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its decoding processes inherit the lock and hold it until they notice that it is gone.
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    file.parent.mkdir()
    owner_of(file).write_text(json.dumps({"pid": dead.pid, "host": socket.gethostname()}))
    orphan = FileLock(file.with_name(f".{file.name}.lock"))
    orphan.acquire()
    monkeypatch.setattr(lock, "ORPHAN_SECONDS", 0.1)
    with (
        pytest.raises(FeatureFileError, match=f"process {dead.pid} on"),
        writer_lock(file),
    ):
        pass
    monkeypatch.setattr(lock, "ORPHAN_SECONDS", 600.0)
    started = time.monotonic()
    orphan.release()
    with writer_lock(file):
        assert time.monotonic() - started < 300


def test_the_process_of_another_host_is_not_waited_for(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "ORPHAN_SECONDS", 600.0)
    with writer_lock(file):
        owner_of(file).write_text(json.dumps({"pid": 2**22 - 1, "host": "elsewhere"}))
        started = time.monotonic()
        with pytest.raises(FeatureFileError, match="on elsewhere"), writer_lock(file):
            pass
        assert time.monotonic() - started < 300


def test_a_folder_that_cannot_be_made_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DiskError), writer_lock(tmp_path / "taken" / "tiny.h5"):
        pass
