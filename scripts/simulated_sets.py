"""Simulated test sets whose true numbers are known: the data of `coverage_study.py`.

Patients have one or several images. Whether an image shows a finding is decided by a normal
variable, of whose variance 60 % belong to the patient; scores are normal with equal variances, and
half of that variance belongs to the patient. Half of what belongs to a patient is common to all
labels. Truth and scores share nothing but the effect of the finding, so an image drawn at random
has normal scores given its truth, and every true number follows from a formula or an integral.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr, ndtri

from cxrlearn.evaluation.metrics import auroc_score
from cxrlearn.evaluation.thresholds import Threshold

if TYPE_CHECKING:
    from collections.abc import Callable

OF_PATIENT_IN_TRUTH = 0.6
"""Share of the variance behind a finding that belongs to the patient."""
OF_PATIENT_IN_SCORE = 0.5
"""Share of the variance of a score that belongs to the patient."""
COMMON_TO_LABELS = 0.5
"""Share of the patient's part that all labels have in common."""
DOMINATED = "180 of 231 of one"
"""Images of patients where one has most of them; the others have one each."""
DOMINANT = 180
"""Images of the one patient who has most of them."""
POPULATION = 200
"""Sets that are taken as one where no formula gives the truth."""
_GRID = np.linspace(-9, 9, 2001)
"""Where normal densities are integrated, in standard deviations."""
_DENSITY = np.exp(-(_GRID**2) / 2) / np.exp(-(_GRID**2) / 2).sum()

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.intp]
Drawing = tuple[Bools, Floats, list[str]]
"""Truth (N, L), log-odds (N, L) and patients (N,) of a set."""


@dataclass(frozen=True)
class Label:
    """Log-odds of one label, normal given the truth, and its true numbers."""

    auroc: float
    """True value, above 0.5."""
    prevalence: float
    """Share of positive images."""
    stretch: float = 1.0
    """Factor of calibrated log-odds: above 1, probabilities are too extreme."""
    offset: float = 0.0
    """Added to the log-odds: above 0, probabilities are too high."""

    @property
    def shift(self) -> float:
        """Distance of the two classes in standard deviations."""
        return math.sqrt(2) * float(ndtri(self.auroc))

    def log_odds(self, score: Floats) -> Floats:
        """Turn scores, N(shift, 1) for positives and N(0, 1) for negatives, into log-odds."""
        calibrated = self.shift * score - self.shift**2 / 2 + logit(self.prevalence)
        return np.asarray(self.stretch * calibrated + self.offset)

    def tail(self, level: npt.ArrayLike, *, positive: bool) -> Floats:
        """Return the share of images of a class whose log-odds are at least `level`."""
        calibrated = (np.asarray(level) - self.offset) / self.stretch
        score = (calibrated - logit(self.prevalence) + self.shift**2 / 2) / self.shift
        return np.asarray(ndtr((self.shift if positive else 0.0) - score))

    def mean(self, of_positive: Floats, of_negative: Floats) -> float:
        """Average what images with `_GRID` as standardised scores have over both classes."""
        positive, negative = float(of_positive @ _DENSITY), float(of_negative @ _DENSITY)
        return self.prevalence * positive + (1 - self.prevalence) * negative

    @cached_property
    def brier(self) -> float:
        """Mean squared error of the probability."""
        positive, negative = self.log_odds(_GRID + self.shift), self.log_odds(_GRID)
        return self.mean(expit(-positive) ** 2, expit(negative) ** 2)

    @property
    def slope(self) -> float:
        """Calibration slope."""
        return 1 / self.stretch

    @cached_property
    def intercept(self) -> float:
        """Calibration in the large: what added to the log-odds gives the right mean."""
        positive, negative = self.log_odds(_GRID + self.shift), self.log_odds(_GRID)

        def excess(added: float) -> float:
            return self.mean(expit(added + positive), expit(added + negative)) - self.prevalence

        return float(brentq(excess, -10, 10))

    def threshold(self, sensitivity: float) -> float:
        """Return the log-odds at or above which that share of positive images lies."""
        return float(self.log_odds(np.array(self.shift - ndtri(sensitivity))))

    def rates(self, sensitivity: float) -> dict[str, float]:
        """Return what is true at the threshold of that sensitivity."""
        specificity = 1 - float(self.tail(self.threshold(sensitivity), positive=False))
        true, missed = self.prevalence * sensitivity, self.prevalence * (1 - sensitivity)
        passed, false = (
            (1 - self.prevalence) * specificity,
            (1 - self.prevalence) * (1 - specificity),
        )
        return {
            "sensitivity": sensitivity,
            "specificity": specificity,
            "ppv": true / (true + false),
            "npv": passed / (passed + missed),
            "f1": 2 * true / (2 * true + false + missed),
        }


