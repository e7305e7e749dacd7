"""Two models on the same images; one model on two test sets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import t as student

from cxrlearn.errors import DataError
from cxrlearn.evaluation.differences import paired_macro_difference, set_difference
from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.evaluation.scored_set import ScoredSet, scored_set
from tests.support import influence_oracles as oracle

Floats = npt.NDArray[np.float64]
Study = tuple[npt.NDArray[np.int8], npt.NDArray[np.bool_], Floats, Floats, list[str]]


def two_models(seed: int = 0, rows: int = 150) -> Study:
    rng = np.random.default_rng(seed)
    y = (rng.random((rows, 2)) < 0.3).astype(np.int8)
    shared = rng.normal(size=y.shape) + y
    known = rng.random(y.shape) < 0.9
    patients = [f"p{i}" for i in rng.integers(0, 60, rows)]
    return y, known, shared + 0.5 * y, shared + 0.3 * rng.normal(size=y.shape), patients


def test_difference_interval_and_test_are_those_of_leaving_each_patient_out() -> None:
    y, known, a, b, patients = two_models()
    found = paired_macro_difference(y, known, a, b, patients)
    macros = [
        oracle.macro(
            [
                oracle.of_label(oracle.weighted_auroc, y[:, i], scores[:, i], known[:, i])
                for i in range(2)
            ]
        )
        for scores in (a, b)
    ]
    functional, ones = oracle.difference(*macros), np.ones(len(y))
    value = functional(ones)
    shifts = oracle.jackknife_values(functional, ones, patients) - value
    error = np.sqrt(np.square(shifts).sum())
    fourth = np.power(shifts, 4).sum()
    degrees = 2 * error**4 / (fourth - error**4 / len(shifts)) - 1
    half = student.ppf(0.975, degrees) * error
    assert found.difference == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx((value - half, value + half))
    assert found.p_value == pytest.approx(2 * student.sf(abs(value) / error, degrees))
    assert (found.first, found.second) == pytest.approx((macros[0](ones), macros[1](ones)))


def test_exchanging_the_models_changes_the_sign_and_nothing_else() -> None:
    y, known, a, b, patients = two_models()
    there = paired_macro_difference(y, known, a, b, patients)
    back = paired_macro_difference(y, known, b, a, patients)
    assert back.difference == pytest.approx(-(there.difference or 0))
    assert back.low == pytest.approx(-(there.high or 0))
    assert back.p_value == pytest.approx(there.p_value)


def test_equal_orders_have_no_test() -> None:
    y, known, a, _, patients = two_models()
    found = paired_macro_difference(y, known, a, np.exp(a), patients)
    assert (found.difference, found.standard_error, found.p_value) == (0, 0, None)
    assert found.reason == "no test: the difference never varies"


def test_row_order_does_not_matter() -> None:
    y, known, a, b, patients = two_models()
    order = np.random.default_rng(1).permutation(len(y))
    turned = paired_macro_difference(
        y[order], known[order], a[order], b[order], [patients[i] for i in order]
    )
    assert turned == paired_macro_difference(y, known, a, b, patients)


def test_wrong_shapes_are_refused() -> None:
    y, known, a, b, patients = two_models()
    with pytest.raises(DataError, match="shape of the labels"):
        paired_macro_difference(y, known, a, b[:, :1], patients)


def _set(y: npt.NDArray[np.int8], scores: Floats, patients: list[str | None]) -> ScoredSet:
    return scored_set(
        y,
        scores,
        known=None,
        names=["a", "b"],
        kind="multilabel",
        patients=patients,
        image_ids=None,
        not_scored=None,
    )


def test_sets_of_different_patients_are_independent() -> None:
    (y, _, a, _, own), (z, _, c, _, others) = two_models(0), two_models(1)
    strangers = [f"x{patient}" for patient in others]
    found = set_difference(_set(y, a, [*own]), _set(z, c, [*strangers]), ([*own], [*strangers]))
    alone = [
        evaluate(v, s, names=["a", "b"], kind="multilabel", patients=p).macro.value
        for v, s, p in ((z, c, strangers), (y, a, own))
    ]
    assert (found.first, found.second) == pytest.approx(tuple(alone))
    errors = []
    for v, s, p in ((y, a, own), (z, c, strangers)):
        macro = oracle.macro(
            [oracle.of_label(oracle.weighted_auroc, v[:, i], s[:, i]) for i in range(2)]
        )
        ones = np.ones(len(v))
        shifts = oracle.jackknife_values(macro, ones, p) - macro(ones)
        errors.append(np.square(shifts).sum())
    assert found.standard_error == pytest.approx(np.sqrt(sum(errors)))


def test_a_set_against_itself_does_not_vary_because_its_patients_are_shared() -> None:
    y, _, a, _, patients = two_models()
    one = _set(y, a, [*patients])
    found = set_difference(one, one, ([*patients], [*patients]))
    assert (found.difference, found.standard_error) == (0, 0)


def test_rows_without_a_patient_are_strangers_in_every_set() -> None:
    y, _, a, _, _ = two_models()
    nobody: list[str | None] = [None] * len(y)
    one = _set(y, a, nobody)
    found = set_difference(one, one, (nobody, nobody))
    assert found.difference == 0
    assert (found.standard_error or 0) > 0.01


def test_labels_of_one_class_in_either_set_leave_both() -> None:
    (y, _, a, _, own), (z, _, c, _, others) = two_models(0), two_models(1)
    z[:, 1] = 0
    found = set_difference(_set(y, a, [*own]), _set(z, c, [*others]), ([*own], [*others]))
    assert found.labels == ("a",)
    z[:] = 0
    found = set_difference(_set(y, a, [*own]), _set(z, c, [*others]), ([*own], [*others]))
    assert found.reason == "no label has scores and both classes in both sets"
