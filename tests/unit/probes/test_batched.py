"""The batched solver against damped Newton steps in float64, whose answer carries its own proof.

Every case runs twice: in float64 from the start, as small problems do, and through float32 first,
as large ones do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from cxrlearn.errors import DataError
from cxrlearn.probes import problem
from cxrlearn.probes.batched import BatchedLogistic
from cxrlearn.probes.certificate import CERTIFIED
from tests.support.logistic_oracles import certified_newton, objective_value, softmax_gradient

if TYPE_CHECKING:
    from collections.abc import Callable

STRENGTHS = (1e-9, 1e-6, 1e-3, 0.1, 10.0, 1000.0)
"""λ = 1 / (C · N · mean feature variance), from hardly any penalty to hardly anything else."""

FloatArray = npt.NDArray[np.float64]


class Case(NamedTuple):
    features: npt.NDArray[np.float32]
    target: npt.NDArray[np.int8]
    held_out: FloatArray


def _plain(rng: np.random.Generator, rows: int = 500, dim: int = 60) -> FloatArray:
    return rng.standard_normal((rows, dim))


def _decaying_relu(rng: np.random.Generator) -> FloatArray:
    decay = (1.0 + np.arange(60)) ** -1
    return np.maximum((_plain(rng) * decay) @ rng.standard_normal((60, 60)) + 0.1, 0)


def _duplicates_and_a_constant(rng: np.random.Generator) -> FloatArray:
    X = _plain(rng)
    X[:, 30:] = X[:, :30]
    X[:, 0] = 5.0
    return X


def _nearly_collinear(rng: np.random.Generator) -> FloatArray:
    X = _plain(rng)
    X[:, :30] = X[:, 30:] + 1e-4 * X[:, :30]
    return X


SHAPES: dict[str, Callable[[np.random.Generator], FloatArray]] = {
    "plain": _plain,
    "decaying relu": _decaying_relu,
    "duplicates and a constant": _duplicates_and_a_constant,
    "nearly collinear": _nearly_collinear,
    "scales 1e-3 to 1e3": lambda rng: _plain(rng) * 10 ** np.linspace(-3, 3, 60),
    "mean plus 1000": lambda rng: _plain(rng) + 1000,
    "fewer rows than features": lambda rng: _plain(rng, 50, 120),
}


def make_case(shape: str, labels: str = "noisy") -> Case:
    rng = np.random.default_rng(len(shape))
    X = SHAPES[shape](rng).astype(np.float32)
    spread = X.std(axis=0)
    z = (X - X.mean(axis=0)) / np.where(spread > 1e-6 * spread.max(), spread, np.inf)
    score = z @ rng.standard_normal(X.shape[1]) / X.shape[1] ** 0.5 * 2
    y = (score + rng.logistic(size=len(X)) > 1).astype(np.int8)
    if labels == "separable":
        y = (score > 0.5).astype(np.int8)
    if labels == "one positive":
        y = (np.arange(len(X)) == 3).astype(np.int8)
    # Held-out rows are of the same kind: mixtures of two train rows.
    mixed = rng.permutation(len(X))
    held_out = 0.7 * X.astype(np.float64) + 0.3 * X[mixed]
    return Case(X, y, held_out)


def values_of_c(X: npt.NDArray[np.float32]) -> list[float]:
    scale = len(X) * float(X.astype(np.float64).var(axis=0).mean())
    return [1 / (strength * scale) for strength in STRENGTHS]


def solver(
    X: npt.NDArray[np.float32], y: npt.NDArray[np.int8], known: npt.NDArray[np.bool_] | None = None
) -> BatchedLogistic:
    labels = y[:, None] if y.ndim == 1 else y
    mask = np.ones(labels.shape, bool) if known is None else known
    names = tuple(f"label {i}" for i in range(labels.shape[1]))
    return BatchedLogistic(X, labels, mask, "multilabel", names)


@pytest.fixture(params=["float64", "float32 first"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "float32 first":
        monkeypatch.setattr(problem, "SMALL", 0)
    return str(request.param)


@pytest.mark.parametrize(
    ("shape", "labels"),
    [*((shape, "noisy") for shape in SHAPES), ("plain", "separable"), ("plain", "one positive")],
)
def test_every_fit_is_certified_and_agrees_with_newton(shape: str, labels: str, route: str) -> None:
    case = make_case(shape, labels)
    X = case.features.astype(np.float64)
    fits = solver(case.features, case.target)(values_of_c(case.features), [0])
    for C, fit in zip(values_of_c(case.features), fits, strict=True):
        account = fit.labels[0]
        assert account.converged
        assert account.gap is not None
        assert account.gap <= CERTIFIED
        w, b, least = certified_newton(X, case.target, C)
        reached = objective_value(X, case.target, C, fit.weights[0], fit.intercept[0])
        assert reached <= least * (1 + 1e-8)
        for rows in (X, case.held_out):
            ours = fit.probabilities(rows)[:, 0]
            np.testing.assert_allclose(ours, expit(rows @ w + b), atol=1e-4, rtol=0)


def test_the_certificate_bounds_the_true_gap_also_of_an_unfinished_fit() -> None:
    case = make_case("decaying relu")
    X, C = case.features.astype(np.float64), values_of_c(case.features)[1]
    _, _, least = certified_newton(X, case.target, C)
    gaps = []
    for iterations in (1, 2, 4, 8):
        hasty = solver(case.features, case.target)
        hasty.max_iter = iterations
        fit = hasty.fit(C)
        account = fit.labels[0]
        reached = objective_value(X, case.target, C, fit.weights[0], fit.intercept[0])
        assert account.gap is not None
        assert (reached - least) / reached <= account.gap
        assert account.converged == (account.gap <= CERTIFIED)
        gaps.append(account.gap)
    assert gaps[0] > CERTIFIED


def test_objective_is_no_worse_than_scikit_learns() -> None:
    case = make_case("decaying relu")
    X = case.features.astype(np.float64)
    for C in values_of_c(case.features):
        peer = LogisticRegression(C=C, tol=1e-12, max_iter=20000).fit(X, case.target)
        theirs = objective_value(X, case.target, C, peer.coef_[0], float(peer.intercept_[0]))
        fit = solver(case.features, case.target).fit(C)
        ours = objective_value(X, case.target, C, fit.weights[0], fit.intercept[0])
        assert ours <= theirs * (1 + 1e-6)


def _masked_labels(share: float) -> tuple[Case, npt.NDArray[np.int8], npt.NDArray[np.bool_]]:
    case = make_case("plain")
    rng = np.random.default_rng(9)
    other = (case.features[:, 1] + rng.logistic(size=len(case.features)) > 0).astype(np.int8)
    labels = np.stack([case.target, other, case.target], axis=1)
    known = np.ones(labels.shape, bool)
    known[:, 1] = rng.random(len(labels)) < share
    known[:, 2] = False
    return case, labels, known


@pytest.mark.parametrize(
    "share", [0.8, 0.2, 0.08], ids=["shared problem", "own rows", "own rows, fewer than features"]
)
def test_masked_rows_do_not_enter_a_labels_fit(share: float, route: str) -> None:
    case, labels, known = _masked_labels(share)
    C = values_of_c(case.features)[2]
    fit = solver(case.features, labels, known).fit([C, C, None])
    rows = known[:, 1]
    X = case.features.astype(np.float64)
    w, b, _ = certified_newton(X[rows], labels[rows, 1], C)
    np.testing.assert_allclose(fit.probabilities(X)[:, 1], expit(X @ w + b), atol=1e-4)
    assert fit.labels[1].positives == labels[rows, 1].sum()
    assert fit.labels[2].reason == "not fitted: no known rows in train"
    assert np.isnan(fit.weights[2]).all()


def test_values_under_the_mask_are_never_looked_at() -> None:
    case, labels, known = _masked_labels(0.8)
    other = np.where(known, labels, 1 - labels).astype(np.int8)
    C = values_of_c(case.features)[2]
    first, second = (solver(case.features, y, known).fit(C) for y in (labels, other))
    assert np.array_equal(first.weights, second.weights, equal_nan=True)


def test_a_label_hardly_depends_on_what_is_fitted_beside_it() -> None:
    case, labels, known = _masked_labels(0.8)
    C = values_of_c(case.features)[2]
    together = solver(case.features, labels, known).fit(C)
    alone = solver(case.features, labels[:, :1], known[:, :1]).fit(C)
    X = case.features
    np.testing.assert_allclose(
        together.decision(X)[:, 0], alone.decision(X)[:, 0], atol=1e-5, rtol=1e-5
    )


def test_balanced_weights_make_both_classes_count_alike() -> None:
    case, labels, known = _masked_labels(0.8)
    C = values_of_c(case.features)[2]
    balanced = solver(case.features, labels, known)
    balanced.balanced = True
    fit = balanced.fit(C)
    rows = known[:, 1]
    y, X = labels[rows, 1], case.features[rows].astype(np.float64)
    weight = np.where(y == 1, len(y) / (2 * y.sum()), len(y) / (2 * (len(y) - y.sum())))
    w, b, _ = certified_newton(X, y, C, weight)
    np.testing.assert_allclose(fit.probabilities(X)[:, 1], expit(X @ w + b), atol=1e-4)
    theirs = LogisticRegression(C=C, tol=1e-10, max_iter=5000, class_weight="balanced").fit(X, y)
    np.testing.assert_allclose(fit.probabilities(X)[:, 1], theirs.predict_proba(X)[:, 1], atol=1e-4)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_features_in_other_units_give_the_same_probabilities_at_the_matching_c(
    factor: float,
) -> None:
    case = make_case("decaying relu")
    C = values_of_c(case.features)[2]
    one = solver(case.features, case.target).fit(C)
    X = (case.features * np.float32(factor)).astype(np.float32)
    other = solver(X, case.target).fit(C / factor**2)
    np.testing.assert_allclose(one.probabilities(case.features), other.probabilities(X), atol=2e-6)


def test_same_input_gives_the_same_bits() -> None:
    case, labels, known = _masked_labels(0.8)
    fits = [solver(case.features, labels, known).fit(0.01) for _ in range(2)]
    assert np.array_equal(fits[0].weights, fits[1].weights, equal_nan=True)
    assert np.array_equal(fits[0].intercept, fits[1].intercept, equal_nan=True)


def test_a_fit_that_was_asked_for_before_is_not_computed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = make_case("plain")
    found = solver(case.features, case.target)
    grid = found([0.1, 1.0], [0])
    monkeypatch.setattr("cxrlearn.probes.batched.solve_batch", None)
    assert np.array_equal(found.fit(1.0).weights, grid[1].weights)


def test_constant_features_fit_the_prevalence(route: str) -> None:
    y = (np.arange(40) < 10).astype(np.int8)
    fit = solver(np.full((40, 3), 7.5, np.float32), y).fit(1.0)
    assert np.array_equal(fit.weights, np.zeros((1, 3)))
    np.testing.assert_allclose(fit.probabilities(np.full((2, 3), 7.5)), 0.25, atol=1e-12)


def _classes(count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8], FloatArray]:
    rng = np.random.default_rng(count)
    X = _decaying_relu(rng).astype(np.float32)
    z = (X - X.mean(axis=0)) @ rng.standard_normal((60, count))
    drawn = (z / z.std() + rng.gumbel(size=z.shape)).argmax(axis=1)
    return X, np.eye(count, dtype=np.int8)[drawn], X.astype(np.float64)


def class_solver(X: npt.NDArray[np.float32], one_hot: npt.NDArray[np.int8]) -> BatchedLogistic:
    names = tuple("abcdefgh"[: one_hot.shape[1]])
    return BatchedLogistic(X, one_hot, np.ones(one_hot.shape, bool), "multiclass", names)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_classes_are_one_softmax_at_its_minimum(strength: float, route: str) -> None:
    X, one_hot, raw = _classes(4)
    C = 1 / (strength * len(X) * float(raw.var(axis=0).mean()))
    fit = class_solver(X, one_hot).fit(C)
    assert fit.labels[0].gap is not None
    assert fit.labels[0].gap <= CERTIFIED
    by_weight, by_intercept = softmax_gradient(
        raw, one_hot.argmax(axis=1), C, fit.weights, fit.intercept
    )
    # The bound of the certificate, computed anew from raw features by another program.
    z = raw @ fit.weights.T + fit.intercept
    losses = np.logaddexp.reduce(z, axis=1) - z[one_hot == 1]
    objective = C * losses.sum() + 0.5 * (fit.weights**2).sum()
    assert 0.5 * (by_weight**2).sum() / objective <= 1.01 * CERTIFIED
    assert np.abs(by_intercept).max() <= 1e-7 * C * len(X)


def test_multiclass_probabilities_are_scikit_learns() -> None:
    X, one_hot, raw = _classes(3)
    C = 1 / (0.01 * len(X) * float(raw.var(axis=0).mean()))
    fit = class_solver(X, one_hot).fit(C)
    peer = LogisticRegression(C=C, tol=1e-10, max_iter=20000).fit(raw, one_hot.argmax(axis=1))
    np.testing.assert_allclose(fit.probabilities(X), peer.predict_proba(raw), atol=1e-4)


def test_two_classes_are_one_sigmoid() -> None:
    X, one_hot, raw = _classes(2)
    fit = class_solver(X, one_hot).fit(0.01)
    w, b, _ = certified_newton(raw, one_hot[:, 1], 0.01)
    np.testing.assert_allclose(fit.probabilities(X)[:, 1], expit(raw @ w + b), atol=1e-4)
    np.testing.assert_allclose(fit.probabilities(X).sum(axis=1), 1, atol=1e-12)


def test_masked_rows_and_missing_classes_of_a_multiclass_fit() -> None:
    X, one_hot, _ = _classes(4)
    known = np.repeat((np.arange(len(X)) % 5 > 0)[:, None], 4, axis=1)
    known[one_hot[:, 3] == 1] = False
    names = ("a", "b", "c", "d")
    masked = BatchedLogistic(X, one_hot, known, "multiclass", names).fit(0.01)
    rows = known[:, 0]
    alone = class_solver(X[rows], one_hot[rows, :3]).fit(0.01)
    np.testing.assert_allclose(masked.weights[:3], alone.weights, atol=1e-6)
    assert (
        masked.labels[3].reason
        == f"not fitted: no positives among {rows.sum()} known rows of train"
    )
    assert np.isnan(masked.weights[3]).all()


def test_one_class_alone_cannot_be_fitted() -> None:
    X, _, _ = _classes(3)
    one_hot = np.zeros((len(X), 3), np.int8)
    one_hot[:, 1] = 1
    fit = class_solver(X, one_hot).fit([None, None, None])
    assert all(label.reason for label in fit.labels)


class OnDisk:
    """Rows that can only be read in slices, and that count how many were asked for at once."""

    def __init__(self, rows: npt.NDArray[np.float32]) -> None:
        self.rows = rows
        self.shape = rows.shape
        self.most = 0

    def __getitem__(self, wanted: slice) -> npt.NDArray[np.float32]:
        found = self.rows[wanted]
        self.most = max(self.most, len(found))
        return found


@pytest.mark.parametrize("share", [1.0, 0.2], ids=["all rows", "a label on its own rows"])
def test_streamed_features_give_the_same_answer(
    share: float, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, labels, known = _masked_labels(share)
    C = values_of_c(case.features)[2]
    whole = solver(case.features, labels, known).fit(C)
    monkeypatch.setattr("cxrlearn.probes.centred.BLOCK_BYTES", 37 * 60 * 8)
    disk = OnDisk(case.features)
    names = ("a", "b", "c")
    streamed = BatchedLogistic(disk, labels, known, "multilabel", names, resident=False).fit(C)
    np.testing.assert_allclose(
        streamed.probabilities(case.features), whole.probabilities(case.features), atol=1e-6
    )
    assert disk.most < len(case.features)


def test_features_of_half_precision_are_taken() -> None:
    case = make_case("plain")
    halves = case.features.astype(np.float16)
    fit = BatchedLogistic(
        halves, case.target[:, None], np.ones((len(halves), 1), bool), "binary", ("a",)
    ).fit(0.1)
    w, b, _ = certified_newton(halves.astype(np.float64), case.target, 0.1)
    np.testing.assert_allclose(
        fit.decision(halves)[:, 0], halves.astype(np.float64) @ w + b, atol=1e-3
    )


@pytest.mark.parametrize("C", [0.0, -1.0, np.nan, np.inf, None])
def test_c_that_is_not_positive_is_refused(C: float | None) -> None:
    case = make_case("plain")
    with pytest.raises(DataError, match="C must be a positive number"):
        solver(case.features, case.target).fit([C])


def test_features_that_are_no_numbers_are_refused() -> None:
    case = make_case("plain")
    case.features[3, 2] = np.inf
    with pytest.raises(DataError, match="NaN or infinite"):
        solver(case.features, case.target).fit(1.0)


def test_wrong_shapes_are_refused() -> None:
    case = make_case("plain")
    with pytest.raises(DataError, match=r"must have shape \(500, 1\)"):
        solver(case.features, case.target, np.ones((500, 2), bool))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_answer(route: str) -> None:
    case, labels, known = _masked_labels(0.8)
    there = solver(case.features, labels, known)
    there.device = "cuda"
    C = values_of_c(case.features)[2]
    here = solver(case.features, labels, known).fit(C)
    np.testing.assert_allclose(
        there.fit(C).probabilities(case.features), here.probabilities(case.features), atol=1e-5
    )
