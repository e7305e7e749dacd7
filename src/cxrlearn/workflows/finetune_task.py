"""What finetuning learns from a batch of images, and what its outputs mean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

from cxrlearn.training.losses import LossSum, binary_loss_sum, class_loss_sum

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from cxrlearn.data.labels import Labels
    from cxrlearn.data.training_batches import ImageBatch


@dataclass(frozen=True)
class ImageTask:
    """Masked cross-entropy of one label or many, or of several classes."""

    model: Callable[[torch.Tensor], torch.Tensor]
    """Called with pictures (n, 1, H, W); shares its gradients."""
    kind: str
    """binary, multilabel or multiclass."""
    learned: torch.Tensor
    """(L,) bool: labels with both classes in train; the others say nothing."""
    weight: torch.Tensor | None
    """(L,) of positives, or of classes."""

    def known(self, batch: ImageBatch, /) -> int:
        """Count the known labels, or the known rows of several classes."""
        if self.kind == "multiclass":
            return int(batch.known.all(dim=1).sum())
        return int((batch.known & self._learned_here).sum())

    @cached_property
    def _learned_here(self) -> torch.Tensor:
        """`learned` on the CPU; to fetch it at every step would wait for the device."""
        return self.learned.cpu()

    def loss(self, batch: ImageBatch, /) -> torch.Tensor:
        """Run the model and return the sum of the loss over the known labels."""
        device = self.learned.device
        logits = self.model(batch.pixels.to(device, non_blocking=True))
        return self.sum_of(logits, batch).total

    def sum_of(self, logits: torch.Tensor, batch: ImageBatch) -> LossSum:
        """Add the loss of logits (n, L)."""
        values = batch.values.to(logits.device, non_blocking=True)
        known = batch.known.to(logits.device, non_blocking=True)
        if self.kind == "multiclass":
            rows = known.all(dim=1)
            return class_loss_sum(logits, values.argmax(dim=1), rows, class_weight=self.weight)
        return binary_loss_sum(logits, values, known & self.learned, pos_weight=self.weight)


def label_weights(labels: Labels, kind: str) -> NDArray[np.float32]:
    """Return negatives / positives of each label; multi-class: N / (K times rows of the class).

    A label without one of its classes gets 1.
    """
    positives = ((labels.values == 1) & labels.known).sum(axis=0)
    known = labels.known.sum(axis=0)
    if kind == "multiclass":
        weight = known / (len(positives) * np.maximum(positives, 1))
    else:
        weight = (known - positives) / np.maximum(positives, 1)
    return np.where((positives > 0) & (weight > 0), weight, 1).astype(np.float32)


def learned_labels(labels: Labels) -> NDArray[np.bool_]:
    """Return (L,) which labels have both classes among their known rows."""
    positives = ((labels.values == 1) & labels.known).sum(axis=0)
    return np.asarray((positives > 0) & (labels.known.sum(axis=0) > positives))


@dataclass(frozen=True)
class Scores:
    """A split, scored on all ranks."""

    outputs: NDArray[np.float64]
    """(N, L) of the head by position in the manifest; NaN where an image was not read."""
    read: NDArray[np.intp]
    """Positions of the images that were, in order; their outputs are finite."""
    loss: float | None
    """Mean over the known labels; None where none is known."""

    def odds(self, kind: str) -> NDArray[np.float64]:
        """Return log-odds (n, L) of the images that were read; of classes, against the rest."""
        outputs = self.outputs[self.read]
        return class_odds(outputs) if kind == "multiclass" else outputs


def class_odds(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-odds of each class against the rest, log(p / (1 - p)), of outputs (N, K)."""
    odds = np.empty_like(outputs)
    for place in range(outputs.shape[1]):
        odds[:, place] = outputs[:, place] - logsumexp(np.delete(outputs, place, axis=1), axis=1)
    return odds
