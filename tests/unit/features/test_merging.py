from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cxrlearn.errors import FeatureFileError
from cxrlearn.features.merging import merge
from cxrlearn.features.parts import PartWriter, Row, parts_folder
from cxrlearn.features.store import read_features, read_index, read_info
from cxrlearn.runtime.atomic import hook_write_steps
from tests.support.feature_files import (
    FINGERPRINT,
    add_rows,
    digest_of,
    everything,
    features_of,
    row_of,
    write_rows,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tiny.h5"


def write_parts(file: Path, *parts: list[Row]) -> None:
    for rows in parts:
        writer = PartWriter(parts_folder(file), FINGERPRINT, {})
        for row in rows:
            writer.add(row, features_of(int(row.content_hash, 16)))
        writer.close_part()


def merged(file: Path) -> int:
    return merge(file, FINGERPRINT, {}, failed={})


def as_mapping(file: Path) -> dict[tuple[str, str], bytes]:
    content = read_features(file)
    keys = zip(content.ids, content.content_hashes, strict=True)
    return {key: row.tobytes() for key, row in zip(keys, content.features, strict=True)}


@pytest.mark.parametrize("seed", range(4))
def test_any_division_into_parts_gives_the_same_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    # Some images have two contents, and some rows are in more than one part.
    rows = [row_of(number, f"{number % 17:02d}.png") for number in range(40)]
    write_parts(tmp_path / "one.h5", rows)
    merged(tmp_path / "one.h5")

    order = generator.permutation(len(rows)).tolist() + generator.integers(0, 40, 9).tolist()
    cuts = sorted(generator.integers(0, len(order), 4).tolist())
    monkeypatch.setattr("cxrlearn.features.merging.BLOCK_BYTES", 5 * 3 * 4)
    for start, stop in zip([0, *cuts], [*cuts, len(order)], strict=True):
        write_parts(file, [rows[number] for number in order[start:stop]])
        if generator.random() < 0.5:
            merged(file)
    assert merged(file) == 40
    assert everything(file) == everything(tmp_path / "one.h5")


def test_the_merged_file_equals_a_sorted_dictionary(file: Path) -> None:
    rows = [row_of(number, f"{number % 5}.png") for number in range(12)]
    write_parts(file, rows[7:], rows[:7])
    merged(file)
    oracle = {
        (f"{number % 5}.png", digest_of(number).decode()): features_of(number).tobytes()
        for number in range(12)
    }
    assert list(as_mapping(file).items()) == sorted(oracle.items())


def test_rows_that_are_there_keep_their_bits(file: Path) -> None:
    write_rows(file, [row_of(1), row_of(2)])
    writer = PartWriter(parts_folder(file), FINGERPRINT, {})
    writer.add(row_of(2), features_of(99))
    writer.add(row_of(3), features_of(3))
    writer.close_part()
    assert merged(file) == 3
    assert np.array_equal(read_features(file).features[1], features_of(2))


def test_parts_and_temporary_files_are_gone_afterwards(file: Path) -> None:
    write_parts(file, [row_of(1)], [row_of(2)])
    merged(file)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_sightings_of_file_and_parts_are_put_together(file: Path) -> None:
    write_rows(file, [row_of(1, place=10, mtime_ns=100), row_of(2, place=11, mtime_ns=100)])
    write_parts(file, [row_of(2, place=11, mtime_ns=90)], [row_of(2, place=12, mtime_ns=300)])
    merged(file)
    index = read_index(file)
    seen = zip(index.seen.row, index.seen.place, index.seen.mtime_ns, strict=True)
    # The file at place 11 was seen again, with an older time: the last look counts.
    assert [tuple(int(value) for value in one) for one in seen] == [
        (0, 10, 100),
        (1, 11, 90),
        (1, 12, 300),
    ]
    assert index.mtime_ns.tolist() == [100, 300]


def test_failures_are_written_with_their_reasons(file: Path) -> None:
    write_parts(file, [row_of(1)])
    merge(file, FINGERPRINT, {"made": "now"}, failed={"b.png": "ü", "a.png": "empty"})
    assert read_features(file).failed == {"a.png": "empty", "b.png": "ü"}
    assert read_info(file).provenance == {"made": "now"}


def test_without_rows_a_file_of_failures_is_written(file: Path) -> None:
    assert merge(file, FINGERPRINT, {}, failed={"a.png": "empty"}) == 0
    assert read_features(file).features.shape == (0, 3)


def test_parts_of_different_settings_are_never_mixed(file: Path) -> None:
    write_parts(file, [row_of(1)])
    other = PartWriter(parts_folder(file), replace(FINGERPRINT, precision="bf16"), {})
    add_rows(other, 2)
    other.close_part()
    with pytest.raises(FeatureFileError, match="made with other settings than the parts beside it"):
        merged(file)
    assert not file.exists()


def test_a_crash_before_the_move_leaves_file_and_parts(file: Path) -> None:
    write_rows(file, [row_of(1)])
    before = file.read_bytes()
    write_parts(file, [row_of(2)])

    class CrashError(BaseException):
        pass

    def crash(name: str) -> None:
        if name == "merge.block":
            raise CrashError

    hook_write_steps(crash)
    try:
        with pytest.raises(CrashError):
            merged(file)
    finally:
        hook_write_steps(None)
    assert file.read_bytes() == before
    assert merged(file) == 2
