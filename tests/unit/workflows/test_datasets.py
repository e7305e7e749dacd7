from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cxrlearn.errors import DataError, UsageError
from cxrlearn.runtime.events import SILENT
from cxrlearn.workflows.datasets import load_labels, load_sets
from cxrlearn.workflows.probe_config import ProbeConfig
from cxrlearn.workflows.settings import NamedPath
from tests.support.listener import Listener
from tests.support.small_study import Row, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def rows(patients: Sequence[int], **cells: str) -> list[Row]:
    return [
        {"Path": f"p{patient}.png", "patient_id": str(patient), "Edema": str(patient % 2), **cells}
        for patient in patients
    ]


def config(folder: Path, **settings: Any) -> ProbeConfig:  # noqa: ANN401
    files: dict[str, Any] = {
        "train_csv": folder / "train.csv",
        "val_csv": folder / "val.csv",
        "test_csv": (NamedPath(str(folder / "test.csv")),),
        "class_columns": ("Edema",),
    }
    if "csv" in settings:
        files = {"class_columns": ("Edema",)}
    return ProbeConfig(**{**files, **settings})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path / "train.csv", rows(range(6)))
    write_rows(tmp_path / "val.csv", rows(range(6, 9)))
    write_rows(tmp_path / "test.csv", rows(range(9, 13)))
    write_rows(tmp_path / "all.csv", rows(range(20)))
    return tmp_path


def test_three_files_are_three_splits_train_first(folder: Path) -> None:
    sets = load_sets(config(folder), SILENT)
    assert [(name, len(manifest)) for name, manifest in sets.named().items()] == [
        ("train", 6),
        ("val", 3),
        ("test", 4),
    ]
    assert not sets.drawn


def test_one_file_is_drawn_by_patient_or_divided_by_its_column(folder: Path) -> None:
    drawn = load_sets(config(folder, csv=folder / "all.csv"), SILENT)
    assert drawn.drawn
    assert sum(map(len, drawn.named().values())) == 20
    again = load_sets(config(folder, csv=folder / "all.csv"), SILENT)
    assert [m.image_ids for m in again.named().values()] == [
        m.image_ids for m in drawn.named().values()
    ]
    write_rows(folder / "all.csv", rows(range(4), split="train") + rows(range(4, 6), split="test"))
    by_column = load_sets(config(folder, csv=folder / "all.csv"), SILENT)
    assert not by_column.drawn
    assert by_column.val is None
    assert by_column.origin == "column 'split' of all.csv"


def test_a_split_column_without_test_rows_is_refused(folder: Path) -> None:
    write_rows(folder / "all.csv", rows(range(4), split="train"))
    with pytest.raises(DataError, match="no rows for test"):
        load_sets(config(folder, csv=folder / "all.csv"), SILENT)


def test_without_patients_a_random_split_has_to_be_allowed(folder: Path) -> None:
    settings = {"csv": folder / "all.csv", "patient_column": "none"}
    with pytest.raises(UsageError, match="--split-by-image"):
        load_sets(config(folder, **settings), SILENT)
    sets = load_sets(config(folder, **settings, split_by_image=True), SILENT)
    assert "by image" in sets.origin


def test_a_patient_in_two_splits_is_told_or_with_strict_refused(folder: Path) -> None:
    write_rows(folder / "val.csv", rows([5, 7]))
    listener = Listener()
    load_sets(config(folder), listener)
    assert listener.warnings == [
        "1 patient is both in train and in val (such as 5): choices made on val (C, epoch, "
        "thresholds) will favour overfitting."
    ]
    with pytest.raises(DataError, match="both in train and in val"):
        load_sets(config(folder, strict=True), listener)


def test_results_look_too_good_where_test_shares_patients_with_train_only(folder: Path) -> None:
    write_rows(folder / "test.csv", rows([3, 9]))
    listener = Listener()
    load_sets(config(folder), listener)
    assert listener.warnings == [
        "1 patient is both in train and in test (such as 3): results on test will look too good."
    ]
    write_rows(folder / "test.csv", rows([7, 9]))
    load_sets(config(folder), listener)
    assert listener.warnings[-1] == (
        "1 patient is both in val and in test (such as 7): C, epoch and thresholds were chosen "
        "with data of test, so its results are optimistic."
    )


def test_two_test_sets_may_share_patients_also_under_strict(folder: Path) -> None:
    write_rows(folder / "other.csv", rows([9, 10]))
    files = tuple(NamedPath(f"{name}={folder / name}.csv") for name in ("test", "other"))
    listener = Listener()
    load_sets(config(folder, test_csv=files, strict=True), listener)
    assert listener.warnings == [
        "2 patients are both in test and in other (such as 10, 9): the difference between test "
        "and other accounts for them."
    ]


def test_labels_stand_in_the_order_of_the_rows(folder: Path) -> None:
    settings = config(folder)
    labelled = load_labels(load_sets(settings, SILENT), settings, SILENT)
    for name, first, last in (("train", 0, 6), ("val", 6, 9), ("test", 9, 13)):
        expected = [patient % 2 for patient in range(first, last)]
        assert labelled.labels[name].values[:, 0].tolist() == expected
        assert np.all(labelled.labels[name].known)
    assert labelled.task.kind == "binary"


