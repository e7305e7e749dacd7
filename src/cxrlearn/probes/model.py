"""A fitted logistic probe: weights for raw features, log-odds and probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logsumexp

from cxrlearn.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray = npt.NDArray[np.float64]
ROWS_AT_ONCE = 64
"""A multiple of the rows that the kernels of matrix products take at once."""


@dataclass(frozen=True)
class LabelFit:
    """How the fit of one label went."""

    name: str
    """The label or class."""
    C: float | None
    """Inverse regularisation strength; None where nothing was fitted."""
    iterations: int | None
    """Iterations of the solver; all classes of a multi-class fit share them."""
    converged: bool | None
    """False: stopped before the tolerance was met; None where nothing was fitted."""
    positives: int
    """Known positive rows it was fitted on."""
    negatives: int
    """Known negative rows it was fitted on."""
    reason: str | None
    """Why this label was not fitted."""
    notes: tuple[str, ...]
    """What the solver warned of."""
    gap: float | None = None
    """Certified upper bound of (objective - minimum) / objective; None without a certificate."""


@dataclass(frozen=True)
class LogisticFit:
    """Weights for raw features, one row a label."""

    kind: str
    """binary and multilabel: one sigmoid a label; multiclass: one softmax over the classes."""
    weights: FloatArray
    """(L, D); NaN for a label that was not fitted."""
    intercept: FloatArray
    """(L,); NaN for a label that was not fitted."""
    labels: tuple[LabelFit, ...]
    """L accounts, in the order of the rows."""

    @property
    def names(self) -> tuple[str, ...]:
        """The labels or classes, in order."""
        return tuple(label.name for label in self.labels)

    @property
    def not_fitted(self) -> dict[str, str]:
        """Labels without scores, with the reason."""
        return {label.name: label.reason for label in self.labels if label.reason is not None}

    def decision(self, features: npt.ArrayLike, *, ids: Sequence[str] | None = None) -> FloatArray:
        """Return log-odds (N, L) as float64, NaN for labels that were not fitted.

        Multi-class: the log-odds of each class against the rest, log(p / (1 - p)). So for every
        kind of task the probability is the sigmoid of this, and this has the order of the
        probability without its rounding near 0 and 1.

        Args:
            features: (N, D) finite.
            ids: (N,) names of the rows, for errors.

        Raises:
            DataError: a feature is not finite, or D is not that of the fit.
        """
        matrix = check_features(features, ids)
        if matrix.shape[1] != self.weights.shape[1]:
            raise DataError(
                f"The probe was fitted on {self.weights.shape[1]} features a row. "
                f"Got {matrix.shape[1]} instead: these are features of another model."
            )
        linear = row_products(matrix, self.weights) + self.intercept
        return _one_versus_rest(linear) if self.kind == "multiclass" else linear

    def probabilities(
        self, features: npt.ArrayLike, *, ids: Sequence[str] | None = None
    ) -> FloatArray:
        """Return the probability of each label (N, L) in [0, 1]; see `decision`."""
        return np.asarray(expit(self.decision(features, ids=ids)), dtype=np.float64)


def _one_versus_rest(linear: FloatArray) -> FloatArray:
    odds = np.full_like(linear, np.nan)
    fitted = np.flatnonzero(~np.isnan(linear).any(axis=0))
    if len(linear) and len(fitted) > 1:
        for label in fitted:
            rest = linear[:, fitted[fitted != label]]
            odds[:, label] = linear[:, label] - logsumexp(rest, axis=1)
    return odds


def row_products(matrix: npt.NDArray[np.floating], weights: npt.NDArray[np.floating]) -> FloatArray:
    """Return matrix @ weights.T in float64; the other rows change no bit of a row.

    Libraries compute the last few rows of a product in another order of sums. So rows are padded
    with zeros to a multiple of what these take at once: equal images tie, in any order and number.

    Args:
        matrix: (N, D).
        weights: (L, D).
    """
    padded = np.zeros((-(-len(matrix) // ROWS_AT_ONCE) * ROWS_AT_ONCE, matrix.shape[1]))
    padded[: len(matrix)] = matrix
    return np.asarray((padded @ weights.T)[: len(matrix)], dtype=np.float64)


def check_features(
    features: npt.ArrayLike, ids: Sequence[str] | None = None
) -> npt.NDArray[np.floating]:
    """Return features (N, D) of any float type, checked to be finite.

    Raises:
        DataError: not a matrix, or NaN or infinite: in how many rows, and the first one's id.
    """
    matrix = np.asarray(features)
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.floating):
        raise DataError(
            "Features must be a matrix of floating-point numbers, rows by features. "
            f"Got {matrix.dtype} of shape {matrix.shape} instead."
        )
    if ids is not None and len(ids) != len(matrix):
        raise DataError(f"{len(matrix)} feature rows came with {len(ids)} ids.")
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(bad):
        first = f"row {int(bad[0])}" if ids is None else repr(ids[int(bad[0])])
        raise DataError(
            f"{len(bad):,} of {len(matrix):,} feature rows hold NaN or infinite values, the first "
            f"is {first}. Embed these images again, or leave them out of the manifest."
        )
    return matrix


def why_not_fitted(positives: int, negatives: int) -> str | None:
    """Say why a label with these known train rows cannot be fitted; None where it can.

    Example:
        >>> why_not_fitted(0, 100)
        'not fitted: no positives among 100 known rows of train'
    """
    if positives and negatives:
        return None
    known = positives + negatives
    if known == 0:
        return "not fitted: no known rows in train"
    missing = "positives" if positives == 0 else "negatives"
    return f"not fitted: no {missing} among {known:,} known rows of train"
