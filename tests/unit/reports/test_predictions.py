"""predictions-<set>.csv: every bit back, under any name, and the report from it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from cxrlearn.errors import DataError
from cxrlearn.reports.predictions import (
    Predictions,
    predictions_file,
    predictions_text,
    read_predictions,
)
from tests.support.run_reports import NAMES, evaluate_predictions, sample_predictions

if TYPE_CHECKING:
    from pathlib import Path


def _same(a: Predictions, b: Predictions) -> None:
    assert (a.image_ids, a.patient_ids, a.names) == (b.image_ids, b.patient_ids, b.names)
    for part in ("values", "known", "logits", "probabilities"):
        np.testing.assert_array_equal(getattr(a, part), getattr(b, part), err_msg=part)


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_every_bit_comes_back(tmp_path: Path) -> None:
    predictions = sample_predictions()
    predictions.logits[0, 0] = 0.1 + 0.2
    predictions.logits[1, 0] = np.nextafter(1, 2)
    predictions.logits[2, 0] = -1e-320
    predictions.logits[3, 0] = np.inf
    _same(read_predictions(_write(tmp_path / "p.csv", predictions_text(predictions))), predictions)


def test_report_can_be_recomputed_from_the_file(tmp_path: Path) -> None:
    predictions = sample_predictions()
    found = read_predictions(_write(tmp_path / "p.csv", predictions_text(predictions)))
    assert evaluate_predictions(found) == evaluate_predictions(predictions)


def test_pandas_reads_the_same_table(tmp_path: Path) -> None:
    predictions = sample_predictions()
    path = _write(tmp_path / "p.csv", predictions_text(predictions))
    frame = pd.read_csv(path, dtype=str)  # numbers by Python's float, which rounds correctly
    assert list(frame.columns) == [
        "image_id",
        "patient_id",
        *(f"{part}_{name}" for part in ("true", "logit", "prob") for name in NAMES),
    ]
    logits = [float(text) for text in frame[f"logit_{NAMES[1]}"]]
    np.testing.assert_array_equal(logits, predictions.logits[:, 1])
    truth = frame[f"true_{NAMES[1]}"]
    np.testing.assert_array_equal(truth.isna(), ~predictions.known[:, 1])
    assert frame["patient_id"][0] == predictions.patient_ids[0]
    assert frame["patient_id"].isna()[3]


@pytest.mark.parametrize("name", ["a\rb", "a\nb", "a\r\nb", "", " x ", "'", '""', "=1+1", "\ufeff"])
def test_any_label_name_comes_back(tmp_path: Path, name: str) -> None:
    predictions = replace(sample_predictions(), names=(name, *NAMES[1:]))
    path = _write(tmp_path / "p.csv", predictions_text(predictions))
    _same(read_predictions(path), predictions)


def test_set_without_rows_comes_back(tmp_path: Path) -> None:
    empty = np.zeros((0, 1))
    predictions = Predictions(
        (), (), ("a",), empty.astype(np.int8), empty.astype(bool), empty, empty
    )
    _same(read_predictions(_write(tmp_path / "p.csv", predictions_text(predictions))), predictions)


def test_file_names_are_safe_and_never_meet() -> None:
    assert predictions_file("test") == "predictions-test.csv"
    names = [
        "a/b",
        "a\\b",
        "a b",
        "a-b",
        "../../x",
        "..",
        "CON:",
        "å" * 300,
        "",
        ".hidden",
        "a" * 99,
    ]
    files = [predictions_file(name) for name in names]
    assert len(set(files)) == len(names)
    for file in files:
        assert file.startswith("predictions-")
        assert not set(file) & set('/\\:*?"<>| ')
        assert len(file.encode()) < 120


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.replace("image_id", "image", 1), "does not hold predictions"),
        (lambda _: "", "does not hold predictions"),
        (lambda t: t + "x\n", "row 82: 1 columns instead of 20"),
        (lambda t: t.rpartition(",")[0] + ",abc\n", "row 81, column 'prob_Hernia'.*got 'abc'"),
    ],
)
def test_other_files_are_refused_in_words(tmp_path: Path, spoil: object, message: str) -> None:
    assert callable(spoil)
    path = _write(tmp_path / "p.csv", spoil(predictions_text(sample_predictions())))
    with pytest.raises(DataError, match=message):
        read_predictions(path)


def test_truth_must_be_0_or_1(tmp_path: Path) -> None:
    text = "image_id,patient_id,true_a,logit_a,prob_a\nx,,2,0.0,0.5\n"
    with pytest.raises(DataError, match="something else than 0, 1 or blank"):
        read_predictions(_write(tmp_path / "p.csv", text))


def test_missing_and_unreadable_files_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no predictions at"):
        read_predictions(tmp_path / "p.csv")
    (tmp_path / "p.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot read the predictions"):
        read_predictions(tmp_path / "p.csv")


def test_file_of_another_run_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "p.csv", predictions_text(sample_predictions()))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    _same(read_predictions(path, sha256=digest), sample_predictions())
    _write(path, predictions_text(sample_predictions(1)))
    with pytest.raises(DataError, match="not the file its report was made with"):
        read_predictions(path, sha256=digest)


def test_parts_must_fit_together() -> None:
    predictions = sample_predictions()
    with pytest.raises(ValueError, match="do not fit"):
        replace(predictions, image_ids=predictions.image_ids[:-1])
    with pytest.raises(ValueError, match="an unknown patient is None"):
        replace(predictions, patient_ids=("", *predictions.patient_ids[1:]))
