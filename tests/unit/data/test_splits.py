"""Splits by column and by patient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlearn.data.manifest import Manifest, read_manifest
from cxrlearn.data.splits import SETS, by_column, by_image, by_patient, patient_overlap
from cxrlearn.errors import DataError
from tests.support.shared import shared_path

if TYPE_CHECKING:
    from pathlib import Path


def _manifest(folder: Path, header: str, rows: list[str], name: str = "all") -> Manifest:
    file = folder / f"{name}.csv"
    file.write_text("\n".join([header, *rows]))
    return read_manifest(file, name=name)


def _cohort(folder: Path, images: list[int]) -> Manifest:
    """Write a manifest in which patient i has images[i] rows, patients interleaved."""
    rows = [(at, patient) for patient, count in enumerate(images) for at in range(count)]
    return _manifest(
        folder,
        "Path,patient_id",
        [f"p{patient}_{at}.png,{patient}" for at, patient in sorted(rows)],
    )


def test_a_column_divides_the_rows_in_their_order(tmp_path: Path) -> None:
    words = ["Train", "test", "valid", "VAL", "train", "validation", "validate", "training", "dev"]
    rows = [f"{at}.png,{word}" for at, word in enumerate(words)]
    manifest = _manifest(tmp_path, "Path,split", rows)

    sets = by_column(manifest, "split")

    assert list(sets) == list(SETS)
    assert sets["train"].image_ids == ("0.png", "4.png", "7.png")
    assert sets["val"].image_ids == ("2.png", "3.png", "5.png", "6.png", "8.png")
    assert sets["test"].image_ids == ("1.png",)
    assert [part.name for part in sets.values()] == list(SETS)


def test_sets_without_rows_are_left_out(tmp_path: Path) -> None:
    assert list(by_column(_manifest(tmp_path, "Path,split", ["a.png,test"]), "split")) == ["test"]


def test_other_words_are_listed_with_their_rows(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "Path,fold", ["a.png,train", "b.png,2", "c.png,"])

    with pytest.raises(DataError) as caught:
        by_column(manifest, "fold")

    start = f"{tmp_path / 'all.csv'}, row"
    assert str(caught.value).splitlines() == [
        f"{start} 3, column 'fold': '2' is no split; expected train, val or test",
        f"{start} 4, column 'fold': blank; expected train, val or test",
    ]


@settings(max_examples=40, deadline=None)
@given(images=st.lists(st.integers(1, 9), min_size=3, max_size=60), seed=st.integers(0, 2**31 - 1))
def test_no_patient_is_in_two_sets_and_no_row_is_lost(
    tmp_path_factory: pytest.TempPathFactory, images: list[int], seed: int
) -> None:
    manifest = _cohort(tmp_path_factory.mktemp("cohort"), images)

    sets = by_patient(manifest, seed=seed)

    assert list(sets) == list(SETS)
    assert patient_overlap(sets) == []
    assert sorted(sum((part.image_ids for part in sets.values()), ())) == sorted(manifest.image_ids)
    assert all(len(part) for part in sets.values())


def test_shares_are_met_as_closely_as_whole_patients_allow(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(1, 6, 400).tolist()
    manifest = _cohort(tmp_path, images)

    for seed in range(5):
        sets = by_patient(manifest, seed=seed, fractions=(0.7, 0.1, 0.2))
        shares = [len(part) / len(manifest) for part in sets.values()]
        assert shares == pytest.approx([0.7, 0.1, 0.2], abs=6 / len(manifest))


def test_the_same_seed_gives_the_same_split_in_any_order_of_rows(tmp_path: Path) -> None:
    manifest = _cohort(tmp_path, [1, 2, 3] * 20)
    shuffled = manifest.select(np.random.default_rng(1).permutation(len(manifest)))

    first, again = by_patient(manifest, seed=3), by_patient(shuffled, seed=3)
    other = by_patient(manifest, seed=4)

    for name in SETS:
        assert set(first[name].image_ids) == set(again[name].image_ids)
    assert set(first["test"].image_ids) != set(other["test"].image_ids)


def test_a_split_is_the_same_forever(tmp_path: Path) -> None:
    """Changing this list changes everybody's splits: only on purpose."""
    sets = by_patient(_cohort(tmp_path, [1] * 10), seed=0)

    assert {name: part.patients.tolist() for name, part in sets.items()} == PINNED


PINNED = {"train": ["2", "3", "4", "6", "7", "8", "9"], "val": ["0"], "test": ["1", "5"]}


def test_a_split_by_patient_needs_an_id_in_every_row(tmp_path: Path) -> None:
    without = _manifest(tmp_path, "Path,x", ["a.png,1"], name="a")
    blank = _manifest(tmp_path, "Path,patient_id", ["a.png,1", "b.png,", "c.png,2", "d.png,3"])
    few = _manifest(tmp_path, "Path,patient_id", ["a.png,1", "b.png,2"], name="few")

    with pytest.raises(DataError, match=r"a\.csv has no patient column: name it with --patient-c"):
        by_patient(without, seed=0)
    with pytest.raises(
        DataError, match=r"row 3, column 'patient_id': no patient id \(blank in 1 row"
    ):
        by_patient(blank, seed=0)
    with pytest.raises(DataError, match=r"few\.csv: 2 patients can't be split in three\."):
        by_patient(few, seed=0)


def test_a_split_by_image_needs_no_patients(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, "Path,x", [f"{at}.png,1" for at in range(100)])

    sets = by_image(manifest, seed=0)

    assert [len(part) for part in sets.values()] == [70, 10, 20]
    assert patient_overlap(sets) == []


def test_shared_patients_are_counted_for_each_pair(tmp_path: Path) -> None:
    a = _manifest(tmp_path, "Path,patient", ["1.png,1", "2.png,2", "3.png,00012", "4.png,"], "a")
    b = _manifest(tmp_path, "Path,patient", ["5.png,2", "6.png,1", "7.png,12", "8.png,"], "b")
    c = _manifest(tmp_path, "Path,patient", ["9.png,9"], "c")

    (overlap,) = patient_overlap({"train": a, "val": b, "test": c})

    assert (overlap.a, overlap.b, overlap.patients) == ("train", "val", 2)
    assert overlap.examples == ("1", "2")  # 00012 is not 12, and blanks are nobody


@pytest.mark.shared
def test_shared_splits_share_no_patient() -> None:
    for name in ("nih", "covid"):
        sets = {
            part: read_manifest(shared_path(f"data/{name}/{part}.csv"), name=part)
            for part in ("train", "valid", "test")
        }
        assert patient_overlap(sets) == []
