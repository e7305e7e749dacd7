"""What goes to a whole group of processes, and what a training that diverges leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cxrlearn.training.checkpoints import load_checkpoint
from tests.support.finetune_child import Ended, Fault, run_finetune
from tests.support.small_study import Study, write_study

if TYPE_CHECKING:
    from pathlib import Path

QUICK = ("-m", "small-net", "--epochs", 3, "--batch-size", 8, "--subgroup",
         "none", "--floor-columns", "none", "--name", "run")  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return write_study(tmp_path / "study")


def error_of(ended: Ended) -> str:
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, ended.err
    return lines[0]


def test_sigterm_to_the_whole_group_saves_first(study: Study) -> None:
    # As systemd and SLURM send it: the processes that decode get it too.
    fault = Fault("group", 12)
    ended = run_finetune(*QUICK, "--workers", 2, "--epochs", 400, cwd=study.folder, fault=fault)
    assert ended.code == 143, ended.err
    assert "--resume goes on" in error_of(ended)
    saved = load_checkpoint(study.folder / "runs/run/last.safetensors").position
    assert saved.epoch >= 1


def test_weights_that_overflow_are_named_and_the_checkpoint_before_stays(study: Study) -> None:
    ended = run_finetune(
        *QUICK, "--learning-rate", 1e38, "--batch-size", 24, "--clip-norm", 1, cwd=study.folder
    )
    assert ended.code == 6, ended.err
    assert "are not finite: training has diverged" in error_of(ended)
    assert "Lower the learning rate" in ended.err


def test_a_run_does_not_go_on_with_other_rows(study: Study) -> None:
    fault = Fault("SIGTERM", 12)
    assert run_finetune(*QUICK, cwd=study.folder, fault=fault).code == 143
    rows = study.rows("train")
    seen, unseen = rows[0], study.rows("test")[0]
    study.rewrite("train", lambda row: {**unseen} if row["Path"] == seen["Path"] else row)
    study.rewrite("test", lambda row: None if row["Path"] == unseen["Path"] else row)
    before = (study.folder / "runs/run/last.safetensors").read_bytes()
    ended = run_finetune(*QUICK, "--resume", cwd=study.folder)
    assert ended.code == 6, ended.err
    assert "the rows of train and the rows of test have changed since" in error_of(ended)
    assert (study.folder / "runs/run/last.safetensors").read_bytes() == before


def test_asked_to_stop_before_the_first_step_it_leaves_at_once_and_claims_nothing(
    study: Study,
) -> None:
    ended = run_finetune(*QUICK, cwd=study.folder, fault=Fault("SIGTERM", 4))
    assert ended.code == 143, ended.err
    assert "nothing was trained since; the same command begins here again" in error_of(ended)
    assert not (study.folder / "runs/run").exists()
