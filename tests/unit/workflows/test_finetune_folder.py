"""Where a finetuning run is trained: apart from whatever would be lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cxrlearn.errors import DiskError, UsageError
from cxrlearn.training.checkpoints import Checkpoint, Identity, save_checkpoint
from cxrlearn.workflows.finetune_config import FinetuneConfig
from cxrlearn.workflows.finetune_folder import folder_apart, training_folder
from cxrlearn.workflows.run_folder import settings_text

IDENTITY = Identity("a model", ("Edema",))


def config(**settings: Any) -> FinetuneConfig:  # noqa: ANN401 - any setting
    return FinetuneConfig(csv=Path("all.csv"), **settings)


def place(folder: Path, **settings: Any) -> Path:  # noqa: ANN401 - as above
    return training_folder(folder, config(**settings), IDENTITY)


def begin(folder: Path, *, report: bool = False) -> None:
    """Leave what a run has written after its first epoch, or at its end."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.toml").write_text(settings_text("finetune", config()), encoding="utf-8")
    for name in ("best", "last"):
        save_checkpoint(folder / f"{name}.safetensors", Checkpoint(IDENTITY, {}))
    if report:
        (folder / "report.json").write_text("{}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_a_new_run_is_trained_in_its_place(folder: Path) -> None:
    assert place(folder) == folder
    folder.mkdir()
    assert place(folder, resume=True) == folder
    assert place(folder, overwrite=True) == folder


@pytest.mark.parametrize("report", [False, True])
def test_what_overwrites_a_run_is_trained_apart(folder: Path, *, report: bool) -> None:
    begin(folder, report=report)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    apart = place(folder, overwrite=True)
    assert apart == folder_apart(folder) != folder
    assert list(apart.iterdir()) == []
    begin(apart)
    assert place(folder, resume=True) == apart  # where it was stopped
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(place(folder, overwrite=True).iterdir()) == []  # anew


def test_an_unfinished_run_is_resumed_in_its_place(folder: Path) -> None:
    begin(folder)
    assert place(folder, resume=True) == folder
    with pytest.raises(UsageError, match="holds an unfinished run"):
        place(folder)


def test_a_finished_run_is_resumed_apart_with_its_checkpoints(folder: Path) -> None:
    begin(folder, report=True)
    with pytest.raises(UsageError, match="holds a finished run"):
        place(folder)
    apart = place(folder, resume=True)
    assert apart == folder_apart(folder)
    assert {path.name for path in apart.iterdir()} == {
        "settings.toml",
        "best.safetensors",
        "last.safetensors",
    }


def test_a_folder_of_somebody_else_is_not_trained_in(folder: Path) -> None:
    folder.mkdir()
    (folder / "history.csv").write_text("mine")
    apart = place(folder)
    assert apart == folder_apart(folder)
    begin(apart)
    with pytest.raises(UsageError, match="holds an unfinished run"):
        place(folder)
    assert place(folder, resume=True) == apart
    assert (folder / "history.csv").read_text() == "mine"


def test_a_folder_in_the_place_of_a_file_is_found_before_training(folder: Path) -> None:
    (folder / "report.json").mkdir(parents=True)
    with pytest.raises(DiskError, match="a folder stands where a file is needed"):
        place(folder)
