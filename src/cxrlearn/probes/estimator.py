"""The batched solver as a scikit-learn classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from cxrlearn.probes.batched import BatchedLogistic

if TYPE_CHECKING:
    import numpy.typing as npt


class LogisticProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped
    """Logistic regression with a certificate, for one label, several labels or several classes.

    It minimises C · Σ weight · log-loss + ½‖w‖² with a free intercept, as scikit-learn's
    `LogisticRegression` does, and says for each fit how far it can be from the minimum.

    Args:
        C: inverse regularisation strength, positive.
        balanced: weight rows inversely to the frequency of their class.
        max_iter: most iterations in each precision.
        device: "cpu" or "cuda".

    Attributes:
        classes_: the classes, sorted; for several labels 0 and 1.
        coef_: (1, D) for two classes, (K, D) for K, (L, D) for L labels.
        intercept_: (1,), (K,) or (L,).
        n_iter_: (1,) or (L,) iterations.
        gap_: (1,) or (L,) certified upper bound of (objective - minimum) / objective.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(100, 5)); y = X[:, 0] + rng.normal(size=100) > 0
        >>> probe = LogisticProbe(C=0.1).fit(X, y)
        >>> probe.predict_proba(X).shape, bool(probe.gap_[0] < 1e-6)
        ((100, 2), True)
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        balanced: bool = False,
        max_iter: int = 500,
        device: str = "cpu",
    ) -> None:
        """Keep the parameters; they are checked by `fit`, as scikit-learn asks for."""
        self.C = C
        self.balanced = balanced
        self.max_iter = max_iter
        self.device = device

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> LogisticProbe:
        """Fit.

        Args:
            X: (N, D) real and finite.
            y: (N,) classes; or (N, L) of 0 and 1 for L labels, where NaN masks a label of a row.

        Raises:
            ValueError: shapes or values do not fit, or there are fewer than two classes.
        """
        floats = (np.float64, np.float32)
        if _has_blanks(y):
            X = validate_data(self, X, dtype=floats)
        else:
            X, y = validate_data(self, X, y, dtype=floats, multi_output=True)
        matrix, target = np.asarray(X), np.asarray(y)
        if len(target) != len(matrix):
            raise ValueError(f"X has {len(matrix)} rows, y has {len(target)}.")
        if target.ndim == 2 and target.shape[1] > 1:
            return self._fit_labels(matrix, target)
        return self._fit_classes(matrix, column_or_1d(target, warn=True))

    def _fit_classes(
        self, matrix: npt.NDArray[np.floating], target: npt.NDArray[Any]
    ) -> LogisticProbe:
        check_classification_targets(target)
        self.classes_, codes = np.unique(target, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "LogisticProbe needs at least two classes to tell apart; the data hold one class: "
                f"{self.classes_[0]!r}."
            )
        one_hot = np.eye(len(self.classes_), dtype=np.int8)[codes]
        fit = self._solver(matrix, one_hot, np.ones(one_hot.shape, bool), "multiclass").fit(self.C)
        two = len(self.classes_) == 2
        self.coef_ = fit.weights[1:] if two else fit.weights
        self.intercept_ = fit.intercept[1:] if two else fit.intercept
        self.n_iter_ = np.array([fit.labels[0].iterations])
        self.gap_ = np.array([fit.labels[0].gap])
        self.multilabel_ = False
        return self

    def _fit_labels(
        self, matrix: npt.NDArray[np.floating], target: npt.NDArray[Any]
    ) -> LogisticProbe:
        numbers = target.astype(np.float64)
        known = ~np.isnan(numbers)
        if not np.isin(numbers[known], (0, 1)).all():
            raise ValueError("The labels of several columns must be 0, 1 or NaN for unknown.")
        one_sided = [
            column
            for column in range(numbers.shape[1])
            if len(np.unique(numbers[known[:, column], column])) < 2
        ]
        if one_sided:
            raise ValueError(f"Label {one_sided[0]} has fewer than two classes among known rows.")
        positive = np.where(known, numbers, 0).astype(np.int8)
        fit = self._solver(matrix, positive, known, "multilabel").fit(self.C)
        self.classes_ = np.array([0, 1])
        self.coef_, self.intercept_ = fit.weights, fit.intercept
        self.n_iter_ = np.array([label.iterations for label in fit.labels])
        self.gap_ = np.array([label.gap for label in fit.labels])
        self.multilabel_ = True
        return self

    def _solver(
        self,
        matrix: npt.NDArray[np.floating],
        values: npt.NDArray[np.int8],
        known: npt.NDArray[np.bool_],
        kind: str,
    ) -> BatchedLogistic:
        if not 0 < float(self.C) < float("inf"):
            raise ValueError(f"C must be a positive number. Got {self.C} instead.")
        return BatchedLogistic(
            matrix,
            values,
            known,
            kind,
            tuple(map(str, range(values.shape[1]))),
            max_iter=self.max_iter,
            balanced=self.balanced,
            device=self.device,
        )

    def decision_function(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return log-odds (N,) for two classes, margins (N, K), or log-odds (N, L) for labels."""
        check_is_fitted(self)
        matrix = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        margins = np.asarray(matrix @ self.coef_.T + self.intercept_, dtype=np.float64)
        return margins[:, 0] if margins.shape[1] == 1 else margins

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return (N, K) probabilities of the classes, or (N, L) of the labels being 1."""
        margins = self.decision_function(X)
        if margins.ndim == 1:
            return np.stack([expit(-margins), expit(margins)], axis=1)
        return np.asarray(expit(margins) if self.multilabel_ else softmax(margins, axis=1))

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the most probable class (N,), or (N, L) labels at a probability above one half."""
        margins = self.decision_function(X)
        if margins.ndim == 1:
            return np.asarray(self.classes_[(margins > 0).astype(int)])
        if self.multilabel_:
            return np.asarray((margins > 0).astype(int))
        return np.asarray(self.classes_[margins.argmax(axis=1)])

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's own protocol
        """Say that several labels are welcome."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = True
        return tags


def _has_blanks(y: npt.ArrayLike) -> bool:
    """Return whether labels of several columns are masked, which scikit-learn's check refuses."""
    target = np.asarray(y)
    two_columns = target.ndim == 2 and target.shape[1] > 1
    return two_columns and target.dtype.kind == "f" and bool(np.isnan(target).any())
