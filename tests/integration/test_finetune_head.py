"""`--head-init probe`: training starts where the probe ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from cxrlearn.cli import finetune  # noqa: F401 - registers itself
from tests.support.cli import done
from tests.support.small_study import LABELS, Study, embedded_study

if TYPE_CHECKING:
    from pathlib import Path

STANDING_STILL = ("--epochs", 1, "--learning-rate", 1e-12, "--batch-norm", "frozen",
                  "--augment", "none", "--workers", 0)  # fmt: skip
"""So small a rate changes no digit that is looked at."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return embedded_study(tmp_path_factory.mktemp("study") / "base")


def probabilities(study: Study, run: str) -> np.ndarray:
    table = pd.read_csv(study.folder / "runs" / run / "predictions-test.csv").sort_values(
        "image_id"
    )
    return np.asarray(table[[f"prob_{name}" for name in LABELS]])


def test_before_the_first_step_the_network_predicts_what_the_probe_predicts(
    base: Study, tmp_path: Path
) -> None:
    study = base.copy(tmp_path / "study")
    done("probe", "--name", "probe", cwd=study.folder)
    trained = ("--head-init", "probe", *STANDING_STILL)
    done("finetune", *trained, "--name", "tuned", cwd=study.folder)
    np.testing.assert_allclose(
        probabilities(study, "tuned"), probabilities(study, "probe"), atol=1e-4
    )
    done("finetune", *STANDING_STILL, "--name", "random", cwd=study.folder)
    away = np.abs(probabilities(study, "random") - probabilities(study, "probe"))
    assert away.mean() > 0.05


def test_an_unreadable_image_shifts_no_label(base: Study, tmp_path: Path) -> None:
    study = base.copy(tmp_path / "study")
    first = study.rows("train")[0]["Path"]
    (study.folder / first).write_bytes(b"no picture")
    trained = ("--head-init", "probe", *STANDING_STILL, "--allow-failures")
    done("finetune", *trained, "--name", "with", cwd=study.folder)
    study.rewrite("train", lambda row: None if row["Path"] == first else row)
    done("finetune", *trained, "--name", "without", cwd=study.folder)
    np.testing.assert_allclose(
        probabilities(study, "with"), probabilities(study, "without"), atol=1e-6
    )


def test_a_label_of_one_class_keeps_its_random_head(base: Study, tmp_path: Path) -> None:
    study = base.copy(tmp_path / "study")
    study.rewrite("train", lambda row: {**row, LABELS[1]: "0"})
    trained = STANDING_STILL
    done("finetune", "--head-init", "probe", *trained, "--name", "probe", cwd=study.folder)
    report = pd.read_json(study.folder / "runs/probe/report.json", typ="series")
    reasons = [label["reason"] for label in report["probe"]["labels"]]
    assert reasons[0] is None
    assert "no positives" in reasons[1]
