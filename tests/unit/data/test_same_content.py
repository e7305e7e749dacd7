from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.data import same_content
from cxrlearn.data.same_content import SAMPLE, shared_files

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def written(folder: Path, **contents: bytes) -> list[Path]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def test_equal_contents_under_other_names_are_counted_once_each(tmp_path: Path) -> None:
    train = written(tmp_path, a=b"one", b=b"two", c=b"one")
    val = written(tmp_path, d=b"six", e=b"four")
    test = written(tmp_path, f=b"one", g=b"six", h=b"two")
    found = shared_files({"train": train, "val": val, "test": test})
    assert found == {("train", "test"): 2, ("val", "test"): 1}


def test_files_that_differ_between_the_samples_only_are_told_apart(tmp_path: Path) -> None:
    content = bytearray(8 * SAMPLE)
    other = content.copy()
    other[2 * SAMPLE] = 1
    train = written(tmp_path, a=bytes(content))
    assert shared_files({"train": train, "test": written(tmp_path, b=bytes(other))}) == {}
    assert shared_files({"train": train, "test": written(tmp_path, c=bytes(content))}) == {
        ("train", "test"): 1
    }


def test_files_of_one_split_or_of_a_size_of_their_own_are_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    sample = same_content._sample

    def noted(file: Path) -> bytes:
        opened.append(file)
        return sample(file)

    monkeypatch.setattr(same_content, "_sample", noted)
    train = written(tmp_path, a=b"12", b=b"12", c=b"1234")
    test = written(tmp_path, d=b"1", e=b"4321")
    assert shared_files({"train": train, "test": test}) == {}
    assert sorted(file.name for file in opened) == ["c", "e"]


def test_what_cannot_be_read_shares_nothing(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert shared_files({"train": [gone], "test": [gone, *written(tmp_path, a=b"1")]}) == {}
