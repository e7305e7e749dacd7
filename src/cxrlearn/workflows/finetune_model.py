"""The model that is finetuned, with everything that decides how it learns."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from cxrlearn.backbones.load import LoadOptions
from cxrlearn.backbones.trainable import (
    build_trainable,
    freeze,
    has_batch_norm,
    layer_depths,
    set_batch_norm,
)
from cxrlearn.features.extract import decide_precision, exact_float32
from cxrlearn.training.checkpoints import Identity
from cxrlearn.training.optim import OptimizerConfig, build_optimizer, layer_scales

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxrlearn.backbones.trainable import BatchNormMode, TrainableModel
    from cxrlearn.data.tasks import Task
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.finetune_config import FinetuneConfig
    from cxrlearn.workflows.targets import Target


@dataclass(frozen=True)
class Learner:
    """A model and its optimiser."""

    model: TrainableModel
    """On its device."""
    optimizer: torch.optim.Optimizer
    """Of the parameters that learn."""
    batch_norm: BatchNormMode | None
    """None: the network has no batch normalisation."""

    def frozen(self) -> tuple[str, ...]:
        """Return the names of the parameters that stay as they are."""
        return tuple(n for n, p in self.model.named_parameters() if not p.requires_grad)

    def account(self) -> LearnerAccount:
        """Return what a report says of it; the model is not kept."""
        every = list(self.model.parameters())
        learned = sum(p.numel() for p in every if p.requires_grad)
        return LearnerAccount(learned, sum(p.numel() for p in every), self.batch_norm)


@dataclass(frozen=True)
class LearnerAccount:
    """What a report says of a model that was trained."""

    learned: int
    """How many numbers learned."""
    parameters: int
    """How many there are."""
    batch_norm: BatchNormMode | None
    """What batch normalisation did; None: the network has none."""


def build_learner(
    config: FinetuneConfig,
    target: Target,
    labels: int,
    *,
    seed: int,
    device: torch.device,
    ranks: int,
    reporter: Reporter,
) -> Learner:
    """Load the backbone, put a head on it, freeze what stays, and make the optimiser.

    Raises:
        WeightsError: weights missing, unsafe, damaged or of another model.
        UsageError: a module to freeze is not there, or synchronised norms without GPUs.
    """
    options = LoadOptions(
        weights=target.given,
        random_weights=config.random_weights,
        offline=config.offline,
        notify=reporter.notice,
    )
    model = build_trainable(target.resolved, labels, options, seed=seed, device=device)
    freeze(model, freeze_to=config.freeze_to, backbone=config.freeze_backbone)
    mode = None
    if has_batch_norm(model):
        mode = config.batch_norm or batch_norm_mode(ranks, device)
        set_batch_norm(model, mode)
    elif config.batch_norm is not None:
        reporter.warning(
            f"--batch-norm {config.batch_norm} has no effect: {target.resolved.name} has no batch "
            "normalisation."
        )
    return Learner(model, _optimizer(config, model), mode)


def batch_norm_mode(ranks: int, device: torch.device) -> BatchNormMode:
    """Return what batch normalisation does where nobody says."""
    if ranks == 1:
        return "local"
    return "sync" if device.type == "cuda" else "frozen"


def _optimizer(config: FinetuneConfig, model: TrainableModel) -> torch.optim.Optimizer:
    depths = layer_depths(model)
    settings = OptimizerConfig(
        name=config.optimizer,
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    scales = layer_scales(depths, depths.__getitem__, config.layer_decay)
    return build_optimizer(model.named_parameters(), settings, scales=scales)


def identity(target: Target, task: Task) -> Identity:
    """Say what a checkpoint is of."""
    resolved = target.resolved
    variant = "/".join(filter(None, (resolved.name, resolved.arch, resolved.pretrained_on)))
    rule = resolved.preprocessing.name
    return Identity(f"{variant} {resolved.feature.id} ({rule}), {task.kind}", task.names)


@contextmanager
def arithmetic(config: FinetuneConfig, device: torch.device) -> Iterator[torch.dtype | None]:
    """Set how numbers are computed while the block runs, and yield what autocast takes.

    Raises:
        HardwareError: the device cannot compute in the precision asked for.
    """
    precision = decide_precision(config.precision, device)
    with exact_float32(), _deterministic(config):
        yield torch.bfloat16 if precision == "bf16" else None


@contextmanager
def _deterministic(config: FinetuneConfig) -> Iterator[None]:
    if not config.deterministic:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=before)
