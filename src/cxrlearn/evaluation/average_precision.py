"""Average precision without each patient in turn, exactly.

AP = Σ TP(s) / R(s) over the positive rows, divided by their number, where TP and R count the
positive and all rows at or above the score s of such a row. Without a patient, TP and R are less by
the patient's own rows above.
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

    _Counts = Codes | np.intp | int

FEW_ROWS = 16
"""Patients of up to so many rows share cumulative sums; others are taken one after the other."""
_BLOCK = 2**21
"""Numbers worked on at once for patients of many rows."""


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
    place = np.searchsorted(steps.group, group)
    few = np.bincount(codes, minlength=patients)[codes] <= FEW_ROWS
    lost = _lost_by_few(steps, positive[few], place[few], codes[few], patients)
    lost += _lost_by_many(steps, positive[~few], place[~few], codes[~few], patients)
    total = math.fsum(steps.found * (steps.hits / steps.rows))
    positives, negatives = (count_without(part, codes, patients) for part in (positive, ~positive))
    left = np.where(negatives.without > 0, positives.without, 0)
    return Jackknife(total / positives.value, ratio(total - lost, left))


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

    def precision(self, gone: _Counts, left: _Counts) -> FloatArray:
        """Return (TP - gone) / (R - left), 0 where no row remains."""
        return _precision(self.hits, self.rows, gone, left)


def _precision(hits: FloatArray, rows: FloatArray, gone: _Counts, left: _Counts) -> FloatArray:
    remain = np.asarray(rows - left)
    return np.asarray((hits - gone) / np.where(remain > 0, remain, np.inf))


def _lost_by_few(
    steps: _Steps, positive: BoolArray, place: Codes, codes: Codes, patients: int
) -> FloatArray:
    """Return (P,): by how much Σ TP / R is less without each patient of few rows.

    Between two rows of a patient the numbers that are gone stay the same, so sums over such
    stretches come from cumulative sums, one for each pair of numbers that occurs.
    """
    order = np.lexsort((place, codes))
    owner, place, positive = codes[order], place[order], positive[order]
    first = np.searchsorted(owner, owner)
    counted = np.concatenate(([0], np.cumsum(positive)))
    gone, left = counted[1:] - counted[first], np.arange(len(owner)) - first + 1
    size = len(steps.found)
    same = np.append(owner[1:], -1) == owner
    end = np.where(same, np.append(place[1:], 0), size)
    kept = np.concatenate(([0.0], np.cumsum(steps.found * steps.precision(0, 0))))
    lost = np.zeros(len(owner))
    for number in np.unique(left):
        at = np.flatnonzero((left == number) & (end > place))
        different, which = np.unique(gone[at], return_inverse=True)
        sums = np.zeros((len(different), size + 1))
        terms = steps.found * steps.precision(different[:, None], number)
        np.cumsum(terms, axis=1, out=sums[:, 1:])
        before, after = place[at], end[at]
        lost[at] = (kept[after] - kept[before]) - (sums[which, after] - sums[which, before])
    # The patient's own positives are no terms any more; its last row at a place has what is gone.
    key = owner * (size + 1) + place
    last = (np.searchsorted(key, key, side="right") - 1)[positive]
    own = place[positive]
    lost[positive] += _precision(steps.hits[own], steps.rows[own], gone[last], left[last])
    # Of no rows at all, bincount counts in whole numbers.
    return np.bincount(owner, lost, minlength=patients).astype(np.float64)


def _lost_by_many(
    steps: _Steps, positive: BoolArray, place: Codes, codes: Codes, patients: int
) -> FloatArray:
    """Return the same for patients of many rows, a block of patients at a time."""
    lost = np.zeros(patients)
    owners, number = np.unique(codes, return_inverse=True)
    width = len(steps.found) + 1
    whole = steps.found * steps.precision(0, 0)
    block = max(1, _BLOCK // width)
    for start in range(0, len(owners), block):
        count = min(block, len(owners) - start)
        here = (number >= start) & (number < start + count)
        key = (number[here] - start) * width + place[here]
        rows = np.bincount(key, minlength=count * width).reshape(count, width)[:, :-1]
        mine = np.bincount(key[positive[here]], minlength=count * width)
        own = mine.reshape(count, width)[:, :-1]
        precision = steps.precision(np.cumsum(own, axis=1), np.cumsum(rows, axis=1))
        remain = ((steps.found - own) * precision).sum(axis=1)
        lost[owners[start : start + count]] = whole.sum() - remain
    return lost
