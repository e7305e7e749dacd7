from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from cxrlearn.features.merging import merge
from cxrlearn.features.parts import (
    PartWriter,
    parts_folder,
    remove_leftovers,
    remove_parts,
    usable_parts,
)
from cxrlearn.features.store import WRITE_STEPS, read_features, read_index
from cxrlearn.runtime.atomic import hook_write_steps
from tests.support.feature_files import (
    FINGERPRINT,
    add_rows,
    digest_of,
    edited,
    features_of,
    row_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tiny.h5"


def writer(file: Path, *, rows: int = 4096, seconds: float = 1e9) -> PartWriter:
    return PartWriter(parts_folder(file), FINGERPRINT, {"host": "here"}, rows, seconds)


@pytest.fixture
def steps() -> Iterator[list[str]]:
    names: list[str] = []
    hook_write_steps(names.append)
    yield names
    hook_write_steps(None)


def test_a_part_is_closed_when_it_has_its_rows(file: Path) -> None:
    parts = writer(file, rows=3)
    add_rows(parts, *range(7))
    assert [info.rows for _, info in usable_parts(file)[0]] == [3, 3]
    parts.close_part()
    assert [info.rows for _, info in usable_parts(file)[0]] == [3, 3, 1]


def test_a_part_is_closed_when_its_features_are_large(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrlearn.features.parts.PART_BYTES", 2 * 3 * 4)
    add_rows(writer(file), *range(5))
    assert [info.rows for _, info in usable_parts(file)[0]] == [2, 2]


def test_features_are_copied_so_that_a_batch_can_go(file: Path) -> None:
    parts = writer(file)
    batch = np.stack([features_of(0), features_of(1)])
    parts.add(row_of(0), batch[0])
    parts.add(row_of(1), batch[1])
    batch[:] = 7
    parts.close_part()
    ((path, _),) = usable_parts(file)[0]
    assert np.array_equal(read_features(path).features, np.stack([features_of(0), features_of(1)]))


def test_a_part_is_closed_after_its_time(file: Path) -> None:
    parts = writer(file, seconds=-1.0)
    add_rows(parts, 0)
    assert [info.rows for _, info in usable_parts(file)[0]] == [1]


def test_closing_without_rows_writes_nothing(file: Path) -> None:
    writer(file).close_part()
    assert not parts_folder(file).exists()


def test_a_part_is_sorted_whatever_the_order_of_its_rows(file: Path) -> None:
    parts = writer(file)
    add_rows(parts, 5, 1, 3)
    parts.close_part()
    ((path, _),), broken, foreign = usable_parts(file)
    assert (broken, foreign) == ([], [])
    content = read_features(path)
    assert content.ids.tolist() == [f"img/{number:04d}.png" for number in (1, 3, 5)]
    assert np.array_equal(content.features, np.stack([features_of(n) for n in (1, 3, 5)]))


def test_a_part_passes_its_write_steps(file: Path, steps: list[str]) -> None:
    parts = writer(file)
    add_rows(parts, 0)
    parts.close_part()
    remove_parts(file, parts_folder(file).iterdir())
    assert steps == ["part.begin", "part.written", "part.moved", "parts.removed"]
    assert set(steps) <= set(WRITE_STEPS)
    assert not parts_folder(file).exists()


def test_features_are_read_back_from_several_parts(file: Path) -> None:
    parts = writer(file, rows=2)
    add_rows(parts, *range(6))
    wanted = [4, 0, 5, 0]
    got = parts.read_back([digest_of(number) for number in wanted])
    assert np.array_equal(got, np.stack([features_of(number) for number in wanted]))


@pytest.mark.parametrize("damage", ["cut", "zeros", "flipped", "empty"])
def test_a_damaged_part_is_dropped_and_named(file: Path, damage: str) -> None:
    parts = writer(file, rows=2)
    add_rows(parts, *range(4))
    first, second = sorted(parts_folder(file).iterdir())
    data = first.read_bytes()
    at = data.index(features_of(0).tobytes())
    damaged = {
        "cut": data[: len(data) // 2],
        "zeros": data[:512] + bytes(len(data) - 512),
        "flipped": data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
        "empty": b"",
    }
    first.write_bytes(damaged[damage])
    whole, broken, _ = usable_parts(file)
    assert [path for path, _ in whole] == [second]
    assert broken == [first.name]
    assert not first.exists()


def test_temporary_files_of_killed_processes_go(file: Path) -> None:
    parts = writer(file)
    add_rows(parts, 0)
    parts.close_part()
    (parts_folder(file) / ".1.h5.99.tmp").write_bytes(b"half")
    (file.parent / ".tiny.h5.99.tmp").write_bytes(b"half")
    (file.parent / ".other.h5.99.tmp").write_bytes(b"not ours")
    remove_leftovers(file)
    assert len(usable_parts(file)[0]) == 1
    assert [path.suffix for path in parts_folder(file).iterdir()] == [".h5"]
    assert sorted(path.name for path in file.parent.iterdir()) == [
        ".other.h5.99.tmp",
        "tiny.h5.parts",
    ]


def test_what_is_not_ours_is_left_alone(file: Path) -> None:
    parts = writer(file, rows=1)
    add_rows(parts, 0, 1)
    folder = parts_folder(file)
    newer, mine = sorted(folder.iterdir())
    with edited(newer) as content:
        content.attrs["version"] = 99
    (folder / "notes.txt").write_text("do not lose me")
    (folder / "thesis.h5").write_bytes(b"not yours")
    (folder / "old").mkdir()
    (folder / "old" / "data.csv").write_text("1")
    found = usable_parts(file)
    assert [path for path, _ in found.usable] == [mine]
    assert found.broken == []
    assert sorted(found.foreign) == sorted([newer.name, "notes.txt", "old", "thesis.h5"])
    assert merge(file, FINGERPRINT, {}, failed={}) == 1
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    assert left == sorted([newer.name, "notes.txt", "old", "old/data.csv", "thesis.h5"])
    assert usable_parts(file).usable == []


def test_one_content_in_two_places_is_two_sightings(file: Path) -> None:
    parts = writer(file)
    add_rows(parts, 1, place=10, mtime_ns=100)
    add_rows(parts, 1, place=2**64 - 1, mtime_ns=200)
    parts.close_part()
    ((path, _),) = usable_parts(file)[0]
    seen = read_index(path).seen
    assert sorted(zip(seen.place.tolist(), seen.mtime_ns.tolist(), strict=True)) == [
        (10, 100),
        (2**64 - 1, 200),
    ]
