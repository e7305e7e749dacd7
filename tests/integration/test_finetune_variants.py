"""Variants of a training, run in this process with a network of a few hundred weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.support.cli import done
from tests.support.finetune_child import SPECS
from tests.support.small_study import LABELS, Study, write_study
from tests.support.tiny_backbone import use_tiny

if TYPE_CHECKING:
    from pathlib import Path

QUICK = ("-m", "small-net", "--epochs", 2, "--batch-size", 8, "--subgroup",
         "none", "--floor-columns", "none", "--learning-rate", 0.02)  # fmt: skip


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    use_tiny(monkeypatch, *SPECS)
    return write_study(tmp_path / "study")


def finetuned(study: Study, name: str, *args: object) -> Path:
    done("finetune", *QUICK, *args, "--name", name, cwd=study.folder)
    return study.folder / "runs" / name


def report_of(run: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((run / "report.json").read_text(encoding="utf-8"))
    return report


def course(run: Path) -> list[str]:
    names = ("history.csv", "predictions-test.csv")
    return [(run / name).read_text(encoding="utf-8") for name in names]


def test_the_cache_changes_nothing_but_the_time(study: Study) -> None:
    plain = finetuned(study, "plain")
    for name in ("filling", "filled"):
        assert course(finetuned(study, name, "--cache-dir", "cache")) == course(plain)
    kept = [file for file in (study.folder / "cache").rglob("*") if file.is_file()]
    assert len(kept) >= sum(len(study.rows(split)) for split in ("train", "val", "test"))


def test_a_deterministic_run_is_the_same_run_and_leaves_the_switch_as_it_was(study: Study) -> None:
    plain = finetuned(study, "plain")
    assert course(finetuned(study, "strict", "--deterministic")) == course(plain)
    assert not torch.are_deterministic_algorithms_enabled()


def test_bfloat16_is_said_and_its_scores_have_the_digits_of_float32(study: Study) -> None:
    run = finetuned(study, "half", "--precision", "bf16")
    assert "bf16" in json.dumps(report_of(run)["backbone"])
    table = pd.read_csv(run / "predictions-test.csv")
    scores = torch.from_numpy(table[[f"logit_{name}" for name in LABELS]].to_numpy())
    assert (scores.bfloat16().double() != scores).double().mean() > 0.5


def test_classes_are_learned_and_predicted(study: Study) -> None:
    for split in ("train", "val", "test"):
        study.rewrite(split, lambda row: {**row, "Finding": _finding(row)})
    toml = (study.folder / "cxrlearn.toml").read_text(encoding="utf-8")
    toml = toml.replace(
        'class_columns = ["Cardiomegaly", "Effusion"]', 'class_columns = ["Finding"]'
    )
    (study.folder / "cxrlearn.toml").write_text(toml, encoding="utf-8")
    run = finetuned(
        study, "classes", "--pos-weight", "balanced", "--head-init", "probe", "--augment", "none"
    )
    report = report_of(run)
    assert report["task"]["kind"] == "multiclass"
    names = report["task"]["labels"]
    assert sorted(names) == ["both", "clear", "heart", "water"]
    table = pd.read_csv(run / "predictions-test.csv")
    shares = table[[f"prob_{name}" for name in names]].sum(axis=1)
    np.testing.assert_allclose(shares, 1, atol=1e-6)
    done("predict", "--run", "classes", "--csv", "test.csv", "-o", "new.csv", cwd=study.folder)
    new = pd.read_csv(study.folder / "new.csv")
    for name in names:
        np.testing.assert_allclose(new[f"prob_{name}"], table[f"prob_{name}"], atol=1e-6)


def _finding(row: dict[str, str]) -> str:
    names = {("0", "0"): "clear", ("1", "0"): "heart", ("0", "1"): "water", ("1", "1"): "both"}
    return names[row["Cardiomegaly"], row["Effusion"]]
