"""What the training loop costs: a step through it against the bare step, in one run.

    python scripts/bench_train.py [--steps 30] [--json FILE]

Same model, same optimiser, same batches already in memory, in turn, several rounds; the best of
each counts. The bare step is forward, loss, backward and optimiser, nothing else; the loop's adds
what makes a run trustworthy: counting known labels, the guard against losses and gradients that
are not finite, seeded draws, the schedule, progress.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import timm
import torch

from cxrlearn.training.loop import train
from cxrlearn.training.losses import binary_loss_sum
from cxrlearn.training.optim import OptimizerConfig, build_optimizer
from cxrlearn.training.plan import LoopConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = {"resnet18": 224, "vit_tiny_patch16_224": 224}
"""timm's names, and the side of the images."""
BATCH, LABELS, ROUNDS = 32, 14, 3


@dataclass(frozen=True)
class Batch:
    """One batch in memory."""

    images: torch.Tensor
    labels: torch.Tensor
    known: torch.Tensor


@dataclass(frozen=True)
class Repeated:
    """The same few batches over and over."""

    batches: tuple[Batch, ...]
    steps: int

    def __len__(self) -> int:
        """Steps an epoch."""
        return self.steps

    def epoch(self, epoch: int, first: int) -> Iterator[Batch]:  # noqa: ARG002 - always the same
        """Yield them in turn."""
        for number in range(first, self.steps):
            yield self.batches[number % len(self.batches)]


@dataclass(frozen=True)
class Labels:
    """Fourteen masked labels."""

    model: torch.nn.Module

    def known(self, batch: Batch) -> int:
        """Count the known labels."""
        return int(batch.known.sum())

    def loss(self, batch: Batch) -> torch.Tensor:
        """Sum the loss over them."""
        return binary_loss_sum(self.model(batch.images), batch.labels, batch.known).total


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = {name: measure(name, side, options.steps, device) for name, side in MODELS.items()}
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measure(name: str, side: int, steps: int, device: torch.device) -> dict[str, float]:
    """Return images/s of both, and their ratio."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=LABELS).to(device).train()
    optimizer = build_optimizer(model.named_parameters(), OptimizerConfig())
    batches = Repeated(tuple(_batch(side, device) for _ in range(2)), steps)
    bare, loop = 0.0, 0.0
    _bare(model, optimizer, Repeated(batches.batches, 3), device)
    for _ in range(ROUNDS):
        bare = max(bare, steps * BATCH / _bare(model, optimizer, batches, device))
        start = time.perf_counter()
        train(
            model,
            Labels(model),
            batches,
            optimizer,
            config=LoopConfig(epochs=1, patience=None),
        )
        _wait(device)
        loop = max(loop, steps * BATCH / (time.perf_counter() - start))
    print(
        f"{name:24} batch {BATCH} on {device.type}: bare step {bare:7.1f} images/s, through the "
        f"loop {loop:7.1f}: {loop / bare:.3f}"
    )
    return {"bare": bare, "loop": loop, "ratio": loop / bare}


def _batch(side: int, device: torch.device) -> Batch:
    return Batch(
        torch.randn(BATCH, 3, side, side, device=device),
        (torch.rand(BATCH, LABELS, device=device) < 0.2).float(),
        torch.rand(BATCH, LABELS, device=device) < 0.9,
    )


def _bare(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Repeated,
    device: torch.device,
) -> float:
    _wait(device)
    start = time.perf_counter()
    for batch in batches.epoch(0, 0):
        optimizer.zero_grad()
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            model(batch.images), batch.labels, weight=batch.known.float(), reduction="sum"
        )
        (losses / batch.known.sum()).backward()
        optimizer.step()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
