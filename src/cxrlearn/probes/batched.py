"""Exact logistic regression for all labels and all values of C at once, each with a certificate.

    minimise  C · Σ weight · log-loss + ½‖w‖²,  the intercept free

Labels known on all rows, or on at least 2D, are fitted together on the same centred matrix, masked
rows with weight 0. A label known on fewer rows is fitted on its own rows, whose Gram matrix is then
the right preconditioner. Where a problem has fewer rows than features, it is first turned, exactly,
into one with as many features as rows. Large problems run in float32 until they are as good as
float32 gets; every fit is then judged in float64, and finished there where the judgement fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from cxrlearn.errors import DataError
from cxrlearn.probes.centred import CentredMatrix, RowSource
from cxrlearn.probes.certificate import CERTIFIED
from cxrlearn.probes.links import Link, Sigmoid, Softmax
from cxrlearn.probes.model import FloatArray, LabelFit, LogisticFit, why_not_fitted
from cxrlearn.probes.problem import Problem, solve_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

BoolArray = npt.NDArray[np.bool_]

SOLVER = "cxrlearn batched L-BFGS, float32 finished and certified in float64"
"""The solver's name in reports."""
AT_ONCE = 4_000_000
"""Most margins of one batch: fits beyond it wait for the next."""


@dataclass(frozen=True)
class _Solution:
    """One fit for raw features."""

    weights: FloatArray
    """(K, D)."""
    intercept: FloatArray
    """(K,)."""
    iterations: int
    gap: float


