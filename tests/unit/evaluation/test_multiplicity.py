"""Holm's adjustment."""

from __future__ import annotations

import numpy as np
import pytest

from cxrlearn.errors import DataError
from cxrlearn.evaluation.multiplicity import holm


def _rejected_step_by_step(p_values: list[float], level: float) -> set[int]:
    """Holm's procedure as he wrote it: stop at the first that is not below level / remaining."""
    rejected: set[int] = set()
    for place in sorted(range(len(p_values)), key=p_values.__getitem__):
        if p_values[place] > level / (len(p_values) - len(rejected)):
            break
        rejected.add(place)
    return rejected


def test_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def test_adjusted_values_reject_what_the_stepwise_procedure_rejects() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        p_values = (rng.random(rng.integers(1, 12)) ** 3).tolist()
        adjusted = holm(p_values)
        for level in (0.01, 0.05, 0.2):
            below = {i for i, p in enumerate(adjusted) if p is not None and p <= level}
            assert below == _rejected_step_by_step(p_values, level)


def test_tests_that_were_not_made_do_not_count() -> None:
    assert holm([None, 0.02, None, 0.03]) == pytest.approx((None, 0.04, None, 0.04))
    assert holm([None]) == (None,)
    assert holm([]) == ()


def test_one_test_stays_as_it_is() -> None:
    assert holm([0.031]) == (0.031,)


def test_adjusted_values_never_exceed_one_or_change_the_order() -> None:
    p_values = np.random.default_rng(1).random(40).tolist()
    adjusted = [p for p in holm(p_values) if p is not None]
    assert max(adjusted) <= 1
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    in_order = [adjusted[i] for i in np.argsort(p_values)]
    assert in_order == sorted(in_order)


def test_order_of_tests_does_not_matter() -> None:
    p_values = [0.2, 0.001, 0.04, 0.04]
    assert holm(p_values[::-1]) == holm(p_values)[::-1]


@pytest.mark.parametrize("wrong", [-0.1, 1.5, float("nan")])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(DataError, match=r"must lie in \[0, 1\]"):
        holm([0.5, wrong])
