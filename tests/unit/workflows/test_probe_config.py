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
        val_csv=VAL, C=0.0, max_iter=0, batch_size=0, seed=-1, limit=0,
        random_weights=-1, use_logreg=False, name="..", device="gpu", gpus=("one",),
    )  # fmt: skip
    options = [
        "--train-csv", "--test-csv", "--C", "--max-iter", "--batch-size", "--seed",
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


# ---- one probe a run -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "logreg"),
        ({"use_logreg": True}, "logreg"),
        ({"linear": True}, "linear"),
        ({"knn": True}, "knn"),
        ({"use_logreg": False, "knn": True}, "knn"),
    ],
)
def test_the_probe_is_logistic_regression_unless_another_is_asked_for(
    settings: dict[str, Any], kind: str
) -> None:
    config = ProbeConfig(**THREE, **settings)
    assert config.kind == kind
    assert config.use_logreg == (kind == "logreg")  # what is written with the results is true


@pytest.mark.parametrize(
    "asked", [("use_logreg", "linear"), ("use_logreg", "knn"), ("linear", "knn")]
)
def test_probes_exclude_each_other(asked: tuple[str, str]) -> None:
    options = " and ".join(f"--{key.replace('_', '-')}" for key in asked)
    found = problems(**THREE, **dict.fromkeys(asked, True))
    assert f"{options} exclude each other: one probe a run." in found


FOREIGN = [
    ({"knn": True, "C": 1.0}, "--C belongs to logistic regression, not to --knn."),
    ({"knn": True, "C": "auto"}, "--C belongs to logistic regression, not to --knn."),
    (
        {"linear": True, "max_iter": 9},
        "--max-iter belongs to logistic regression, not to --linear.",
    ),
    ({"linear": True, "solver": "sklearn"}, "--solver belongs to logistic regression"),
    ({"knn": True, "standardize": True}, "--standardize belongs to logistic regression"),
    ({"linear": True, "k": 3}, "--k belongs to --knn, not to --linear."),
    ({"k": 3}, "--k belongs to --knn, not to --use-logreg."),
    ({"epochs": 3}, "--epochs belongs to --linear, not to --use-logreg."),
    ({"knn": True, "learning_rate": (0.1,)}, "--learning-rate belongs to --linear, not to --knn."),
    (
        {"knn": True, "class_weight": "balanced"},
        "--class-weight belongs to logistic regression and --linear, not to --knn.",
    ),
]


@pytest.mark.parametrize(("settings", "message"), FOREIGN, ids=[str(one) for one, _ in FOREIGN])
def test_settings_of_another_probe_are_refused_by_name(
    settings: dict[str, Any], message: str
) -> None:
    (found,) = problems(**THREE, **settings)
    assert found.startswith(message)


def test_settings_of_its_own_are_accepted_by_each_probe() -> None:
    ProbeConfig(**THREE, C=1.0, max_iter=9, solver="sklearn", standardize=True)
    ProbeConfig(**THREE, class_weight="balanced")
    ProbeConfig(**THREE, linear=True, epochs=3, learning_rate=(0.1,), class_weight="balanced")
    ProbeConfig(**THREE, knn=True, k=3)


# ---- numbers, names and rules of the evaluation --------------------------------------------------

WRONG = [
    ({"train_fraction": (0.5, 0.0)}, "--train-fraction: expected shares above 0"),
    (
        {"train_fraction": (1.5,)},
        "--train-fraction: expected shares above 0 and at most 1, got 1.5",
    ),
    ({"train_fraction": (float("nan"),)}, "--train-fraction"),
    ({"few_shot": (0,)}, "--few-shot: expected at least 1 patient, got 0"),
    ({"repeats": 0}, "--repeats: expected at least 1, got 0"),
    ({"linear": True, "learning_rate": (0.0,)}, "--learning-rate: expected a positive number"),
    ({"linear": True, "learning_rate": (float("nan"),)}, "--learning-rate"),
    ({"linear": True, "epochs": 0}, "--epochs: expected at least 1, got 0"),
    ({"knn": True, "k": 0}, "--k: expected at least 1, got 0"),
    ({"memory_limit": 0.0}, "--memory-limit: expected a positive number, got 0.0"),
    ({"memory_limit": float("nan")}, "--memory-limit"),
    ({"origin": ("nhi",)}, "--origin: unknown dataset 'nhi'. Did you mean 'nih'?"),
    ({"operating_point": ("best",)}, "--operating-point: A threshold rule is `youden`"),
    ({"null": True, "few_shot": (3,)}, "--null and a label-efficiency curve exclude each other."),
    ({"null": True, "train_fraction": (0.1,)}, "--null and a label-efficiency curve"),
    ({"use_logreg": False}, "--use-logreg: without it, another probe is needed"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=[str(one) for one, _ in WRONG])
def test_what_makes_no_sense_is_refused_in_one_sentence(
    settings: dict[str, Any], message: str
) -> None:
    (found,) = problems(**THREE, **settings)
    assert found.startswith(message)


def test_origins_are_kept_as_the_table_spells_them() -> None:
    assert ProbeConfig(**THREE, origin=("NIH", "mimic_cxr")).origin == ("nih", "mimic-cxr")
