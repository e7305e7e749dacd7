"""From a number and its jackknife to an interval or a test: the one place where either is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy.special import expit, logit, stdtr, stdtrit

from cxrlearn.evaluation.jackknife import mean_of, with_unknown
from cxrlearn.evaluation.newcombe import newcombe_limits
from cxrlearn.evaluation.results import Difference, Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrlearn.evaluation.jackknife import Jackknife

CONFIDENCE = 0.95
"""Nominal coverage of every interval."""
FEW_PATIENTS = 10
"""Below this number of patients in either class an interval or a test carries a caution."""
SAME = 1e-9
"""A standard error of a difference below this is what rounding leaves of two equal orders."""
NO_VARIATION = "no interval: the value is the same whoever is left out"
ONE_ALONE = "no interval: the value cannot be computed without one of its patients or images"
METHOD = (
    "95 % intervals and tests come from the jackknife over {unit}s with Student's t (AUROC of a "
    "label: Newcombe's score interval; shares at a threshold: Wilson's; both with design effect)"
)
"""How intervals are made, as reports say it."""


def undefined(reason: str) -> Estimate:
    """Return the estimate of a number that does not exist."""
    return Estimate(None, None, None, reason, ())


@dataclass(frozen=True)
class Owners:
    """How many patients an interval rests on."""

    positive: int
    """Patients with a positive row."""
    negative: int
    """Patients with a negative row."""
    unit: str
    """"patient", or "image" where no row names a patient."""

    @property
    def rarer(self) -> tuple[int, str]:
        """Number of patients of the rarer class, and which it is."""
        return min((self.positive, "positive"), (self.negative, "negative"))

    def why_no_interval(self) -> str | None:
        """Say why nothing can be said of the variation; None where it can."""
        count, which = self.rarer
        return f"no interval: all {which} rows are of one {self.unit}" if count < 2 else None

    def caution(self) -> tuple[str, ...]:
        """Caution against what rests on few patients of one class; empty with enough."""
        return few(*self.rarer, self.unit)


def few(count: int, which: str, unit: str) -> tuple[str, ...]:
    """Caution against an interval on few patients of the class `which`; empty with enough."""
    if count >= FEW_PATIENTS:
        return ()
    plural = "" if count == 1 else "s"
    return (f"only {count} {which} {unit}{plural}: the interval rests on very few",)


def t_quantile(degrees: float) -> float:
    """Return the two-sided 95 % quantile of Student's t."""
    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


def share_estimate(
    found: Jackknife, *, bias: float = 0.0, cautions: tuple[str, ...] = ()
) -> Estimate:
    """Give a number between 0 and 1 an interval on the logit scale.

    logit(c) ± t · se / (c (1 - c)), where c is the number less its bias, taken off on the logit
    scale so that c stays between 0 and 1. The value is always the number on the data.
    """
    value, error = found.value, found.standard_error
    if math.isnan(error):
        return Estimate(found.value, None, None, ONE_ALONE, ())
    if error == 0 or not 0 < value < 1:
        return Estimate(value, None, None, NO_VARIATION, ())
    middle = float(logit(value)) - bias / (value * (1 - value))
    slope = float(expit(middle) * expit(-middle))  # c (1 - c): c itself may round to 0 or 1
    half = t_quantile(found.degrees_of_freedom) * error / slope if slope > 0 else math.inf
    low, high = (float(expit(middle + side * half)) for side in (-1, 1))
    return Estimate(found.value, low, high, None, cautions)


def real_estimate(
    found: Jackknife, *, reason: str | None = None, cautions: tuple[str, ...] = ()
) -> Estimate:
    """Give a number without bounds the interval value ± t · se, unless there is a reason not to."""
    error = found.standard_error
    if reason is not None:
        return Estimate(found.value, None, None, reason, ())
    if math.isnan(error):
        return Estimate(found.value, None, None, ONE_ALONE, ())
    if error == 0:
        return Estimate(found.value, None, None, NO_VARIATION, ())
    half = t_quantile(found.degrees_of_freedom) * error
    return Estimate(found.value, found.value - half, found.value + half, None, cautions)


