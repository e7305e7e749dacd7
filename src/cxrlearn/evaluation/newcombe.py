"""Newcombe's score interval for an AUROC, from its value and the two counts alone."""

from __future__ import annotations

from scipy.optimize import brentq

_BESIDE_THE_ROOT = 1e-9
"""An AUROC of 0 or 1 is itself a root of Newcombe's equation; the limit is the other one."""
_TOLERANCE = 1e-12
"""Of a limit."""


def newcombe_limits(
    auroc: float, positives: int, negatives: int, *, quantile: float
) -> tuple[float, float]:
    """Return the limits of Newcombe's score-type interval for an AUROC.

    Method 5 of Newcombe, Statistics in Medicine 2006;25:559-573. The limits are the values θ with
    |AUROC - θ| = quantile · sqrt(V(θ)), where V is the variance of Hanley and McNeil (Radiology
    1982;143:29-36) with both m - 1 and n - 1 replaced by M = (m + n) / 2 - 1:

        V(θ) = θ (1 - θ) (1 + M (1 - θ) / (2 - θ) + M θ / (1 + θ)) / (m n)

    There is one such θ on either side; at an AUROC of 0 or 1 the limit on that side is the AUROC.

    Args:
        auroc: in [0, 1].
        positives: m ≥ 1.
        negatives: n ≥ 1.
        quantile: of the normal or t distribution, times the root of a design effect.

    Example:
        >>> [round(limit, 3) for limit in newcombe_limits(0.8, 20, 30, quantile=1.96)]
        [0.643, 0.894]
    """
    pairs, others = positives * negatives, (positives + negatives) / 2 - 1

    def excess(theta: float) -> float:
        spread = 1 + others * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (auroc - theta) ** 2 - quantile**2 * theta * (1 - theta) * spread / pairs

    low = high = auroc
    if auroc > _BESIDE_THE_ROOT:
        low = float(brentq(excess, 0, min(auroc, 1 - _BESIDE_THE_ROOT), xtol=_TOLERANCE))
    if auroc < 1 - _BESIDE_THE_ROOT:
        high = float(brentq(excess, max(auroc, _BESIDE_THE_ROOT), 1, xtol=_TOLERANCE))
    return low, high
