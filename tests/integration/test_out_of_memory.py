"""A lack of memory, wherever it shows, is exit 7 with what to do: by the system's own limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.support.cli import refused
from tests.support.memory import little_memory
from tests.support.small_study import Study, embedded_study

if TYPE_CHECKING:
    from pathlib import Path

MB = 10**6


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return embedded_study(tmp_path_factory.mktemp("study") / "base")


@pytest.fixture
def study(base: Study, tmp_path: Path) -> Study:
    return base.copy(tmp_path / "study")


def test_a_batch_that_does_not_fit(study: Study) -> None:
    study.features.unlink()
    with little_memory(100 * MB):
        message = refused(7, "embed", "--batch-size", 20_000, cwd=study.folder)
    assert "--batch-size" in message


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_does_not_fit_is_named_and_is_no_damaged_picture(
    study: Study, workers: int
) -> None:
    picture = study.folder / "images" / "p00_0.png"
    Image.fromarray(np.zeros((12_000, 12_000), dtype=np.uint8)).save(picture)
    with little_memory(100 * MB):
        message = refused(7, "embed", "--workers", workers, cwd=study.folder)
    assert "p00_0.png" in message
    assert "--workers" in message


def test_a_picture_that_does_not_fit_while_training(study: Study) -> None:
    picture = study.folder / "images" / "p00_0.png"
    Image.fromarray(np.zeros((12_000, 12_000), dtype=np.uint8)).save(picture)
    with little_memory(300 * MB):
        message = refused(
            7, "finetune", "-m", "cxr-tiny", "--epochs", 1, "--batch-size", 2, cwd=study.folder
        )
    assert "p00_0.png" in message or "--batch-size" in message


def test_a_worker_that_does_not_fit(study: Study) -> None:
    study.features.unlink()
    with little_memory(600 * MB):
        message = refused(
            7, "embed", "--gpus", "cpu,cpu", "--batch-size", 100_000, cwd=study.folder
        )
    assert "--batch-size" in message
