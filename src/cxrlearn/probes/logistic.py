"""Fitting a logistic probe with scikit-learn's solver, its convergence turned into data."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from cxrlearn.errors import DataError
from cxrlearn.probes.model import (
    FloatArray,
    LabelFit,
    LogisticFit,
    check_features,
    why_not_fitted,
)
from cxrlearn.probes.problem import relative_gap

if TYPE_CHECKING:
    from collections.abc import Sequence

BoolArray = npt.NDArray[np.bool_]

DEFAULT_C = 0.0327
"""C of the original program for labels of two values."""
DEFAULT_C_MULTICLASS = 0.316
"""C of the original program for several classes."""
MAX_ITER = 500
"""Most iterations of the solver, as in the original program."""
TOLERANCE = 1e-6
"""The solver stops once no component of the gradient of the mean objective exceeds this."""
SOLVER = "scikit-learn lbfgs, float64"
"""The solver's name in reports."""
OBJECTIVE = "C · Σ log-loss + ½‖w‖², intercept not penalised, features not standardised"
"""What is minimised, as written in reports."""
OBJECTIVE_STANDARDIZED = (
    "C · Σ log-loss + ½‖w‖², intercept not penalised, each feature divided by its standard "
    "deviation in train"
)
"""The same with `--standardize`."""


def fit_logistic(  # noqa: PLR0913 - keyword-only past the data
    features: npt.ArrayLike,
    values: npt.ArrayLike,
    known: npt.ArrayLike,
    kind: str,
    *,
    names: Sequence[str],
    C: float | Sequence[float | None],
    max_iter: int = MAX_ITER,
    seed: int = 0,
    tol: float = TOLERANCE,
    balanced: bool = False,
    ids: Sequence[str] | None = None,
) -> LogisticFit:
    """Minimise C · Σ log-loss + ½‖w‖² for each label over its known rows.

    The intercept is not penalised and nothing is standardised. A label of two values is one
    sigmoid. Classes are fitted together as a softmax with the weight rows of all classes
    penalised. A label with one class among its known rows is not fitted, with the reason.
    The same input gives the same weights (for the same number of BLAS threads).

    Args:
        features: (N, D) real and finite.
        values: (N, L) of 0 and 1; multi-class: one-hot.
        known: (N, L) bool; rows where it is False do not enter that label's fit.
        kind: "binary", "multilabel" or "multiclass".
        names: L labels or classes.
        C: positive; one for all labels or one each (None: for a label that cannot be fitted);
            multi-class: one.
        max_iter: most iterations.
        seed: handed to the solver, which draws nothing.
        tol: tolerance of the solver.
        balanced: weight rows inversely to the frequency of their class.
        ids: (N,) names of the rows, for errors.

    Raises:
        DataError: shapes differ, or features are NaN or infinite: how many rows, and the first id.
    """
    matrix = check_features(features, ids)
    truth, mask = np.asarray(values), np.asarray(known, dtype=bool)
    if truth.shape != (len(matrix), len(names)) or mask.shape != truth.shape:
        raise DataError(
            f"Labels and their mask must have shape {(len(matrix), len(names))}, rows by labels. "
            f"Got {truth.shape} and {mask.shape} instead."
        )
    problem = _Problem.of(matrix, _Solver(max_iter, seed, tol, balanced))
    each = [float(C)] * len(names) if isinstance(C, (int, float)) else list(C)
    if len(each) != len(names):
        raise DataError(f"C must be one number or one for each label. Got {len(each)}.")
    positive = (truth == 1) & mask
    if kind == "multiclass":
        return _fit_classes(problem, positive, mask[:, 0], names, each)
    columns = [
        _fit_label(problem, positive[:, i], mask[:, i], names[i], each[i])
        for i in range(len(names))
    ]
    return LogisticFit(
        kind=kind,
        weights=np.array([column.weights for column in columns]).reshape(-1, matrix.shape[1]),
        intercept=np.array([column.intercept for column in columns]),
        labels=tuple(column.account for column in columns),
    )


