from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import cxrlearn
from cxrlearn.probes.estimator import LogisticProbe


def _data(classes: int = 2) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    rng = np.random.default_rng(classes)
    X = rng.normal(size=(200, 6))
    noise = rng.gumbel(size=(200, classes))
    return X, (X @ rng.normal(size=(6, classes)) + noise).argmax(axis=1)


CHECKS = [check for _, check in estimator_checks_generator(LogisticProbe(), legacy=True)]


@pytest.mark.parametrize("check", CHECKS, ids=[check.func.__name__ for check in CHECKS])
def test_it_passes_every_check_of_scikit_learn(check: Any) -> None:  # noqa: ANN401
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks provoke warnings of scikit-learn itself
        check(LogisticProbe())


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("balanced", [False, True])
def test_probabilities_are_those_of_scikit_learn(classes: int, balanced: bool) -> None:  # noqa: FBT001
    X, y = _data(classes)
    ours = LogisticProbe(C=0.1, balanced=balanced).fit(X, y)
    weight = "balanced" if balanced else None
    theirs = LogisticRegression(C=0.1, tol=1e-10, max_iter=5000, class_weight=weight).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)
    assert ours.gap_.max() <= 1e-6


def test_names_of_classes_come_back() -> None:
    X, y = _data(3)
    named = np.array(["COVID-19", "No Finding", "Pneumonia"])[y]
    assert set(LogisticProbe().fit(X, named).predict(X)) <= set(named)


def test_unknown_labels_are_masked() -> None:
    X, y = _data()
    labels = np.stack([y, 1 - y], axis=1).astype(float)
    labels[:50, 1] = np.nan
    found = LogisticProbe(C=0.1).fit(X, labels)
    alone = LogisticProbe(C=0.1).fit(X[50:], 1 - y[50:])
    assert found.predict_proba(X).shape == (200, 2)
    np.testing.assert_allclose(
        found.predict_proba(X)[:, 1], alone.predict_proba(X)[:, 1], atol=1e-5
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((200, 2), 2.0), "0, 1 or NaN"),
        (np.stack([np.ones(200), np.arange(200) % 2], axis=1), "Label 0 has fewer than two"),
    ],
)
def test_labels_that_cannot_be_fitted_are_refused(
    labels: npt.NDArray[np.float64], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        LogisticProbe().fit(_data()[0], labels)


@pytest.mark.parametrize("C", [0, -1, np.inf])
def test_c_has_to_be_positive(C: float) -> None:
    with pytest.raises(ValueError, match="C must be a positive number"):
        LogisticProbe(C=C).fit(*_data())


def test_it_works_in_pipelines_and_is_public() -> None:
    X, y = _data()
    scores = cross_val_score(make_pipeline(StandardScaler(), cxrlearn.LogisticProbe()), X, y, cv=3)
    assert scores.mean() > 0.6