@functools.cache
def pooled_auroc(labels: tuple[Label, ...]) -> float:
    """Return the true AUROC of the images of several labels taken as one label's."""
    wins = pairs = 0.0
    for one in labels:
        for other in labels:
            weight = one.prevalence * (1 - other.prevalence)
            level = one.log_odds(_GRID + one.shift)
            wins += weight * (1 - float(other.tail(level, positive=False) @ _DENSITY))
            pairs += weight
    return wins / pairs


@functools.cache
def pooled_precision(labels: tuple[Label, ...]) -> float:
    """Return the true average precision of the images of several labels taken as one label's."""
    total = 0.0
    for one in labels:
        level = one.log_odds(_GRID + one.shift)
        true = sum(each.prevalence * each.tail(level, positive=True) for each in labels)
        false = sum((1 - each.prevalence) * each.tail(level, positive=False) for each in labels)
        total += one.prevalence * float((true / (true + false)) @ _DENSITY)
    return total / sum(each.prevalence for each in labels)


@dataclass(frozen=True)
class Design:
    """How test sets of one kind are drawn."""

    auroc: float | tuple[float, ...] = 0.8
    """True AUROC of all labels, or those of labels 1, 2, …, from the start again at the end."""
    positives: int = 15
    """Expected number of patients with a positive image, of every label."""
    images: str = "several"
    """Of a patient: "one"; "several", 1 + Poisson(2), at most 8; "heavy tail", the largest patient
    having 4 to 23 % of all; `DOMINATED`."""
    patients: int = 300
    """Number of them."""
    labels: int = 14
    """Number of them."""
    uneven: bool = False
    """Labels have 1, 2, 3, 1, … times the prevalence that `positives` needs."""
    stretch: float = 1.0
    """As in `Label`."""
    offset: float = 0.0
    """As in `Label`."""

    def image_counts(self, rng: np.random.Generator) -> Codes:
        """Draw the number of images of each patient."""
        if self.images == DOMINATED:
            return np.append(DOMINANT, np.ones(self.patients - 1, np.intp))
        if self.images == "several":
            return np.minimum(1 + rng.poisson(2, self.patients), 8)
        if self.images == "heavy tail":
            drawn = np.ceil(rng.pareto(1.1, self.patients)).astype(np.intp)
            return np.clip(drawn, 1, 200)
        return np.ones(self.patients, np.intp)

    @cached_property
    def prevalence(self) -> float:
        """Share of positive images at which the expected number of positive patients is right."""
        counts = self.image_counts(np.random.default_rng(0))
        of_patient = math.sqrt(OF_PATIENT_IN_TRUTH) * _GRID[::20]
        weight = _DENSITY[::20] / _DENSITY[::20].sum()

        def found(cut: float) -> float:
            absent = ndtr((cut - of_patient) / math.sqrt(1 - OF_PATIENT_IN_TRUTH))
            return float((1 - absent ** counts[:, None]).sum(axis=0) @ weight)

        return float(ndtr(-brentq(lambda cut: found(cut) - self.positives, -3, 6)))

    @cached_property
    def truth(self) -> tuple[Label, ...]:
        """The labels."""
        aurocs = self.auroc if isinstance(self.auroc, tuple) else (self.auroc,)
        return tuple(
            Label(
                aurocs[i % len(aurocs)],
                self.prevalence * (1 + i % 3 if self.uneven else 1),
                self.stretch,
                self.offset,
            )
            for i in range(self.labels)
        )

    def better(self, by: float) -> Design:
        """Return the same sets, scored by a model whose AUROC is higher by `by`."""
        aurocs = self.auroc if isinstance(self.auroc, tuple) else (self.auroc,)
        return replace(self, auroc=tuple(value + by for value in aurocs))


