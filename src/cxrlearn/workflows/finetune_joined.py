"""Processes that torchrun or srun has started, and that finetune together."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from cxrlearn.errors import HardwareError, TrainingError, UsageError
from cxrlearn.runtime.devices import resolve_device, usable_cores
from cxrlearn.runtime.events import SILENT
from cxrlearn.runtime.stop_request import stop_on_signals
from cxrlearn.training.distributed import PeerError, Place, joined, lost_peer, what_peers_said
from cxrlearn.workflows.finetune_prepare import prepare
from cxrlearn.workflows.finetune_run import FinetuneResult, Stage, train_and_report

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.finetune_config import FinetuneConfig

GO_ON = "What was saved is kept; the same command with --resume goes on."


def train_joined(config: FinetuneConfig, place: Place, reporter: Reporter) -> FinetuneResult:
    """Train as one of the processes that torchrun or srun has started.

    Raises:
        UsageError: a GPU was asked for by its number.
        HardwareError: another process has gone.
        PeerError: rank 0 has failed, and says why.
        CxrlearnError: as `train_and_report`.
    """
    device = _own_device(config, place, os.environ)
    heard = reporter if place.rank == 0 else SILENT
    torch.set_num_threads(max(1, usable_cores() // place.local_size))
    with _losses_explained(), _said_once(place), joined(place, device, reporter.warning) as ranks:
        # Agents on several machines count restarts each on its own.
        if any(ranks.gather(config.resume)):
            config = replace(config, resume=True, overwrite=False)
        prepared = ranks.each(partial(prepare, config, heard))
        with stop_on_signals(patient=True) as stop:
            stage = Stage(ranks, device, place.local_size, stop, heard)
            return train_and_report(config, prepared, stage)


def _own_device(
    config: FinetuneConfig, place: Place, environment: Mapping[str, str]
) -> torch.device:
    if re.fullmatch(r"cuda:\d+", config.device):
        raise UsageError(
            f"--device {config.device}: under torchrun or srun every process takes the GPU of its "
            "number; leave --device out."
        )
    found = resolve_device(config.device)
    if found.type != "cuda":
        return found
    return resolve_device(f"cuda:{own_gpu(place, torch.cuda.device_count(), environment)}")


def own_gpu(place: Place, visible: int, environment: Mapping[str, str]) -> int:
    """Return the number of the GPU that a process takes: its place on the machine.

    SLURM can show each task its own GPU only (`--gpus-per-task 1`): then that one. torchrun shows
    all to all, so that one for several is a mistake, which is left to be found.
    """
    alone = visible == 1 and "TORCHELASTIC_RUN_ID" not in environment
    return 0 if alone else place.local_rank


@contextmanager
def _said_once(place: Place) -> Iterator[None]:
    """Leave it to rank 0 to say what all ranks find: training that cannot go on."""
    try:
        yield
    except TrainingError as error:
        if place.rank == 0:
            raise
        raise PeerError(error.exit_code) from error


@contextmanager
def _losses_explained() -> Iterator[None]:
    """Say in words what it means when another process of the run cannot be heard any more."""
    try:
        yield
    except RuntimeError as error:
        if not lost_peer(error):
            raise
        raise HardwareError(
            "another process of this run has gone, or cannot be reached "
            f"({what_peers_said(error)}). {GO_ON}"
        ) from error
