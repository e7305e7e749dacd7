"""A folder is the old one or the new one, whatever happens in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cxrlearn.errors import DiskError
from cxrlearn.runtime import folders
from cxrlearn.runtime.atomic import hook_write_steps
from cxrlearn.runtime.folders import carry_over, replaced_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Crash(BaseException):
    """A process that dies here."""


@pytest.fixture(params=["exchange", "two renames"])
def folder(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    if request.param == "two renames":  # where the file system cannot exchange names
        monkeypatch.setattr(folders, "_exchange", lambda *_: False)
    yield tmp_path / "a"
    hook_write_steps(None)


def fill(folder: Path, text: str) -> None:
    with replaced_folder(folder, step="test") as new:
        (new / "text").write_text(text)


def test_a_new_folder_is_made_and_an_old_one_replaced(folder: Path) -> None:
    fill(folder, "old")
    (folder / "more").touch()
    fill(folder, "new")
    assert (folder / "text").read_text() == "new"
    assert not (folder / "more").exists()
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("error", [ValueError, Crash])
def test_an_error_leaves_the_old_folder(folder: Path, error: type[BaseException]) -> None:
    fill(folder, "old")

    def fail(folder: Path) -> None:
        with replaced_folder(folder, step="test") as new:
            (new / "text").write_text("new")
            raise error

    with pytest.raises(error):
        fail(folder)
    assert (folder / "text").read_text() == "old"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_link_stays_a_link(folder: Path) -> None:
    real = folder.parent / "real"
    fill(real, "old")
    folder.symlink_to(real)
    fill(folder, "new")
    assert folder.is_symlink()
    assert (real / "text").read_text() == "new"


@pytest.mark.parametrize("left", [".a.new", ".a.old"])
def test_what_a_killed_process_left_is_cleared_away(folder: Path, left: str) -> None:
    fill(folder, "old")
    (folder.parent / left).mkdir()
    (folder.parent / left / "text").write_text("half")
    fill(folder, "new")
    assert (folder / "text").read_text() == "new"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_swap_that_was_cut_in_the_middle_is_undone(folder: Path) -> None:
    fill(folder, "old")
    folder.rename(folder.with_name(".a.old"))  # killed between the two renames
    with pytest.raises(Crash), replaced_folder(folder, step="test"):
        raise Crash
    assert (folder / "text").read_text() == "old"


def test_a_file_in_the_way_is_a_disk_error(folder: Path) -> None:
    folder.parent.joinpath("file").touch()
    with pytest.raises(DiskError, match="cannot write"):
        fill(folder.parent / "file" / "a", "new")


def test_files_and_folders_are_carried_over(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a").write_text("a")
    (tmp_path / "deep" / "link").symlink_to("er/a")
    carry_over(tmp_path / "deep", tmp_path / "copy")
    carry_over(tmp_path / "deep" / "er" / "a", tmp_path / "b")
    assert (tmp_path / "copy" / "er" / "a").read_text() == "a"
    assert (tmp_path / "copy" / "link").is_symlink()
    assert (tmp_path / "b").read_text() == "a"
