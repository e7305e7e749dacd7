"""A finetune killed at random steps, again and again, ends as one that nothing disturbed.

One such run; with CXRLEARN_CRASH_KILLS a tenth of it, see `nox -s crash`.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.finetune_child import Fault, processes_in, run_finetune
from tests.support.small_study import Study, write_study

if TYPE_CHECKING:
    from pathlib import Path

RUNS = max(1, int(os.environ.get("CXRLEARN_CRASH_KILLS", "0")) // 10)
MOST_KILLS = 3
"""Of one run, before it may end."""
MOST_PASSES = 24
"""About as many forward passes as an undisturbed run takes."""
QUICK = ("-m", "small-net", "--epochs", 3, "--batch-size", 8, "--accumulate", 2,
         "--subgroup", "none", "--floor-columns", "none", "--learning-rate", 0.02,
         "--head-init", "probe", "--name", "run")  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("study") / "base")


@pytest.fixture(scope="module")
def undisturbed(base: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    study = base.copy(tmp_path_factory.mktemp("whole") / "study")
    ended = run_finetune(*QUICK, cwd=study.folder)
    assert ended.code == 0, ended.err
    return course(study)


def course(study: Study) -> tuple[str, str]:
    run = study.folder / "runs/run"
    return (
        (run / "history.csv").read_text(encoding="utf-8"),
        (run / "predictions-test.csv").read_text(encoding="utf-8"),
    )


@pytest.mark.parametrize("number", range(RUNS))
def test_killed_at_random_steps_it_ends_as_if_nothing_had_been(
    base: Study, undisturbed: tuple[str, str], tmp_path: Path, number: int
) -> None:
    seed = random.randrange(10**6)  # noqa: S311 - no secret; another one each time, and said
    draw = random.Random(seed)  # noqa: S311
    study = base.copy(tmp_path / "study")
    said = [f"seed {seed}, run {number}"]
    for _ in range(MOST_KILLS):
        kind = draw.choice(["SIGKILL", "SIGTERM", "group"])
        fault = Fault(kind, draw.randint(1, MOST_PASSES))
        workers = draw.choice([0, 1])
        said.append(f"{fault.kind} at {fault.at} with {workers} workers")
        ended = run_finetune(
            *QUICK, "--workers", workers, "--resume", cwd=study.folder, fault=fault
        )
        assert ended.code in {0, -9, 143}, (said, ended.err)
        left_alone(study.folder)
        if ended.code == 0:
            break
    else:
        ended = run_finetune(*QUICK, "--resume", cwd=study.folder)
    assert ended.code == 0, (said, ended.err)
    assert course(study) == undisturbed, said


def left_alone(folder: Path) -> None:
    """Wait until the processes that decode have noticed that nobody waits for them."""
    deadline = time.monotonic() + 240
    while found := processes_in(folder):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