def design_effect(by_patient: float, by_row: float, most: float) -> float:
    """Return how much patients with several rows widen a variance, at least 1.

    Args:
        by_patient: standard error where rows of a patient belong together.
        by_row: standard error as if every row were a patient.
        most: the effect where nothing varies: Kish's mean rows per patient, Σ rows² / Σ rows.
    """
    if not by_row > 0 or math.isnan(by_patient):
        return most
    effect = (by_patient / by_row) ** 2
    return effect if effect > 1 + 1e-9 else 1.0  # above rounding


def auroc_estimate(
    value: float, rows: tuple[int, int], owners: Owners, effect: float, *, flat: bool
) -> Estimate:
    """Give the AUROC of a label Newcombe's interval with the design effect and Student's t.

    One degree of freedom less than there are patients of the rarer class; so exchanging the classes
    and the sign of the scores mirrors the interval.

    Args:
        value: the AUROC.
        rows: positive and negative rows.
        owners: patients.
        effect: design effect.
        flat: no row breaks the order, so the design effect is its largest possible value.
    """
    reason = owners.why_no_interval()
    if reason is not None:
        return Estimate(value, None, None, reason, ())
    quantile = t_quantile(owners.rarer[0] - 1) * math.sqrt(effect)
    low, high = newcombe_limits(value, *rows, quantile=quantile)
    copies = f"no row breaks the order: rows of one {owners.unit} are taken to be copies"
    return Estimate(value, low, high, None, owners.caution() + ((copies,) if flat else ()))


def wilson_estimate(
    successes: int,
    rows: int,
    *,
    effect: float,
    degrees: float,
    cautions: tuple[str, ...],
) -> Estimate:
    """Give a share of rows Wilson's score interval with a design effect and Student's t.

    Wilson, Journal of the American Statistical Association 1927;22:209-212, with n / effect in the
    place of n. It exists at 0 and at 1.

    Args:
        successes: rows that count.
        rows: all rows, at least one.
        effect: design effect, at least 1.
        degrees: of freedom of Student's t, at least 1.
        cautions: what to know before trusting the interval.
    """
    share = successes / rows
    size, square = rows / effect, t_quantile(degrees) ** 2
    center = (share + square / (2 * size)) / (1 + square / size)
    half = math.sqrt(square * (share * (1 - share) / size + square / (4 * size**2)))
    half /= 1 + square / size
    low, high = max(0.0, center - half), min(1.0, center + half)
    return Estimate(share, min(low, share), max(high, share), None, cautions)


def difference_of(
    first: Sequence[Jackknife],
    second: Sequence[Jackknife],
    *,
    labels: tuple[str, ...],
    cautions: tuple[str, ...] = (),
) -> Difference:
    """Return the mean of some labels minus the mean of the same labels elsewhere, with a test.

    D ± t · se, and the same t for the p-value. What the two have in common cancels, because a
    patient leaves both.

    Args:
        first: one number for each label.
        second: the same of another model or set, of the same patients.
        labels: at least one.
        cautions: what to know before trusting interval and test.
    """
    means = mean_of(first).value, mean_of(second).value
    parts = [one.minus(other) for one, other in zip(first, second, strict=True)]
    if all(math.isnan(part.standard_error) for part in parts):
        return _untested(means, labels, None, "no test: every label rests on one patient")
    found = mean_of(with_unknown(parts, sum(means) / 2))
    error = found.standard_error
    if error < SAME:
        return _untested(means, labels, 0.0, "no test: the difference never varies")
    degrees = found.degrees_of_freedom
    half, statistic = t_quantile(degrees) * error, found.value / error
    return Difference(
        difference=found.value,
        low=max(-1.0, found.value - half),
        high=min(1.0, found.value + half),
        standard_error=error,
        t=statistic,
        degrees_of_freedom=degrees,
        p_value=float(2 * stdtr(degrees, -abs(statistic))),
        reason=None,
        cautions=cautions,
        first=means[0],
        second=means[1],
        labels=labels,
    )


def _untested(
    means: tuple[float, float], labels: tuple[str, ...], error: float | None, reason: str
) -> Difference:
    return Difference(
        means[0] - means[1], None, None, error, None, None, None, reason, (), *means, labels
    )


def no_difference(reason: str) -> Difference:
    """Return the difference that does not exist."""
    return Difference(None, None, None, None, None, None, None, reason, (), None, None, ())
