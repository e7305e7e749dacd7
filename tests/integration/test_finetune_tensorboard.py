from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.support.finetune_child import Fault, run_finetune
from tests.support.small_study import write_study

if TYPE_CHECKING:
    from pathlib import Path

RUN = ("-m", "small-net", "--epochs", 3, "--batch-size", 8, "--subgroup",
       "none", "--floor-columns", "none", "--name", "run", "--tensorboard")  # fmt: skip
STEPS = 3
"""Of an epoch: 24 images."""


def test_tensorboard_gets_every_step_once_also_of_a_run_that_was_killed(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    fault = Fault("SIGKILL", 8 + 4 + 3)  # in the second epoch, whose steps are logged but not saved
    assert run_finetune(*RUN, cwd=study.folder, fault=fault).code == -9
    ended = run_finetune(*RUN, "--resume", cwd=study.folder)
    assert ended.code == 0, ended.err
    run = study.folder / "runs/run"
    read = EventAccumulator(str(run / "tensorboard"))
    read.Reload()
    assert [one.step for one in read.Scalars("train/loss")] == list(range(1, 3 * STEPS + 1))
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        history = list(csv.DictReader(file))
    logged = [(one.step, round(one.value, 5)) for one in read.Scalars("epoch/val_auroc")]
    assert logged == [(n, round(float(row["val_auroc"]), 5)) for n, row in enumerate(history, 1)]
