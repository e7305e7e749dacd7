"""Several models on one test set."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from cxrlearn.errors import DataError
from cxrlearn.evaluation.compare import Comparison, compare_models
from cxrlearn.evaluation.differences import paired_macro_difference
from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.evaluation.multiplicity import holm

Floats = npt.NDArray[np.float64]
NAMES = ["edema", "effusion", "mass"]


@dataclass(frozen=True)
class _Set:
    y: npt.NDArray[np.int8]
    known: npt.NDArray[np.bool_]
    scores: dict[str, Floats]
    patients: list[str]

    def compare(self, **changes: object) -> Comparison:
        arguments = {"names": NAMES, **changes}
        return compare_models(self.y, self.known, self.scores, self.patients, **arguments)  # type: ignore[arg-type]


def _study(strengths: dict[str, float], seed: int = 0, rows: int = 240) -> _Set:
    """Models that share most of their noise; their strength is how far they part the classes."""
    rng = np.random.default_rng(seed)
    y = (rng.random((rows, 3)) < 0.3).astype(np.int8)
    shared = rng.normal(size=y.shape)
    scores = {
        name: strength * y + shared + 0.4 * rng.normal(size=y.shape)
        for name, strength in strengths.items()
    }
    known = rng.random(y.shape) < 0.9
    return _Set(y, known, scores, [f"p{i}" for i in rng.integers(0, rows // 3, rows)])


def test_every_pair_is_the_paired_comparison_of_two() -> None:
    study = _study({"a": 1.0, "b": 0.6, "c": 0.9, "d": 0.0})
    found = study.compare()
    assert [(p.first, p.second) for p in found.pairs] == list(combinations("abcd", 2))
    for pair in found.pairs:
        alone = paired_macro_difference(
            study.y, study.known, study.scores[pair.first], study.scores[pair.second],
            study.patients, names=NAMES,
        )  # fmt: skip
        assert pair.macro == alone


def test_p_values_of_the_macro_are_one_family_and_those_of_labels_another() -> None:
    found = _study({"a": 1.0, "b": 0.6, "c": 0.9}).compare()
    assert [p.adjusted_p for p in found.pairs] == list(holm([p.macro.p_value for p in found.pairs]))
    assert len(found.labels) == 9
    expected = holm([p.auroc.p_value for p in found.labels])
    assert [p.adjusted_p for p in found.labels] == list(expected)
    assert "over 3 pairs" in found.family
    assert found.exploratory.startswith("exploratory")
    assert "9 comparisons" in found.exploratory


def test_labels_are_compared_as_a_macro_of_one_label_on_their_known_rows() -> None:
    study = _study({"a": 1.0, "b": 0.6})
    found = study.compare()
    for place, pair in enumerate(found.labels):
        alone = paired_macro_difference(
            study.y[:, [place]],
            study.known[:, [place]],
            study.scores["a"][:, [place]],
            study.scores["b"][:, [place]],
            study.patients,
            names=NAMES[place : place + 1],
        )
        assert (pair.label, pair.first, pair.second) == (NAMES[place], "a", "b")
        assert pair.auroc == alone


def test_a_macro_of_one_label_is_that_label_in_every_number() -> None:
    study = _study({"a": 1.0, "b": 0.6})
    one = _Set(
        study.y[:, :1], study.known[:, :1],
        {name: scores[:, :1] for name, scores in study.scores.items()}, study.patients,
    )  # fmt: skip
    found = one.compare(names=NAMES[:1])
    assert found.pairs[0].macro == found.labels[0].auroc
    for model in found.models:
        alone = evaluate(
            one.y, one.scores[model.name], known=one.known, names=NAMES[:1], kind="binary",
            patients=one.patients,
        )  # fmt: skip
        assert model.macro == alone.labels[0].auroc == alone.macro


def test_controls_are_tested_but_in_no_family_and_never_the_best() -> None:
    study = _study({"a": 1.0, "control": 2.0, "b": 0.6})
    with_control = study.compare(controls=["control"])
    del study.scores["control"]
    without = study.compare()
    adjusted = {(p.first, p.second): p.adjusted_p for p in with_control.pairs}
    assert adjusted["a", "b"] == without.pairs[0].adjusted_p is not None
    assert adjusted["a", "control"] is adjusted["control", "b"] is None
    assert all(p.macro.p_value is not None for p in with_control.pairs)
    assert with_control.best == without.best == "a"
    assert "over 1 pair" in with_control.family


def test_macros_and_their_intervals_are_those_of_evaluate() -> None:
    study = _study({"a": 1.0, "b": 0.6})
    for model in study.compare().models:
        alone = evaluate(
            study.y, study.scores[model.name], known=study.known, names=NAMES, kind="multilabel",
            patients=study.patients,
        ).macro  # fmt: skip
        assert (model.macro.value, model.macro.low, model.macro.high) == (
            alone.value, alone.low, alone.high
        )  # fmt: skip


def test_best_is_named_with_those_it_cannot_be_told_from() -> None:
    # Seed 1: by construction one seed in twenty tells the twins apart.
    study = _study({"weak": 0.0, "good": 2.0, "twin": 2.0}, seed=1, rows=600)
    found = study.compare()
    assert found.best in {"good", "twin"}
    assert found.not_distinguishable == tuple({"good", "twin"} - {found.best})


def test_a_copy_of_the_best_cannot_be_told_from_it() -> None:
    study = _study({"a": 1.0, "weak": -1.0})
    study.scores["copy"] = study.scores["a"].copy()
    found = study.compare()
    assert found.best == "a"
    assert found.not_distinguishable == ("copy",)
    pair = next(p for p in found.pairs if p.second == "copy")
    assert (pair.macro.difference, pair.macro.p_value, pair.adjusted_p) == (0, None, None)
    assert "over 2 pairs" in found.family


def test_a_label_that_one_model_has_no_scores_for_leaves_every_macro() -> None:
    study = _study({"a": 1.0, "b": 0.6, "c": 0.2})
    study.scores["b"][:, 1] = np.nan
    found = study.compare(not_scored={"b": ["effusion"]})
    assert found.macro_labels == ("edema", "mass")
    assert {(p.label, p.first, p.second) for p in found.labels if p.label == "effusion"} == {
        ("effusion", "a", "c")
    }


def test_label_of_one_class_is_not_compared_and_says_why() -> None:
    study = _study({"a": 1.0, "b": 0.6})
    study.y[:, 2] = 0
    found = study.compare()
    assert found.macro_labels == ("edema", "effusion")
    assert found.labels[2].auroc.difference is found.labels[2].adjusted_p is None
    assert found.labels[2].auroc.reason is not None
    assert "no positives" in found.labels[2].auroc.reason


def test_row_order_does_not_matter() -> None:
    study = _study({"a": 1.0, "b": 0.6})
    order = np.random.default_rng(1).permutation(len(study.y))
    turned = _Set(
        study.y[order],
        study.known[order],
        {name: scores[order] for name, scores in study.scores.items()},
        [study.patients[i] for i in order],
    )
    assert turned.compare() == study.compare()


def test_one_model_has_a_macro_and_no_pairs() -> None:
    found = _study({"a": 1.0}).compare()
    assert found.best == "a"
    assert [len(found.pairs), len(found.labels), len(found.not_distinguishable)] == [0, 0, 0]
    assert found.models[0].macro.low is not None


def test_no_label_with_both_classes_is_null_with_a_reason() -> None:
    study = _study({"a": 1.0, "b": 0.6})
    study.y[:] = 0
    found = study.compare()
    assert found.best is None
    assert found.models[0].macro.value is None
    assert found.models[0].macro.reason == "no label has scores and both classes"
    assert found.pairs[0].macro.reason is not None


def test_one_patient_has_macros_without_interval() -> None:
    study = _study({"a": 1.0, "b": 0.6})
    found = _Set(study.y, study.known, study.scores, ["p"] * len(study.y)).compare()
    assert found.models[0].macro.value is not None
    assert (
        found.models[0].macro.reason == "no interval: every label rests on one patient of a class"
    )


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(DataError, match="at least one model"):
        compare_models([[0]], None, {}, None, names=["x"])


def test_a_detectable_difference_is_found_four_times_in_five() -> None:
    pair = _study({"a": 1.0, "b": 0.6}, rows=2000).compare().pairs[0].macro
    assert pair.detectable is not None
    assert pair.standard_error is not None
    estimates = np.random.default_rng(0).normal(pair.detectable, pair.standard_error, 200_000)
    found = np.mean(np.abs(estimates) > 1.96 * pair.standard_error)
    assert found == pytest.approx(0.80, abs=0.005)


def test_no_detectable_difference_without_variation_or_above_one() -> None:
    study = _study({"a": 1.0})
    study.scores["copy"] = study.scores["a"].copy()
    assert study.compare().pairs[0].macro.detectable is None
    y = np.array([[1], [1], [0], [0]])
    scores = {"a": np.array([[3.0], [1], [2], [0]]), "b": np.array([[0.0], [2], [1], [3]])}
    wide = compare_models(y, None, scores, None, names=["x"]).pairs[0].macro
    assert wide.standard_error is not None
    assert 2.80 * wide.standard_error > 1
    assert wide.detectable is None
