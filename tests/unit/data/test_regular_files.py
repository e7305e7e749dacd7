"""Pipes, devices, sockets, folders and endless files cost one image: never a hang, never memory."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from cxrlearn.data.images import read_radiograph
from cxrlearn.data.regular_files import open_regular
from cxrlearn.data.same_content import shared_files
from cxrlearn.errors import UnreadableImageError
from cxrlearn.features.plan import file_digest

if TYPE_CHECKING:
    from pathlib import Path


def _pipe(folder: Path) -> Path:
    path = folder / "pipe.png"
    os.mkfifo(path)
    return path


def _link_to_pipe(folder: Path) -> Path:
    (folder / "link.png").symlink_to(_pipe(folder))
    return folder / "link.png"


def _sparse(folder: Path) -> Path:
    path = folder / "sparse.dcm"
    with path.open("wb") as file:
        file.write(bytes(128) + b"DICM")
        file.truncate(1 << 40)  # a terabyte, all holes
    return path


def _socket(folder: Path) -> Path:
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(path))
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_pipe, "cannot read the file: it is a pipe, not a file"),
        (_link_to_pipe, "cannot read the file: it is a pipe, not a file"),
        (_socket, "cannot read the file: it is a socket, not a file"),
        (_sparse, "cannot read the file: it has 1,099,512 MB, and more than 500 are not read"),
    ],
)
def test_what_is_no_plain_file_is_refused_with_a_reason(
    tmp_path: Path, make: object, reason: str
) -> None:
    assert callable(make)
    path = make(tmp_path)

    with pytest.raises(UnreadableImageError) as caught:
        read_radiograph(path)
    assert str(caught.value) == reason
    with pytest.raises(OSError, match=r"is a|more than 500"):
        file_digest(str(path))


def test_devices_are_refused() -> None:
    for name in ("/dev/zero", "/dev/null", "/dev/urandom"):
        with pytest.raises(UnreadableImageError, match="it is a device, not a file"):
            read_radiograph(name)


def test_pipes_share_no_content_and_hold_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    splits = {name: [_pipe(tmp_path / name)] for name in ("a", "b")}

    assert shared_files(splits) == {}


def test_a_plain_file_is_opened_for_reading(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")

    with open_regular(tmp_path / "x") as file:
        assert file.read() == b"abc"
        assert stat.S_ISREG(os.fstat(file.fileno()).st_mode)
