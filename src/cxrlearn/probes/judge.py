"""Which learning rate, and which of its epochs: decided on validation while heads train."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from cxrlearn.evaluation.metrics import auroc_score
from cxrlearn.training.plan import Validated

if TYPE_CHECKING:
    from cxrlearn.probes.heads import Heads, LabelledRows
    from cxrlearn.probes.labelled import Labelled
    from cxrlearn.probes.model import FloatArray

MACRO_AUROC = "validation macro AUROC"
"""The criterion wherever some label has both classes in validation."""
VALIDATION_LOSS = "validation loss"
"""The criterion where no label has."""


@dataclass
class Trace:
    """The way of one head through the epochs."""

    score: float | None = None
    """Best so far; higher is better."""
    epoch: int | None = None
    """Where it came from, from 0; of equal ones the first."""
    weights: tuple[FloatArray, FloatArray] | None = None
    """Of that epoch: (L, D) and (L,)."""
    diverged: int | None = None
    """Epoch in which its logits left all bounds."""
    done: bool = False
    """Diverged, or out of patience."""


@dataclass
class Judge:
    """Scores every open head after each epoch, keeps its best weights, closes it when done."""

    heads: Heads
    """Trained side by side."""
    rates: tuple[float, ...]
    """Of the heads, for the history."""
    rows: LabelledRows
    """Validation as the heads see it."""
    data: Labelled
    """Validation labels of the same columns."""
    patience: int | None
    """Epochs without a better score after which a head is done; None: never."""
    traces: list[Trace] = field(init=False)
    """One for each head."""
    scores: list[tuple[float | None, ...]] = field(default_factory=list)
    """By epoch and head; None once a head was done."""

    def __post_init__(self) -> None:
        """Begin with empty traces."""
        self.traces = [Trace() for _ in self.rates]
        self._judged = self.data.fittable()

    @property
    def judged_by(self) -> tuple[int, ...]:
        """Columns with both classes in validation: the criterion averages their AUROCs."""
        return tuple(self._judged.tolist())

    @property
    def criterion(self) -> str:
        """Return what the score is."""
        return MACRO_AUROC if len(self._judged) else VALIDATION_LOSS

    def __call__(self, epoch: int) -> Validated:
        """Judge an epoch: the `validate` of the loop."""
        logits = self.heads.scores(self.rows.features)
        finite = torch.isfinite(logits).all(dim=2).all(dim=1)
        self.heads.open &= finite
        for trace, is_open in zip(self.traces, self.heads.open.tolist(), strict=True):
            if not is_open and not trace.done:
                trace.diverged, trace.done = epoch, True
        scores = self._scores(logits)
        self.scores.append(scores)
        for number, score in enumerate(scores):
            self._take(number, epoch, score)
        record = {f"rate {rate:g}": s for rate, s in zip(self.rates, scores, strict=True)}
        best = max((score for score in scores if score is not None), default=None)
        return Validated(best, record, stop=all(trace.done for trace in self.traces))

    def _take(self, number: int, epoch: int, score: float | None) -> None:
        trace = self.traces[number]
        if score is None:
            return
        if trace.score is None or trace.epoch is None or score > trace.score:
            trace.score, trace.epoch, trace.weights = score, epoch, self.heads.head(number)
        elif self.patience is not None and epoch - trace.epoch >= self.patience:
            trace.done = True
            self.heads.open[number] = False

    def _scores(self, logits: torch.Tensor) -> tuple[float | None, ...]:
        """Return the criterion of each head; None for one that is done."""
        if len(self._judged):
            if self.rows.targets.ndim == 1:  # in the order of p, so of the odds against the rest
                logits = torch.log_softmax(logits.double(), dim=2)
            each = logits.cpu().double().numpy()
            return tuple(
                None if trace.done else self._macro_auroc(each[number])
                for number, trace in enumerate(self.traces)
            )
        loss, known = self.rows.loss(logits, slice(None))
        return tuple(
            None if trace.done else -total / int(known)
            for total, trace in zip(loss.tolist(), self.traces, strict=True)
        )

    def _macro_auroc(self, scores: FloatArray) -> float:
        aurocs = []
        for column in self._judged.tolist():
            known = self.data.known[:, column]
            truth = self.data.positive[known, column].astype(np.int8)
            aurocs.append(auroc_score(truth, scores[known, column]))
        return math.fsum(aurocs) / len(aurocs)
