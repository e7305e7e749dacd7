from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from cxrlearn.errors import FeatureFileError
from cxrlearn.features.store import (
    check_whole,
    read_failed,
    read_features,
    read_index,
    read_info,
    read_rows,
    read_slice,
)
from tests.support.feature_files import (
    FINGERPRINT,
    digest_of,
    edited,
    features_of,
    row_of,
    write_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NUMBERS = (2, 4, 7, 9)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "a.h5", [row_of(number) for number in NUMBERS])


def test_what_is_written_is_read_back(file: Path) -> None:
    content = read_features(file)
    assert content.ids.tolist() == [f"img/{number:04d}.png" for number in NUMBERS]
    assert content.features.dtype == np.float32
    assert content.features.tobytes() == np.stack([features_of(n) for n in NUMBERS]).tobytes()
    assert content.content_hashes.tolist() == [digest_of(number).decode() for number in NUMBERS]
    assert content.failed == {"z.png": "gone"}
    assert read_info(file).fingerprint == FINGERPRINT
    assert read_info(file).rows == 4


def test_read_features_takes_a_string(file: Path) -> None:
    assert len(read_features(str(file)).ids) == 4


def test_datasets_and_attributes_are_as_specified(file: Path) -> None:
    # docs/reference/feature-file.md: changing this needs another version number.
    with h5py.File(file) as content:
        assert sorted(content.attrs) == [
            "fingerprint",
            "fingerprint_sha256",
            "format",
            "provenance",
            "version",
        ]
        assert content.attrs["format"] == "cxrlearn-features"
        assert content.attrs["version"] == 2
        assert json.loads(content.attrs["fingerprint"])["backbone"] == "tiny-test"
        assert content.attrs["fingerprint_sha256"] == FINGERPRINT.digest
        assert sorted(content) == [
            "content_hash",
            "failed",
            "features",
            "image_id",
            "mtime_ns",
            "seen",
            "size",
        ]
        assert content["features"].shape == (4, 3)
        assert content["features"].dtype == np.float32
        assert h5py.check_string_dtype(content["image_id"].dtype).encoding == "utf-8"
        assert content["content_hash"].dtype == np.dtype("S64")
        assert content["size"].dtype == content["mtime_ns"].dtype == np.int64
        assert sorted(content["seen"]) == ["mtime_ns", "place", "row"]
        assert content["seen/place"].dtype == np.uint64
        assert sorted(content["failed"]) == ["image_id", "reason"]
        assert content["features"].fletcher32
        assert content["image_id"].asstr()[0] == "img/0002.png"


def test_names_of_any_alphabet_survive(tmp_path: Path) -> None:
    names = ["a b/,.png", "röntgen/ä.png", "胸片/1.png", "bytes/\udcff.png"]
    rows = [row_of(number, name) for number, name in enumerate(sorted(names))]
    assert read_features(write_rows(tmp_path / "a.h5", rows)).ids.tolist() == sorted(names)


def test_rows_are_read_in_the_order_asked_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrlearn.features.store.BLOCK_BYTES", 2 * 3 * 4)  # two rows a block
    whole = read_features(file).features
    for rows in ([3, 0, 2], [1, 1], [], [0, 1, 2, 3]):
        assert np.array_equal(read_rows(file, np.array(rows, dtype=np.intp)), whole[rows])
    assert np.array_equal(read_slice(file, 1, 3), whole[1:3])


