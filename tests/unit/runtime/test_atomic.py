from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from cxrlearn.errors import DiskError
from cxrlearn.runtime.atomic import disk_errors, hook_write_steps, replace_file, write_text

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old", step="test")
    write_text(path, "new\n", step="test")
    assert path.read_bytes() == b"new\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def half(temporary: Path) -> None:
        temporary.write_text("ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskError, match=r"cannot write .*a\.txt: no space left\. What was there"):
        replace_file(path, half, step="test")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["test.begin", "test.written"])
def test_a_crash_before_the_move_leaves_the_old_file(tmp_path: Path, step: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    class CrashError(BaseException):
        pass

    def crash(name: str) -> None:
        if name == step:
            raise CrashError

    hook_write_steps(crash)
    try:
        with pytest.raises(CrashError):
            write_text(path, "new", step="test")
    finally:
        hook_write_steps(None)
    assert path.read_text() == "old"


def test_the_error_number_is_found_in_the_words_of_h5py(tmp_path: Path) -> None:
    words = "Can't write data (write failed: errno = 28, error message = 'No space left on device')"
    with pytest.raises(DiskError, match="no space left"), disk_errors(tmp_path / "a.h5", "Kept."):
        raise OSError(words)
    with pytest.raises(DiskError, match="no space left"), disk_errors(tmp_path / "a.h5", "Kept."):
        raise RuntimeError(words)


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path, "Kept."):
        (tmp_path / "missing").read_bytes()
    with pytest.raises(RuntimeError, match="something else"), disk_errors(tmp_path, "Kept."):
        raise RuntimeError("something else")


def test_a_file_in_the_place_of_a_folder_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DiskError, match="a file stands where a folder is"),
        disk_errors(tmp_path / "file/x", "Kept."),
    ):
        (tmp_path / "file/x").mkdir(parents=True)


def test_a_folder_in_the_place_of_a_file_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(DiskError, match="a folder stands where a file is"):
        write_text(tmp_path / "there", "text", step="any")
    assert [file.name for file in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EROFS, "read-only file system"),
        (errno.EIO, "input/output error"),
        (errno.ENAMETOOLONG, "file name too long"),
    ],
)
def test_what_else_a_disk_refuses_is_said_in_its_words(
    tmp_path: Path, number: int, reason: str
) -> None:
    with pytest.raises(DiskError, match=rf"cannot write .*x: {reason}\. Kept\."):  # noqa: SIM117
        with disk_errors(tmp_path / "x", "Kept."):
            raise OSError(number, "No")


def test_a_name_that_is_too_long_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="file name too long"):
        write_text(tmp_path / ("x" * 300), "text", step="any")


def test_a_folder_that_may_not_be_written_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="permission denied"), disk_errors(tmp_path / "x", "Kept."):
        raise PermissionError(errno.EACCES, "Permission denied")
