"""The search behind `--C auto`: losses over a grid of penalties that grows where an end is best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from cxrlearn.probes.model import FloatArray

STEPS_PER_DECADE = 2
"""The grid is λ = 10^(step / 2)."""
FIRST_STEPS = range(-6, 3)
"""Nine steps that everything is tried on: λ from 1e-3 to 10."""
LAST_STEPS = (-18, 6)
"""The grid ends at λ = 1e-9 and 1000: hardly any penalty, and hardly anything else."""
TIE = 1e-6
"""Relative difference of two losses that counts as a tie; of tied values the smaller C is taken."""


class Scorer(Protocol):
    """A fitted probe of some label columns."""

    def decision(self, features: npt.ArrayLike, /) -> FloatArray:
        """Return log-odds (N, columns), NaN for columns that could not be fitted."""


Solver: TypeAlias = Callable[[Sequence[float], Sequence[int]], "Sequence[Scorer]"]
"""`solve(values of C, columns)`: fit these label columns on train, once for each C."""


@dataclass(frozen=True)
class Validation:
    """All that choosing sees besides the fits."""

    features: npt.NDArray[np.floating]
    """(N, D)."""
    values: npt.NDArray[np.int8]
    """(N, L) of 0 and 1; multi-class: one-hot."""
    known: npt.NDArray[np.bool_]
    """(N, L)."""

    def counts(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return known positives and known negatives of each label, (L,) each."""
        positives = ((self.values == 1) & self.known).sum(axis=0, dtype=np.int64)
        return positives, self.known.sum(axis=0, dtype=np.int64) - positives


@dataclass(frozen=True)
class Decision:
    """One choice to be made."""

    judges: tuple[int, ...]
    """Columns whose mean relative loss decides."""
    takers: tuple[int, ...]
    """Columns that take the result."""


class Search:
    """Losses by step of the grid and label column, and what they say."""

    def __init__(self, solve: Solver, validation: Validation, scale: float, kind: str) -> None:
        """Search with `solve`; `scale` is N · v, so that C = 1 / (λ · scale)."""
        self._solve, self._validation, self._scale, self._kind = solve, validation, scale, kind
        self.losses: dict[int, FloatArray] = {}
        self._relative = np.ones(validation.values.shape[1])
        if kind != "multiclass":
            self._relative = _entropies(*validation.counts())
        self._tried: dict[Decision, set[int]] = {}

    def strength(self, step: int) -> float:
        """Return λ at `step`."""
        return float(10 ** (step / STEPS_PER_DECADE))

    def c_at(self, step: int) -> float:
        """Return C at `step`."""
        return 1 / (self.strength(step) * self._scale)

    def run(self, decisions: Sequence[Decision]) -> None:
        """Try the first steps, then grow the grid until no decision is best at a growing end."""
        wanted = {decision: set(FIRST_STEPS) for decision in decisions}
        while wanted:
            self._try_all(wanted)
            wanted = {d: {step} for d in decisions if (step := self._next_step(d)) is not None}

    def best_step(self, decision: Decision) -> int | None:
        """Return the step of least loss, of tied ones that of the smaller C; None if undefined."""
        scores = {step: self.score(decision, step) for step in self._tried.get(decision, ())}
        defined = {step: score for step, score in scores.items() if score is not None}
        if not defined:
            return None
        least = min(defined.values())
        return max(step for step, score in defined.items() if score <= least * (1 + TIE))

    def score(self, decision: Decision, step: int) -> float | None:
        """Return the mean over the judges of loss / entropy of the label; None if undefined.

        A judge that train cannot fit is left out, at every step alike.
        """
        if step not in self._tried.get(decision, ()):
            return None
        judges = list(decision.judges)
        relative = self.losses[step][judges] / self._relative[judges]
        fitted = ~np.isnan(relative)
        return float(relative[fitted].mean()) if fitted.any() else None

    def _next_step(self, decision: Decision) -> int | None:
        best, tried = self.best_step(decision), self._tried[decision]
        if best is None:
            return None
        if best == max(tried) and best < LAST_STEPS[1]:
            return best + 1
        if best == min(tried) and best > LAST_STEPS[0]:
            return best - 1
        return None

    def _try_all(self, wanted: Mapping[Decision, set[int]]) -> None:
        columns_at: dict[int, set[int]] = {}
        for decision, steps in wanted.items():
            self._tried.setdefault(decision, set()).update(steps)
            for step in steps:
                columns_at.setdefault(step, set()).update(decision.judges)
        groups: dict[tuple[int, ...], list[int]] = {}
        for step in sorted(columns_at, reverse=True):
            groups.setdefault(tuple(sorted(columns_at[step])), []).append(step)
        for columns, steps_of_group in groups.items():
            self._fit(steps_of_group, list(columns))

    def _fit(self, steps: list[int], columns: list[int]) -> None:
        every = self._validation.values.shape[1]
        if self._kind == "multiclass":
            columns = list(range(every))
        fits = self._solve([self.c_at(step) for step in steps], columns)
        for step, fit in zip(steps, fits, strict=True):
            losses = self.losses.setdefault(step, np.full(every, np.nan))
            losses[columns] = self._score_fit(fit.decision(self._validation.features), columns)

    def _score_fit(self, odds: FloatArray, columns: list[int]) -> FloatArray:
        """Return the mean log-loss of each column; multi-class: the mean cross-entropy in each."""
        positive = self._validation.values[:, columns] == 1
        counted = self._validation.known[:, columns] & ~np.isnan(odds)
        if self._kind == "multiclass":  # only the true class's log-odds make the cross-entropy
            counted &= positive
        losses = np.zeros_like(odds)
        np.logaddexp(0, np.where(positive, -odds, odds), where=counted, out=losses)
        total, count = losses.sum(axis=0), counted.sum(axis=0)
        if self._kind == "multiclass":
            total, count = np.full(len(columns), total.sum()), np.full(len(columns), count.sum())
        result = np.full(len(columns), np.nan)
        np.divide(total, count, out=result, where=count > 0)
        return result


def _entropies(positives: npt.NDArray[np.int64], negatives: npt.NDArray[np.int64]) -> FloatArray:
    """Return the log-loss of always predicting a label's own share of positives; NaN for 0 or 1."""
    share = np.full(len(positives), np.nan)
    both = (positives > 0) & (negatives > 0)
    np.divide(positives, positives + negatives, out=share, where=both)
    return np.asarray(-share * np.log(share) - (1 - share) * np.log1p(-share), dtype=np.float64)
