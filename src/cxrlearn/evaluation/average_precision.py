"""Average precision without each patient in turn.

AP = Σ TP(s) / R(s) over the positive rows, divided by their number, where TP and R count the
positive and all rows at or above the score s of such a row. Without a patient, TP and R are less by
the patient's own rows above: numbers that are constant between its rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from cxrlearn.evaluation.jackknife import Jackknife, count_without, ratio

if TYPE_CHECKING:
    from cxrlearn.evaluation.inputs import BoolArray, FloatArray
    from cxrlearn.evaluation.jackknife import Codes

MANY = 24
"""Where R is this many times the rows of a patient, 1 / (R - r) is a sum of powers of r / R."""
_POWERS = 9
"""Terms of that sum; the next is below 24^-9 = 4e-13 of the first."""


def average_precision_without(
    positive: BoolArray, score: FloatArray, codes: Codes, patients: int
) -> Jackknife:
    """Return the average precision with and without each patient.

    Args:
        positive: (N,) labels, both classes.
        score: (N,) not NaN; infinite values rank.
        codes: (N,) in [0, patients), each row's patient.
        patients: P.

    Returns:
        NaN without a patient who has all rows of a class.
    """
    group = rankdata(-score, method="dense").astype(np.intp) - 1
    steps = _Steps.of(positive, group)
    own = _OwnRows.of(steps, positive, group, codes)
    lost = _near(steps, own) + _far(steps, own) + _own_terms(steps, own)
    total = math.fsum(steps.found * (steps.hits / steps.rows))
    positives, negatives = (count_without(part, codes, patients) for part in (positive, ~positive))
    left = np.where(negatives.without > 0, positives.without, 0)
    lost_with = np.bincount(own.owner, lost, minlength=patients)
    return Jackknife(total / positives.value, ratio(np.asarray(total - lost_with), left))


@dataclass(frozen=True)
class _Steps:
    """The S different scores of positive rows, from high to low."""

    group: Codes
    """(S,): place among all different scores."""
    found: FloatArray
    """(S,): positive rows of this score."""
    hits: FloatArray
    """(S,): TP."""
    rows: FloatArray
    """(S,): R."""

    @classmethod
    def of(cls, positive: BoolArray, group: Codes) -> _Steps:
        places = np.unique(group[positive])
        found = np.bincount(group[positive])[places].astype(np.float64)
        rows = np.cumsum(np.bincount(group))[places].astype(np.float64)
        return cls(places, found, np.cumsum(found), rows)

    def precision(self, at: Codes, gone: Codes, left: Codes) -> FloatArray:
        """Return (TP - gone) / (R - left) at some steps, 0 where no row remains."""
        remain = self.rows[at] - left
        return np.asarray((self.hits[at] - gone) / np.where(remain > 0, remain, np.inf))


@dataclass(frozen=True)
class _OwnRows:
    """All rows by patient, then from high to low score; what each takes from TP and R."""

    owner: Codes
    """(N,): the patient."""
    positive: BoolArray
    """(N,): its label."""
    start: Codes
    """(N,): the first step that the row counts for."""
    cut: Codes
    """(N,): from here to `end` R is large against the rows of the patient."""
    end: Codes
    """(N,): the first step that the patient's next row counts for, too."""
    gone: Codes
    """(N,): positive rows of the patient up to this one."""
    left: Codes
    """(N,): all rows of the patient up to this one."""
    last: Codes
    """(N,): the last row of the patient at the same step."""

    @classmethod
    def of(cls, steps: _Steps, positive: BoolArray, group: Codes, codes: Codes) -> _OwnRows:
        size, place = len(steps.group), np.searchsorted(steps.group, group)
        order = np.lexsort((place, codes))
        owner, start, positive = codes[order], place[order], positive[order]
        first = np.searchsorted(owner, owner)
        counted = np.concatenate(([0], np.cumsum(positive)))
        same = np.append(owner[1:], -1) == owner
        end = np.where(same, np.append(start[1:], 0), size)
        far = np.searchsorted(steps.rows, MANY * np.bincount(codes))[owner]
        key = owner * (size + 1) + start
        return cls(
            owner=owner,
            positive=positive,
            start=start,
            cut=np.clip(far, start, end),
            end=end,
            gone=counted[1:] - counted[first],
            left=np.arange(len(owner)) - first + 1,
            last=np.searchsorted(key, key, side="right") - 1,
        )


def _near(steps: _Steps, own: _OwnRows) -> FloatArray:
    """Return (N,) what Σ TP / R loses from `start` to `cut`, step by step."""
    length = own.cut - own.start
    row = np.repeat(np.arange(len(length)), length)
    before = np.cumsum(length) - length
    at = np.arange(len(row)) - before[row] + own.start[row]
    precision = steps.hits[at] / steps.rows[at]
    lost = steps.found[at] * (precision - steps.precision(at, own.gone[row], own.left[row]))
    # Of no step at all, bincount counts in whole numbers.
    return np.bincount(row, lost, minlength=len(length)).astype(np.float64)


def _far(steps: _Steps, own: _OwnRows) -> FloatArray:
    """Return (N,) what Σ TP / R loses from `cut` to `end`, by powers of left / R.

    (TP - gone) / (R - left) = Σ over k of left^k (TP - gone) / R^(k + 1). Sums from the low end, so
    that no large term of the top drowns a small one.
    """
    lost = np.zeros(len(own.left))
    term = steps.found.copy()
    power = np.ones(len(own.left))
    for k in range(_POWERS):
        term /= steps.rows
        if k > 0:
            lost -= power * _between(term * steps.hits, own)
        lost += power * own.gone * _between(term, own)
        power *= own.left
    return lost


def _between(values: FloatArray, own: _OwnRows) -> FloatArray:
    """Sum (S,) values from `cut` to `end` of each row."""
    below = np.append(np.cumsum(values[::-1])[::-1], 0.0)
    return np.asarray(below[own.cut] - below[own.end])


def _own_terms(steps: _Steps, own: _OwnRows) -> FloatArray:
    """Return (N,) the terms of the patient's own positive rows, which are none any more."""
    lost = np.zeros(len(own.left))
    last, at = own.last[own.positive], own.start[own.positive]
    lost[own.positive] = steps.precision(at, own.gone[last], own.left[last])
    return lost
