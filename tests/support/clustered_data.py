"""Made-up test sets with a known truth: several images per patient, correlated labels, two models.

Each label is a thresholded Gaussian with a patient effect that the labels of a patient share in
part. Within a class, the score of a model is Gaussian with variance 1 and a patient effect, and
positives lie `shift` higher. So the AUROC of images of different patients is Φ(shift / √2), and the
logits given here are calibrated: intercept 0 and slope 1 over the population.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.integrate import quad
from scipy.stats import norm

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """How the data are drawn."""

    patients: int = 60
    """Number of patients."""
    labels: int = 3
    """Number of labels."""
    prevalence: float = 0.2
    """Of every label, over images."""
    auroc: float = 0.8
    """Of every label and of both models, over the population."""
    label_icc: float = 0.5
    """Correlation of the latent label of two images of a patient."""
    score_icc: float = 0.4
    """Correlation of the scores of two images of a patient, within a class."""
    between_labels: float = 0.3
    """Correlation of the patient effects of two labels."""
    between_models: float = 0.6
    """Correlation of the scores of two models on an image, within a class."""
    images: tuple[int, int] = (1, 8)
    """Least and greatest number of images of a patient, drawn uniformly."""
    masked: float = 0.0
    """Share of (image, label) pairs that are not known."""
    grid: float | None = None
    """Logits are rounded to multiples of this, so that they tie; None rounds nothing."""

    @property
    def shift(self) -> float:
        """How much higher positives score, in standard deviations."""
        return float(np.sqrt(2) * norm.ppf(self.auroc))


@dataclass(frozen=True)
class ClusteredData:
    """The images of one test set."""

    y_true: npt.NDArray[np.int8]
    """(N, L) of 0 and 1."""
    known: npt.NDArray[np.bool_]
    """(N, L)."""
    logits: tuple[FloatArray, FloatArray]
    """(N, L) of the first and of the second model."""
    patients: npt.NDArray[np.str_]
    """(N,) ids; a patient's images are not adjacent."""


def draw(
    design: Design, rng: np.random.Generator, *, sizes: Sequence[int] | None = None
) -> ClusteredData:
    """Draw one test set.

    Args:
        design: how.
        rng: draws.
        sizes: images of every patient; None draws them by `design.images`.
    """
    least, greatest = design.images
    counts = rng.integers(least, greatest + 1, design.patients) if sizes is None else list(sizes)
    owner = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    latent = _nested(design, rng, owner, design.label_icc)
    y_true = (latent > norm.isf(design.prevalence)).astype(np.int8)
    shared, *own = (_nested(design, rng, owner, design.score_icc) for _ in range(3))
    mix = design.between_models
    noise = [np.sqrt(mix) * shared + np.sqrt(1 - mix) * one for one in own]
    first, second = (_logits(design, design.shift * y_true + one) for one in noise)
    known = rng.random(y_true.shape) >= design.masked
    return ClusteredData(y_true, known, (first, second), np.array([f"p{o:05d}" for o in owner]))


def _nested(
    design: Design, rng: np.random.Generator, owner: npt.NDArray[np.intp], icc: float
) -> FloatArray:
    """Return standard normal numbers (N, L) with a patient effect of variance `icc`."""
    patients, labels = int(owner.max()) + 1, design.labels
    mix = design.between_labels
    effect = np.sqrt(mix) * rng.standard_normal((patients, 1))
    effect = effect + np.sqrt(1 - mix) * rng.standard_normal((patients, labels))
    alone = rng.standard_normal((len(owner), labels))
    return np.asarray(np.sqrt(icc) * effect[owner] + np.sqrt(1 - icc) * alone, dtype=np.float64)


def _logits(design: Design, score: FloatArray) -> FloatArray:
    """Return log-odds of a positive given the score alone, perhaps rounded."""
    odds = np.log(design.prevalence / (1 - design.prevalence))
    logits: FloatArray = odds + design.shift * (score - design.shift / 2)
    return logits if design.grid is None else np.round(logits / design.grid) * design.grid


def true_average_precision(design: Design) -> float:
    """Return the average precision over the population: precision integrated over recall."""

    def precision(recall: float) -> float:
        threshold = design.shift + norm.isf(recall)
        true = design.prevalence * recall
        return float(true / (true + (1 - design.prevalence) * norm.sf(threshold)))

    return float(quad(precision, 0, 1, epsabs=1e-10)[0])


def true_brier(design: Design) -> float:
    """Return the Brier score of the logits over the population: the mean of p (1 - p)."""

    def term(score: float) -> float:
        positive = design.prevalence * norm.pdf(score - design.shift)
        negative = (1 - design.prevalence) * norm.pdf(score)
        return float(positive * negative / (positive + negative))

    return float(quad(term, -12, 12 + design.shift, epsabs=1e-10)[0])
