"""From scores to what a set says: groups, subgroups, thresholds of validation, the drop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cxrlearn.errors import DataError
from cxrlearn.workflows.probe_evaluate import (
    ScoredSplit,
    check_columns,
    choose_operating_points,
    drop_from,
    evaluate_set,
    score_split,
)
from tests.support.split_data import TASK, learnable, manifest, settings, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrlearn.evaluation.thresholds import Threshold
    from cxrlearn.reports.schema import SetReport
    from cxrlearn.workflows.probe_data import SplitData

VALUES = np.array([[0, 1], [1, 1], [0, 0], [1, 0], [0, 1], [0, 0]])
LOGITS = np.array([[-1.0, 2], [3, 1], [0, -1], [2, -2], [-2, 0], [-3, 1]])


def six(**columns: Sequence[str | None]) -> SplitData:
    given = {"patient_id": ["a", "a", "b", "b", "c", None], **columns}
    return split(np.zeros((6, 1)), VALUES, name="test", **given)


def scored(data: SplitData, **options: Any) -> ScoredSplit:  # noqa: ANN401 - of ProbeConfig
    return score_split(settings(**options), TASK, data, LOGITS, None)


def evaluated(
    rows: ScoredSplit,
    thresholds: tuple[tuple[Threshold, ...], ...] | None = None,
) -> SetReport:
    return evaluate_set(
        "multilabel", "test", rows, not_scored={}, thresholds=thresholds, floor=None
    )


# ---- groups --------------------------------------------------------------------------------------


def test_without_aggregation_rows_are_images_in_their_order() -> None:
    found = scored(six()).predictions
    assert found.image_ids == six().image_ids
    assert found.patient_ids == ("a", "a", "b", "b", "c", None)
    assert np.array_equal(found.logits, LOGITS)
    np.testing.assert_allclose(found.probabilities, 1 / (1 + np.exp(-LOGITS)))


@pytest.mark.parametrize("how", ["mean", "max"])
def test_patients_are_groups_and_who_has_none_stays_alone(how: str) -> None:
    found = scored(six(), aggregate_by="patient", aggregate=how).predictions
    assert found.image_ids == ("a", "b", "c", "test/00005.png")
    assert found.patient_ids == ("a", "b", "c", None)
    assert found.values.tolist() == [[1, 1], [1, 0], [0, 1], [0, 0]]
    chance = 1 / (1 + np.exp(-LOGITS))
    merge = np.mean if how == "mean" else np.max
    expected = [merge(chance[[0, 1]], axis=0), merge(chance[[2, 3]], axis=0), chance[4], chance[5]]
    np.testing.assert_allclose(found.probabilities, expected)


def test_studies_are_groups_of_their_column() -> None:
    data = six(study=["s1", "s2", "s3", "s3", "s4", "s4"])
    found = scored(data, aggregate_by="study").predictions
    assert found.image_ids == ("s1", "s2", "s3", "s4")
    # One image of s4 is c's and one nobody's: the study is nobody's.
    assert found.patient_ids == ("a", "a", "b", None)


def test_ids_of_no_group_stay_alone() -> None:
    data = six(study=["s1", "NA", "s3", "unknown", "NA", "s4"])
    found = scored(data, aggregate_by="study").predictions
    assert len(found.image_ids) == 6


def test_a_group_is_in_a_subgroup_only_where_its_rows_agree() -> None:
    data = six(sex=["F", "F", "M", "F", "M", None], age=["30", "31", "50", "90", "nonsense", "7"])
    rows = scored(data, aggregate_by="patient")
    assert rows.columns == {
        "sex": ("F", None, "M", None),
        "age": ("20-39", None, None, "0-19"),
    }
    groups = {(one.column, one.value): one.rows for one in evaluated(rows).subgroups}
    assert groups == {
        ("sex", "F"): 1, ("sex", "M"): 1, ("sex", "(blank)"): 2,
        ("age", "0-19"): 1, ("age", "20-39"): 1, ("age", "(blank)"): 2,
    }  # fmt: skip


def test_masks_and_unfitted_labels_survive_aggregation() -> None:
    known = np.ones((6, 2), dtype=bool)
    known[[0, 4], 0] = False
    data = six()
    logits = LOGITS.copy()
    logits[:, 1] = np.nan
    found = score_split(
        settings(aggregate_by="patient"), TASK, data.with_labels(data.values, known), logits, None
    ).predictions
    assert found.known.tolist() == [[True, True], [True, True], [False, True], [True, True]]
    assert np.isnan(found.logits[:, 1]).all()


# ---- columns -------------------------------------------------------------------------------------


def test_sex_age_and_view_are_subgroups_where_there_are_any() -> None:
    data = six(sex=["F"] * 6, age=["30"] * 6, view=["PA"] * 6, site=["x"] * 6)
    rows = scored(data)
    assert list(rows.columns) == ["sex", "age", "view"]
    assert tuple(rows.strata) == ("view", "sex")
    assert list(scored(data, subgroup=("site", "age")).columns) == ["site", "age"]
    assert scored(data, subgroup=("none",)).columns == {}
    assert scored(six()).columns == {}
    assert evaluated(scored(six())).within_strata is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subgroup": ("ward",)}, r"test\.csv has no column 'ward' \(--subgroup\)"),
        ({"aggregate_by": "study"}, r"no column 'study' to aggregate by \(--aggregate-by\)"),
    ],
)
def test_columns_that_were_asked_for_are_missed_before_anything_is_computed(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        check_columns(settings(**options), None, [manifest("test", patient_id=["a"])])


def test_validation_needs_the_groups_and_not_the_subgroups() -> None:
    test = manifest("test", patient_id=["a"], ward=["1"], study=["s"])
    val = manifest("val", patient_id=["v"])
    check_columns(settings(subgroup=("ward",)), val, [test])
    with pytest.raises(DataError, match=r"val\.csv has no column 'study'"):
        check_columns(settings(aggregate_by="study"), val, [test])


def test_without_patients_there_is_nothing_to_aggregate_by() -> None:
    with pytest.raises(DataError, match="no column 'patient' to aggregate by"):
        check_columns(settings(aggregate_by="patient"), None, [manifest("test", site=["x"])])


# ---- operating points ----------------------------------------------------------------------------


def noisy(name: str, seed: int, count: int = 200) -> tuple[SplitData, np.ndarray]:
    data = learnable(count, name=name, seed=seed)
    noise = np.random.default_rng(seed).normal(size=(count, 2))
    return data, 2 * data.values - 1 + noise


def test_thresholds_are_those_of_validation_applied_to_test() -> None:
    config = settings(operating_point=("youden", "sensitivity>=0.9"))
    val, val_logits = noisy("val", 0)
    test, logits = noisy("test", 1)
    chosen = choose_operating_points(config, score_split(config, TASK, val, val_logits, None), {})
    assert chosen is not None
    result = evaluated(score_split(config, TASK, test, logits + 0.4, None), chosen)
    for label in range(2):
        for rule, threshold in enumerate(chosen[label]):
            found = result.evaluation.labels[label].operating_points[rule]
            assert threshold.threshold is not None
            assert threshold.threshold in val_logits[:, label]
            called = logits[:, label] + 0.4 >= threshold.threshold
            truth = test.values[:, label] == 1
            assert found.sensitivity.value == pytest.approx(called[truth].mean())
            assert found.specificity.value == pytest.approx((~called[~truth]).mean())


def test_without_validation_there_are_none_and_with_few_of_a_class_they_are_not_chosen() -> None:
    assert choose_operating_points(settings(), None, {}) is None
    val, logits = noisy("val", 0, count=12)
    chosen = choose_operating_points(
        settings(), score_split(settings(), TASK, val, logits, None), {}
    )
    assert chosen is not None
    assert [one.threshold for label in chosen for one in label] == [None, None]
    assert all(one.reason for label in chosen for one in label)


# ---- several sets --------------------------------------------------------------------------------


def test_the_drop_is_the_difference_of_the_macros() -> None:
    home, home_logits = noisy("home", 0)
    far, far_logits = noisy("far", 1)
    noise = np.random.default_rng(2).normal(size=(200, 2))
    sets = [
        score_split(settings(), TASK, data, logits, None)
        for data, logits in ((home, home_logits), (far, 0.3 * far_logits + noise))
    ]
    macros = [evaluated(rows).evaluation.macro.value for rows in sets]
    drop = drop_from("multilabel", ("home", sets[0].predictions), sets[1].predictions, {})
    assert drop.internal == "home"
    assert drop.difference.difference is not None
    assert macros[0] is not None
    assert macros[1] is not None
    assert abs(drop.difference.difference) == pytest.approx(macros[0] - macros[1])
    assert drop.difference.labels == ("A", "B")
    same = drop_from("multilabel", ("home", sets[0].predictions), sets[0].predictions, {})
    assert same.difference.difference == 0
    assert same.shared_patients == 200
    assert same.difference.standard_error == 0  # the same patients leave both


def test_without_a_floor_what_the_set_can_tell_is_not_claimed() -> None:
    result = evaluated(scored(six()))
    assert result.floor is None
    assert result.detectable is not None
    assert result.detectable.difference is None
    assert "no metadata baseline" in str(result.detectable.reason)