def test_a_file_without_rows_can_be_read(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.h5", [])
    assert read_features(file).features.shape == (0, 3)
    assert len(read_index(file)) == 0
    check_whole(file)


def test_half_precision_on_disk_is_read_as_float32(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.h5", [row_of(1)], store="float16")
    features = read_features(file).features
    assert features.dtype == np.float32
    assert np.array_equal(features[0], features_of(1).astype(np.float16).astype(np.float32))


def test_a_file_of_another_writer_may_leave_out_what_is_optional(file: Path) -> None:
    with edited(file) as content:
        del content["seen"]
        names = content["image_id"].asstr()[:]
        del content["image_id"]
        content.create_dataset("image_id", data=names, dtype=h5py.string_dtype())  # any length
    assert len(read_index(file).seen.row) == 0
    assert read_index(file).image_id.tolist() == [name.encode() for name in names]
    assert read_features(file).ids.tolist() == list(names)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("Path,label\n")


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _changed(change: Callable[[h5py.File], Any]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with edited(path) as file:
            change(file)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate, r"a\.h5 is damaged .*\. Delete it and run"),
        (_empty, r"a\.h5 is damaged or no HDF5 file\. If `cxrlearn embed` wrote it, move it away"),
        (_text, r"a\.h5 is damaged or no HDF5 file\. If `cxrlearn embed` wrote it, move it away"),
        (_zeros, r"a\.h5 is damaged or no HDF5 file\. If `cxrlearn embed` wrote it, move it away"),
        (
            _changed(lambda file: file.attrs.modify("format", "somebody-else")),
            r"a\.h5 is an HDF5 file, but no feature file of cxrlearn",
        ),
        (
            _changed(lambda file: file.attrs.modify("version", 3)),
            r"format version 3; this cxrlearn reads up to 2\. Update cxrlearn",
        ),
        (_changed(lambda file: file.pop("size")), r"a\.h5 is damaged .*size.* Delete it"),
        (
            _changed(lambda file: file.attrs.modify("fingerprint", "{}")),
            r"a\.h5 is damaged .*fingerprint.* Delete it",
        ),
        (
            _changed(lambda file: file.attrs.pop("version")),
            r"a\.h5 is damaged .*version.* Delete it",
        ),
    ],
    ids=["truncated", "empty", "text", "zeros", "foreign", "newer", "dataset", "print", "version"],
)
def test_what_is_wrong_with_a_file_is_said(
    file: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(file)
    with pytest.raises(FeatureFileError, match=message) as caught:
        read_index(file)
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dataset", ["features", "image_id", "content_hash", "seen/place"])
def test_a_flipped_bit_is_noticed(file: Path, dataset: str) -> None:
    with h5py.File(file) as content:
        chunk = content[dataset].id.get_chunk_info(0)
    data = bytearray(file.read_bytes())
    data[chunk.byte_offset + 5] ^= 1
    file.write_bytes(data)
    with pytest.raises(FeatureFileError, match=r"a\.h5 is damaged \(bytes 0 to .* have changed"):
        check_whole(file)
    with pytest.raises(FeatureFileError, match="is damaged"):
        read_features(file)


def test_a_file_that_was_changed_by_hand_is_refused(file: Path) -> None:
    with h5py.File(file, "r+") as content:
        content["features"][1, 1] = 7
    with pytest.raises(FeatureFileError, match="is damaged"):
        read_features(file)


def test_only_the_blocks_that_are_read_are_checked(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.h5", [row_of(number) for number in range(3000)], dim=128)
    with h5py.File(file) as content:
        last = content["features"].id.get_chunk_info(content["features"].id.get_num_chunks() - 1)
    whole = read_features(file).features
    data = bytearray(file.read_bytes())
    data[last.byte_offset + last.size // 2] ^= 1
    file.write_bytes(data)
    assert np.array_equal(read_rows(file, np.arange(10)), whole[:10])
    with pytest.raises(FeatureFileError, match="have changed"):
        read_slice(file, 2990, 3000)


def test_a_file_without_checksums_says_of_which_version_it_is(file: Path) -> None:
    length = int.from_bytes(file.read_bytes()[-64:-56], "little")
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(FeatureFileError, match=r"checksums are missing.*Delete it"):
        read_info(file)
    with h5py.File(file, "r+") as content:
        content.attrs["version"] = 1
    with pytest.raises(FeatureFileError, match=r"version 1, which has no checksums.*embed` again"):
        read_info(file)
    with h5py.File(file, "r+") as content:
        content.attrs["format"] = "somebody-else"
    with pytest.raises(FeatureFileError, match="no feature file of cxrlearn") as caught:
        read_info(file)
    assert "elete" not in str(caught.value)


def test_hdf5_guards_its_own_structures_too(file: Path) -> None:
    # For readers that do not know our checksums: object headers of the newer format have theirs.
    with h5py.File(file) as content:
        assert h5py.h5o.get_info(content.id).hdr.version == 2
        assert content["features"].fletcher32


def test_a_missing_file_says_who_writes_it(tmp_path: Path) -> None:
    with pytest.raises(FeatureFileError, match=r"no feature file .*none\.h5.*cxrlearn embed"):
        read_failed(tmp_path / "none.h5")