@dataclass
class BatchedLogistic:
    """Fits on one train set; remembers every fit, so that a chosen C costs nothing more.

    Raises:
        DataError: shapes differ, C is not positive, or features are not finite.
    """

    features: RowSource
    """(N, D) real and finite; anything that gives rows by slices, so it need not be in memory."""
    values: npt.NDArray[np.int8]
    """(N, L) of 0 and 1; multi-class: one-hot."""
    known: BoolArray
    """(N, L); rows where it is False do not enter that label's fit."""
    kind: str
    """binary, multilabel or multiclass."""
    names: tuple[str, ...]
    """L labels or classes."""
    max_iter: int = 500
    """Most iterations in each precision."""
    balanced: bool = False
    """Weight rows by N / (2 · rows of their class), so that both classes of a label count alike;
    multi-class: N / (K · rows of the class)."""
    device: str = "cpu"
    """`cpu` or `cuda`."""
    resident: bool = True
    """Keep a centred copy of the features in memory; else read them again for every product."""

    def __post_init__(self) -> None:
        """Check shapes, and count."""
        shape = (int(self.features.shape[0]), len(self.names))
        if self.values.shape != shape or self.known.shape != shape:
            raise DataError(
                f"Labels and their mask must have shape {shape}, rows by labels. "
                f"Got {self.values.shape} and {self.known.shape} instead."
            )
        self._positive = (self.values == 1) & self.known
        self._problems: dict[bytes, Problem] = {}
        self._found: dict[tuple[int, float], _Solution] = {}

    def __call__(self, values_of_c: Sequence[float], columns: Sequence[int]) -> list[LogisticFit]:
        """Fit the label columns once for each C; see `cxrlearn.probes.grid.Solver`."""
        chosen = list(columns)
        if self.kind == "multiclass":
            self._solve([(0, C) for C in values_of_c])
            return [self._classes(C) for C in values_of_c]
        self._solve([(column, C) for column in chosen for C in values_of_c])
        return [self._labels(chosen, [C] * len(chosen)) for C in values_of_c]

    def fit(self, values_of_c: float | Sequence[float | None]) -> LogisticFit:
        """Fit every label with its own C; None for labels that cannot be fitted."""
        columns = list(range(len(self.names)))
        single = isinstance(values_of_c, (int, float))
        each = [float(values_of_c)] * len(columns) if single else list(values_of_c)  # type: ignore[arg-type]
        if len(each) != len(columns):
            raise DataError(f"C must be one number or one for each label. Got {len(each)}.")
        if self.kind == "multiclass":
            C = next((c for c in each if c is not None), None)
            if self._can_fit(0):
                self._solve([(0, _checked(C, self.names[0]))])
            return self._classes(C)
        wanted = [i for i in columns if self._why_not(i) is None]
        self._solve([(i, _checked(each[i], self.names[i])) for i in wanted])
        return self._labels(columns, each)

    def _counts(self, column: int) -> tuple[int, int]:
        positives = int(self._positive[:, column].sum())
        return positives, int(self.known[:, column].sum()) - positives

    def _why_not(self, column: int) -> str | None:
        return why_not_fitted(*self._counts(column))

    def _present(self) -> npt.NDArray[np.intp]:
        """Return the classes that train has."""
        return np.flatnonzero(self._positive.any(axis=0))

    def _labels(self, columns: list[int], each: Sequence[float | None]) -> LogisticFit:
        width = int(self.features.shape[1])
        weights, intercept = np.full((len(columns), width), np.nan), np.full(len(columns), np.nan)
        accounts = []
        for row, (column, C) in enumerate(zip(columns, each, strict=True)):
            found = None if C is None else self._found.get((column, float(C)))
            if found is not None:
                weights[row], intercept[row] = found.weights[0], found.intercept[0]
            accounts.append(self._account(column, C, found, self._why_not(column)))
        return LogisticFit(self.kind, weights, intercept, tuple(accounts))

    def _classes(self, C: float | None) -> LogisticFit:
        weights = np.full((len(self.names), int(self.features.shape[1])), np.nan)
        intercept = np.full(len(self.names), np.nan)
        found = None if C is None else self._found.get((0, float(C)))
        present = self._present()
        if found is not None:
            weights[present], intercept[present] = found.weights, found.intercept
        accounts = []
        for column in range(len(self.names)):
            reason = self._why_not(column)
            if reason is None and found is None:
                reason = "not fitted: no other class in train"
            accounts.append(self._account(column, C, found, reason))
        return LogisticFit("multiclass", weights, intercept, tuple(accounts))

    def _account(
        self, column: int, C: float | None, found: _Solution | None, reason: str | None
    ) -> LabelFit:
        positives, negatives = self._counts(column)
        name = self.names[column]
        if found is None or reason is not None:
            return LabelFit(name, None, None, None, positives, negatives, reason, ())
        return LabelFit(
            name=name,
            C=C,
            iterations=found.iterations,
            converged=found.gap <= CERTIFIED,
            positives=positives,
            negatives=negatives,
            reason=None,
            notes=(),
            gap=found.gap,
        )

    def _solve(self, wanted: list[tuple[int, float]]) -> None:
        """Find what is not known yet, grouped by the rows it is fitted on."""
        groups: dict[bytes, list[tuple[int, float]]] = {}
        for column, C in wanted:
            task = (column, _checked(C, self.names[column]))
            if task not in self._found and self._can_fit(column):
                group = groups.setdefault(self._rows_key(column), [])
                if task not in group:
                    group.append(task)
        for key, tasks in groups.items():
            problem = self._problem(key)
            classes = len(self._present()) if self.kind == "multiclass" else 1
            at_once = max(1, AT_ONCE // (classes * max(1, problem.matrix.count)))
            for start in range(0, len(tasks), at_once):
                self._solve_batch(problem, key, tasks[start : start + at_once])

    def _can_fit(self, column: int) -> bool:
        if self.kind == "multiclass":
            return len(self._present()) > 1
        return self._why_not(column) is None

    def _rows_key(self, column: int) -> bytes:
        """Return the rows a label is fitted on: empty for all, else its packed mask."""
        known = self.known[:, column]
        own = not known.all() and int(known.sum()) < 2 * int(self.features.shape[1])
        return np.packbits(known).tobytes() if own else b""

    def _problem(self, key: bytes) -> Problem:
        if key not in self._problems:
            rows = self._rows(key)
            resident = self.resident or rows is not None
            centred = CentredMatrix.of(
                self.features, rows, device=torch.device(self.device), resident=resident
            )
            if len(self._problems) >= 4:  # labels with masks of their own come one after another
                del self._problems[next(iter(self._problems))]
            self._problems[key] = Problem.of(centred)
        return self._problems[key]

    def _rows(self, key: bytes) -> npt.NDArray[np.intp] | None:
        if key == b"":
            return None
        mask = np.unpackbits(np.frombuffer(key, np.uint8), count=len(self.known))
        return np.flatnonzero(mask)

    def _solve_batch(self, problem: Problem, key: bytes, tasks: list[tuple[int, float]]) -> None:
        rows = self._rows(key)
        part = slice(None) if rows is None else rows
        truth, weight, link = self._targets([column for column, _ in tasks], part)
        strengths = np.array([C for _, C in tasks]) * problem.unit**2
        x, iterations, gaps = solve_batch(problem, link, truth, weight, strengths, self.max_iter)
        for i, (column, C) in enumerate(tasks):
            weights, intercept = problem.to_raw(x[i])
            if self.kind == "multiclass" and len(weights) == 1:
                weights = np.vstack([0 * weights, weights])
                intercept = np.append(0.0, intercept)
            self._found[column, C] = _Solution(
                weights, intercept, int(iterations[i]), float(gaps[i])
            )

    def _targets(
        self, columns: list[int], part: slice | npt.NDArray[np.intp]
    ) -> tuple[torch.Tensor, torch.Tensor, Link]:
        """Return truth (G, K, N) and weights (G, 1, N) of the rows, and the likelihood."""
        link: Link = Sigmoid()
        if self.kind == "multiclass":
            present = self._present()
            one_hot, known = self._positive[part][:, present], self.known[part][:, 0]
            share = one_hot.sum(axis=0) * len(present)
            # Two classes are one sigmoid, never a softmax whose two rows share the penalty.
            truth = one_hot[:, 1:] if len(present) == 2 else one_hot
            link = Sigmoid() if len(present) == 2 else Softmax()
            truths, masks = np.repeat(truth.T[None], len(columns), 0), known[None]
            factor = one_hot @ (known.sum() / share) if self.balanced else np.ones(len(known))
            weights = np.repeat((masks * factor)[:, None], len(columns), 0)
        else:
            positive, known = self._positive[part].T[columns], self.known[part].T[columns]
            truths = positive[:, None]
            weights = known[:, None].astype(np.float64)
            if self.balanced:
                total, rarer = known.sum(1, keepdims=True), positive.sum(1, keepdims=True)
                share = np.where(positive, rarer, total - rarer)
                weights *= (total / (2 * np.maximum(share, 1)))[:, None]
        return (
            torch.from_numpy(np.ascontiguousarray(truths, dtype=np.float64)),
            torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float64)),
            link,
        )


def _checked(C: float | None, name: str) -> float:
    if C is None or not 0 < C < float("inf"):
        raise DataError(f"C must be a positive number. Got {C} for {name!r} instead.")
    return float(C)
