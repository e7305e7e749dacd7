"""What happens on a set at a threshold that validation chose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from cxrlearn.evaluation.bootstrap import LOST_A_CLASS
from cxrlearn.evaluation.estimates import bootstrap_estimate, few_patients, too_few, undefined
from cxrlearn.evaluation.metrics import why_undefined
from cxrlearn.evaluation.results import OperatingPoint
from cxrlearn.evaluation.sums import RATIOS, threshold_ratios

if TYPE_CHECKING:
    from cxrlearn.evaluation.inputs import FloatArray
    from cxrlearn.evaluation.results import Estimate
    from cxrlearn.evaluation.scored_set import ScoredSet
    from cxrlearn.evaluation.thresholds import Threshold

_NONE_ABOVE, _NONE_BELOW = "no row at or above the threshold", "no row below the threshold"
_CAUSES = {"ppv": f"had {_NONE_ABOVE}", "npv": f"had {_NONE_BELOW}"}
"""What a replicate did where a ratio is undefined, if it did not lose a class."""


def operating_point(
    data: ScoredSet, label: int, chosen: Threshold, replicates: FloatArray
) -> OperatingPoint:
    """Apply a threshold to the known rows of one label.

    Args:
        data: what is evaluated.
        label: its number.
        chosen: on validation.
        replicates: (5, R) `RATIOS` on every replicate.
    """
    reason = chosen.reason or data.why_unscored(label)
    if chosen.threshold is None or reason is not None:
        counts, found = (0, 0, 0, 0), dict.fromkeys(RATIOS, undefined(reason or "no threshold"))
    else:
        counts = _confusion(data, label, chosen.threshold)
        found = _estimates(data, label, counts, replicates)
    return OperatingPoint(
        rule=chosen.rule,
        threshold=chosen.threshold,
        probability=None if chosen.threshold is None else float(expit(chosen.threshold)),
        reason=chosen.reason,
        chosen_on=(chosen.positives, chosen.negatives),
        true_positives=counts[0],
        false_positives=counts[1],
        true_negatives=counts[2],
        false_negatives=counts[3],
        sensitivity=found["sensitivity"],
        specificity=found["specificity"],
        ppv=found["ppv"],
        npv=found["npv"],
        f1=found["f1"],
    )


def _confusion(data: ScoredSet, label: int, threshold: float) -> tuple[int, int, int, int]:
    """Count true and false positives, true and false negatives."""
    positive, score, _ = data.known(label)
    above = score >= threshold
    true, false = int((above & positive).sum()), int((above & ~positive).sum())
    return true, false, int((~positive).sum()) - false, int(positive.sum()) - true


def _estimates(
    data: ScoredSet, label: int, counts: tuple[int, int, int, int], replicates: FloatArray
) -> dict[str, Estimate]:
    true, false, passed, missed = counts
    values = threshold_ratios(
        *(np.array([float(n)]) for n in (true, false, true + missed, false + passed))
    )
    owners, clusters = data.owners(label), data.clusters
    both = few_patients(*owners, clusters)
    cautions = {
        "sensitivity": too_few(owners[0], "positive", clusters),
        "specificity": too_few(owners[1], "negative", clusters),
    }
    estimates = {}
    for name, value, drawn in zip(RATIOS, values, replicates, strict=True):
        if np.isnan(value[0]):
            estimates[name] = undefined(_why(name, data.counts(label)))
            continue
        estimates[name] = bootstrap_estimate(
            float(value[0]),
            drawn,
            clusters,
            caution=cautions.get(name, both),
            cause=_CAUSES.get(name, LOST_A_CLASS),
        )
    return estimates


def _why(name: str, counts: tuple[int, int]) -> str:
    if name == "ppv":
        return _NONE_ABOVE
    return _NONE_BELOW if name == "npv" else str(why_undefined(*counts))
