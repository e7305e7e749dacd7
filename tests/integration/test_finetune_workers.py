from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from cxrlearn.training.checkpoints import load_checkpoint
from tests.support.finetune_child import Fault, processes_in, run_finetune, run_joined, run_torchrun
from tests.support.small_study import Study, write_study

if TYPE_CHECKING:
    from pathlib import Path

JOINED = ("-m", "small-net", "--epochs", 3, "--batch-size", 8, "--subgroup",
          "none", "--floor-columns", "none", "--name", "run")  # fmt: skip
QUICK = (*JOINED, "--gpus", "cpu,cpu")
CALLS_BEFORE, AN_EPOCH = 8, 4
"""Forward passes of a worker before the first step, and of an epoch."""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return write_study(tmp_path / "study")


@pytest.mark.slow
def test_a_worker_that_dies_is_named(study: Study) -> None:
    fault = Fault("SIGKILL", CALLS_BEFORE + AN_EPOCH + 1, rank=1)
    ended = run_finetune(*QUICK, cwd=study.folder, fault=fault)
    assert ended.code == 7, ended.err
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, ended.err
    assert "worker 1 on cpu died (SIGKILL)" in errors[0]
    assert "--resume goes on" in errors[0]
    last = study.folder / "runs/run/last.safetensors"
    assert load_checkpoint(last).position.epoch == 1


@pytest.mark.slow
def test_with_restarts_left_a_run_goes_on_by_itself(study: Study) -> None:
    # In the third epoch: the workers that are started again have fewer passes left than that.
    fault = Fault("SIGKILL", CALLS_BEFORE + 2 * AN_EPOCH + 2, rank=1)
    ended = run_finetune(*QUICK, "--max-restarts", 1, cwd=study.folder, fault=fault)
    assert ended.code == 0, ended.err
    assert "worker 1 on cpu died (SIGKILL). Going on from the last checkpoint" in ended.err
    assert "going on from epoch 3, step 1" in ended.err
    report = json.loads((study.folder / "runs/run/report.json").read_text(encoding="utf-8"))
    assert (report["finetune"]["ranks"], report["finetune"]["epochs"]) == (2, 3)
    assert report["finetune"]["batch_norm"] == "frozen"


@pytest.mark.slow
def test_workers_save_and_leave_when_their_launcher_is_killed(study: Study) -> None:
    fault = Fault("launcher", CALLS_BEFORE + AN_EPOCH + 1)
    ended = run_finetune(*QUICK, "--epochs", 4000, cwd=study.folder, fault=fault)
    assert ended.code == -9, ended.err
    deadline = time.monotonic() + 240
    while processes_in(study.folder):
        assert time.monotonic() < deadline, "workers are still there"
        time.sleep(0.2)
    last = load_checkpoint(study.folder / "runs/run/last.safetensors").position
    assert 1 <= last.epoch < 4000


@pytest.mark.slow
def test_a_bug_in_a_worker_is_told_as_one_and_never_tried_again(study: Study) -> None:
    fault = Fault("bug", CALLS_BEFORE + AN_EPOCH + 1, rank=1)
    ended = run_finetune(*QUICK, "--max-restarts", 1, "--debug", cwd=study.folder, fault=fault)
    assert ended.code == 1, ended.err
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, ended.err
    assert "this is a bug in cxrlearn" in errors[0]
    assert "worker 1 on cpu: ValueError: boom" in errors[0]
    assert 'raise ValueError("boom")' in ended.err  # its line, in the traceback of --debug
    assert "Going on" not in ended.err


@pytest.mark.slow
def test_processes_that_torchrun_starts_again_go_on(study: Study) -> None:
    fault = Fault("SIGKILL", CALLS_BEFORE + 2 * AN_EPOCH + 2, rank=1)
    ended = run_torchrun(2, *JOINED, "--overwrite", cwd=study.folder, fault=fault, restarts=1)
    assert ended.code == 0, ended.err
    assert "going on from epoch 3, step 1" in ended.err
    report = json.loads((study.folder / "runs/run/report.json").read_text(encoding="utf-8"))
    assert (report["finetune"]["ranks"], report["finetune"]["epochs"]) == (2, 3)


@pytest.mark.slow
def test_a_joined_process_says_that_another_has_gone(study: Study) -> None:
    fault = Fault("SIGKILL", CALLS_BEFORE + AN_EPOCH + 1, rank=1)
    first, second = run_joined(2, *JOINED, cwd=study.folder, fault=fault)
    assert (first.code, second.code) == (7, -9), first.err
    errors = [line for line in first.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, first.err
    assert "another process of this run has gone" in errors[0]
    assert "--resume goes on" in errors[0]
    assert "bug" not in first.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (("--train-csv", "nowhere.csv"), 3, "nowhere.csv"),
        (("--learning-rate", 1e38, "--batch-size", 24), 6, "not finite"),
    ],
)
def test_what_all_joined_processes_find_is_said_once(
    study: Study, typed: tuple[object, ...], code: int, said: str
) -> None:
    first, second = run_joined(2, *JOINED, "--batch-norm", "frozen", *typed, cwd=study.folder)
    assert (first.code, second.code) == (code, code), first.err + second.err
    assert said in first.err
    assert not second.err
