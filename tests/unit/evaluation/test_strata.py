"""AUROC within strata, against counting pairs of equal strata one by one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit, logit
from scipy.stats import t

from cxrlearn.errors import DataError
from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.evaluation.strata import auroc_within_strata
from tests.support.group_oracles import auroc_by_pairs_within

if TYPE_CHECKING:
    from cxrlearn.evaluation.results import WithinStrata

NAMES = ("Edema", "Mass")


class Case(NamedTuple):
    y: npt.NDArray[np.int8]
    known: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]
    patients: list[str]
    view: list[str | None]
    sex: list[str | None]

    def run(self, **changes: object) -> WithinStrata:
        arguments: dict[str, Any] = {
            "y_true": self.y,
            "y_score": self.scores,
            "known": self.known,
            "names": NAMES,
            "kind": "multilabel",
            "patients": self.patients,
            "columns": {"view": self.view, "sex": self.sex},
        }
        return auroc_within_strata(**(arguments | changes))

    def by_pairs(self, rows: list[int], label: int) -> float:
        kept = [i for i in rows if self.known[i, label]]
        strata = [(self.view[i], self.sex[i]) for i in kept]
        return auroc_by_pairs_within(
            self.y[kept, label].tolist(), self.scores[kept, label].tolist(), strata
        )


@pytest.fixture
def case() -> Case:
    rng = np.random.default_rng(5)
    y = (rng.random((90, 2)) < (0.4, 0.15)).astype(np.int8)
    return Case(
        y=y,
        known=rng.random(y.shape) < 0.9,
        scores=np.round(rng.normal(size=y.shape) + y, 1),
        patients=[f"p{i:02d}" for i in rng.integers(0, 40, 90)],
        view=rng.choice(np.array(["PA", "AP", None]), 90).tolist(),
        sex=rng.choice(np.array(["F", "M"]), 90).tolist(),
    )


def test_values_count_only_pairs_of_equal_strata(case: Case) -> None:
    found = case.run()
    assert found.columns == ("view", "sex")
    assert found.strata == 6
    expected = [case.by_pairs(list(range(90)), label) for label in range(2)]
    assert [x.value for x in found.labels] == pytest.approx(expected, abs=1e-14)
    assert found.macro.value == pytest.approx(np.mean(expected), abs=1e-14)
    assert found.macro_labels == NAMES


def test_intervals_are_those_of_counting_pairs_without_each_patient(case: Case) -> None:
    found = case.run()
    for label in range(2):
        value = case.by_pairs(list(range(90)), label)
        shifts = np.array(
            [
                case.by_pairs([i for i in range(90) if case.patients[i] != patient], label) - value
                for patient in sorted(set(case.patients))
            ]
        )
        squares = np.square(shifts)
        spread = (squares**2).sum() - squares.sum() ** 2 / len(squares)
        degrees = 2 * squares.sum() ** 2 / spread - 1
        half = t.ppf(0.975, degrees) * np.sqrt(squares.sum()) / (value * (1 - value))
        estimate = found.labels[label]
        expected = expit(logit(value) + np.array([-half, half]))
        assert (estimate.low, estimate.high) == pytest.approx(tuple(expected))


def test_one_stratum_is_the_plain_auroc(case: Case) -> None:
    whole = evaluate(
        case.y,
        case.scores,
        known=case.known,
        names=NAMES,
        kind="multilabel",
        patients=case.patients,
    )
    for columns in ({}, {"site": ["one"] * 90}):
        found = case.run(columns=columns)
        assert found.strata == 1
        assert [x.value for x in found.labels] == [x.auroc.value for x in whole.labels]
        assert found.macro == whole.macro


def test_score_that_only_knows_the_columns_is_chance(case: Case) -> None:
    knows = np.array(
        [[float(v == "AP") + 2 * (s == "M")] for v, s in zip(case.view, case.sex, strict=True)]
    )
    found = case.run(y_score=np.hstack([knows, knows]))
    assert [x.value for x in found.labels] == [0.5, 0.5]


def test_row_order_and_monotone_transforms_within_strata_do_not_matter(case: Case) -> None:
    order = np.random.default_rng(0).permutation(90)
    shift = np.array([{"PA": 0.0, "AP": 50.0}.get(str(v), -9.0) for v in case.view])[:, None]
    turned = Case(
        case.y[order],
        case.known[order],
        (np.exp(case.scores) + shift)[order],
        [case.patients[i] for i in order],
        [case.view[i] for i in order],
        [case.sex[i] for i in order],
    )
    assert turned.run() == case.run()


def test_label_without_a_pair_within_strata_says_so_and_leaves_the_macro(case: Case) -> None:
    sex = ["M" if y else "F" for y in case.y[:, 1]]
    found = case.run(columns={"sex": sex})
    assert found.labels[1].value is None
    assert found.labels[1].reason == "no stratum has both classes"
    assert found.macro_labels == ("Edema",)
    nowhere = case.run(columns={"image": [str(i) for i in range(90)]})
    assert nowhere.strata == 90
    assert nowhere.macro.reason == "no label has both classes within a stratum"


def test_one_class_unscored_and_masked_labels_keep_their_reasons(case: Case) -> None:
    case.y[:, 1] = 0
    case.scores[:, 0] = math.nan
    found = case.run(not_scored={"Edema": "not fitted"})
    assert found.labels[0].reason == "not fitted"
    assert found.labels[1].reason == f"no positives among {case.known[:, 1].sum()} known rows"
    case.known[:, 1] = False
    assert case.run(not_scored={"Edema": "x"}).labels[1].reason == "no known rows"


def test_pairs_of_one_patient_of_a_class_have_a_value_and_no_interval(case: Case) -> None:
    case.known[:, 1] = False
    case.known[:2, 1], case.y[:2, 1] = True, [1, 0]
    view = ["x", "x", *case.view[2:]]
    mass = case.run(columns={"view": view}, patients=[str(i) for i in range(90)]).labels[1]
    assert mass.value is not None
    assert (
        mass.reason
        == "no interval: the value cannot be computed without one of its patients or images"
    )


def test_one_patient_and_no_rows_do_not_crash(case: Case) -> None:
    found = case.run(patients=["p"] * 90)
    assert (
        found.labels[0].reason
        == "no interval: the value cannot be computed without one of its patients or images"
    )
    empty = auroc_within_strata(
        np.zeros((0, 1)), np.zeros((0, 1)), names=["a"], kind="binary", columns={"sex": []}
    )
    assert (empty.strata, empty.labels[0].reason) == (0, "no known rows")


def test_column_of_another_length_is_refused(case: Case) -> None:
    with pytest.raises(DataError, match="Column 'sex' must have 90 values"):
        case.run(columns={"sex": ["F"]})
