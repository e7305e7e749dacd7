"""The weighted k-nearest-neighbour probe: nothing is fitted but k.

Cosine similarity and weights exp(similarity / 0.07) as in the protocol of DINO (Caron et al., ICCV
2021, after Wu et al., CVPR 2018); the smoothing, and masks by label, are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from cxrlearn.errors import DataError, UsageError
from cxrlearn.probes.labelled import BoolArray, Labelled
from cxrlearn.probes.model import check_features
from cxrlearn.probes.neighbours import nearest, similarities, unit_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cxrlearn.probes.model import FloatArray, LabelFit

TEMPERATURE = 0.07
"""Similarities are divided by it before the exponential: DINO's."""
K_GRID = (5, 10, 20, 50, 100, 200)
"""Numbers of neighbours tried with a validation split."""
DEFAULT_K = 20
"""Without one: DINO's best on ImageNet."""
TIE = 1e-6
"""Relative difference of two losses that counts as a tie; of tied values the larger k is taken."""


class Trial(NamedTuple):
    """One number of neighbours."""

    k: int
    """Neighbours, where a label has that many known train rows."""
    loss: float
    """Mean over labels of validation log-loss / entropy of the label; multi-class: mean
    cross-entropy in nats."""


@dataclass(frozen=True)
class KnnFit:
    """Train rows by direction, and how many of them a new row asks."""

    kind: str
    """binary, multilabel or multiclass."""
    data: Labelled
    """Train: features of length 1 as float32 (a row of zeros stays), labels, known."""
    k: int
    """Neighbours asked for each label, among the rows where it is known."""
    temperature: float
    """Of their weights."""
    labels: tuple[LabelFit, ...]
    """L accounts; C, iterations and converged are None."""
    trials: tuple[Trial, ...]
    """Every k tried; empty where it was given or there was no validation to choose by."""

    @property
    def names(self) -> tuple[str, ...]:
        """The labels or classes, in order."""
        return tuple(label.name for label in self.labels)

    @property
    def not_fitted(self) -> dict[str, str]:
        """Labels without scores, with the reason."""
        return {label.name: label.reason for label in self.labels if label.reason is not None}

    @property
    def at_limit(self) -> bool:
        """Whether the largest or smallest k tried was best: better ones may lie beyond."""
        tried = [trial.k for trial in self.trials]
        return len(tried) > 1 and self.k in {min(tried), max(tried)}

    def decision(self, features: npt.ArrayLike, *, ids: Sequence[str] | None = None) -> FloatArray:
        """Return log-odds (N, L) as float64, finite; NaN for labels that were not fitted.

        The odds of a label are (Σ w of positive neighbours + q) / (Σ w of negative ones + 1 - q):
        the share of positives among the k nearest rows known for it, smoothed by one more
        neighbour of weight 1, the largest there is, that is positive to the train share q.
        w = exp((similarity - that of the nearest) / temperature). Multi-class: each class against
        the rest, and the probabilities of a row add up to one. A train row scored here finds
        itself.

        Args:
            features: (N, D) finite.
            ids: (N,) names of the rows, for errors.

        Raises:
            DataError: a feature is not finite, or D is not that of the fit.
        """
        matrix = check_features(features, ids)
        if matrix.shape[1] != self.data.features.shape[1]:
            raise DataError(
                f"The probe was fitted on {self.data.features.shape[1]} features a row. "
                f"Got {matrix.shape[1]} instead: these are features of another model."
            )
        return _scores(self.data, matrix, (self.k,), self.temperature)[0]

    def probabilities(
        self, features: npt.ArrayLike, *, ids: Sequence[str] | None = None
    ) -> FloatArray:
        """Return the probability of each label (N, L) in (0, 1); see `decision`."""
        return np.asarray(expit(self.decision(features, ids=ids)), dtype=np.float64)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return what a saved probe has to hold: features (N, D), positive and known (N, L)."""
        return {
            "features": self.data.features,
            "positive": self.data.positive,
            "known": self.data.known,
        }

    @classmethod
    def from_arrays(
        cls,
        arrays: dict[str, npt.NDArray[np.generic]],
        kind: str,
        *,
        names: Sequence[str],
        k: int,
        temperature: float = TEMPERATURE,
        trials: tuple[Trial, ...] = (),
    ) -> KnnFit:
        """Rebuild a probe, equal to the bit, from its `arrays`."""
        data = Labelled.of(
            arrays["features"], arrays["positive"], arrays["known"], labels=len(names)
        )
        return cls(kind, data, k, temperature, data.accounts(names, None), trials)


def fit_knn(  # noqa: PLR0913 - keyword-only past the data
    features: npt.ArrayLike,
    values: npt.ArrayLike,
    known: npt.ArrayLike,
    kind: str,
    *,
    names: Sequence[str],
    k: int | None = None,
    validation: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | None = None,
    temperature: float = TEMPERATURE,
    ids: Sequence[str] | None = None,
) -> KnnFit:
    """Keep the train rows, and choose k on validation.

    Of K_GRID (up to the number of train rows) that k is taken whose validation log-loss is least:
    the mean over labels with both classes in validation of the loss / the entropy of the label;
    multi-class: the mean cross-entropy. Ties go to the larger k. Where nothing decides: DEFAULT_K.

    Args:
        features: (N, D) real and finite; only their direction counts.
        values: (N, L) of 0 and 1; multi-class: one-hot.
        known: (N, L) bool; a label asks only rows where it is True.
        kind: "binary", "multilabel" or "multiclass".
        names: L labels or classes.
        k: neighbours; None: chosen.
        validation: features, values, known by which k is chosen.
        temperature: of the weights of neighbours.
        ids: (N,) names of the rows, for errors.

    Raises:
        DataError: shapes differ, or features are NaN or infinite.
        UsageError: k or temperature is not positive.
    """
    if k is not None and k < 1:
        raise UsageError(f"k must be positive, got {k}.")
    if not temperature > 0:
        raise UsageError(f"The temperature must be positive, got {temperature}.")
    raw = Labelled.of(features, values, known, labels=len(names), ids=ids)
    data = Labelled(unit_rows(raw.features), raw.positive, raw.known)
    trials: tuple[Trial, ...] = ()
    if k is None and validation is not None:
        held_out = Labelled.of(*validation, labels=len(names))
        trials = _try_all(data, held_out, kind, temperature)
    chosen = k if k is not None else _choose(trials)
    return KnnFit(kind, data, chosen, temperature, data.accounts(names, None), trials)


def _choose(trials: tuple[Trial, ...]) -> int:
    if not trials:
        return DEFAULT_K
    least = min(trial.loss for trial in trials)
    return max(trial.k for trial in trials if trial.loss <= least * (1 + TIE))


def _try_all(
    data: Labelled, held_out: Labelled, kind: str, temperature: float
) -> tuple[Trial, ...]:
    """Return the validation loss of every k that train is large enough for."""
    if held_out.features.shape[1] != data.features.shape[1]:
        raise DataError(
            f"Validation has {held_out.features.shape[1]} features a row, train has "
            f"{data.features.shape[1]}: they are of two models."
        )
    grid = tuple(k for k in K_GRID if k <= len(data.features))
    scores = _scores(data, held_out.features, grid, temperature)
    losses = [_loss(odds, held_out, kind) for odds in scores]
    return tuple(Trial(k, loss) for k, loss in zip(grid, losses, strict=True) if loss is not None)


def _loss(odds: FloatArray, held_out: Labelled, kind: str) -> float | None:
    """Return the loss of a `Trial`; None where validation holds nothing that counts."""
    counted = held_out.known & ~np.isnan(odds)
    losses = np.zeros_like(odds)
    np.logaddexp(0, np.where(held_out.positive, -odds, odds), where=counted, out=losses)
    if kind == "multiclass":  # -log p of the true class
        own = losses[counted & held_out.positive]
        return float(own.mean()) if len(own) else None
    relative = []
    for column in held_out.fittable().tolist():
        rows = counted[:, column]
        if rows.any():  # all known rows of a label that train could fit
            share = held_out.positive[rows, column].mean()
            entropy = -share * np.log(share) - (1 - share) * np.log1p(-share)
            relative.append(losses[rows, column].mean() / entropy)
    return float(np.mean(relative)) if relative else None


def _scores(
    data: Labelled, features: npt.NDArray[np.floating], grid: Sequence[int], temperature: float
) -> list[FloatArray]:
    """Return the log-odds (N, L) for each k of the grid."""
    scores = [np.full((len(features), data.known.shape[1]), np.nan) for _ in grid]
    columns = data.fittable()
    if not len(columns) or not grid:
        return scores
    groups = _by_mask(data, columns)
    for block, similarity in similarities(data.features, features):
        for rows, members in groups:
            near = similarity if len(rows) == len(data.features) else similarity[:, rows]
            order = nearest(near, max(grid))
            weight = _weights(np.take_along_axis(near, order, axis=1), temperature)
            for column in members:
                positive = data.positive[rows, column]
                for odds, of_k in zip(
                    scores, _log_odds(weight, positive, order, grid), strict=True
                ):
                    odds[block, column] = of_k
    return scores


def _by_mask(
    data: Labelled, columns: npt.NDArray[np.intp]
) -> list[tuple[npt.NDArray[np.intp], list[int]]]:
    """Return the known rows of labels and the labels that share them: one search for each."""
    groups: dict[bytes, tuple[npt.NDArray[np.intp], list[int]]] = {}
    for column in columns.tolist():
        known = data.known[:, column]
        group = groups.setdefault(known.tobytes(), (np.flatnonzero(known), []))
        group[1].append(column)
    return list(groups.values())


def _weights(similarity: FloatArray, temperature: float) -> FloatArray:
    """Return exp of falling similarities (n, k) over the temperature, the nearest one's being 1."""
    return np.asarray(np.exp((similarity - similarity[:, :1]) / temperature), dtype=np.float64)


def _log_odds(
    weight: FloatArray, positive: BoolArray, order: npt.NDArray[np.intp], grid: Sequence[int]
) -> Iterator[FloatArray]:
    """Yield the smoothed log-odds (n,) of one label for each k of the grid.

    Args:
        weight: (n, most neighbours), nearest first.
        positive: of all rows where the label is known; its share is the prior.
        order: (n, most neighbours) positions in `positive`.
        grid: numbers of neighbours.
    """
    prior = positive.mean()
    yes = (weight * positive[order]).cumsum(axis=1)
    no = (weight * ~positive[order]).cumsum(axis=1)
    for k in grid:
        last = min(k, weight.shape[1]) - 1
        yield np.log(yes[:, last] + prior) - np.log(no[:, last] + 1 - prior)
