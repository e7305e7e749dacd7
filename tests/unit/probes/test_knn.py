"""The nearest-neighbour probe against the same written out row by row."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier

from cxrlearn.errors import DataError, UsageError
from cxrlearn.probes.knn import DEFAULT_K, K_GRID, TEMPERATURE, KnnFit, fit_knn

NAMES = ("Edema", "Mass", "Hernia")


class Split(NamedTuple):
    features: npt.NDArray[np.floating]
    values: npt.NDArray[np.int8]
    known: npt.NDArray[np.bool_]


class Data(NamedTuple):
    train: Split
    validation: Split

    def fit(self, k: int | None = None, kind: str = "multilabel") -> KnnFit:
        return fit_knn(*self.train, kind, names=NAMES, k=k, validation=self.validation)


def _split(rng: np.random.Generator, rows: int) -> Split:
    features = np.maximum(rng.normal(0.5, 1, (rows, 10)), 0) + 0.1
    logits = (features - features.mean(axis=0)) @ np.random.default_rng(9).normal(size=(10, 3))
    values = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits + 0.5))).astype(np.int8)
    return Split(features.astype(np.float32), values, rng.random(values.shape) < 0.7)


@pytest.fixture
def data() -> Data:
    rng = np.random.default_rng(0)
    return Data(_split(rng, 150), _split(rng, 60))


@pytest.fixture
def classes(data: Data) -> Data:
    def one_hot(split: Split) -> Split:
        chosen = (split.features[:, :3] + split.values).argmax(axis=1)
        return Split(
            split.features, np.eye(3, dtype=np.int8)[chosen], split.known[:, :1].repeat(3, 1)
        )

    return Data(one_hot(data.train), one_hot(data.validation))


def _slow(train: Split, query: npt.NDArray[np.floating], label: int, k: int) -> float:
    """The odds of one row and label, written out."""
    near = []
    for i in range(len(train.features)):
        if train.known[i, label]:
            a, b = train.features[i].astype(np.float64), query.astype(np.float64)
            cosine = float(a @ b / math.sqrt((a @ a) * (b @ b)))
            near.append((-cosine, i, int(train.values[i, label])))
    near.sort()
    prior = sum(value for _, _, value in near) / len(near)
    yes, no = prior, 1 - prior
    for minus, _, value in near[:k]:
        weight = math.exp((near[0][0] - minus) / TEMPERATURE)
        yes, no = yes + weight * value, no + weight * (1 - value)
    return math.log(yes / no)


@pytest.mark.parametrize("k", [1, 7, 150])
def test_scores_are_the_smoothed_weighted_share_of_the_nearest_known_rows(
    data: Data, k: int
) -> None:
    found = data.fit(k).decision(data.validation.features)
    expected = [
        [_slow(data.train, row, label, k) for label in range(3)] for row in data.validation.features
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_without_smoothing_it_is_scikit_learns_weighted_vote(data: Data) -> None:
    k, train = 12, data.train._replace(known=np.ones_like(data.train.known))
    fit = fit_knn(*train, "multilabel", names=NAMES, k=k)
    model = KNeighborsClassifier(
        k,
        metric="cosine",
        algorithm="brute",
        weights=lambda distance: np.exp((distance[:, :1] - distance) / TEMPERATURE),
    )
    model.fit(train.features, train.values[:, 0])
    rows = data.validation.features
    nearest_first = model.kneighbors(rows)[0]
    total = np.exp((nearest_first[:, :1] - nearest_first) / TEMPERATURE).sum(axis=1)
    smoothed = (model.predict_proba(rows)[:, 1] * total + train.values[:, 0].mean()) / (total + 1)
    np.testing.assert_allclose(fit.probabilities(rows)[:, 0], smoothed, atol=1e-5)


def test_classes_add_up_to_one_and_rank_as_shares(classes: Data) -> None:
    fit = classes.fit(9, kind="multiclass")
    probabilities = fit.probabilities(classes.validation.features)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    expected = [_slow(classes.train, row, 1, 9) for row in classes.validation.features]
    np.testing.assert_allclose(fit.decision(classes.validation.features)[:, 1], expected, atol=1e-5)


def test_a_class_that_train_does_not_have_is_named_and_the_others_add_up(classes: Data) -> None:
    classes.train.known[classes.train.values[:, 1] == 1] = False
    fit = classes.fit(9, kind="multiclass")
    assert list(fit.not_fitted) == ["Mass"]
    probabilities = fit.probabilities(classes.validation.features)
    np.testing.assert_allclose(probabilities[:, [0, 2]].sum(axis=1), 1, atol=1e-12)


def test_what_stands_under_the_mask_does_not_matter(data: Data) -> None:
    spoilt = data.train._replace(values=np.where(data.train.known, data.train.values, -1))
    rows = data.validation.features
    np.testing.assert_array_equal(
        data._replace(train=spoilt).fit(9).decision(rows), data.fit(9).decision(rows)
    )


def test_only_the_direction_of_features_counts(data: Data) -> None:
    scale = np.geomspace(0.25, 1024, 150)[:, None]
    longer = data.train._replace(features=data.train.features.astype(np.float64) * scale)
    rows = data.validation.features
    np.testing.assert_allclose(
        data._replace(train=longer).fit(9).decision(rows * 7),
        data.fit(9).decision(rows),
        atol=1e-5,
    )


def test_of_duplicates_the_earlier_rows_are_asked() -> None:
    features = np.tile(np.array([[1.0, 2.0, 3.0]]), (8, 1))
    values = np.array([1, 1, 1, 0, 0, 0, 0, 0], dtype=np.int8)[:, None]
    known = np.ones((8, 1), dtype=np.bool_)
    for k, positives in [(1, 1), (3, 3), (5, 3), (8, 3)]:
        fit = fit_knn(features, values, known, "binary", names=["a"], k=k)
        expected = math.log((positives + 3 / 8) / (k - positives + 5 / 8))
        assert fit.decision(features[:1])[0, 0] == pytest.approx(expected, abs=1e-12)


def test_odds_are_finite_when_all_neighbours_agree() -> None:
    features = np.array([[1.0, 0.0]] * 30 + [[0.0, 1.0]] * 30)
    values = np.repeat(np.array([[1], [0]], dtype=np.int8), 30, axis=0)
    fit = fit_knn(features, values, values >= 0, "binary", names=["a"], k=20)
    odds = fit.decision(np.array([[5.0, 0.0], [0.0, 0.1], [1.0, 1.0], [0.0, 0.0]]))
    np.testing.assert_allclose(odds[:2, 0], [math.log(20.5 / 0.5), -math.log(20.5 / 0.5)])
    assert np.isfinite(odds).all()


def test_k_is_chosen_on_validation_by_relative_log_loss(data: Data) -> None:
    fit = data.fit()
    expected = {}
    for k in (k for k in K_GRID if k <= 150):
        probabilities = data.fit(k).probabilities(data.validation.features)
        relative = []
        for i, known in enumerate(data.validation.known.T):
            truth = data.validation.values[known, i]
            relative.append(
                log_loss(truth, probabilities[known, i])
                / log_loss(truth, np.full(len(truth), truth.mean()))
            )
        expected[k] = np.mean(relative)
    assert {trial.k for trial in fit.trials} == set(expected)
    for trial in fit.trials:
        assert trial.loss == pytest.approx(expected[trial.k], rel=1e-9)
    assert fit.k == min(expected, key=lambda k: expected[k])
    assert fit.at_limit == (fit.k in {5, 100})


def test_k_of_classes_is_chosen_by_cross_entropy(classes: Data) -> None:
    for trial in classes.fit(kind="multiclass").trials:
        probabilities = classes.fit(trial.k, "multiclass").probabilities(
            classes.validation.features
        )
        known = classes.validation.known[:, 0]
        truth = classes.validation.values[known].argmax(axis=1)
        assert trial.loss == pytest.approx(log_loss(truth, probabilities[known]), rel=1e-9)


def test_a_tie_goes_to_the_larger_k() -> None:
    features = np.ones((300, 2))
    values = (np.arange(300) % 5 == 0).astype(np.int8)[:, None]
    known = np.ones((300, 1), dtype=np.bool_)
    fit = fit_knn(
        features, values, known, "binary", names=["a"], validation=(features, values, known)
    )
    assert [trial.loss for trial in fit.trials] == pytest.approx([1.0] * 6, rel=1e-9)
    assert fit.k == 200
    assert fit.at_limit


def test_nothing_to_choose_by_is_the_default(data: Data) -> None:
    masked = data.validation._replace(known=np.zeros_like(data.validation.known))
    negative = data.validation._replace(values=np.zeros_like(data.validation.values))
    for fit in (
        fit_knn(*data.train, "multilabel", names=NAMES),
        data._replace(validation=masked).fit(),
        data._replace(validation=negative).fit(),
    ):
        assert (fit.k, fit.trials, fit.at_limit) == (DEFAULT_K, (), False)


def test_one_class_label_is_not_fitted_and_says_why(data: Data) -> None:
    data.train.values[:, 1] = 1
    fit = data.fit()
    count = int(data.train.known[:, 1].sum())
    assert fit.not_fitted == {"Mass": f"not fitted: no negatives among {count} known rows of train"}
    scores = fit.decision(data.validation.features)
    assert np.isnan(scores[:, 1]).all()
    assert np.isfinite(scores[:, [0, 2]]).all()


def test_nothing_known_gives_no_scores(data: Data) -> None:
    data.train.known[:] = False
    fit = data.fit()
    assert set(fit.not_fitted) == set(NAMES)
    assert np.isnan(fit.decision(data.validation.features)).all()


def test_a_probe_comes_back_from_its_arrays_to_the_bit(data: Data) -> None:
    fit = data.fit()
    again = KnnFit.from_arrays(fit.arrays(), fit.kind, names=fit.names, k=fit.k, trials=fit.trials)
    rows = data.validation.features
    np.testing.assert_array_equal(again.decision(rows), fit.decision(rows))
    assert (again.labels, again.trials, again.k) == (fit.labels, fit.trials, fit.k)


def test_wrong_inputs_are_refused(data: Data) -> None:
    with pytest.raises(UsageError, match="k must be positive, got 0"):
        data.fit(0)
    with pytest.raises(UsageError, match="temperature must be positive"):
        fit_knn(*data.train, "multilabel", names=NAMES, temperature=0.0)
    with pytest.raises(DataError, match="features of another model"):
        data.fit(3).decision(data.validation.features[:, :4])
    narrow = data.validation._replace(features=data.validation.features[:, :4])
    with pytest.raises(DataError, match="Validation has 4 features a row, train has 10"):
        data._replace(validation=narrow).fit()
    data.train.features[5, 1] = np.nan
    with pytest.raises(DataError, match="1 of 150 feature rows hold NaN"):
        data.fit(3)
