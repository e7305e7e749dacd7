"""Which device computes, and how many cores may help."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Literal

from cxrlearn.errors import HardwareError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


def usable_cores() -> int:
    """Return how many cores this process may use (containers and `taskset` often allow fewer)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device_problems(device: str, gpus: Sequence[str]) -> list[str]:
    """Return what is wrong with the values of --device and --gpus, whatever this machine has."""
    problems = []
    if gpus and device != "auto":
        problems.append("--gpus and --device exclude each other.")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        problems.append(f"--device: expected auto, cpu, cuda, cuda:N or mps, got {device!r}.")
    problems += [
        f"--gpus: expected numbers such as 0,1, or cpu, got {name!r}."
        for name in gpus
        if not re.fullmatch(r"\d+|cpu", name)
    ]
    if "cpu" in gpus and len(set(gpus)) > 1:
        problems.append("--gpus: GPUs and cpu do not work together; name one kind.")
    numbers = [int(name) for name in gpus if re.fullmatch(r"\d+", name)]
    problems += [
        f"--gpus: GPU {number} is named more than once, and each is for one worker."
        for number in sorted(set(numbers))
        if numbers.count(number) > 1
    ]
    return problems


def resolve_device(
    name: str, *, option: Literal["--device", "--gpus"] = "--device"
) -> torch.device:
    """Turn `auto`, `cpu`, `cuda`, `cuda:N` or `mps` into a device that is there.

    `auto` is CUDA, else MPS, else the CPU.

    Args:
        name: of the device.
        option: which option asked for it; messages name it.

    Raises:
        UsageError: not the name of a device.
        HardwareError: the device is not there; the message says what is.
    """
    import torch  # noqa: PLC0415 - heavy, and whether there is work is decided without it

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise HardwareError("--device mps: this machine has no Metal device. Use --device cpu.")
        return torch.device("mps")
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise UsageError(f"--device: expected auto, cpu, cuda, cuda:N or mps, got {name!r}")
    return _cuda(int(match[1] or 0), option)


def _cuda(index: int, option: str) -> torch.device:
    import torch  # noqa: PLC0415

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    advice = "Leave --gpus out" if option == "--gpus" else "Use --device cpu"
    if count == 0:
        raise HardwareError(
            f"cuda:{index} was asked for, but torch sees no CUDA device here. {advice}, or check "
            "`nvidia-smi` and the installed torch build."
        )
    if index >= count:
        there = ", ".join(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(count))
        raise HardwareError(f"cuda:{index} was asked for, but there is only {there}.")
    return torch.device("cuda", index)
