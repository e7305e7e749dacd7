"""The label-efficiency curve: sizes, repeats, one set of labels for all points, and its spread."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cxrlearn.evaluation.metrics import auroc_score
from cxrlearn.runtime.events import SILENT
from cxrlearn.workflows.probe_curve import label_efficiency
from cxrlearn.workflows.probe_evaluate import evaluate_set, score_split
from cxrlearn.workflows.probe_fit import fit_probe
from tests.support.listener import Listener
from tests.support.split_data import TASK, learnable, settings, split

if TYPE_CHECKING:
    from cxrlearn.reports.schema import CurvePointReport
    from cxrlearn.workflows.probe_data import SplitData

DATA = {
    "train": learnable(60, images=2),
    "val": learnable(40, name="val", seed=1),
    "test": learnable(60, name="test", seed=2, images=2),
    "far": learnable(50, name="far", seed=3),
}


def curve(data: dict[str, SplitData] | None = None, **options: Any) -> list[CurvePointReport]:  # noqa: ANN401 - of ProbeConfig
    repeated = options.get("few_shot") or any(one < 1 for one in options.get("train_fraction", ()))
    given = {"C": 0.1, **({"repeats": 3} if repeated else {}), **options}
    return list(label_efficiency(settings(**given), TASK, data or DATA, SILENT))


def test_without_sizes_there_is_no_curve() -> None:
    assert curve() == []


def test_every_size_stands_once_in_rising_order_for_every_test_set() -> None:
    points = curve(train_fraction=(1.0, 0.1, 0.5, 0.1), few_shot=(8, 2))
    sizes = [
        ("fraction", 0.1),
        ("fraction", 0.5),
        ("fraction", 1.0),
        ("shots", 2.0),
        ("shots", 8.0),
    ]
    assert [(one.kind, one.size) for one in points if one.set_name == "test"] == sizes
    assert [one.set_name for one in points] == ["test"] * 5 + ["far"] * 5


def test_shares_are_of_patients_and_the_whole_is_fitted_once() -> None:
    tenth, half, whole = curve(train_fraction=(0.1, 0.5, 1.0))[:3]
    assert (tenth.patients, half.patients, whole.patients) == ((6,) * 3, (30,) * 3, (60,))
    assert (tenth.rows, half.rows, whole.rows) == ((12,) * 3, (60,) * 3, (120,))
    assert [len(one.macro) for one in (tenth, half, whole)] == [3, 3, 1]
    assert whole.low == whole.mean == whole.high


def test_the_spread_is_that_of_the_repeats() -> None:
    point = curve(train_fraction=(0.2,), repeats=5)[0]
    values = [value for value in point.macro if value is not None]
    assert len(set(values)) > 1
    assert (point.low, point.high) == (min(values), max(values))
    assert point.mean == pytest.approx(np.mean(values))
    assert curve(train_fraction=(0.2,), repeats=3)[0].macro == point.macro[:3]
    assert curve(train_fraction=(0.2,), repeats=5, seed=1)[0].macro != point.macro


def test_more_patients_tell_more() -> None:
    small, large = curve(train_fraction=(0.1, 1.0), repeats=5)[:2]
    assert small.mean is not None
    assert large.mean is not None
    assert small.mean < large.mean - 0.02


@pytest.mark.parametrize("aggregate", [{}, {"aggregate_by": "patient"}])
@pytest.mark.parametrize("C", [0.1, None])
def test_the_whole_is_the_run_itself(aggregate: dict[str, str], C: float | None) -> None:
    config = settings(C=C, train_fraction=(1.0,), **aggregate)
    fitted = fit_probe(config, TASK, DATA["train"], DATA["val"], SILENT)
    logits = fitted.decision(DATA["test"].features)
    scored = score_split(config, TASK, DATA["test"], logits, None)
    result = evaluate_set("multilabel", "test", scored, not_scored={}, thresholds=None, floor=None)
    point = label_efficiency(config, TASK, DATA, SILENT)[0]
    assert point.macro == (result.evaluation.macro.value,)


def test_a_point_is_the_fit_of_its_rows() -> None:
    point = curve(few_shot=(3,), repeats=1)[0]
    from cxrlearn.workflows.subsets import PatientOrder

    train, test = DATA["train"], DATA["test"]
    positive = train.values == 1
    rows = PatientOrder(train.patients, train.image_ids, seed=0, repeat=0).shots(
        positive, ~positive, 3
    )
    fitted = fit_probe(settings(C=0.1), TASK, train.select(rows), None, SILENT)
    logits = fitted.decision(test.features)
    aurocs = [auroc_score(test.values[:, i], logits[:, i]) for i in range(2)]
    assert point.rows == (len(rows),)
    assert point.macro[0] == pytest.approx(np.mean(aurocs))


def test_the_order_of_rows_decides_nothing() -> None:
    shuffled = np.random.default_rng(0).permutation(120)
    other = curve({**DATA, "train": DATA["train"].select(shuffled)}, train_fraction=(0.2, 1.0))
    for a, b in zip(curve(train_fraction=(0.2, 1.0)), other, strict=True):
        assert (a.rows, a.patients, a.labels) == (b.rows, b.patients, b.labels)
        assert a.macro == pytest.approx(b.macro, abs=1e-6)


def rare(positives: int) -> dict[str, SplitData]:
    """Return the data with few train patients that have label B."""
    train = DATA["train"]
    values = train.values.copy()
    values[:, 1] = 0
    values[: 2 * positives, 1] = 1
    return {**DATA, "train": train.with_labels(values, train.known)}


def test_a_label_that_small_subsets_lack_leaves_their_macro_alone_and_is_named() -> None:
    small, whole = curve(rare(2), train_fraction=(0.1, 1.0))[:2]
    alone = curve(rare(2), train_fraction=(1.0,))[0]
    assert (small.labels, whole.labels) == (("A",), ("A", "B"))
    assert [(one.name, one.of) for one in small.missing] == [("B", 3)]
    assert 1 <= small.missing[0].repeats <= 3
    assert (whole.missing, whole.macro) == ((), alone.macro)


def test_sizes_with_other_labels_have_a_second_macro_over_those_that_all_have() -> None:
    small, whole = curve(rare(2), train_fraction=(0.1, 1.0))[:2]
    only_a = {
        name: replace(part, values=part.values[:, :1], known=part.known[:, :1])
        for name, part in rare(2).items()
    }
    task = replace(TASK, columns=("A",), names=("A",))
    config = settings(train_fraction=(0.1, 1.0), repeats=3, C=0.1)
    plain = label_efficiency(config, task, only_a, SILENT)[:2]
    for point, expected in zip((small, whole), plain, strict=True):
        assert point.common is not None
        assert point.common.labels == ("A",)
        assert point.common.macro == pytest.approx(expected.macro, abs=1e-6)
        assert (point.common.mean, point.common.low) == pytest.approx((expected.mean, expected.low))
    assert small.common is not None
    assert small.macro == small.common.macro


def test_sizes_with_equal_labels_have_one_macro_and_no_warning() -> None:
    listener = Listener()
    label_efficiency(settings(C=0.1, train_fraction=(0.5, 1.0)), TASK, DATA, listener)
    assert listener.warnings == []
    assert all(one.common is None for one in curve(train_fraction=(0.5, 1.0)))


def test_sizes_with_other_labels_are_warned_of_once_for_each_test_set() -> None:
    listener = Listener()
    config = settings(C=0.1, train_fraction=(0.1, 0.2, 1.0), repeats=2)
    label_efficiency(config, TASK, rare(2), listener)
    assert [warning.partition(":")[0] for warning in listener.warnings] == ["test", "far"]
    assert "the macro of the labels that all have: 'A'." in listener.warnings[0]


def test_a_label_of_one_class_in_a_test_set_leaves_the_macro_of_that_set() -> None:
    far = DATA["far"]
    values = far.values.copy()
    values[:, 0] = 1
    points = curve({**DATA, "far": far.with_labels(values, far.known)}, train_fraction=(0.5, 1.0))
    assert [one.labels for one in points] == [("A", "B")] * 2 + [("B",)] * 2
    missing = [[(lack.name, lack.repeats, lack.of) for lack in one.missing] for one in points]
    assert missing == [[], [], [("A", 3, 3)], [("A", 1, 1)]]
    assert all(one.common is None for one in points)  # the sizes agree


def test_subsets_that_nothing_can_be_fitted_on_have_no_point_and_leave_the_others_theirs() -> None:
    # One patient has one value of each label: nothing to fit.
    single, whole = curve(train_fraction=(1e-9, 1.0))[:2]
    assert single.macro == (None,) * 3
    assert (single.mean, single.low, single.high) == (None, None, None)
    assert single.patients == (1,) * 3
    assert [(one.name, one.repeats) for one in single.missing] == [("A", 3), ("B", 3)]
    assert whole.labels == ("A", "B")
    assert whole.mean is not None


def test_where_nothing_is_defined_at_all_every_point_is_empty() -> None:
    far = DATA["far"]
    data = {**DATA, "far": far.with_labels(np.ones_like(far.values), far.known)}
    points = [one for one in curve(data, train_fraction=(0.5, 1.0)) if one.set_name == "far"]
    assert [(one.mean, one.labels) for one in points] == [(None, ())] * 2


def test_without_patients_images_are_drawn() -> None:
    train = DATA["train"]
    nobody = split(np.asarray(train.features), train.values, patient_id=[None] * 120)
    point = curve({**DATA, "train": nobody}, train_fraction=(0.1,))[0]
    assert (point.rows, point.patients) == ((12,) * 3, None)


def test_masked_rows_are_no_shots() -> None:
    train = DATA["train"]
    known = train.known.copy()
    known[::2, 0] = False
    known[10:, 1] = False
    point = curve({**DATA, "train": replace(train, known=known)}, few_shot=(100,), repeats=1)[0]
    assert point.rows == (120,)  # patients come whole


@pytest.mark.parametrize("options", [{"knn": True, "k": 3}, {"linear": True, "epochs": 2}])
def test_every_probe_has_a_curve(options: dict[str, Any]) -> None:
    points = curve(train_fraction=(0.3, 1.0), repeats=2, **{"C": None, **options})
    assert all(value is not None and value > 0.5 for one in points for value in one.macro)


def test_fits_that_did_not_converge_are_counted_in_a_warning() -> None:
    listener = Listener()
    config = settings(C=1e4, max_iter=1, train_fraction=(0.5, 1.0), repeats=2, solver="sklearn")
    label_efficiency(config, TASK, DATA, listener)
    assert listener.warnings == [
        "the solver stopped before it had converged in 3 of the 3 fits of the label-efficiency "
        "curve: raise --max-iter."
    ]
