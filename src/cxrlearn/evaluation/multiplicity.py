"""Many tests at once: p-values adjusted so that one false claim in the family stays unlikely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Adjust the p-values of one family by Holm's step-down method.

    Rejecting where the adjusted value is below 0.05 keeps the chance of any false rejection below
    5 %, however the tests depend on each other. The i-th smallest of M p-values is multiplied by
    M - i + 1; no adjusted value is below that of a smaller p-value, or above 1. Holm, Scandinavian
    Journal of Statistics 1979;6:65-70.

    Args:
        p_values: in [0, 1]; None where no test could be made: it stays None and does not count.

    Returns:
        The adjusted values, in the order given.

    Raises:
        DataError: a p-value is outside [0, 1] or NaN.

    Example:
        >>> holm([0.01, None, 0.04, 0.03])
        (0.03, None, 0.06, 0.06)
    """
    for p_value in p_values:
        if p_value is not None and not 0 <= p_value <= 1:
            raise DataError(f"A p-value must lie in [0, 1]. Got {p_value} instead.")
    made = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    reached = 0.0
    for i, (p_value, place) in enumerate(made):
        reached = max(reached, min(1.0, (len(made) - i) * p_value))
        adjusted[place] = reached
    return tuple(adjusted)