@dataclass(frozen=True)
class Drawn:
    """One set, truth and patients; scores are made of `noise`."""

    positive: Bools
    """(N, L)."""
    codes: Codes
    """(N,): the patient of each image."""
    noise: Floats
    """(models, N, L): standard normal, independent of the truth."""

    @property
    def patients(self) -> list[str]:
        """(N,) ids."""
        return [f"p{code:05d}" for code in self.codes]

    def log_odds(self, labels: tuple[Label, ...], model: int = 0) -> Floats:
        """Return (N, L) log-odds of a model."""
        columns = [
            label.log_odds(label.shift * self.positive[:, i] + self.noise[model, :, i])
            for i, label in enumerate(labels)
        ]
        return np.stack(columns, axis=1)


def draw(
    design: Design, rng: np.random.Generator, models: int = 1, agreement: float = 0.0
) -> Drawn:
    """Draw one set.

    Args:
        design: its kind.
        rng: random numbers.
        models: number of models that score it.
        agreement: correlation of two models' scores given the truth.
    """
    counts = design.image_counts(rng)
    codes = np.repeat(np.arange(len(counts)), counts)
    latent = _normal(rng, len(counts), codes, design.labels, OF_PATIENT_IN_TRUTH)
    cut = ndtri(1 - np.array([label.prevalence for label in design.truth]))
    common, *own = (
        _normal(rng, len(counts), codes, design.labels, OF_PATIENT_IN_SCORE)
        for _ in range(1 + models)
    )
    noise = math.sqrt(agreement) * common + math.sqrt(1 - agreement) * np.stack(own)
    return Drawn(latent > cut, codes, noise)


def draw_classes(design: Design, rng: np.random.Generator) -> Drawing:
    """Draw a set of classes: class 0 is common, each other has the prevalence of the design.

    Scores are log-odds of each class against the rest, from the probabilities of a softmax.
    """
    data = draw(design, rng)
    first = np.argmax(data.positive[:, 1:], axis=1) + 1
    number = np.where(data.positive[:, 1:].any(axis=1), first, 0)
    positive = number[:, None] == np.arange(design.labels)
    score = design.truth[0].shift * positive + data.noise[0]
    shares = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    return positive, np.asarray(logit(shares)), data.patients


def patient_scores(data: Drawn, rng: np.random.Generator) -> Floats:
    """Return scores (N, L) of few values, one for each patient, that tell little of the truth."""
    patients = int(data.codes.max()) + 1
    ever = np.stack(
        [np.bincount(data.codes, label, minlength=patients) > 0 for label in data.positive.T],
        axis=1,
    )
    return np.round(0.5 * ever + rng.standard_normal(ever.shape))[data.codes]


@functools.cache
def true_auroc(
    design: Design, drawer: Callable[[Design, np.random.Generator], Drawing]
) -> tuple[float, ...]:
    """Return the AUROC of each label over many sets taken as one, where no formula gives it."""
    sets = [drawer(design, np.random.default_rng([0, number])) for number in range(POPULATION)]
    positive, scores = (np.concatenate([one[part] for one in sets]) for part in (0, 1))
    return tuple(map(auroc_score, positive.T, scores.T))


def _normal(
    rng: np.random.Generator, patients: int, codes: Codes, labels: int, of_patient: float
) -> Floats:
    """Draw (N, L) standard normal variables, correlated within patients and between labels."""
    common = math.sqrt(COMMON_TO_LABELS) * rng.standard_normal((patients, 1))
    own = math.sqrt(1 - COMMON_TO_LABELS) * rng.standard_normal((patients, labels))
    row = rng.standard_normal((len(codes), labels))
    return np.asarray(
        math.sqrt(of_patient) * (common + own)[codes] + math.sqrt(1 - of_patient) * row
    )


def at_sensitivity(label: Label, sensitivity: float) -> Threshold:
    """Return a threshold as if chosen on a validation set."""
    return Threshold(f"sensitivity {sensitivity}", label.threshold(sensitivity), None, 100, 100)
