"""Two models on the same images."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import norm

from cxrlearn.errors import DataError
from cxrlearn.evaluation.bootstrap import patient_counts
from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.evaluation.paired import paired_macro_difference
from tests.support.auroc_oracles import bootstrap_by_copying

Floats = npt.NDArray[np.float64]


def _two_models(
    seed: int = 0,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.bool_], Floats, Floats, list[str]]:
    rng = np.random.default_rng(seed)
    y = (rng.random((150, 2)) < 0.3).astype(np.int8)
    shared = rng.normal(size=y.shape) + y
    known = rng.random(y.shape) < 0.9
    patients = [f"p{i}" for i in rng.integers(0, 60, 150)]
    return y, known, shared + 0.5 * y, shared + 0.3 * rng.normal(size=y.shape), patients


def test_difference_interval_and_test_are_those_of_replicates_made_by_copying() -> None:
    y, known, a, b, patients = _two_models()
    found = paired_macro_difference(y, known, a, b, patients, n_replicates=30, seed=3)
    macros = []
    for scores in (a, b):
        drawn = patient_counts(len(set(patients)), 30, np.random.default_rng(3))
        macros.append(bootstrap_by_copying(y, known, scores, patients, drawn).mean(axis=1))
    differences = macros[0] - macros[1]
    assert found.standard_error == pytest.approx(differences.std(ddof=1))
    assert found.low == pytest.approx(np.quantile(differences, 0.025))
    assert found.high == pytest.approx(np.quantile(differences, 0.975))
    assert found.difference is not None
    assert found.standard_error is not None
    z = found.difference / found.standard_error
    assert found.z == pytest.approx(z)
    assert found.p_value == pytest.approx(2 * norm.sf(abs(z)))


def test_macros_are_those_of_evaluate() -> None:
    y, known, a, b, patients = _two_models()
    found = paired_macro_difference(y, known, a, b, patients, n_replicates=20)
    alone = [
        evaluate(
            y, s, known=known, names=["0", "1"], kind="multilabel", patients=patients,
            n_replicates=20,
        ).macro.value
        for s in (a, b)
    ]  # fmt: skip
    assert [found.macro_a, found.macro_b] == alone
    assert found.macro_labels == ("0", "1")
    assert (found.rows, found.unit, found.clusters) == (150, "patient", len(set(patients)))


def test_exchanging_the_models_turns_the_sign() -> None:
    y, known, a, b, patients = _two_models()
    one = paired_macro_difference(y, known, a, b, patients, n_replicates=50)
    other = paired_macro_difference(y, known, b, a, patients, n_replicates=50)
    assert one.difference is not None
    assert other.difference == -one.difference
    assert one.low is not None
    assert other.high == pytest.approx(-one.low)
    assert other.p_value == pytest.approx(one.p_value)


def test_row_order_does_not_matter() -> None:
    y, known, a, b, patients = _two_models()
    order = np.random.default_rng(1).permutation(150)
    turned = paired_macro_difference(
        y[order], known[order], a[order], b[order], [patients[i] for i in order], n_replicates=30
    )
    assert turned == paired_macro_difference(y, known, a, b, patients, n_replicates=30)


def test_pairing_is_sharper_than_two_separate_intervals() -> None:
    y, known, a, b, patients = _two_models()
    found = paired_macro_difference(y, known, a, b, patients, n_replicates=400)
    assert found.standard_error is not None
    separate = []
    for scores in (a, b):
        macro = evaluate(
            y, scores, known=known, names=["0", "1"], kind="multilabel", patients=patients,
            n_replicates=400,
        ).macro  # fmt: skip
        assert macro.low is not None
        assert macro.high is not None
        separate.append((macro.high - macro.low) / 3.92)
    assert found.standard_error < 0.7 * math.hypot(*separate)


def test_models_that_rank_alike_differ_by_zero_and_are_not_tested() -> None:
    y, known, a, _, patients = _two_models()
    found = paired_macro_difference(y, known, a, np.exp(a), patients, n_replicates=20)
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert found.z is found.p_value is None
    assert found.reason == "no test: the difference is the same in every replicate"


def test_labels_with_one_class_or_without_scores_leave_both_macros() -> None:
    y, known, a, b, patients = _two_models()
    y = np.hstack([y, np.zeros((150, 1), np.int8), y[:, :1]])
    known = np.hstack([known, known])
    a, b = np.hstack([a, a]), np.hstack([b, np.full((150, 2), np.nan)])
    b[:, 2] = 0
    found = paired_macro_difference(
        y, known, a, b, patients, names=list("wxyz"), without_scores=["z"], n_replicates=20
    )
    assert found.macro_labels == ("w", "x")
    assert found.difference is not None


def test_nothing_to_compare_is_null_with_a_reason() -> None:
    zeros = np.zeros((5, 1))
    found = paired_macro_difference(zeros, None, zeros, zeros, None)
    assert found.difference is found.macro_a is found.low is None
    assert found.reason == "no label has scores of both models and both classes"
    assert found.unit == "image"


def test_one_patient_has_a_difference_and_no_interval() -> None:
    y, s = np.array([[0], [1]]), np.array([[0.0], [1.0]])
    found = paired_macro_difference(y, None, s, -s, ["p", "p"])
    assert found.difference == 1
    assert found.reason == "no interval: all rows are of one patient"


def test_mostly_undefined_replicates_give_no_interval() -> None:
    y = np.zeros((6, 2), np.int8)
    y[0, 0] = y[1, 1] = 1  # both must be drawn: about 4 replicates in 10
    s = np.random.default_rng(0).normal(size=y.shape)
    found = paired_macro_difference(y, None, s, -s, [str(i) for i in range(6)])
    assert found.difference is not None
    assert found.low is found.p_value is None
    assert found.reason is not None
    assert "replicates lost a class" in found.reason
    assert found.undefined_replicates > 500


@pytest.mark.parametrize("replicates", [0, 1])
def test_too_few_replicates_are_refused(replicates: int) -> None:
    with pytest.raises(DataError, match="at least 2"):
        paired_macro_difference([[0]], None, [[0.0]], [[0.0]], None, n_replicates=replicates)


@pytest.mark.slow
def test_true_null_is_rejected_about_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    rejected = 0
    for seed in range(200):
        y = np.repeat(rng.random(80) < 0.4, 3).astype(np.int8)[:, None]
        patients = [str(i) for i in np.repeat(np.arange(80), 3)]
        a, b = (
            y + np.repeat(rng.normal(size=80), 3)[:, None] + 0.5 * rng.normal(size=y.shape)
            for _ in range(2)
        )
        found = paired_macro_difference(y, None, a, b, patients, n_replicates=200, seed=seed)
        assert found.p_value is not None
        rejected += found.p_value < 0.05
    assert rejected <= 22  # 11 %: three standard errors above 5 % at 200 sets, rows would give 30 %
