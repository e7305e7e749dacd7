"""The fit, against Newton steps on the same objective; what is said when there is none."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from cxrlearn.errors import DataError
from cxrlearn.probes.logistic import DEFAULT_C, TOLERANCE, LogisticSolver, fit_logistic
from cxrlearn.probes.model import row_products
from tests.support.logistic_oracles import newton_logistic, softmax_gradient

if TYPE_CHECKING:
    from cxrlearn.probes.model import LogisticFit

NAMES = ("Edema", "Mass", "Hernia")


class Data(NamedTuple):
    features: npt.NDArray[np.float32]
    values: npt.NDArray[np.int8]
    known: npt.NDArray[np.bool_]

    def fit(
        self,
        C: float | tuple[float | None, ...] = 0.5,
        max_iter: int = 500,
        tol: float = TOLERANCE,
    ) -> LogisticFit:
        return fit_logistic(
            self.features,
            self.values,
            self.known,
            "multilabel",
            names=NAMES,
            C=C,
            max_iter=max_iter,
            tol=tol,
        )


@pytest.fixture
def data() -> Data:
    rng = np.random.default_rng(0)
    features = np.maximum(rng.normal(0.3, 1, (160, 12)), 0) * np.geomspace(0.05, 5, 12) + 3
    logits = (features - features.mean(axis=0)) @ rng.normal(size=(12, 3)) / 4 - (0, 1, 2)
    values = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int8)
    return Data(features.astype(np.float32), values, rng.random(values.shape) < 0.85)


@pytest.mark.parametrize("C", [0.0327, 1.0, 30.0])
def test_weights_are_the_minimum_of_the_stated_objective_over_known_rows(
    data: Data, C: float
) -> None:
    found, exact = data.fit(C), data.fit(C, max_iter=10_000, tol=1e-10)
    for i, label in enumerate(found.labels):
        rows = data.known[:, i]
        raw = data.features[rows].astype(np.float64)
        weights, intercept = newton_logistic(raw, data.values[rows, i], C)
        expected = 1 / (1 + np.exp(-(data.features @ weights + intercept)))
        np.testing.assert_allclose(
            found.probabilities(data.features)[:, i], expected, atol=1e-4, err_msg=label.name
        )
        np.testing.assert_allclose(exact.weights[i], weights, atol=1e-4)
        assert exact.intercept[i] == pytest.approx(intercept, abs=1e-3)
        assert label.converged is True
        assert (label.C, label.reason, label.notes) == (C, None, ())


def test_it_is_scikit_learn_on_raw_features_with_nothing_standardised(data: Data) -> None:
    everything = data._replace(known=np.ones_like(data.known))
    found = everything.fit(0.5)
    model = LogisticRegression(C=0.5, tol=1e-10, max_iter=100_000)
    model.fit(data.features.astype(np.float64), data.values[:, 0])
    np.testing.assert_allclose(
        found.probabilities(data.features)[:, 0],
        model.predict_proba(data.features.astype(np.float64))[:, 1],
        atol=2e-5,
    )


def test_values_under_the_mask_do_not_enter_the_fit(data: Data) -> None:
    spoilt = data._replace(values=np.where(data.known, data.values, -1).astype(np.int8))
    np.testing.assert_array_equal(spoilt.fit().weights, data.fit().weights)


def test_masks_count_rows_for_each_label(data: Data) -> None:
    for i, label in enumerate(data.fit().labels):
        assert label.positives == (data.known[:, i] & (data.values[:, i] == 1)).sum()
        assert label.negatives == (data.known[:, i] & (data.values[:, i] == 0)).sum()


def test_each_label_may_have_its_own_c(data: Data) -> None:
    mixed = data.fit((0.1, 5.0, 0.1))
    np.testing.assert_array_equal(mixed.weights[1], data.fit(5.0).weights[1])
    np.testing.assert_array_equal(mixed.weights[2], data.fit(0.1).weights[2])


def test_same_input_gives_the_same_bits(data: Data) -> None:
    first, second = data.fit(), data.fit()
    np.testing.assert_array_equal(first.weights, second.weights)
    np.testing.assert_array_equal(first.intercept, second.intercept)


def test_a_label_does_not_depend_on_the_others(data: Data) -> None:
    alone = fit_logistic(
        data.features, data.values[:, :1], data.known[:, :1], "binary", names=NAMES[:1], C=0.5
    )
    np.testing.assert_array_equal(alone.weights[0], data.fit().weights[0])


def test_features_in_other_units_give_the_same_predictions_at_the_matching_c(data: Data) -> None:
    scaled = data._replace(features=data.features * np.float32(1024))
    found = scaled.fit(0.5 / 1024**2).decision(scaled.features)
    np.testing.assert_allclose(found, data.fit(0.5).decision(data.features), atol=1e-9)


def test_features_far_from_zero_are_fitted_as_well_as_centred_ones(data: Data) -> None:
    moved = data._replace(features=(data.features.astype(np.float64) + 1000).astype(np.float64))
    np.testing.assert_allclose(
        moved.fit().decision(moved.features), data.fit().decision(data.features), atol=1e-6
    )


def test_original_defect_s11_unfinished_fit_is_said_not_silent(data: Data) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hasty = data.fit(30.0, max_iter=2)
    for label in hasty.labels:
        assert label.converged is False
        assert label.iterations == 2
    assert all(label.converged for label in data.fit(30.0).labels)


def test_original_defect_s11_c_is_a_choice_and_the_old_value_its_default(data: Data) -> None:
    assert DEFAULT_C == 0.0327
    assert not np.allclose(data.fit(DEFAULT_C).weights, data.fit(10.0).weights)


@pytest.mark.parametrize(
    ("value", "known", "reason"),
    [
        (0, True, "not fitted: no positives among 160 known rows of train"),
        (1, True, "not fitted: no negatives among 160 known rows of train"),
        (0, False, "not fitted: no known rows in train"),
    ],
)
def test_one_class_label_is_not_fitted_and_says_why(
    data: Data, value: int, *, known: bool, reason: str
) -> None:
    data.values[:, 1] = value
    data.known[:, 1] = known
    found = data.fit((0.5, None, 0.5))
    label = found.labels[1]
    assert (label.reason, label.C, label.iterations, label.converged) == (reason, None, None, None)
    assert found.not_fitted == {"Mass": reason}
    scores = found.decision(data.features)
    assert np.isnan(scores[:, 1]).all()
    assert np.isfinite(scores[:, [0, 2]]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_feature_that_is_no_number_is_refused_by_count_and_first_id(data: Data, bad: float) -> None:
    data.features[[7, 90], 3] = bad
    ids = [f"images/{i}.png" for i in range(160)]
    message = "2 of 160 feature rows hold NaN or infinite values, the first is 'images/7.png'"
    with pytest.raises(DataError, match=message):
        fit_logistic(
            data.features, data.values, data.known, "multilabel", names=NAMES, C=1, ids=ids
        )
    with pytest.raises(DataError, match="the first is row 7"):
        data.fit()


@pytest.mark.parametrize("C", [0.0, -1.0, float("inf"), float("nan"), (1.0, None, 1.0)])
def test_c_that_is_not_positive_is_refused(data: Data, C: float | tuple[float | None, ...]) -> None:
    with pytest.raises(DataError, match="C must be a positive number"):
        data.fit(C)


def test_wrong_shapes_are_refused(data: Data) -> None:
    with pytest.raises(DataError, match=r"one for each label\. Got 2"):
        data.fit((1.0, 1.0))
    with pytest.raises(DataError, match=r"must have shape \(160, 3\)"):
        data._replace(values=data.values[:5]).fit()
    with pytest.raises(DataError, match="features of another model"):
        data.fit().decision(data.features[:, :5])
    with pytest.raises(DataError, match="matrix of floating-point numbers"):
        data.fit().decision(data.features[0])
    with pytest.raises(DataError, match="160 feature rows came with 1 ids"):
        data.fit().decision(data.features, ids=["a"])


def test_constant_features_fit_the_prevalence(data: Data) -> None:
    flat = data._replace(features=np.full((160, 12), 7, np.float32))
    found = flat.fit().probabilities(flat.features)
    for i in range(3):
        share = data.values[data.known[:, i], i].mean()
        assert found[:, i] == pytest.approx(share, abs=1e-5)


def _classes(seed: int, n_classes: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(150, 6)) + 2
    return features, (features[:, :n_classes] + rng.normal(size=(150, n_classes))).argmax(axis=1)


def _fit_classes(
    features: npt.NDArray[np.float64],
    classes: npt.NDArray[np.intp],
    n_classes: int,
    known: npt.NDArray[np.bool_] | None = None,
) -> LogisticFit:
    mask = np.ones(len(classes), bool) if known is None else known
    return fit_logistic(
        features,
        np.eye(n_classes, dtype=np.int8)[classes],
        np.repeat(mask[:, None], n_classes, axis=1),
        "multiclass",
        names=[f"class {i}" for i in range(n_classes)],
        C=0.316,
    )


def test_classes_are_one_softmax_with_every_row_penalised() -> None:
    features, classes = _classes(0, 4)
    found = _fit_classes(features, classes, 4)
    slope, shift = softmax_gradient(features, classes, 0.316, found.weights, found.intercept)
    assert np.abs(slope).max() < 1e-3
    assert np.abs(shift).max() < 1e-3
    assert len({label.iterations for label in found.labels}) == 1


def test_multiclass_decision_is_the_log_odds_of_each_class_against_the_rest() -> None:
    features, classes = _classes(0, 4)
    found = _fit_classes(features, classes, 4)
    expected = softmax(features @ found.weights.T + found.intercept, axis=1)
    np.testing.assert_allclose(found.probabilities(features), expected, atol=1e-12)
    np.testing.assert_allclose(found.probabilities(features).sum(axis=1), 1)
    np.testing.assert_allclose(found.decision(features), np.log(expected / (1 - expected)))


def test_masked_rows_leave_the_multiclass_fit() -> None:
    features, classes = _classes(0, 3)
    known = np.arange(150) % 4 > 0
    masked = _fit_classes(features, classes, 3, known)
    alone = _fit_classes(features[known], classes[known], 3)
    np.testing.assert_allclose(masked.decision(features), alone.decision(features), atol=1e-3)
    assert masked.labels[0].positives == (classes[known] == 0).sum()


def test_class_that_train_lacks_has_no_scores_and_the_others_are_fitted() -> None:
    features, classes = _classes(1, 4)
    known = classes != 2
    found = _fit_classes(features, classes, 4, known)
    assert found.not_fitted == {
        "class 2": f"not fitted: no positives among {known.sum()} known rows of train"
    }
    probabilities = found.probabilities(features)
    assert np.isnan(probabilities[:, 2]).all()
    np.testing.assert_allclose(probabilities[:, [0, 1, 3]].sum(axis=1), 1)


def test_two_classes_are_one_sigmoid() -> None:
    features, classes = _classes(1, 2)
    found = _fit_classes(features, classes, 2)
    weights, intercept = newton_logistic(features, classes.astype(np.int8), 0.316)
    np.testing.assert_allclose(
        found.decision(features)[:, 1], features @ weights + intercept, atol=1e-4
    )
    np.testing.assert_allclose(found.decision(features)[:, 0], -found.decision(features)[:, 1])


def test_one_class_alone_cannot_be_fitted() -> None:
    features, classes = _classes(1, 3)
    found = _fit_classes(features, np.zeros_like(classes), 3)
    assert set(found.not_fitted) == {"class 0", "class 1", "class 2"}
    assert np.isnan(found.decision(features)).all()


@pytest.mark.parametrize("count", [1, 3, 14])
@pytest.mark.parametrize("dim", [496, 2048])
def test_a_score_does_not_depend_on_the_rows_beside_it_to_the_last_bit(
    count: int, dim: int
) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(1003, dim)).astype(np.float32)
    weights = rng.normal(size=(count, dim))
    whole = row_products(matrix, weights)
    np.testing.assert_allclose(whole, matrix.astype(np.float64) @ weights.T, rtol=1e-9, atol=1e-11)
    order = rng.permutation(1003)
    np.testing.assert_array_equal(row_products(matrix[order], weights), whole[order])
    for some in (slice(0, 1), slice(1002, 1003), slice(3, 40), slice(0, 0)):
        np.testing.assert_array_equal(row_products(matrix[some], weights), whole[some])


def test_no_rows_to_score_give_no_scores() -> None:
    features, classes = _classes(1, 3)
    assert _fit_classes(features, classes, 3).decision(features[:0]).shape == (0, 3)


def test_solver_fits_the_asked_columns_once_for_each_c(data: Data) -> None:
    solver = LogisticSolver(data.features, data.values, data.known, "multilabel", NAMES)
    first, second = solver([0.1, 2.0], [2, 0])
    assert first.names == ("Hernia", "Edema")
    np.testing.assert_array_equal(second.weights, data.fit(2.0).weights[[2, 0]])


def test_solver_warnings_become_notes(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_fit = LogisticRegression.fit

    def fit_and_warn(self: LogisticRegression, *arguments: object) -> LogisticRegression:
        warnings.warn("overflow encountered in matmul\nmore", RuntimeWarning, stacklevel=1)
        return plain_fit(self, *arguments)

    monkeypatch.setattr(LogisticRegression, "fit", fit_and_warn)
    label = data.fit().labels[0]
    assert label.notes == ("overflow encountered in matmul",)
    assert label.converged is True


# ---- weights of classes, and the certified gap ---------------------------------------------------


def _objective(found: LogisticFit, label: int, rows: Data, C: float) -> float:
    """Return C · Σ log-loss + ½‖w‖² of one label over its known rows."""
    known = rows.known[:, label]
    odds = found.decision(rows.features[known])[:, label]
    truth = rows.values[known, label] == 1
    loss = np.logaddexp(0, np.where(truth, -odds, odds)).sum()
    return float(C * loss + 0.5 * np.square(found.weights[label]).sum())


@pytest.mark.parametrize("max_iter", [1, 2, 4, 500])
def test_gap_is_an_upper_bound_of_the_distance_to_the_minimum(data: Data, max_iter: int) -> None:
    best, found = data.fit(2.0, tol=1e-12), data.fit(2.0, max_iter=max_iter)
    for label, account in enumerate(found.labels):
        if account.reason is not None:
            continue
        here, least = (_objective(fit, label, data, 2.0) for fit in (found, best))
        assert account.gap is not None
        assert account.gap >= (here - least) / here - 1e-12
        assert (account.gap < 1e-6) == (max_iter == 500)


def test_balanced_rows_weigh_as_if_the_rarer_class_were_repeated() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([0] * 60 + [1] * 20, dtype=np.int8)[:, None]
    features = (rng.normal(size=(80, 5)) + truth).astype(np.float32)
    known = np.ones((80, 1), dtype=bool)
    known[[0, 1, 2, 3, 4, 5, 60, 61], 0] = False  # 54 negatives and 18 positives count
    balanced = fit_logistic(
        features, truth, known, "binary", names=["x"], C=0.3, balanced=True, tol=1e-10
    )
    rows = np.concatenate([np.arange(6, 60), np.repeat(np.arange(62, 80), 3)])
    by_hand = fit_logistic(
        features[rows], truth[rows], np.ones((108, 1), dtype=bool), "binary",
        names=["x"], C=0.3 * 72 / 108, tol=1e-10,
    )  # fmt: skip
    np.testing.assert_allclose(balanced.weights, by_hand.weights, atol=1e-6)
    np.testing.assert_allclose(balanced.intercept, by_hand.intercept, atol=1e-6)
    assert balanced.labels[0].gap is not None
    assert balanced.labels[0].gap < 1e-6
    plain = fit_logistic(features, truth, known, "binary", names=["x"], C=0.3)
    assert balanced.intercept[0] > plain.intercept[0] + 0.5


def test_balanced_classes_weigh_alike() -> None:
    rng = np.random.default_rng(0)
    code = np.repeat([0, 1, 2], [60, 30, 10])
    features = (rng.normal(size=(100, 4)) + code[:, None]).astype(np.float32)
    one_hot, known = np.eye(3, dtype=np.int8)[code], np.ones((100, 3), dtype=bool)
    names = ("a", "b", "c")
    balanced = fit_logistic(
        features, one_hot, known, "multiclass", names=names, C=0.3, balanced=True, tol=1e-10
    )
    rows = np.concatenate(
        [np.arange(60), np.repeat(np.arange(60, 90), 2), np.repeat(np.arange(90, 100), 6)]
    )
    by_hand = fit_logistic(
        features[rows], one_hot[rows], known[:1].repeat(180, 0), "multiclass",
        names=names, C=0.3 * 100 / 180, tol=1e-10,
    )  # fmt: skip
    np.testing.assert_allclose(
        balanced.probabilities(features), by_hand.probabilities(features), atol=1e-6
    )
    assert all(label.gap is not None and label.gap < 1e-6 for label in balanced.labels)


def test_solver_fits_all_labels_each_with_its_own_c(data: Data) -> None:
    solver = LogisticSolver(data.features, data.values, data.known, "multilabel", NAMES)
    found = solver.fit((0.1, 0.5, 2.0))
    for label, C in enumerate((0.1, 0.5, 2.0)):
        np.testing.assert_array_equal(found.weights[label], data.fit(C).weights[label])
        assert found.labels[label].C == C
    np.testing.assert_array_equal(solver.fit(0.5).weights, data.fit(0.5).weights)
