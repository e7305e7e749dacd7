"""Subgroups: each as if evaluated alone, however small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from cxrlearn.errors import DataError
from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.evaluation.subgroups import evaluate_subgroups

if TYPE_CHECKING:
    from cxrlearn.evaluation.results import Subgroup

NAMES = ("Edema", "Mass")


class Case(NamedTuple):
    y: npt.NDArray[np.int8]
    known: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]
    patients: list[str | None]
    ids: list[str]
    sex: list[str | None]

    def arguments(self, rows: npt.NDArray[np.intp]) -> dict[str, Any]:
        return {
            "y_true": self.y[rows],
            "y_score": self.scores[rows],
            "known": self.known[rows],
            "names": NAMES,
            "kind": "multilabel",
            "patients": [self.patients[i] for i in rows],
            "image_ids": [self.ids[i] for i in rows],
        }

    def run(self, **changes: object) -> tuple[Subgroup, ...]:
        arguments = self.arguments(np.arange(len(self.y)))
        return evaluate_subgroups(**(arguments | {"columns": {"sex": self.sex}} | changes))


@pytest.fixture
def case() -> Case:
    rng = np.random.default_rng(3)
    y = (rng.random((150, 2)) < (0.4, 0.2)).astype(np.int8)
    owner = rng.integers(0, 60, 150)
    sex = [("M", "F", "F", "M", None)[i % 5] for i in owner]
    patients: list[str | None] = [f"{i:03d}" for i in owner]
    patients[3] = patients[90] = None
    return Case(
        y=y,
        known=rng.random(y.shape) < 0.9,
        scores=np.round(rng.normal(size=y.shape) + y, 1),
        patients=patients,
        ids=[f"{i:03d}.png" for i in rng.permutation(150)],
        sex=sex,
    )


def test_each_subgroup_is_what_evaluating_it_alone_gives(case: Case) -> None:
    for group in case.run():
        rows = np.array([i for i, s in enumerate(case.sex) if (s or "(blank)") == group.value])
        alone = evaluate(**case.arguments(rows))
        assert (group.rows, group.clusters) == (alone.rows, alone.clusters)
        assert group.macro == alone.macro
        assert group.macro_labels == alone.macro_labels
        for found, expected in zip(group.labels, alone.labels, strict=True):
            assert (found.name, found.auroc) == (expected.name, expected.auroc)
            assert (found.positives, found.negatives) == (expected.positives, expected.negatives)


def test_columns_keep_their_order_and_values_are_sorted_with_blank_last(case: Case) -> None:
    view = ["PA", "AP", ""] * 50
    found = case.run(columns={"view": view, "sex": case.sex})
    assert [(g.column, g.value) for g in found] == [
        ("view", "AP"),
        ("view", "PA"),
        ("view", "(blank)"),
        ("sex", "F"),
        ("sex", "M"),
        ("sex", "(blank)"),
    ]
    assert sum(g.rows for g in found[:3]) == sum(g.rows for g in found[3:]) == 150


def test_row_order_does_not_matter(case: Case) -> None:
    order = np.random.default_rng(0).permutation(150)
    there = evaluate_subgroups(
        **case.arguments(order), columns={"sex": [case.sex[i] for i in order]}
    )
    assert there == case.run()


def test_subgroup_of_three_images_has_counts_reasons_and_no_crash(case: Case) -> None:
    rare: list[str | None] = [*["common"] * 147, *["rare"] * 3]
    case.y[147:], case.known[147:] = [[1, 0], [0, 0], [0, 0]], True
    found = case.run(columns={"device": rare})[1]
    assert (found.value, found.rows) == ("rare", 3)
    edema, mass = found.labels
    assert edema.auroc.value is not None
    assert edema.auroc.reason == "no interval: all positive rows are of one patient"
    assert mass.auroc.reason == "no positives among 3 known rows"
    assert found.macro_labels == ("Edema",)


def test_subgroup_of_one_image_or_of_no_known_row_says_so(case: Case) -> None:
    device: list[str | None] = [*["x"] * 148, "one", "masked"]
    case.known[148:] = [[True, True], [False, False]]
    masked, one, _ = case.run(columns={"device": device})
    assert masked.macro.reason == one.macro.reason == "no label has scores and both classes"
    assert {x.auroc.reason for x in masked.labels} == {"no known rows"}
    assert all(" among 1 known row" in str(x.auroc.reason) for x in one.labels)
    assert (one.clusters, masked.clusters) == (1, 1)


def test_few_patients_mark_the_interval(case: Case) -> None:
    device: list[str | None] = [*["x"] * 130, *["new"] * 20]
    new = case.run(columns={"device": device})[0]
    assert any("rests on very few" in c for x in new.labels for c in x.auroc.cautions)


def test_label_without_scores_says_why_in_every_subgroup(case: Case) -> None:
    case.scores[:, 0] = np.nan
    for group in case.run(not_scored={"Edema": "not fitted"}):
        assert group.labels[0].auroc.reason == "not fitted"
        assert group.labels[0].positives > 0
        assert group.macro_labels == ("Mass",)


def test_classes_are_subgrouped_one_vs_rest(case: Case) -> None:
    y = np.eye(2)[case.y[:, 0]]
    found = case.run(y_true=y, known=None, kind="multiclass", names=["no", "yes"])
    assert [x.positives for x in found[0].labels] == [x.negatives for x in found[0].labels[::-1]]


def test_no_columns_and_no_rows_give_no_subgroups(case: Case) -> None:
    assert case.run(columns={}) == ()
    nothing = case.arguments(np.array([], dtype=np.intp))
    assert evaluate_subgroups(**nothing, columns={"sex": []}) == ()


def test_column_of_another_length_is_refused_by_name(case: Case) -> None:
    with pytest.raises(DataError, match=r"Column 'sex' must have 150 values\. Got 2"):
        case.run(columns={"sex": ["F", "M"]})
