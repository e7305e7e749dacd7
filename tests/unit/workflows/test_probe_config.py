from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cxrlearn.errors import UsageError
from cxrlearn.workflows.probe_config import ProbeConfig
from cxrlearn.workflows.settings import NamedPath

TRAIN, VAL, TEST = Path("train.csv"), Path("val.csv"), (NamedPath("test.csv"),)
THREE: dict[str, Any] = {"train_csv": TRAIN, "val_csv": VAL, "test_csv": TEST}


def problems(**settings: Any) -> list[str]:  # noqa: ANN401 - wrong values, too
    with pytest.raises(UsageError) as caught:
        ProbeConfig(**settings)
    return str(caught.value).splitlines()


def test_one_manifest_or_three_are_enough() -> None:
    assert ProbeConfig(csv=Path("all.csv")).test_names() == []
    assert ProbeConfig(**THREE).test_names() == ["test"]
    ProbeConfig(train_csv=TRAIN, test_csv=TEST)


def test_test_sets_are_named_as_given_or_by_their_file() -> None:
    files = (NamedPath("far=b.csv"), NamedPath("folder/near.csv"))
    assert ProbeConfig(train_csv=TRAIN, test_csv=files).test_names() == ["far", "near"]
    assert ProbeConfig(train_csv=TRAIN, test_csv=files[:1]).test_names() == ["far"]
    assert ProbeConfig(train_csv=TRAIN, test_csv=files[1:]).test_names() == ["test"]


def test_every_problem_is_told_at_once() -> None:
    found = problems(
        val_csv=VAL, C=0.0, max_iter=0, replicates=99, batch_size=0, seed=-1, limit=0,
        random_weights=-1, use_logreg=False, name="..", device="gpu", gpus=("one",),
    )  # fmt: skip
    options = [
        "--train-csv", "--test-csv", "--C", "--max-iter", "--replicates", "--batch-size", "--seed",
        "--limit", "--random-weights", "--use-logreg", "--name", "--device", "--gpus",
    ]  # fmt: skip
    for option in options:
        assert any(line.startswith(option) for line in found), option


@pytest.mark.parametrize("C", [0.0, -1.0, float("nan"), float("inf")])
def test_c_is_positive_and_finite(C: float) -> None:
    assert problems(**THREE, C=C) == [f"--C: expected a positive number or auto, got {C}."]


def test_c_auto_needs_a_validation_split() -> None:
    assert "--val-csv" in problems(train_csv=TRAIN, test_csv=TEST, C="auto")[0]
    ProbeConfig(**THREE, C="auto")
    ProbeConfig(csv=Path("all.csv"), C="auto")  # whether it has one is seen when it is read


def test_results_are_never_on_validation() -> None:
    assert problems(train_csv=TRAIN, val_csv=VAL) == [
        "--test-csv is missing: results are reported on it, never on validation."
    ]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a:b", "a*"])
def test_a_run_is_named_as_a_folder_can_be(name: str) -> None:
    assert problems(**THREE, name=name) == [f"--name: {name!r} cannot be the name of a folder."]


def test_all_cores_decode_unless_told_otherwise() -> None:
    assert ProbeConfig(**THREE).workers >= 1
    assert ProbeConfig(**THREE, workers=0).workers == 0
