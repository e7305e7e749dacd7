"""What the linear layer's training came to: the fit, and who decided what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxrlearn.probes.model import FloatArray, LogisticFit


@dataclass(frozen=True)
class RateTrial:
    """How one learning rate went."""

    rate: float
    """At the height of the schedule."""
    score: float | None
    """Best value of the criterion, of a loss its negative; None without validation."""
    best_epoch: int | None
    """The epoch it came from, from 0; of equal ones the first."""
    diverged: int | None
    """The epoch, from 0, in which the logits left all bounds; such a rate is never chosen."""


@dataclass(frozen=True)
class LinearAccount:
    """How the fit went, and who decided what."""

    rate: float
    """The rate chosen: of equal scores the smallest."""
    criterion: str | None
    """By which rate and epoch were chosen; None: there was no validation split."""
    judged_by: tuple[str, ...]
    """Labels whose validation AUROCs the criterion averages; empty for other criteria."""
    trials: tuple[RateTrial, ...]
    """Every rate tried, rising."""
    at_limit: bool
    """Of several rates the largest or the smallest was best: better ones may lie beyond."""
    epochs: int
    """Epochs run."""
    best_epoch: int
    """Epoch of the weights, from 0."""
    steps: int
    """Optimiser steps up to these weights."""
    scores: tuple[tuple[float | None, ...], ...]
    """The criterion by epoch and rate; None once a rate was done. Empty without validation."""
    losses: tuple[float | None, ...]
    """Mean train loss of each epoch of a single rate; empty where several were tried."""
    mean: FloatArray = field(repr=False, compare=False)
    """(D,) subtracted from the features in training; folded into the intercept."""
    unit: float
    """By which they were divided; folded into the weights."""


@dataclass(frozen=True)
class LinearFit:
    """What `fit_linear` returns."""

    fit: LogisticFit
    """Weights for raw features."""
    account: LinearAccount | None
    """None where no label could be fitted."""
