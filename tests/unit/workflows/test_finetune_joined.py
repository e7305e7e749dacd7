"""Processes that somebody else has started."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import distributed

from cxrlearn.errors import HardwareError, UsageError
from cxrlearn.training.distributed import Place
from cxrlearn.workflows.finetune import _after_restart
from cxrlearn.workflows.finetune_config import FinetuneConfig
from cxrlearn.workflows.finetune_joined import _losses_explained, _own_device, own_gpu

SECOND = Place(rank=1, world_size=2, local_rank=1, local_size=2)
TORCHRUN = {"TORCHELASTIC_RUN_ID": "7"}


def test_a_process_takes_the_gpu_of_its_place_or_the_one_it_is_shown() -> None:
    assert own_gpu(SECOND, 2, {}) == 1
    assert own_gpu(SECOND, 1, {}) == 0  # --gpus-per-task 1
    assert own_gpu(SECOND, 4, TORCHRUN) == 1
    assert own_gpu(SECOND, 1, TORCHRUN) == 1  # two processes for one GPU: refused later


def test_a_gpu_cannot_be_chosen_for_all_processes() -> None:
    config = FinetuneConfig(csv=Path("all.csv"), device="cuda:1")
    with pytest.raises(UsageError, match="--device cuda:1: under torchrun or srun"):
        _own_device(config, SECOND, {})


def test_what_torchrun_starts_again_goes_on_and_overwrites_nothing() -> None:
    config = FinetuneConfig(csv=Path("all.csv"), overwrite=True)
    for restarts in ("1", "2"):
        again = _after_restart(config, {"TORCHELASTIC_RESTART_COUNT": restarts})
        assert (again.resume, again.overwrite) == (True, False)
    for first in ({}, {"TORCHELASTIC_RESTART_COUNT": "0"}):
        assert _after_restart(config, first) == config


def test_a_lost_process_is_no_bug_of_this_one() -> None:
    said = r"has gone.*\(Connection closed by peer\).*--resume goes on"
    with pytest.raises(HardwareError, match=said), _losses_explained():
        raise RuntimeError("Connection closed by peer.")
    with pytest.raises(HardwareError, match="has gone"), _losses_explained():
        raise distributed.DistNetworkError("no route to host")
    with pytest.raises(RuntimeError, match="shapes"), _losses_explained():
        raise RuntimeError("shapes do not match")
