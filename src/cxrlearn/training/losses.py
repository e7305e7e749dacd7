"""Masked losses as sums with counts: add over micro-batches and ranks, divide once.

A mean of means would weigh a label by how many of its neighbours happen to be known. So nothing
here divides: the caller adds the sums and the counts of a whole step and divides once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional


class LossSum(NamedTuple):
    """A loss added over known labels, and how many they are."""

    total: torch.Tensor
    """float32, of the leading dimensions of the logits: one number for logits (N, L)."""
    known: torch.Tensor
    """Whole number: known labels in (N, L), or known rows of several classes."""


def binary_loss_sum(
    logits: torch.Tensor,
    targets: torch.Tensor,
    known: torch.Tensor,
    *,
    pos_weight: torch.Tensor | None = None,
) -> LossSum:
    """Add the binary cross-entropy of every known label.

    What stands in a masked place, of the logits or the targets, NaN included, never matters: the
    gradient there is exactly zero. `pos_weight` multiplies the loss of positives and leaves the
    count as it is, as `torch.nn.BCEWithLogitsLoss` does.

    Args:
        logits: (..., N, L); leading dimensions are models trained side by side.
        targets: (N, L) of 0 and 1.
        known: (N, L) bool.
        pos_weight: (L,) positive.
    """
    safe = torch.where(known, logits.float(), 0.0)
    truth = torch.where(known, targets, 0).to(safe.dtype).expand_as(safe)
    losses = functional.binary_cross_entropy_with_logits(
        safe, truth, pos_weight=pos_weight, reduction="none"
    )
    return LossSum(torch.where(known, losses, 0.0).sum(dim=(-2, -1)), known.sum())


def class_loss_sum(
    logits: torch.Tensor,
    classes: torch.Tensor,
    known: torch.Tensor,
    *,
    class_weight: torch.Tensor | None = None,
) -> LossSum:
    """Add the softmax cross-entropy of every known row.

    Masked rows behave as masked labels do in `binary_loss_sum`. `class_weight` multiplies the loss
    of a row by the weight of its class and leaves the count as it is.

    Args:
        logits: (..., N, K); leading dimensions are models trained side by side.
        classes: (N,) whole numbers from 0 to K - 1; anything where not known.
        known: (N,) bool.
        class_weight: (K,) positive.
    """
    safe = torch.where(known[:, None], logits.float(), 0.0)
    true_class = torch.where(known, classes, 0).long()
    index = true_class[:, None].expand(*safe.shape[:-1], 1)
    losses = -functional.log_softmax(safe, dim=-1).gather(-1, index)[..., 0]
    if class_weight is not None:
        losses = losses * class_weight[true_class]
    return LossSum(torch.where(known, losses, 0.0).sum(dim=-1), known.sum())
