"""`finetune`: a backbone trained end to end, chosen on validation, evaluated as a probe is."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from cxrlearn.errors import UsageError
from cxrlearn.runtime.devices import resolve_device
from cxrlearn.runtime.events import SILENT
from cxrlearn.workflows.finetune_prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.finetune_config import FinetuneConfig
    from cxrlearn.workflows.finetune_prepare import Prepared
    from cxrlearn.workflows.finetune_run import FinetuneResult


def run_finetune(config: FinetuneConfig, reporter: Reporter = SILENT) -> FinetuneResult:
    """Train on train, choose on validation, report on the test sets.

    One process trains here; `--gpus` starts several; under torchrun or srun this process joins
    the others, and every one of them returns the result that rank 0 has written. A process that
    torchrun has started again goes on from the last checkpoint.

    Raises:
        UsageError: settings contradict each other, or another run has that name.
        DataError: a fault of a manifest or a label.
        WeightsError: weights missing, unsafe, damaged or of another model.
        TrainingError: the loss is not finite, or a checkpoint is of another model.
        HardwareError: a device is not there or too small, or a process died.
        DiskError: the disk is full; the checkpoints before are kept.
        KeyboardInterrupt: asked to stop, and saved; Terminated where it was SIGTERM.
    """
    from cxrlearn.training.distributed import find_place
    from cxrlearn.workflows.finetune_joined import train_joined
    from cxrlearn.workflows.finetune_ranks import train_on_workers

    config = _after_restart(config, os.environ)
    place = find_place(os.environ)
    if place is not None:
        if config.gpus:
            raise UsageError(
                "--gpus starts workers, and torchrun or srun has started them already: leave it "
                "out, every process takes the GPU of its number."
            )
        return train_joined(config, place, reporter)
    names = [f"cuda:{name}" if name.isdigit() else name for name in config.gpus]
    devices = [
        resolve_device(name, option="--gpus" if names else "--device")
        for name in names or [config.device]
    ]
    prepared = prepare(config, reporter)
    if len(devices) > 1:
        return train_on_workers(config, names, prepared, reporter)
    return _train_alone(config, devices[0], prepared, reporter)


def _after_restart(config: FinetuneConfig, environment: Mapping[str, str]) -> FinetuneConfig:
    """Let a process that torchrun has started again go on: --overwrite was for the first one."""
    restarts = int(environment.get("TORCHELASTIC_RESTART_COUNT") or 0)
    return replace(config, resume=True, overwrite=False) if restarts else config


def _train_alone(
    config: FinetuneConfig, device: torch.device, prepared: Prepared, reporter: Reporter
) -> FinetuneResult:
    import torch

    from cxrlearn.runtime.stop_request import stop_on_signals
    from cxrlearn.training.distributed import ProcessRanks
    from cxrlearn.workflows.finetune_run import Stage, train_and_report

    if device.type == "cuda":
        torch.cuda.set_device(device)  # what seeds dropout and pins memory asks for no device
    with stop_on_signals() as stop:
        return train_and_report(config, prepared, Stage(ProcessRanks(), device, 1, stop, reporter))
