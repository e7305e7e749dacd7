"""One model on two test sets."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.evaluation.independent import SetScores, independent_macro_difference

NAMES = ["edema", "mass"]


def _scored(seed: int, strength: float, rows: int = 200) -> SetScores:
    rng = np.random.default_rng(seed)
    y = (rng.random((rows, 2)) < 0.3).astype(np.int8)
    patients = [f"p{i}" for i in rng.integers(0, rows // 2, rows)]
    return SetScores(y, strength * y + rng.normal(size=y.shape), patients=patients)


def _macro(scored: SetScores, names: list[str]) -> tuple[float, float]:
    found = evaluate(
        scored.y_true, scored.scores, names=names, kind="multilabel", patients=scored.patients,
        n_replicates=1000, seed=5,
    ).macro  # fmt: skip
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    return found.value, (found.high - found.low) / 3.92


def test_difference_is_that_of_the_macros_and_variances_add_up() -> None:
    internal, other = _scored(0, 1.5), _scored(1, 0.7)
    found = independent_macro_difference(internal, other, names=NAMES)
    (inside, inside_error), (outside, outside_error) = (
        _macro(scored, NAMES) for scored in (internal, other)
    )
    assert (found.internal, found.other) == (inside, outside)
    assert found.difference == pytest.approx(outside - inside)
    assert found.standard_error == pytest.approx(math.hypot(inside_error, outside_error), rel=0.1)
    assert found.low is not None
    assert found.high is not None
    assert found.low < outside - inside < found.high < 0


def test_equal_sets_of_different_patients_do_not_cancel() -> None:
    internal = _scored(0, 1.0)
    found = independent_macro_difference(internal, internal, names=NAMES)
    assert found.difference == 0
    assert found.standard_error is not None
    assert found.standard_error > _macro(internal, NAMES)[1]


def test_only_labels_with_both_classes_in_both_sets_are_averaged() -> None:
    internal, other = _scored(0, 1.5), _scored(1, 0.7)
    y = np.array(other.y_true)
    y[:, 1] = 0
    found = independent_macro_difference(internal, replace(other, y_true=y), names=NAMES)
    assert found.labels == ("edema",)
    alone = [SetScores(np.array(s.y_true)[:, :1], np.array(s.scores)[:, :1], patients=s.patients)
             for s in (internal, other)]  # fmt: skip
    assert found == independent_macro_difference(*alone, names=["edema"])


def test_labels_without_scores_in_one_set_are_left_out() -> None:
    internal, other = _scored(0, 1.5), _scored(1, 0.7)
    scores = np.array(other.scores)
    scores[:, 0] = np.nan
    other = replace(other, scores=scores, not_scored=["edema"])
    assert independent_macro_difference(internal, other, names=NAMES).labels == ("mass",)


def test_nothing_in_common_is_null_with_a_reason() -> None:
    internal, other = _scored(0, 1.5), _scored(1, 0.7)
    found = independent_macro_difference(
        internal, replace(other, y_true=np.zeros((200, 2), np.int8)), names=NAMES
    )
    assert found.difference is found.internal is found.low is None
    assert found.reason == "no label has scores and both classes in both sets"


def test_one_patient_has_a_difference_and_no_interval() -> None:
    internal, other = _scored(0, 1.5), _scored(1, 0.7)
    found = independent_macro_difference(
        internal, replace(other, patients=["p"] * 200), names=NAMES
    )
    assert found.difference is not None
    assert found.low is None
    assert found.reason == "no interval: all rows of one set are of one patient"


def test_mostly_undefined_replicates_give_no_interval() -> None:
    y = np.zeros((6, 2), np.int8)
    y[0, 0] = y[1, 1] = 1  # both must be drawn: about 4 replicates in 10
    tiny = SetScores(y, np.random.default_rng(0).normal(size=y.shape))
    found = independent_macro_difference(tiny, _scored(0, 1.0), names=NAMES)
    assert found.difference is not None
    assert found.low is found.standard_error is None
    assert found.reason is not None
    assert "replicates lost a class" in found.reason


def test_same_seed_same_interval() -> None:
    internal, other = _scored(0, 1.5), _scored(1, 0.7)
    one, two, three = (
        independent_macro_difference(internal, other, names=NAMES, n_replicates=50, seed=seed)
        for seed in (3, 3, 4)
    )
    assert one == two != three
