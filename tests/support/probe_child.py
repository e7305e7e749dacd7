"""A probe in a process of its own, to be killed; see `crash_child` for how it is started."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

import cxrlearn.workflows.probe  # noqa: F401 - imported before the fork
from cxrlearn.runtime.atomic import hook_write_steps
from cxrlearn.workflows.probe import run_probe
from cxrlearn.workflows.probe_config import ProbeConfig
from cxrlearn.workflows.settings import NamedPath

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT: Any = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.probe_child"])
PATIENCE_SECONDS = 240


@dataclass(frozen=True)
class Killed:
    """When a probe is killed."""

    seconds: float | None = None
    """After this time; None: not by the clock."""
    step: str | None = None
    """At this write step."""


def probe(folder: Path, C: float, killed: Killed = Killed()) -> tuple[int, float]:
    """Overwrite the run `runs/run` of a small study; return exit code and seconds."""
    process = CONTEXT.Process(target=_probe, args=(folder, C, killed))
    process.start()
    started = time.monotonic()
    process.join(PATIENCE_SECONDS if killed.seconds is None else killed.seconds)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode or 0, time.monotonic() - started


def _probe(folder: Path, C: float, killed: Killed) -> None:
    torch.set_num_threads(1)

    def step(name: str) -> None:
        if name == killed.step:
            os.kill(os.getpid(), signal.SIGKILL)

    hook_write_steps(step)
    run_probe(
        ProbeConfig(
            model="cxr-tiny",
            train_csv=folder / "train.csv",
            test_csv=(NamedPath(str(folder / "test.csv")),),
            features_dir=folder / "features",
            output_dir=folder / "runs",
            class_columns=("Cardiomegaly", "Effusion"),
            name="run",
            C=C,
            overwrite=True,
            workers=0,
            device="cpu",
        )
    )
