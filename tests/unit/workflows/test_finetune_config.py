from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from cxrlearn.errors import UsageError
from cxrlearn.workflows.finetune_config import FinetuneConfig
from cxrlearn.workflows.probe_config import ProbeConfig
from cxrlearn.workflows.study_settings import StudySettings


def config(**settings: Any) -> FinetuneConfig:  # noqa: ANN401 - any setting
    return FinetuneConfig(csv=Path("all.csv"), **settings)


def test_the_defaults_are_the_originals() -> None:
    found = config()
    assert (found.optimizer, found.learning_rate, found.momentum) == ("sgd", 1e-3, 0.9)
    assert (found.batch_size, found.epochs, found.schedule) == (32, 100, "cosine")
    assert found.patience == 15


WRONG = [
    ({"learning_rate": 0.0}, "--learning-rate: expected a positive number, got 0.0"),
    ({"learning_rate": float("nan")}, "--learning-rate"),
    ({"momentum": 1.0}, "--momentum"),
    ({"layer_decay": 0.0}, "--layer-decay"),
    ({"layer_decay": 1.5}, "--layer-decay"),
    ({"warmup_epochs": 100.0}, "--warmup-epochs"),
    ({"clip_norm": 0.0}, "--clip-norm"),
    ({"weight_decay": -1.0}, "--weight-decay"),
    ({"epochs": 0}, "--epochs: expected at least 1, got 0"),
    ({"seeds": 0}, "--seeds"),
    ({"freeze_to": "layer3", "freeze_backbone": True}, "exclude each other"),
    ({"resume": True, "overwrite": True}, "--resume goes on, --overwrite starts anew"),
    ({"max_restarts": 1}, "--max-restarts is for the workers of --gpus"),
    ({"optimizer": "adamw", "momentum": 0.5}, "--momentum belongs to --optimizer sgd"),
    ({"batch_size": 4, "accumulate": 4, "gpus": ("cpu", "cpu")}, "it has to be 8 or more"),
    ({"gpus": ("x",)}, "--gpus: expected numbers such as 0,1, or cpu"),
    ({"name": "a/b"}, "cannot be the name of a folder"),
    ({"operating_point": ("best",)}, "--operating-point"),
]


@pytest.mark.parametrize(("settings", "part"), WRONG, ids=[part for _, part in WRONG])
def test_impossible_settings_are_refused(settings: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageError, match="--") as error:
        config(**settings)
    assert part in str(error.value)


def test_all_problems_are_told_together() -> None:
    with pytest.raises(UsageError) as error:
        FinetuneConfig(epochs=0, seed=-1, device="tpu")
    assert len(str(error.value).splitlines()) == 4


def test_what_decides_data_and_evaluation_has_the_names_and_defaults_of_the_probe() -> None:
    shared = {name for name, value in vars(StudySettings).items() if isinstance(value, property)}
    probe = {field.name: field.default for field in fields(ProbeConfig)}
    mine = {field.name: field.default for field in fields(FinetuneConfig)}
    assert {name: probe[name] for name in shared} == {name: mine[name] for name in shared}