@dataclass(frozen=True)
class _Solver:
    """scikit-learn's settings that are the same for all labels."""

    max_iter: int
    seed: int
    tol: float
    balanced: bool

    def run(self, features: FloatArray, target: npt.NDArray[np.intp], C: float) -> _Solution:
        """Fit, and catch what the solver warns of."""
        model = LogisticRegression(
            C=C,
            tol=self.tol,
            max_iter=self.max_iter,
            solver="lbfgs",
            random_state=self.seed,
            class_weight="balanced" if self.balanced else None,
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(features, target)
        others = [w for w in caught if not issubclass(w.category, ConvergenceWarning)]
        weights = np.asarray(model.coef_, dtype=np.float64)
        intercept = np.asarray(model.intercept_, dtype=np.float64)
        return _Solution(
            weights=weights,
            intercept=intercept,
            gap=self._gap(features, target, C, weights, intercept),
            iterations=int(np.max(model.n_iter_)),
            converged=len(others) == len(caught),
            notes=tuple(sorted({str(warning.message).split("\n")[0] for warning in others})),
        )

    def _gap(
        self,
        features: FloatArray,
        target: npt.NDArray[np.intp],
        C: float,
        weights: FloatArray,
        intercept: FloatArray,
    ) -> float:
        """Return the certified relative gap, by the same proof as that of our own solver."""
        classes, codes, counts = np.unique(target, return_inverse=True, return_counts=True)
        one_hot = np.eye(len(classes))[codes]
        share = len(target) / (len(classes) * counts)
        row_weight = share[codes] if self.balanced else np.ones(len(target))
        return relative_gap(
            features,
            one_hot[:, 1:] if len(weights) == 1 else one_hot,
            row_weight,
            C,
            np.hstack([weights, intercept[:, None]]),
        )


@dataclass(frozen=True)
class _Solution:
    """What scikit-learn returned: (K or 1, D) weights, (K or 1,) intercepts."""

    weights: FloatArray
    intercept: FloatArray
    gap: float
    iterations: int
    converged: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Problem:
    """The features about their mean, in units of their mean spread.

    Neither step changes the objective: the free intercept absorbs the mean, and one unit s common
    to all features turns C into C·s². Both spare the solver iterations, and make its stopping rule
    the same for features in other units.
    """

    features: FloatArray
    """(N, D): (raw - mean) / unit."""
    mean: FloatArray
    """(D,)."""
    unit: float
    """Root of the mean variance; 1 for features that do not vary."""
    solver: _Solver

    @classmethod
    def of(cls, matrix: npt.NDArray[np.floating], solver: _Solver) -> _Problem:
        features = matrix.astype(np.float64)
        mean = features.mean(axis=0) if len(features) else np.zeros(features.shape[1])
        features -= mean
        unit = float(np.sqrt(np.mean(np.square(features)))) if features.size else 0.0
        unit = unit if unit > 0 else 1.0
        features /= unit
        return cls(features, mean, unit, solver)

    def solve(
        self, rows: BoolArray, target: npt.NDArray[np.intp], C: float | None, name: str
    ) -> _Solution:
        """Fit `target` on `rows`; the solution is for raw features."""
        if C is None or not 0 < C < float("inf"):
            raise DataError(f"C must be a positive number. Got {C} for {name!r} instead.")
        chosen = self.features if rows.all() else self.features[rows]
        inside = self.solver.run(chosen, target[rows], C * self.unit**2)
        weights = inside.weights / self.unit
        return _Solution(
            weights=weights,
            intercept=inside.intercept - weights @ self.mean,
            gap=inside.gap,
            iterations=inside.iterations,
            converged=inside.converged,
            notes=inside.notes,
        )


@dataclass(frozen=True)
class _Column:
    weights: FloatArray
    intercept: float
    account: LabelFit


def _fit_label(
    problem: _Problem, positive: BoolArray, known: BoolArray, name: str, C: float | None
) -> _Column:
    positives, negatives = int(positive.sum()), int((known & ~positive).sum())
    reason = why_not_fitted(positives, negatives)
    if reason is not None:
        account = LabelFit(name, None, None, None, positives, negatives, reason, ())
        return _Column(np.full(problem.features.shape[1], np.nan), np.nan, account)
    solution = problem.solve(known, positive.astype(np.intp), C, name)
    account = LabelFit(
        name=name,
        C=C,
        iterations=solution.iterations,
        converged=solution.converged,
        positives=positives,
        negatives=negatives,
        reason=None,
        notes=solution.notes,
        gap=solution.gap,
    )
    return _Column(solution.weights[0], float(solution.intercept[0]), account)


def _fit_classes(
    problem: _Problem,
    positive: BoolArray,
    known: BoolArray,
    names: Sequence[str],
    each: Sequence[float | None],
) -> LogisticFit:
    counts = positive.sum(axis=0)
    present = np.flatnonzero(counts)
    weights = np.full((len(names), problem.features.shape[1]), np.nan)
    intercept = np.full(len(names), np.nan)
    solution, C = None, None
    if len(present) > 1:
        C = next((c for c in each if c is not None), None)
        solution = problem.solve(known, positive.argmax(axis=1), C, names[int(present[0])])
        two = len(present) == 2  # one sigmoid: the softmax of 0 and the second class's log-odds
        rows = np.vstack([0 * solution.weights, solution.weights]) if two else solution.weights
        shift = np.append(0, solution.intercept) if two else solution.intercept
        weights[present], intercept[present] = rows, shift
    accounts = [
        _class_account(name, int(counts[i]), int(known.sum()), solution, C)
        for i, name in enumerate(names)
    ]
    return LogisticFit("multiclass", weights, intercept, tuple(accounts))


def _class_account(
    name: str, positives: int, known: int, solution: _Solution | None, C: float | None
) -> LabelFit:
    reason = why_not_fitted(positives, known - positives)
    if solution is None or reason is not None:
        reason = reason or "not fitted: no other class in train"
        return LabelFit(name, None, None, None, positives, known - positives, reason, ())
    return LabelFit(
        name=name,
        C=C,
        iterations=solution.iterations,
        converged=solution.converged,
        positives=positives,
        negatives=known - positives,
        reason=None,
        notes=solution.notes,
        gap=solution.gap,
    )


@dataclass(frozen=True)
class LogisticSolver:
    """Fits on one train set for `choose_c`: each C on its own, one label after another."""

    features: npt.NDArray[np.floating]
    """(N, D)."""
    values: npt.NDArray[np.int8]
    """(N, L) of 0 and 1; multi-class: one-hot."""
    known: BoolArray
    """(N, L)."""
    kind: str
    """binary, multilabel or multiclass."""
    names: tuple[str, ...]
    """L labels or classes."""
    max_iter: int = MAX_ITER
    """Most iterations."""
    seed: int = 0
    """Handed to the solver."""
    balanced: bool = False
    """Weight rows inversely to the frequency of their class."""

    def fit(self, values_of_c: float | Sequence[float | None]) -> LogisticFit:
        """Fit every label with its own C; None for labels that cannot be fitted."""
        return self._fit(values_of_c, list(range(len(self.names))))

    def __call__(self, values_of_c: Sequence[float], columns: Sequence[int]) -> list[LogisticFit]:
        """Fit the label columns once for each C."""
        return [self._fit(C, list(columns)) for C in values_of_c]

    def _fit(self, values_of_c: float | Sequence[float | None], columns: list[int]) -> LogisticFit:
        return fit_logistic(
            self.features,
            self.values[:, columns],
            self.known[:, columns],
            self.kind,
            names=[self.names[column] for column in columns],
            C=values_of_c,
            max_iter=self.max_iter,
            seed=self.seed,
            balanced=self.balanced,
        )
