"""The linear layer: each rate as if alone, chosen on validation, weights for raw features."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from cxrlearn.errors import DataError, TrainingError, UsageError
from cxrlearn.probes.judge import MACRO_AUROC, VALIDATION_LOSS
from cxrlearn.probes.linear import fit_linear
from cxrlearn.probes.linear_settings import RATES, LinearSettings
from tests.support.listener import Listener

if TYPE_CHECKING:
    from cxrlearn.probes.linear_results import LinearAccount, LinearFit

NAMES = ("Edema", "Mass", "Hernia")
QUICK = LinearSettings(epochs=6, batch_size=16)


class Split(NamedTuple):
    features: npt.NDArray[np.floating]
    values: npt.NDArray[np.int8]
    known: npt.NDArray[np.bool_]


class Data(NamedTuple):
    train: Split
    validation: Split

    def fit(
        self, settings: LinearSettings = QUICK, *, validated: bool = True, kind: str = "multilabel"
    ) -> LinearFit:
        return fit_linear(
            *self.train,
            kind,
            names=NAMES,
            validation=self.validation if validated else None,
            settings=settings,
        )


def _account(fit: LinearFit) -> LinearAccount:
    assert fit.account is not None
    return fit.account


@pytest.fixture
def data() -> Data:
    rng = np.random.default_rng(0)
    features = np.maximum(rng.normal(0.3, 1, (240, 12)), 0) * np.geomspace(0.05, 5, 12) + 3
    logits = (features - features.mean(axis=0)) @ rng.normal(size=(12, 3)) / 3 - (0, 1, 2)
    values = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int8)
    known = rng.random(values.shape) < 0.85
    narrow = features.astype(np.float32)
    return Data(
        Split(narrow[:160], values[:160], known[:160]),
        Split(narrow[160:], values[160:], known[160:]),
    )


@pytest.fixture
def classes(data: Data) -> Data:
    rng = np.random.default_rng(1)

    def one_hot(split: Split) -> Split:
        scores = (split.features - 3.5) @ np.random.default_rng(2).normal(size=(12, 3))
        chosen = (scores + rng.gumbel(size=scores.shape) * 2).argmax(axis=1)
        known = np.repeat(rng.random((len(chosen), 1)) < 0.9, 3, axis=1)
        return Split(split.features, np.eye(3, dtype=np.int8)[chosen], known)

    return Data(one_hot(data.train), one_hot(data.validation))


def test_the_rates_hold_the_originals() -> None:
    assert 1e-3 in RATES
    assert list(RATES) == sorted(RATES)
    defaults = LinearSettings()
    assert (defaults.epochs, defaults.batch_size, defaults.momentum) == (100, 32, 0.9)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_each_rate_ends_as_if_it_had_been_trained_alone(
    data: Data, classes: Data, kind: str, weight_decay: float
) -> None:
    study = classes if kind == "multiclass" else data
    rates = (1e-4, 1e-2, 3e-1)
    settings = replace(QUICK, rates=rates, epochs=12, patience=3, weight_decay=weight_decay)
    together = _account(study.fit(settings, kind=kind))
    for number, rate in enumerate(rates):
        alone = study.fit(replace(settings, rates=(rate,)), kind=kind)
        (trial,) = _account(alone).trials
        side = together.trials[number]
        assert side.best_epoch == trial.best_epoch
        assert side.score == pytest.approx(trial.score, abs=1e-9)
        scores = [row[number] for row in together.scores if row[number] is not None]
        assert scores == pytest.approx([row[0] for row in _account(alone).scores], abs=1e-9)
        if rate == together.rate:
            chosen = study.fit(settings, kind=kind).fit
            np.testing.assert_allclose(chosen.weights, alone.fit.weights, atol=1e-5)
            np.testing.assert_allclose(chosen.intercept, alone.fit.intercept, atol=1e-5)


def test_the_fit_scores_raw_features_as_the_account_says(data: Data) -> None:
    found = data.fit()
    account = _account(found)
    scores = found.fit.decision(data.validation.features)
    aurocs = [
        roc_auc_score(data.validation.values[known, i], scores[known, i])
        for i, known in enumerate(data.validation.known.T)
    ]
    assert account.criterion == MACRO_AUROC
    assert account.judged_by == NAMES
    best = max(trial.score for trial in account.trials if trial.score is not None)
    assert best == pytest.approx(np.mean(aurocs), abs=1e-3)
    chosen = next(trial for trial in account.trials if trial.score == best)
    assert (account.rate, account.best_epoch) == (chosen.rate, chosen.best_epoch)
    assert account.scores[account.best_epoch][account.trials.index(chosen)] == best


def test_trained_long_enough_it_is_unpenalised_logistic_regression(data: Data) -> None:
    features, target = data.train.features, data.train.values[:, :1]
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)  # so that SGD gets there
    found = fit_linear(
        scaled,
        target,
        np.ones_like(target, dtype=np.bool_),
        "binary",
        names=NAMES[:1],
        settings=LinearSettings(rates=(1.0,), epochs=800, batch_size=160),
    )
    exact = LogisticRegression(C=np.inf, tol=1e-10, max_iter=100_000).fit(scaled, target[:, 0])
    np.testing.assert_allclose(found.fit.weights, exact.coef_, atol=1e-3)
    np.testing.assert_allclose(found.fit.intercept, exact.intercept_, atol=1e-3)


def test_labels_side_by_side_share_one_mean_over_known_labels(data: Data) -> None:
    found = data.fit(replace(QUICK, rates=(0.05,), epochs=1, batch_size=160), validated=False)
    train, account = data.train, _account(found)
    scaled = (train.features - account.mean) / account.unit
    assert np.mean(np.square(scaled)) == pytest.approx(1, rel=1e-5)
    share = np.array([train.values[k, i].mean() for i, k in enumerate(train.known.T)])
    error = np.where(train.known, share - train.values, 0) / train.known.sum()
    weights = -0.05 * error.T @ scaled  # one step from weights 0 and the log-odds of train
    np.testing.assert_allclose(found.fit.weights * account.unit, weights, rtol=1e-4, atol=1e-7)
    assert account.losses[0] == pytest.approx(
        -np.mean(np.log(np.where(train.values == 1, share, 1 - share))[train.known]), rel=1e-5
    )


def test_features_in_other_units_or_far_from_zero_give_the_same_scores(data: Data) -> None:
    def moved(split: Split) -> Split:
        return split._replace(features=(split.features.astype(np.float64) * 1024 + 4096))

    other = Data(moved(data.train), moved(data.validation))
    there, here = other.fit(), data.fit()
    assert _account(there).trials == _account(here).trials
    np.testing.assert_allclose(
        there.fit.decision(other.validation.features),
        here.fit.decision(data.validation.features),
        atol=1e-9,
    )


def test_what_stands_under_the_mask_does_not_matter(data: Data) -> None:
    spoilt = data.train._replace(
        values=np.where(data.train.known, data.train.values, -1).astype(np.int8)
    )
    np.testing.assert_array_equal(
        data._replace(train=spoilt).fit().fit.weights, data.fit().fit.weights
    )


def test_the_same_seed_gives_the_same_bits_and_another_another_order(data: Data) -> None:
    weights = [data.fit(replace(QUICK, seed=seed)).fit.weights for seed in (0, 0, 1)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_the_accounts_of_labels_count_known_rows_and_steps(data: Data) -> None:
    found = data.fit(replace(QUICK, rates=(1e-2,)), validated=False)
    steps = 6 * 10
    for i, label in enumerate(found.fit.labels):
        positives = int((data.train.known[:, i] & (data.train.values[:, i] == 1)).sum())
        assert (label.positives, label.negatives) == (
            positives,
            int(data.train.known[:, i].sum()) - positives,
        )
        assert (label.C, label.converged, label.iterations) == (None, None, steps)
    assert _account(found).steps == steps


def test_without_validation_the_originals_rate_runs_all_epochs(data: Data) -> None:
    account = _account(data.fit(validated=False))
    assert (account.rate, account.criterion, account.epochs) == (1e-3, None, 6)
    assert (account.best_epoch, account.scores, len(account.losses)) == (5, (), 6)
    assert not account.at_limit


def test_several_rates_without_validation_are_refused(data: Data) -> None:
    with pytest.raises(UsageError, match="2 learning rates were given and no validation labels"):
        data.fit(replace(QUICK, rates=(0.1, 0.2)), validated=False)
    masked = data.validation._replace(known=np.zeros_like(data.validation.known))
    with pytest.raises(UsageError, match="no validation labels"):
        data._replace(validation=masked).fit(replace(QUICK, rates=(0.1, 0.2)))


def test_validation_without_any_known_label_is_none(data: Data) -> None:
    masked = data.validation._replace(known=np.zeros_like(data.validation.known))
    found = data._replace(validation=masked).fit()
    assert _account(found).criterion is None
    np.testing.assert_array_equal(found.fit.weights, data.fit(validated=False).fit.weights)


def test_without_an_auroc_the_validation_loss_decides(data: Data) -> None:
    negative = data.validation._replace(values=np.zeros_like(data.validation.values))
    found = data._replace(validation=negative).fit(replace(QUICK, rates=(1e-3, 1e-1)))
    account = _account(found)
    assert (account.criterion, account.judged_by) == (VALIDATION_LOSS, ())
    probabilities = found.fit.probabilities(negative.features)
    loss = -np.log1p(-probabilities)[negative.known].mean()
    best = max(trial.score for trial in account.trials if trial.score is not None)
    assert -best == pytest.approx(loss, rel=1e-4)


def test_a_rate_without_patience_left_no_longer_counts(data: Data) -> None:
    settings = replace(QUICK, rates=(1e-2, 3.0), epochs=40, patience=2)
    account = _account(data.fit(settings))
    for number, trial in enumerate(account.trials):
        column = [row[number] for row in account.scores]
        judged = [score for score in column if score is not None]
        assert column == judged + [None] * (len(column) - len(judged))
        assert trial.score == max(judged)
        assert trial.best_epoch == judged.index(max(judged))
        assert len(judged) in {len(column), trial.best_epoch + 3}
    assert account.epochs < 40


def test_a_rate_that_diverges_is_named_and_leaves_the_others_alone(data: Data) -> None:
    settings = replace(QUICK, rates=(1e-2, 1e30), weight_decay=1e-4)
    together = data.fit(settings)
    good, bad = _account(together).trials
    assert bad.diverged == 0
    assert good.diverged is None
    assert _account(together).rate == 1e-2
    alone = data.fit(replace(settings, rates=(1e-2,)))
    np.testing.assert_allclose(together.fit.weights, alone.fit.weights, atol=1e-6)


@pytest.mark.parametrize("validated", [True, False])
def test_only_diverging_rates_are_an_error(data: Data, *, validated: bool) -> None:
    with pytest.raises(TrainingError, match=r"diverged at every learning rate: 1e\+35"):
        data.fit(replace(QUICK, rates=(1e35,)), validated=validated)


def test_one_class_label_is_not_fitted_and_says_why(data: Data) -> None:
    data.train.values[:, 1] = 0
    found = data.fit().fit
    count = int(data.train.known[:, 1].sum())
    assert found.not_fitted == {
        "Mass": f"not fitted: no positives among {count} known rows of train"
    }
    assert found.labels[1].iterations is None
    scores = found.decision(data.validation.features)
    assert np.isnan(scores[:, 1]).all()
    assert np.isfinite(scores[:, [0, 2]]).all()


def test_nothing_to_fit_is_a_fit_of_reasons(data: Data) -> None:
    data.train.known[:] = False
    found = data.fit()
    assert found.account is None
    assert set(found.fit.not_fitted) == set(NAMES)
    assert np.isnan(found.fit.weights).all()


def test_classes_are_one_softmax_that_learns(classes: Data) -> None:
    found = classes.fit(replace(QUICK, epochs=30), kind="multiclass")
    probabilities = found.fit.probabilities(classes.validation.features)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-9)
    known = classes.validation.known[:, 0]
    truth = classes.validation.values[known].argmax(axis=1)
    expected = roc_auc_score(truth, probabilities[known], multi_class="ovr")
    best = max(t.score for t in _account(found).trials if t.score is not None)
    assert best == pytest.approx(expected, abs=1e-3)
    assert best > 0.7


def test_a_class_that_train_does_not_have_leaves_the_others_a_softmax(classes: Data) -> None:
    classes.train.known[classes.train.values[:, 1] == 1] = False
    found = classes.fit(kind="multiclass").fit
    assert list(found.not_fitted) == ["Mass"]
    probabilities = found.probabilities(classes.validation.features)
    np.testing.assert_allclose(probabilities[:, [0, 2]].sum(axis=1), 1, atol=1e-9)


def test_validation_of_a_class_that_train_does_not_have_is_none(classes: Data) -> None:
    classes.train.known[classes.train.values[:, 1] == 1] = False
    classes.validation.known[classes.validation.values[:, 1] == 0] = False
    found = classes.fit(kind="multiclass")
    assert _account(found).criterion is None
    alone = classes.fit(kind="multiclass", validated=False)
    np.testing.assert_array_equal(found.fit.weights, alone.fit.weights)


def test_classes_without_an_auroc_are_judged_by_loss(classes: Data) -> None:
    classes.validation.known[classes.validation.values[:, 1] == 0] = False
    found = classes.fit(replace(QUICK, rates=(1e-3, 1e-1)), kind="multiclass")
    account = _account(found)
    assert account.criterion == VALIDATION_LOSS
    known = classes.validation.known[:, 1]
    probabilities = found.fit.probabilities(classes.validation.features)[known, 1]
    best = max(trial.score for trial in account.trials if trial.score is not None)
    assert -best == pytest.approx(-np.log(probabilities).mean(), rel=1e-4)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_balanced_classes_begin_at_even_odds(data: Data, classes: Data, kind: str) -> None:
    study = classes if kind == "multiclass" else data
    settings = replace(QUICK, rates=(1e-12,), class_weight="balanced")
    probabilities = study.fit(settings, kind=kind).fit.probabilities(study.train.features)
    np.testing.assert_allclose(probabilities, 1 / 3 if kind == "multiclass" else 0.5, atol=1e-4)


def test_constant_features_fit_the_prevalence(data: Data) -> None:
    flat = data.train._replace(features=np.full((160, 12), 7, np.float32))
    found = data._replace(train=flat).fit(validated=False).fit
    share = [flat.values[known, i].mean() for i, known in enumerate(flat.known.T)]
    np.testing.assert_allclose(found.probabilities(flat.features)[0], share, atol=0.01)


def test_progress_is_shown_in_steps(data: Data) -> None:
    listener = Listener()
    fit_linear(*data.train, "multilabel", names=NAMES, settings=QUICK, reporter=listener)
    (shown,) = listener.shown
    assert (shown.done, shown.total, shown.unit, shown.closed) == (60, 60, "steps", True)


def test_wrong_inputs_are_refused(data: Data) -> None:
    narrow = data.validation._replace(features=data.validation.features[:, :5])
    with pytest.raises(DataError, match="Validation has 5 features a row, train has 12"):
        data._replace(validation=narrow).fit()
    with pytest.raises(DataError, match=r"must have shape \(160, 3\)"):
        fit_linear(data.train.features, data.train.values[:5], data.train.known, "x", names=NAMES)
    data.train.features[3, 0] = np.nan
    with pytest.raises(DataError, match="1 of 160 feature rows hold NaN"):
        data.fit()
    with pytest.raises(UsageError, match=r"must be a positive number, got -1\.0.*batch_size must"):
        LinearSettings(rates=(-1.0,), batch_size=0)
    with pytest.raises(UsageError, match="at least one, each once"):
        LinearSettings(rates=())


@pytest.mark.gpu
def test_cuda_gives_the_fit_of_the_cpu(data: Data) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    here = data.fit()
    there = fit_linear(
        *data.train,
        "multilabel",
        names=NAMES,
        validation=data.validation,
        settings=QUICK,
        device=torch.device("cuda"),
    )
    np.testing.assert_allclose(there.fit.weights, here.fit.weights, atol=1e-4)


def test_the_number_of_threads_does_not_show_and_is_put_back(data: Data) -> None:
    before = torch.get_num_threads()
    try:
        fits = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            fits.append(data.fit().fit.weights)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(fits[0], fits[1])
