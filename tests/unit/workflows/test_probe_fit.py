"""Fits of a probe: what an option does is what can be done by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cxrlearn.errors import UsageError
from cxrlearn.evaluation.metrics import auroc_score
from cxrlearn.probes.model import LogisticFit
from cxrlearn.runtime.events import SILENT
from cxrlearn.workflows.probe_fit import FittedProbe, fit_probe
from tests.support.split_data import TASK, learnable, settings, split

if TYPE_CHECKING:
    from cxrlearn.workflows.probe_data import SplitData

TRAIN = learnable(120, images=2, dim=10)
VAL, TEST = learnable(60, name="val", seed=1, dim=10), learnable(80, name="test", seed=2, dim=10)


def fit(train: SplitData = TRAIN, val: SplitData | None = VAL, **options: Any) -> FittedProbe:  # noqa: ANN401 - of ProbeConfig
    return fit_probe(settings(**options), TASK, train, val, SILENT)


def scaled(data: SplitData, factor: np.ndarray | float) -> SplitData:
    return replace(data, features=(np.asarray(data.features) * factor).astype(np.float32))


def weights(found: FittedProbe) -> np.ndarray:
    assert isinstance(found.probe, LogisticFit)
    return np.hstack([found.probe.weights, found.probe.intercept[:, None]])


# ---- --standardize -------------------------------------------------------------------------------


@pytest.mark.parametrize("C", [0.01, None])
def test_standardize_is_dividing_the_features_by_hand(C: float | None) -> None:
    units = np.geomspace(1e-2, 1e2, 10)
    train, val, test = (scaled(data, units) for data in (TRAIN, VAL, TEST))
    deviation = np.asarray(train.features, dtype=np.float64).std(axis=0)
    found = fit(train, val, C=C, standardize=True)
    by_hand = fit(scaled(train, 1 / deviation), scaled(val, 1 / deviation), C=C)
    # The weights are for raw features, so that a saved probe needs to know nothing of the scale.
    expected = by_hand.decision((np.asarray(test.features) / deviation).astype(np.float32))
    np.testing.assert_allclose(found.decision(test.features), expected, atol=2e-4)
    assert [label.C for label in found.report.labels] == pytest.approx(
        [label.C for label in by_hand.report.labels], rel=1e-5
    )
    plain = fit(train, val, C=C).decision(test.features)
    assert np.abs(found.decision(test.features) - plain).max() > 0.01
    assert "divided by its standard deviation" in found.report.objective


@pytest.mark.parametrize("constant", [0.1, 1000.1, 0.0, -3e-7])
def test_a_constant_feature_gets_no_weight_by_standardize(constant: float) -> None:
    def widened(data: SplitData, value: float) -> SplitData:
        extra = np.full((len(data.image_ids), 1), value)
        return replace(
            data, features=np.hstack([np.asarray(data.features), extra]).astype(np.float32)
        )

    found = fit(widened(TRAIN, constant), widened(VAL, constant), C=0.1, standardize=True)
    without = fit(C=0.1, standardize=True)
    np.testing.assert_allclose(
        found.decision(widened(TEST, constant).features),
        without.decision(TEST.features),
        atol=1e-4,
    )
    assert np.abs(weights(found)[:, 10]).max() < 1e-6


def test_standardized_rows_on_disk_stay_there() -> None:
    class Rows:
        """Hands out rows by slices and nothing else."""

        shape = np.shape(TRAIN.features)

        def __getitem__(self, rows: slice) -> np.ndarray:
            return np.asarray(np.asarray(TRAIN.features)[rows])

    on_disk = replace(TRAIN, features=Rows())  # type: ignore[arg-type]
    for standardize in (True, False):
        streamed, resident = (fit(rows, standardize=standardize) for rows in (on_disk, TRAIN))
        np.testing.assert_allclose(weights(streamed), weights(resident), atol=1e-6)
        assert streamed.report.path == resident.report.path


# ---- the solver ----------------------------------------------------------------------------------


def pairs(truth: np.ndarray) -> int:
    return int(truth.sum() * (1 - truth).sum())


@pytest.mark.parametrize("options", [{}, {"class_weight": "balanced"}, {"standardize": True}])
def test_scikit_learn_agrees_to_one_pair(options: dict[str, Any]) -> None:
    ours, theirs = (fit(C=0.05, solver=solver, **options) for solver in ("batched", "sklearn"))
    for label in range(2):
        truth = TEST.values[:, label]
        a, b = (
            auroc_score(truth, found.decision(TEST.features)[:, label]) for found in (ours, theirs)
        )
        assert abs(a - b) <= 1 / pairs(truth) + 1e-12
    np.testing.assert_allclose(weights(ours), weights(theirs), atol=1e-4)


def test_the_report_says_whose_solver_it_was_and_how_near_it_came() -> None:
    ours, theirs = fit(solver="batched").report, fit(solver="sklearn").report
    assert "cxrlearn batched" in ours.solver
    assert "scikit-learn lbfgs" in theirs.solver
    for report in (ours, theirs):
        for label in report.labels:
            assert label.iterations is not None
            assert label.gap is not None
            assert label.converged
        assert report.path
    assert all(label.gap <= 1e-6 for label in ours.labels if label.gap is not None)
    assert ours.tolerance == 1e-6


def test_a_fit_that_was_stopped_says_so() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 40)) * np.geomspace(1e-3, 1e3, 40)
    values = np.stack([features @ rng.normal(size=40) > 0] * 2, axis=1)
    for solver in ("batched", "sklearn"):
        found = fit(split(features, values), None, C=100.0, max_iter=1, solver=solver).report
        assert [label.converged for label in found.labels] == [False, False]
        assert all(label.gap is not None and label.gap > 1e-6 for label in found.labels)


def test_balanced_weights_are_rows_repeated() -> None:
    # 40 negatives and 10 positives: each positive, repeated four times, and C to match.
    rng = np.random.default_rng(0)
    truth = np.array([[0]] * 40 + [[1]] * 10).repeat(2, axis=1)
    features = rng.normal(size=(50, 4)) + truth[:, :1]
    repeated = np.r_[np.arange(40), np.repeat(np.arange(40, 50), 4)]
    balanced = fit(split(features, truth), None, C=0.1, class_weight="balanced")
    by_hand = fit(split(features[repeated], truth[repeated]), None, C=0.1 * 50 / 80)
    np.testing.assert_allclose(weights(balanced), weights(by_hand), atol=1e-5)
    assert "inversely to the frequency" in balanced.report.objective


@pytest.mark.parametrize("options", [{}, {"solver": "sklearn"}, {"class_weight": "balanced"}])
def test_features_in_other_units_give_the_same_report(options: dict[str, Any]) -> None:
    one = fit(**options)
    other = fit(scaled(TRAIN, 1000), scaled(VAL, 1000), **options)
    for a, b in zip(one.report.labels, other.report.labels, strict=True):
        assert a.C is not None
        assert b.C is not None
        assert abs(b.C * 1e6 / a.C - 1) < 1e-5
        assert b.strength == a.strength
        assert (a.c_from, a.at_limit, a.converged) == (b.c_from, b.at_limit, b.converged)
    np.testing.assert_allclose(
        other.decision(scaled(TEST, 1000).features), one.decision(TEST.features), atol=1e-3
    )


# ---- choices -------------------------------------------------------------------------------------


def test_c_is_that_given_or_the_default_where_nothing_can_choose() -> None:
    given = fit(C=0.7).report
    assert {(label.C, label.c_from) for label in given.labels} == {(0.7, "given")}
    default = fit(val=None).report
    assert {(label.C, label.c_from) for label in default.labels} == {(0.0327, "default")}
    with pytest.raises(UsageError, match="--C auto needs a validation split"):
        fit(val=None, C="auto")


def test_validation_of_one_class_chooses_nothing() -> None:
    one_class = VAL.with_labels(np.zeros_like(VAL.values), VAL.known)
    found = fit(val=one_class).report
    assert {(label.C, label.c_from) for label in found.labels} == {(0.0327, "default")}
    assert fit(val=one_class, knn=True).report.knn is not None
    assert fit(val=one_class, linear=True, epochs=2).report.linear is not None


@pytest.mark.parametrize("options", [{}, {"linear": True, "epochs": 5}, {"knn": True}])
def test_blocks_of_rows_are_scored_as_one(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fit(**options)
    whole = found.decision(TEST.features)
    monkeypatch.setattr("cxrlearn.workflows.probe_fit.BLOCK", 7)
    np.testing.assert_allclose(found.decision(TEST.features), whole, atol=1e-9)
    assert found.decision(np.empty((0, 10), np.float32)).shape == (0, 2)
    assert all(label.gap is None or label.gap <= 1e-6 for label in found.report.labels)


def test_each_probe_accounts_for_its_own_choice() -> None:
    linear = fit(linear=True, epochs=3, learning_rate=(0.01, 0.1)).report
    assert linear.kind == "linear"
    assert linear.linear is not None
    assert [rate.rate for rate in linear.linear.tried] == [0.01, 0.1]
    assert linear.linear.epochs == 3
    knn = fit(knn=True, k=3).report
    assert (knn.kind, knn.knn and knn.knn.k, knn.knn and knn.knn.tried) == ("knn", 3, ())
    assert fit().report.kind == "logreg"
