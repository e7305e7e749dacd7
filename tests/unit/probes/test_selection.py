"""Choosing C: by validation alone, in units of the features, on a grid that grows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from cxrlearn.errors import DataError
from cxrlearn.probes.grid import FIRST_STEPS, LAST_STEPS, Validation
from cxrlearn.probes.logistic import LogisticSolver, fit_logistic
from cxrlearn.probes.selection import Choice, choose_c

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Floats = npt.NDArray[np.float64]


@dataclass
class FakeSolver:
    """Log-odds made by a formula of λ, for train features of unit scale (N · v = 1)."""

    odds: Callable[[float, int], Floats]
    calls: list[tuple[tuple[float, ...], tuple[int, ...]]] = field(default_factory=list)

    def __call__(self, values: Sequence[float], columns: Sequence[int]) -> list[FakeFit]:
        self.calls.append((tuple(values), tuple(columns)))
        return [FakeFit(np.stack([self.odds(1 / C, i) for i in columns], axis=1)) for C in values]


@dataclass
class FakeFit:
    odds: Floats

    def decision(self, features: npt.ArrayLike) -> Floats:
        return self.odds


UNIT = np.array([[1.0], [-1.0]]) / np.sqrt(2)  # N = 2, variance 1/2


def _validation(values: npt.NDArray[np.int8]) -> Validation:
    return Validation(np.zeros((len(values), 1)), values, np.ones(values.shape, bool))


def _choose(
    solver: FakeSolver, validation: Validation, kind: str = "multilabel", default: float = 0.0327
) -> Choice:
    names = [f"l{i}" for i in range(validation.values.shape[1])]
    return choose_c(solver, UNIT, validation, names=names, kind=kind, default_c=default)


def _labels(positives: Sequence[int], rows: int = 60) -> npt.NDArray[np.int8]:
    return np.stack([(np.arange(rows) < count).astype(np.int8) for count in positives], axis=1)


def _quality(best: float, y: npt.NDArray[np.int8]) -> Callable[[float, int], Floats]:
    """Log-odds that are right, the more so the closer λ is to `best`."""
    return lambda strength, i: (2 * y[:, i] - 1) * 3 / (1 + abs(np.log10(strength / best)))


def test_the_penalty_of_least_validation_loss_is_chosen() -> None:
    y = _labels([30, 25])
    choice = _choose(FakeSolver(_quality(0.01, y)), _validation(y))
    for label in choice.labels:
        assert label.strength == pytest.approx(0.01)
        assert pytest.approx(100) == label.C  # N · v = 1
        assert (label.how, label.at_limit) == ("validation", False)
    assert [label.positives for label in choice.labels] == [30, 25]
    assert choice.values == tuple(label.C for label in choice.labels)


def test_everything_tried_is_on_the_path_by_rising_penalty() -> None:
    y = _labels([30])
    solver = FakeSolver(_quality(0.01, y))
    choice = _choose(solver, _validation(y))
    strengths = [trial.strength for trial in choice.path]
    assert len(strengths) == len(FIRST_STEPS)
    assert strengths == sorted(strengths)
    assert solver.calls == [(tuple(t.C for t in reversed(choice.path)), (0,))]
    odds = _quality(0.01, y)(strengths[0], 0)
    expected = np.mean(np.log1p(np.exp(np.where(y[:, 0] == 1, -odds, odds))))
    assert list(choice.path[0].losses) == pytest.approx([expected])


@pytest.mark.parametrize("best", [1e-7, 100.0])
def test_grid_grows_where_an_end_is_best_and_only_for_labels_that_need_it(best: float) -> None:
    y = _labels([30, 30])
    solver = FakeSolver(lambda s, i: _quality(best if i else 0.01, y)(s, i))
    choice = _choose(solver, _validation(y))
    assert choice.labels[0].strength == pytest.approx(0.01)
    assert choice.labels[1].strength == pytest.approx(best)
    assert not choice.labels[1].at_limit
    assert all(columns == (1,) for _, columns in solver.calls[1:])
    grown = choice.path[0] if best < 0.01 else choice.path[-1]
    assert grown.losses[0] is None
    assert grown.losses[1] is not None


@pytest.mark.parametrize(("best", "end"), [(1e-30, 0), (1e30, 1)])
def test_grid_ends_somewhere_and_says_so(best: float, end: int) -> None:
    y = _labels([30])
    label = _choose(FakeSolver(_quality(best, y)), _validation(y)).labels[0]
    assert label.strength == pytest.approx(10 ** (LAST_STEPS[end] / 2))
    assert label.at_limit


def test_ties_go_to_the_smaller_c() -> None:
    y = _labels([30])
    flat = FakeSolver(lambda s, _: np.where(s > 2e-2, 1.0, 0.5) * (2 * y[:, 0] - 1.0) * (s < 2))
    label = _choose(flat, _validation(y)).labels[0]
    assert label.strength == pytest.approx(1)


def test_loss_is_taken_over_known_validation_rows_only() -> None:
    y = _labels([30])
    wrong = y.copy()
    wrong[::2] = 1 - y[::2]
    known = np.ones(y.shape, bool)
    known[::2] = False
    masked = Validation(np.zeros((60, 1)), np.where(known, wrong, -1).astype(np.int8), known)
    choice = _choose(FakeSolver(_quality(0.01, y)), masked)
    assert choice.labels[0].strength == pytest.approx(0.01)
    assert (choice.labels[0].positives, choice.labels[0].negatives) == (15, 15)


def test_labels_with_few_positives_share_the_c_of_best_mean_relative_loss() -> None:
    y = _labels([30, 19, 5])
    best = (1e-2, 1.0, 1.0)
    choice = _choose(FakeSolver(lambda s, i: _quality(best[i], y)(s, i)), _validation(y))
    assert [label.how for label in choice.labels] == ["validation", "shared", "shared"]
    assert choice.labels[1].C == choice.labels[2].C
    entropy = [-(p * np.log(p) + (1 - p) * np.log(1 - p)) for p in y.mean(axis=0)]
    for trial in choice.path:
        losses = [loss for loss in trial.losses if loss is not None]
        expected = np.mean([loss / h for loss, h in zip(losses, entropy, strict=True)])
        assert trial.shared == pytest.approx(expected)
    least = min(choice.path, key=lambda trial: trial.shared or np.inf)
    assert choice.labels[1].C == least.C
    assert choice.labels[0].strength == pytest.approx(1e-2)


def test_values_tried_for_one_label_alone_do_not_count_as_shared() -> None:
    y = _labels([30, 5])
    best = (1e-6, 0.01)
    choice = _choose(FakeSolver(lambda s, i: _quality(best[i], y)(s, i)), _validation(y))
    assert choice.labels[0].strength == pytest.approx(1e-6)
    assert choice.path[0].shared is None
    assert choice.path[-1].shared is not None


def test_label_without_validation_positives_shares_but_does_not_judge() -> None:
    y = _labels([30, 25, 0])
    choice = _choose(FakeSolver(_quality(0.01, _labels([30, 25, 30]))), _validation(y))
    assert choice.labels[2].how == "shared"
    assert choice.labels[2].strength == pytest.approx(0.01)
    assert choice.path[0].losses[2] is None


def test_default_is_kept_and_said_where_validation_cannot_decide() -> None:
    y = _labels([0])
    solver = FakeSolver(_quality(0.01, y))
    label = _choose(solver, _validation(y)).labels[0]
    assert (label.C, label.how, label.strength) == (0.0327, "default", None)
    assert solver.calls == []


def test_label_that_train_cannot_fit_keeps_the_default_and_does_not_judge() -> None:
    y = _labels([30, 30, 5])
    good = _quality(0.01, y)
    solver = FakeSolver(lambda s, i: np.full(60, np.nan) if i == 1 else good(s, i))
    choice = _choose(solver, _validation(y))
    assert [label.how for label in choice.labels] == ["validation", "default", "shared"]
    assert choice.labels[2].strength == pytest.approx(0.01)


def test_few_negatives_are_as_rare_as_few_positives() -> None:
    y = _labels([30, 55])
    choice = _choose(FakeSolver(_quality(0.01, y)), _validation(y))
    assert [label.how for label in choice.labels] == ["validation", "shared"]


def test_classes_share_one_c_by_cross_entropy() -> None:
    y = np.eye(3, dtype=np.int8)[np.arange(60) % 3]
    solver = FakeSolver(_quality(0.1, y))
    choice = _choose(solver, _validation(y), "multiclass")
    assert len(set(choice.values)) == 1
    assert {label.how for label in choice.labels} == {"validation"}
    assert choice.labels[0].strength == pytest.approx(0.1)
    assert all(columns == (0, 1, 2) for _, columns in solver.calls)
    odds = np.stack([_quality(0.1, y)(choice.path[0].strength, i) for i in range(3)], axis=1)
    expected = np.log1p(np.exp(-odds[y == 1])).mean()
    assert list(choice.path[0].losses) == pytest.approx([expected] * 3)


def test_class_that_train_lacks_does_not_spoil_the_choice() -> None:
    y = np.eye(3, dtype=np.int8)[np.arange(60) % 3]
    good = _quality(0.1, y)
    solver = FakeSolver(lambda s, i: np.full(60, np.nan) if i == 2 else good(s, i))
    choice = _choose(solver, _validation(y), "multiclass")
    assert choice.labels[0].strength == pytest.approx(0.1)


def test_multiclass_without_known_validation_rows_keeps_the_default() -> None:
    y = np.eye(3, dtype=np.int8)[np.arange(6) % 3]
    validation = Validation(np.zeros((6, 1)), y, np.zeros(y.shape, bool))
    choice = _choose(FakeSolver(_quality(0.1, y)), validation, "multiclass", default=0.316)
    assert choice.values == (0.316,) * 3


def test_wrong_input_is_refused() -> None:
    y = _labels([30])
    with pytest.raises(DataError, match="must have shape"):
        choose_c(
            FakeSolver(_quality(1, y)), UNIT, _validation(y), names=["a", "b"],
            kind="multilabel", default_c=1,
        )  # fmt: skip
    with pytest.raises(DataError, match="no train rows"):
        choose_c(
            FakeSolver(_quality(1, y)), UNIT[:0], _validation(y), names=["a"],
            kind="binary", default_c=1,
        )  # fmt: skip


class Real:
    """Features with a decaying spectrum, two labels of which the second is rare."""

    def __init__(self, unit: float = 1.0) -> None:
        rng = np.random.default_rng(0)
        mixed = rng.normal(size=(400, 20)) * np.arange(1, 21) ** -0.7
        features = np.maximum(mixed @ rng.normal(size=(20, 20)), 0)
        logits = (features - features.mean(axis=0)) @ rng.normal(size=(20, 2)) / 2 - (0, 3)
        self.y = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int8)
        self.x = features * unit
        self.known = rng.random(self.y.shape) < 0.9
        self.names = ("a", "b")

    def choose(self) -> Choice:
        solver = LogisticSolver(
            self.x[:250], self.y[:250], self.known[:250], "multilabel", self.names
        )
        held_out = Validation(self.x[250:], self.y[250:], self.known[250:])
        return choose_c(
            solver, self.x[:250], held_out, names=self.names, kind="multilabel", default_c=1
        )

    def predict(self, C: Sequence[float]) -> Floats:
        fit = fit_logistic(
            self.x[:250], self.y[:250], self.known[:250], "multilabel", names=self.names, C=C
        )
        return fit.decision(self.x)


def test_features_times_1000_give_the_same_choice_and_the_same_predictions() -> None:
    small, large = Real(), Real(1000.0)
    chosen, again = small.choose(), large.choose()
    assert [x.strength for x in chosen.labels] == [x.strength for x in again.labels]
    assert again.values == pytest.approx([C / 1e6 for C in chosen.values])
    np.testing.assert_allclose(large.predict(again.values), small.predict(chosen.values), atol=1e-4)


def test_validation_decides_c_and_nothing_else() -> None:
    real = Real()
    chosen = real.choose()
    before = real.predict(chosen.values)
    real.y[250:] = 1 - real.y[250:]
    other = real.choose()
    assert other.values != chosen.values
    np.testing.assert_array_equal(real.predict(chosen.values), before)


def test_chosen_c_is_the_best_of_those_tried_by_an_independent_loss() -> None:
    real = Real()
    choice = real.choose()
    rows = np.flatnonzero(real.known[250:, 0]) + 250
    losses = {}
    for trial in choice.path:
        p = 1 / (1 + np.exp(-real.predict([trial.C] * 2)[rows, 0]))
        losses[trial.C] = -np.mean(np.where(real.y[rows, 0] == 1, np.log(p), np.log(1 - p)))
    assert choice.values[0] == min(losses, key=lambda C: losses[C])