def test_no_class_columns_names_candidates(folder: Path) -> None:
    settings = config(folder, class_columns=())
    with pytest.raises(UsageError, match=r"hold 0/1: Edema$"):
        load_labels(load_sets(settings, SILENT), settings, SILENT)


def test_a_label_of_one_class_in_train_is_a_warning_that_names_the_way_out(folder: Path) -> None:
    write_rows(folder / "train.csv", rows([1, 3, 5]) + [{**row, "Edema": ""} for row in rows([2])])
    listener = Listener()
    settings = config(folder)
    load_labels(load_sets(settings, listener), settings, listener)
    assert len(listener.warnings) == 1
    assert "Edema" in listener.warnings[0]
    assert "--blank zeros" in listener.warnings[0]


def heard(folder: Path, **settings: Any) -> list[str]:  # noqa: ANN401
    listener = Listener()
    load_sets(config(folder, **settings), listener)
    return listener.warnings


def test_rows_of_nobody_are_patients_of_their_own_with_a_warning(folder: Path) -> None:
    write_rows(
        folder / "test.csv",
        [
            {**row, "patient_id": "NA" if at < 2 else "unknown"}
            for at, row in enumerate(rows(range(9, 12)))
        ],
    )
    assert heard(folder) == [
        f"{folder / 'test.csv'}, column 'patient_id': 3 rows without a patient id ('NA' in 2 rows, "
        "'unknown' in 1 row); each counts as a patient of its own."
    ]


def test_an_id_on_half_of_the_rows_is_told(folder: Path) -> None:
    whole = [
        {**row, "patient_id": "0" if at % 2 else f"P{at}"}
        for at, row in enumerate(rows(range(100)))
    ]
    write_rows(folder / "all.csv", whole)

    warnings = heard(folder, csv=folder / "all.csv")

    assert f"{folder / 'all.csv'}, column 'patient_id': '0' has 50 of 100 rows" in warnings[0]


def test_a_split_that_one_patient_pulls_apart_is_told(folder: Path) -> None:
    whole = [{**row, "patient_id": f"P{at % 4}"} for at, row in enumerate(rows(range(40)))]
    write_rows(folder / "all.csv", whole)

    (warning,) = heard(folder, csv=folder / "all.csv")

    assert warning.startswith(
        "the drawn split is far from 70/10/20 (train 50 %, val 25 %, test 25 %"
    )
    assert not heard(folder, csv=folder / "test.csv", patient_column="none", split_by_image=True)


def test_a_patient_written_otherwise_is_told_or_with_strict_refused(folder: Path) -> None:
    write_rows(
        folder / "test.csv",
        [{**row, "patient_id": f"{row['patient_id']}.0"} for row in rows(range(4))],
    )
    (warning,) = heard(folder)
    assert warning.startswith(
        "4 patient ids of train may be written otherwise in test (such as '0'"
    )
    with pytest.raises(DataError, match=r"written otherwise in test .*Without --strict"):
        heard(folder, strict=True)


def test_without_patients_every_image_counts_with_a_warning_unless_asked_for(folder: Path) -> None:
    for name in ("train", "val", "test"):
        content = [
            {key: cell for key, cell in row.items() if key != "patient_id"}
            for row in rows(range(3))
        ]
        write_rows(folder / f"{name}.csv", content)
    assert sum("has no patient column" in warning for warning in heard(folder)) == 3
    assert heard(folder, patient_column="none") == []


def test_the_limit_is_the_first_rows_of_each_file_before_any_split(folder: Path) -> None:
    drawn = load_sets(config(folder, csv=folder / "all.csv", limit=10), SILENT).named()
    assert sorted(name for part in drawn.values() for name in part.image_ids) == sorted(
        f"p{at}.png" for at in range(10)
    )
    given = load_sets(config(folder, limit=3), SILENT).named()
    assert [part.image_ids for part in given.values()] == [
        ("p0.png", "p1.png", "p2.png"),
        ("p6.png", "p7.png", "p8.png"),
        ("p9.png", "p10.png", "p11.png"),
    ]
    write_rows(folder / "all.csv", rows(range(4), split="train") + rows(range(4, 6), split="test"))
    with pytest.raises(DataError, match=r"no rows for test .* of the first 4 \(--limit\)"):
        load_sets(config(folder, csv=folder / "all.csv", limit=4), SILENT)


def test_a_set_without_a_label_column_is_named(folder: Path) -> None:
    write_rows(
        folder / "test.csv",
        [{"Path": row["Path"], "patient_id": "9", "edema": "1"} for row in rows([9, 10])],
    )
    settings = config(folder)

    with pytest.raises(DataError, match=r"test\.csv: --class-columns names 'Edema'\. Did you mean"):
        load_labels(load_sets(settings, SILENT), settings, SILENT)


def test_placeholders_of_labels_are_told_once_for_a_file(folder: Path) -> None:
    content = [
        {**row, "Edema": "NA" if at % 5 == 0 else row["Edema"]}
        for at, row in enumerate(rows(range(20)))
    ]
    write_rows(folder / "all.csv", content)
    listener = Listener()
    settings = config(folder, csv=folder / "all.csv")

    load_labels(load_sets(settings, listener), settings, listener)

    said = [notice for notice in listener.notices if "counts as blank" in notice]
    assert said == [f"{folder / 'all.csv'}, column 'Edema': 'NA' (4 rows) counts as blank."]
