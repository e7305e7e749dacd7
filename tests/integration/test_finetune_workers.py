from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest

from cxrlearn.training.checkpoints import load_checkpoint
from tests.support.finetune_child import Fault, run_finetune
from tests.support.small_study import Study, write_study

QUICK = ("-m", "small-net", "--epochs", 3, "--batch-size", 8, "--replicates", 100, "--subgroup",
         "none", "--floor-columns", "none", "--name", "run", "--gpus", "cpu,cpu")  # fmt: skip
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
    deadline = time.monotonic() + 100
    while _processes_in(study.folder):
        assert time.monotonic() < deadline, "workers are still there"
        time.sleep(0.2)
    last = load_checkpoint(study.folder / "runs/run/last.safetensors").position
    assert 1 <= last.epoch < 4000


def _processes_in(folder: Path) -> list[int]:
    """Return the processes that work in a folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink() == folder.resolve():
                found.append(int(link.parent.name))
    return found
