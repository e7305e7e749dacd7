from __future__ import annotations

import pytest
import torch

from cxrlearn.errors import HardwareError, UsageError
from cxrlearn.runtime.devices import device_problems, resolve_device, usable_cores


def test_auto_and_cpu_give_a_device_that_works() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert torch.ones(2, device=resolve_device("auto")).sum().item() == 2


def test_an_unknown_device_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="expected auto, cpu, cuda, cuda:N or mps, got 'gpu'"):
        resolve_device("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="tells what happens without CUDA")
def test_cuda_on_a_machine_without_it_is_a_hardware_error() -> None:
    with pytest.raises(HardwareError, match="cuda:1 was asked for, but torch sees no CUDA device"):
        resolve_device("cuda:1")


def test_there_is_at_least_one_core() -> None:
    assert usable_cores() >= 1


@pytest.mark.parametrize(
    ("gpus", "named"), [(("0", "0"), "GPU 0"), (("1", "0", "01"), "GPU 1"), (("3",) * 3, "GPU 3")]
)
def test_a_gpu_is_for_one_worker(gpus: tuple[str, ...], named: str) -> None:
    (problem,) = device_problems("auto", gpus)
    assert problem == f"--gpus: {named} is named more than once, and each is for one worker."


def test_several_workers_share_the_processors() -> None:
    assert device_problems("auto", ("cpu", "cpu")) == []
    assert device_problems("auto", ("0", "1", "10")) == []


def test_gpus_and_processors_are_not_mixed() -> None:
    (problem,) = device_problems("auto", ("0", "cpu"))
    assert "do not work together" in problem
