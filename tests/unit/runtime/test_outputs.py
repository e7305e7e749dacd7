"""What a command may overwrite: nothing, an empty file, and what it wrote itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cxrlearn.errors import UsageError
from cxrlearn.runtime.outputs import beginning, refuse_to_overwrite

if TYPE_CHECKING:
    from pathlib import Path


def ours(file: Path) -> bool:
    return beginning(file).startswith("ours")


@pytest.mark.parametrize("content", [None, b"", b"ours, of yesterday"])
def test_new_empty_and_own_files_may_be_written(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.csv").write_bytes(content)
    refuse_to_overwrite(tmp_path / "a.csv", ours, command="compare")


@pytest.mark.parametrize("content", [b"Path,label\n", b"\xff\x00\xfe"])
def test_other_files_are_not_overwritten(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.csv was not written by `cxrlearn compare`") as caught:
        refuse_to_overwrite(tmp_path / "a.csv", ours, command="compare")
    assert "elete" not in str(caught.value)


def test_an_input_is_not_overwritten_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"ours")
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    with pytest.raises(UsageError, match=r"link\.csv is a file that this command reads"):
        refuse_to_overwrite(
            tmp_path / "link.csv",
            ours,
            command="predict",
            inputs=[tmp_path / "none", tmp_path / "a.csv"],
        )
