from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cxrlearn.errors import UsageError
from cxrlearn.runtime.devices import usable_cores
from cxrlearn.workflows.embed_config import EmbedConfig
from cxrlearn.workflows.settings import NamedPath

GOOD: dict[str, Any] = {"model": ("cxr-tiny",), "images": Path("films")}


def test_the_defaults_are_those_of_the_design() -> None:
    config = EmbedConfig(**GOOD)
    assert config.batch_size == 32
    assert config.output_dir == Path("features")
    assert config.workers == usable_cores()
    assert (config.device, config.precision, config.store) == ("auto", "auto", "float32")
    assert not config.allow_failures


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model": ()}, "--model is missing"),
        ({"images": None}, "no images: give --csv FILE or --images DIR"),
        ({"csv": Path("a.csv")}, "--images stands alone"),
        ({"test_csv": (NamedPath("a.csv"),)}, "--images stands alone"),
        ({"gpus": ("0",), "device": "cpu"}, "--gpus and --device exclude each other"),
        ({"gpus": ("zero",)}, "--gpus: expected numbers such as 0,1, or cpu, got 'zero'"),
        ({"batch_size": 0}, "--batch-size: expected at least 1, got 0"),
        ({"workers": -2}, "--workers: expected at least 0, got -2"),
        ({"limit": 0}, "--limit: expected at least 1, got 0"),
        ({"random_weights": -1}, "--random-weights: expected at least 0, got -1"),
    ],
    ids=str,
)
def test_each_problem_is_named(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        EmbedConfig(**(GOOD | changes))
    assert problem in str(caught.value)
    assert caught.value.exit_code == 2


def test_all_problems_come_together() -> None:
    with pytest.raises(UsageError) as caught:
        EmbedConfig(batch_size=0, gpus=("x",))
    assert len(str(caught.value).splitlines()) == 4
