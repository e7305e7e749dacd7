"""Operating points: thresholds that validation chooses, for use on test sets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.errors import DataError, UsageError
from cxrlearn.evaluation.inputs import check_scores, check_truth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from cxrlearn.evaluation.inputs import BoolArray, FloatArray

FEWEST_ROWS = 10
"""Known validation rows of either class that a threshold needs."""
YOUDEN = "youden"
_SENSITIVITY = re.compile(r"sensitivity>=([0-9]*\.?[0-9]+)")


@dataclass(frozen=True)
class Rule:
    """How a threshold is chosen."""

    text: str
    """`youden`, or `sensitivity>=0.90` and the like."""
    sensitivity: float | None
    """The target sensitivity in (0, 1]; None for Youden."""


@dataclass(frozen=True)
class Threshold:
    """The threshold of one label by one rule."""

    rule: str
    """`youden`, or `sensitivity>=0.90` and the like."""
    threshold: float | None
    """On logits, one of the finite validation scores: positive means score ≥ threshold."""
    reason: str | None
    """Why there is none."""
    positives: int
    """Known positive validation rows."""
    negatives: int
    """Known negative validation rows."""


def parse_rule(text: str) -> Rule:
    """Read a rule as users write it; blanks and capitals do not matter.

    Raises:
        UsageError: it is neither `youden` nor `sensitivity>=` and a number above 0, at most 1.

    Example:
        >>> parse_rule("Sensitivity >= 0.90")
        Rule(text='sensitivity>=0.90', sensitivity=0.9)
    """
    plain = "".join(text.split()).lower()
    if plain == YOUDEN:
        return Rule(plain, None)
    match = _SENSITIVITY.fullmatch(plain)
    target = float(match[1]) if match else 0.0
    if not 0 < target <= 1:
        raise UsageError(
            "A threshold rule is `youden`, or a target sensitivity above 0 and at most 1, such as "
            f"`sensitivity>=0.90`. Got {text!r} instead."
        )
    return Rule(plain, target)


def choose_thresholds(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    *,
    known: npt.ArrayLike | None = None,
    names: Sequence[str],
    rules: Sequence[str],
    not_scored: Mapping[str, str] | None = None,
) -> tuple[tuple[Threshold, ...], ...]:
    """Choose thresholds on the validation set, never on the test set.

    Only finite scores seen in validation are candidates. `youden` takes the largest
    sensitivity + specificity - 1 (Youden, Cancer 1950;3:32-35), of several the one of higher
    specificity, which is the highest threshold. `sensitivity>=t` takes the highest threshold whose
    validation sensitivity is at least t. A label with fewer than 10 known positives or negatives in
    validation gets none, with the reason.

    Args:
        y_true: (N, L) of 0 and 1; multi-class: one-hot.
        y_score: (N, L) float64 logits.
        known: (N, L) bool, False where the label is unknown; None: all known.
        names: L labels or classes.
        rules: as `parse_rule` reads them.
        not_scored: names of labels whose scores do not exist, with the reason.

    Returns:
        For each label, in the order of `names`, one threshold for each rule.

    Raises:
        UsageError: a rule cannot be read.
        DataError: shapes, values or names do not fit; a score of a known label is NaN.
    """
    parsed = [parse_rule(rule) for rule in rules]
    missing = {} if not_scored is None else not_scored
    truth = check_truth(y_true, known, names=names)
    scores = check_scores(y_score, truth, names=names, without_scores=missing)
    return tuple(
        tuple(_choose(rule, positive[seen], score[seen], missing.get(name)) for rule in parsed)
        for name, positive, seen, score in zip(
            names, truth.positive.T, truth.known.T, scores.T, strict=True
        )
    )


def check_thresholds(
    thresholds: Sequence[Sequence[Threshold]] | None, n_labels: int
) -> Sequence[Sequence[Threshold]]:
    """Check that there is one sequence of thresholds for each label; none at all is fine.

    Raises:
        DataError: their number is not that of the labels.
    """
    if thresholds is None:
        return [()] * n_labels
    if len(thresholds) != n_labels:
        raise DataError(
            f"`thresholds` must have one entry for each of {n_labels} labels. "
            f"Got {len(thresholds)} instead."
        )
    return thresholds


def _choose(
    rule: Rule, positive: BoolArray, score: FloatArray, not_scored: str | None
) -> Threshold:
    positives, negatives = int(positive.sum()), int((~positive).sum())
    threshold, reason = None, not_scored or _too_few(positives, negatives)
    if reason is None:
        candidates, true, false = _counts_above(positive, score)
        if rule.sensitivity is None:
            # sensitivity - (1 - specificity) in whole numbers: equal ones are found to be equal.
            index = int(np.argmax(true * negatives - false * positives)) if len(candidates) else -1
        else:
            reached = true / positives >= rule.sensitivity
            index = int(np.argmax(reached)) if reached.any() else -1
        if index < 0:
            reason = "no finite validation score reaches it"
        else:
            threshold = float(candidates[index])
    return Threshold(rule.text, threshold, reason, positives, negatives)


def _counts_above(
    positive: BoolArray, score: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return candidates from high to low, and the positives and negatives at or above each."""
    distinct, group = np.unique(-score, return_inverse=True)
    true = np.cumsum(np.bincount(group[positive], minlength=len(distinct)))
    false = np.cumsum(np.bincount(group[~positive], minlength=len(distinct)))
    finite = np.isfinite(distinct)
    return -distinct[finite], true[finite], false[finite]


def _too_few(positives: int, negatives: int) -> str | None:
    count, which = min((positives, "positive"), (negatives, "negative"))
    if count >= FEWEST_ROWS:
        return None
    known = positives + negatives
    return (
        f"only {count} {which}{'' if count == 1 else 's'} among {known:,} known validation "
        f"row{'' if known == 1 else 's'}: a threshold needs {FEWEST_ROWS}"
    )
