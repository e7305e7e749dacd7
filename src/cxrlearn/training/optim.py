"""Optimisers, which parameters decay, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from cxrlearn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LEARNING_RATE = 1e-3
"""The original program's."""
MOMENTUM = 0.9
"""The original program's."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Which optimiser, and how fast."""

    name: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum, as the original, or AdamW."""
    lr: float = LEARNING_RATE
    """Rate at the height of the schedule, of parameters whose scale is 1."""
    momentum: float = MOMENTUM
    """Of SGD; AdamW has `betas`."""
    weight_decay: float = 0.0
    """Of matrices and kernels; biases and the scales of norms never decay."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of AdamW."""

    def __post_init__(self) -> None:
        """Refuse impossible values, all in one message."""
        problems = []
        if self.name not in {"sgd", "adamw"}:
            problems.append(f"optimizer must be sgd or adamw, got {self.name!r}.")
        if not 0 < self.lr < math.inf:
            problems.append(f"lr must be a positive number, got {self.lr}.")
        if not 0 <= self.momentum < 1:
            problems.append(f"momentum must be in [0, 1), got {self.momentum}.")
        if not 0 <= self.weight_decay < math.inf:
            problems.append(f"weight_decay must be 0 or positive, got {self.weight_decay}.")
        if not all(0 <= beta < 1 for beta in self.betas):
            problems.append(f"betas must be in [0, 1), got {self.betas}.")
        if problems:
            raise UsageError(" ".join(problems))


def build_optimizer(
    parameters: Iterable[tuple[str, torch.nn.Parameter]],
    config: OptimizerConfig,
    *,
    scales: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:
    """Make the optimiser of the parameters that are trained.

    Each group holds `base_lr`, its rate at the height of the schedule; `set_rates` multiplies it.

    Args:
        parameters: names and parameters, as `module.named_parameters()`; frozen ones are left out.
        config: which optimiser.
        scales: multiplies the rate of the parameters named; 1 for the others.
    """
    groups = _groups(parameters, config, scales or {})
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)


def _groups(
    parameters: Iterable[tuple[str, torch.nn.Parameter]],
    config: OptimizerConfig,
    scales: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Group parameters by rate and decay, in order of first appearance."""
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in parameters:
        if parameter.requires_grad:
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((config.lr * scales.get(name, 1.0), decay), []).append(parameter)
    return [
        {"params": members, "lr": rate, "base_lr": rate, "weight_decay": decay}
        for (rate, decay), members in groups.items()
    ]


def layer_scales(
    names: Iterable[str], depth: Callable[[str], int], decay: float
) -> dict[str, float]:
    """Return decay^(deepest - depth) for each parameter: layers near the image learn slower.

    Args:
        names: of the parameters.
        depth: of a parameter by name: 0 at the image, largest at the head.
        decay: in (0, 1]; 1 leaves all rates equal.

    Example:
        >>> layer_scales(["a", "b", "c"], "abc".index, 0.5)
        {'a': 0.25, 'b': 0.5, 'c': 1.0}
    """
    depths = {name: depth(name) for name in names}
    deepest = max(depths.values(), default=0)
    return {name: decay ** (deepest - at) for name, at in depths.items()}


def rate_factor(
    schedule: Literal["cosine", "constant"], step: int, total: int, warmup: int = 0
) -> float:
    """Return the factor of the rate at `step`: a linear rise, then `schedule`.

    A pure function of the step: a resumed run needs no state of a scheduler. The first step after
    the warm-up has factor 1; without one that is step 0. From there half a cosine leads towards 0,
    or the factor stays 1.

    Args:
        schedule: "cosine" or "constant".
        step: from 0 to total - 1.
        total: steps of the whole run.
        warmup: steps of the rise; the first has the factor 1 / (warmup + 1).
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set the rate of every group to `factor` times its `base_lr`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
