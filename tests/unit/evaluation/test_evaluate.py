"""The entry point: what stays the same when it must, and what is said when a number is missing."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import t
from sklearn.metrics import confusion_matrix, roc_auc_score

from cxrlearn.errors import DataError
from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.evaluation.newcombe import newcombe_limits
from cxrlearn.evaluation.thresholds import Threshold, choose_thresholds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxrlearn.evaluation.results import Estimate, Evaluation, LabelResult

NAMES = ("Edema", "Mass", "Hernia")
CUT = 0.4
POINTS = (
    Threshold("youden", CUT, None, 30, 70),
    Threshold("sensitivity>=0.90", None, "only 3 positives", 3, 70),
)
RATIOS = ("sensitivity", "specificity", "ppv", "npv", "f1")
RANKING = ("auroc", "average_precision")
METRICS = (*RANKING, "brier", "calibration_error")


def proportion_confint(successes: int, rows: int, z: float) -> tuple[float, float]:
    """Solve (p - q)^2 = z^2 q (1 - q) / n for q: Wilson's limits are its two roots."""
    p = successes / rows
    roots = np.roots([1 + z**2 / rows, -(2 * p + z**2 / rows), p**2])
    return float(roots.min()), float(roots.max())


class Case(NamedTuple):
    y: npt.NDArray[np.int8]
    known: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]
    patients: list[str | None]
    ids: list[str]

    def run(self, rows: npt.NDArray[np.intp] | None = None, **changes: object) -> Evaluation:
        order = np.arange(len(self.y)) if rows is None else rows
        arguments: dict[str, Any] = {
            "known": self.known[order],
            "names": NAMES,
            "kind": "multilabel",
            "patients": [self.patients[i] for i in order],
            "image_ids": [self.ids[i] for i in order],
            "thresholds": [POINTS] * len(NAMES),
        }
        return evaluate(self.y[order], self.scores[order], **(arguments | changes))


@pytest.fixture
def case() -> Case:
    rng = np.random.default_rng(7)
    y = (rng.random((200, 3)) < (0.3, 0.15, 0.1)).astype(np.int8)
    patients: list[str | None] = [f"{i:05d}" for i in rng.integers(0, 90, 200)]
    patients[5] = patients[17] = patients[150] = None
    return Case(
        y=y,
        known=rng.random(y.shape) < 0.9,
        scores=np.round(rng.normal(size=y.shape) + y, 1),
        patients=patients,
        ids=[f"images/{i:03d}.png" for i in rng.permutation(200)],
    )


def _label(evaluation: Evaluation, name: str) -> LabelResult:
    return next(label for label in evaluation.labels if label.name == name)


def _estimates(evaluation: Evaluation) -> Iterator[tuple[str, Estimate]]:
    """Every number with an interval, by name."""
    yield "macro auroc", evaluation.macro
    for average in evaluation.averages:
        yield f"{average.average} {average.metric}", average.estimate
    for label in evaluation.labels:
        for metric in METRICS:
            yield f"{label.name} {metric}", getattr(label, metric)
        for point in label.operating_points:
            for ratio in RATIOS:
                yield f"{label.name} {point.rule} {ratio}", getattr(point, ratio)


def test_values_are_those_on_the_data_over_known_rows(case: Case) -> None:
    found = case.run()
    expected = [
        roc_auc_score(case.y[case.known[:, i], i], case.scores[case.known[:, i], i])
        for i in range(3)
    ]
    assert [label.auroc.value for label in found.labels] == pytest.approx(expected, abs=1e-14)
    assert found.macro.value == pytest.approx(np.mean(expected), abs=1e-14)
    assert found.macro_labels == NAMES


def test_every_number_travels_with_its_counts(case: Case) -> None:
    found = case.run()
    edema = _label(found, "Edema")
    known, positive = case.known[:, 0], case.y[:, 0] == 1
    assert edema.positives == (known & positive).sum()
    assert edema.negatives == (known & ~positive).sum()
    assert edema.masked == (~known).sum()
    owners = {case.patients[i] or case.ids[i] for i in np.flatnonzero(known & positive)}
    assert edema.positive_patients == len(owners)
    assert found.rows == 200
    assert found.unit == "patient"
    assert found.rows_without_patient == 3
    assert found.clusters == len({p for p in case.patients if p}) + 3
    assert found.confidence == 0.95
    assert edema.auroc.low is not None
    assert edema.auroc.value is not None
    assert edema.auroc.high is not None
    assert edema.auroc.low < edema.auroc.value < edema.auroc.high


def test_nothing_depends_on_row_order(case: Case) -> None:
    order = np.random.default_rng(1).permutation(200)
    assert case.run(order) == case.run()


def test_without_patients_nothing_depends_on_row_order_either(case: Case) -> None:
    order = np.random.default_rng(1).permutation(200)
    alone = case.run(patients=None)
    assert alone.unit == "image"
    assert alone.clusters == 200
    assert case.run(order, patients=None) == alone


def test_what_ranks_does_not_depend_on_a_monotone_transform_of_the_scores(case: Case) -> None:
    def transform(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.exp(scores / 3) - 5

    points = (Threshold("youden", float(transform(np.array(CUT))), None, 30, 70),)
    there = case._replace(scores=transform(case.scores)).run(thresholds=[points] * 3)
    here = case.run(thresholds=[POINTS[:1]] * 3)
    found, expected = dict(_estimates(there)), dict(_estimates(here))
    assert found.keys() == expected.keys()
    by_probability = {name for name in found if name.endswith(("brier", "calibration_error"))}
    assert len(by_probability) == 2 + 2 * 3
    for name in found.keys() - by_probability:
        assert found[name] == expected[name], name
    for name in by_probability:
        assert found[name].value != expected[name].value, name
    assert [x.standard_error for x in there.labels] == [x.standard_error for x in here.labels]


def test_a_label_does_not_depend_on_the_others(case: Case) -> None:
    order = [2, 0, 1]
    turned = Case(case.y[:, order], case.known[:, order], case.scores[:, order], *case[3:])
    there, here = turned.run(names=[NAMES[i] for i in order]), case.run()
    assert {label.name: label for label in there.labels} == {x.name: x for x in here.labels}
    assert there.macro == here.macro
    assert [a.estimate for a in there.averages] == [a.estimate for a in here.averages]
    alone = evaluate(
        case.y[:, :1],
        case.scores[:, :1],
        known=case.known[:, :1],
        names=NAMES[:1],
        kind="binary",
        patients=case.patients,
        image_ids=case.ids,
        thresholds=[POINTS],
    )
    assert alone.labels == here.labels[:1]
    assert alone.macro == alone.labels[0].auroc


def test_what_stands_under_the_mask_does_not_matter(case: Case) -> None:
    y = np.where(case.known, case.y, -1).astype(np.int8)
    scores = np.where(case.known, case.scores, np.nan)
    assert case._replace(y=y, scores=scores).run() == case.run()


def test_patients_make_intervals_wider_than_rows_where_their_images_agree() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat((rng.random(60) < 0.4).astype(np.int8), 8)[:, None]
    scores = np.repeat(rng.normal(size=60), 8)[:, None] + y
    patients = [str(i) for i in np.repeat(np.arange(60), 8)]
    widths = []
    for owners in (patients, None):
        found = evaluate(y, scores, names=["a"], kind="binary", patients=owners).macro
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths[0] > 2 * widths[1]


def test_one_class_label_gives_null_auroc_with_reason_and_leaves_the_macro(case: Case) -> None:
    case.y[:, 2] = 0
    found = case.run()
    hernia = _label(found, "Hernia")
    assert hernia.auroc.value is None
    assert hernia.auroc.low is None
    assert hernia.auroc.reason == f"no positives among {case.known[:, 2].sum()} known rows"
    assert found.macro_labels == ("Edema", "Mass")
    values = [label.auroc.value for label in found.labels[:2]]
    assert found.macro.value == pytest.approx(np.mean([v for v in values if v is not None]))


def test_wholly_masked_label_has_no_known_rows(case: Case) -> None:
    case.known[:, 1] = False
    mass = _label(case.run(), "Mass")
    assert mass.auroc.reason == "no known rows"
    assert (mass.positives, mass.negatives, mass.masked) == (0, 0, 200)


def test_label_without_scores_keeps_its_counts_and_says_why(case: Case) -> None:
    case.scores[:, 0] = np.nan
    found = case.run(not_scored={"Edema": "not fitted: no positives among 9 known rows of train"})
    edema = _label(found, "Edema")
    assert edema.auroc.value is None
    assert edema.auroc.reason == "not fitted: no positives among 9 known rows of train"
    assert edema.positives > 0
    assert found.macro_labels == ("Mass", "Hernia")


def test_auroc_of_a_label_has_newcombes_interval_with_design_effect_and_t(case: Case) -> None:
    found = case.run()
    mass = _label(found, "Mass")
    assert mass.design_effect is not None
    assert mass.auroc.value is not None
    patients = min(mass.positive_patients, mass.negative_patients)
    quantile = t.ppf(0.975, patients - 1) * np.sqrt(mass.design_effect)
    expected = newcombe_limits(
        mass.auroc.value, mass.positives, mass.negatives, quantile=float(quantile)
    )
    assert (mass.auroc.low, mass.auroc.high) == pytest.approx(expected, abs=1e-9)
    assert "jackknife over patients" in found.interval_method


def test_a_rare_label_is_marked_and_the_macro_inherits_it(case: Case) -> None:
    case.known[:, 2] = True
    case.y[:, 2] = 0
    case.y[[3, 60], 2] = 1
    found = case.run()
    hernia = _label(found, "Hernia").auroc
    assert hernia.cautions == ("only 2 positive patients: the interval rests on very few",)
    assert found.macro.cautions == ("rests on labels with few patients: Hernia (2 positive)",)


def test_a_macro_names_a_label_without_interval_and_counts_it_as_uncertain(case: Case) -> None:
    before = case.run(names=("Edema", "Mass", "Other")).macro
    case.known[:, 2] = True
    case.y[:, 2] = 0
    case.y[[3], 2] = 1
    macro = case.run().macro
    assert macro.cautions == (
        "Hernia: no interval of its own (one patient of a class); counted as uncertain as a label "
        "can be",
    )
    assert macro.low is not None
    assert macro.high is not None
    assert before.low is not None
    assert before.high is not None
    assert macro.high - macro.low > before.high - before.low


def test_a_macro_of_labels_on_two_patients_has_no_interval() -> None:
    y = np.array([[1, 0], [0, 1]])
    found = evaluate(y, y, names=["a", "b"], kind="multilabel", patients=["p", "q"]).macro
    assert (found.value, found.low, found.high) == (1.0, None, None)
    assert found.reason == "no interval: every label rests on one patient of a class"


def test_two_known_rows_in_order_have_a_value_and_no_interval() -> None:
    y, known = np.zeros((6, 1), np.int8), np.zeros((6, 1), bool)
    y[0], known[:2] = 1, True
    evaluation = evaluate(
        y, y, known=known, names=["a"], kind="binary", patients=[str(i) for i in range(6)]
    )
    assert evaluation.macro == evaluation.labels[0].auroc
    assert (evaluation.macro.value, evaluation.macro.low) == (1.0, None)
    assert evaluation.macro.reason == "no interval: all negative rows are of one patient"
    assert evaluation.macro.cautions == ()


def test_positives_of_one_patient_have_a_value_and_no_newcombe_interval(case: Case) -> None:
    case.known[:, 2] = True
    case.y[:, 2] = 0
    case.y[[3], 2] = 1
    hernia = _label(case.run(), "Hernia").auroc
    assert hernia.value is not None
    assert (hernia.low, hernia.reason) == (
        None,
        "no interval: all positive rows are of one patient",
    )


def test_one_patient_gives_a_value_and_no_interval() -> None:
    found = evaluate([[0], [1]], [[0.1], [0.2]], names=["a"], kind="binary", patients=["p", "p"])
    assert found.macro.value == 1.0
    assert found.macro.low is None
    assert found.macro.reason == "no interval: all negative rows are of one patient"


def test_no_label_with_both_classes_gives_null_macro_with_reason() -> None:
    found = evaluate([[0], [0]], [[0.1], [0.2]], names=["a"], kind="binary")
    assert found.macro.value is None
    assert found.macro.reason == "no label has scores and both classes"
    assert found.macro_labels == ()


def test_no_rows_give_reasons_and_no_crash() -> None:
    found = evaluate(np.zeros((0, 1)), np.zeros((0, 1)), names=["a"], kind="binary", patients=[])
    assert found.labels[0].auroc.reason == "no known rows"
    assert found.clusters == 0


def test_each_class_is_scored_against_the_rest() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 90)
    y, scores = np.eye(3, dtype=np.int8)[classes], rng.normal(size=(90, 3))
    found = evaluate(y, scores, names=["a", "b", "c"], kind="multiclass")
    for i, label in enumerate(found.labels):
        expected = roc_auc_score(classes == i, scores[:, i])
        assert label.auroc.value == pytest.approx(expected, abs=1e-14)


def test_original_defect_s13_multiclass_and_multilabel_average_the_same_way_and_say_so() -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], (80, 15, 5))  # weighting by prevalence would show
    y = np.eye(3, dtype=np.int8)[classes]
    scores = rng.normal(size=y.shape) + y * (2, 1, 0)
    found = {
        kind: evaluate(y, scores, names=["a", "b", "c"], kind=kind)
        for kind in ("multiclass", "multilabel")
    }
    plain = np.mean([roc_auc_score(y[:, i], scores[:, i]) for i in range(3)])
    for kind, evaluation in found.items():
        assert evaluation.macro.value == pytest.approx(plain, abs=1e-14), kind
        assert "unweighted mean" in evaluation.averaging


def test_original_defect_s13_every_auroc_has_a_confidence_interval(case: Case) -> None:
    found = case.run()
    for estimate in (found.macro, *(label.auroc for label in found.labels)):
        assert estimate.low is not None
        assert estimate.value is not None
        assert estimate.high is not None
        assert 0 <= estimate.low < estimate.value < estimate.high <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("a", "b")}, "one column for each of 'a', 'b'"),
        ({"names": ("a", "a", "b")}, "must differ"),
        ({"kind": "ordinal"}, "`kind` must be one of binary, multilabel, multiclass"),
        ({"kind": "multiclass"}, "exactly one class; row"),
        ({"known": np.ones((200, 3))}, "boolean array of shape"),
        ({"patients": ["p"]}, "`patients` must have 200 entries. Got 1"),
        ({"patients": [1.0] * 200}, "string or None. Got 1.0"),
        ({"image_ids": ["i"]}, "`image_ids` must have 200 entries"),
        ({"thresholds": [POINTS]}, "one entry for each of 3 labels. Got 1"),
        ({"not_scored": {"Lung": "x"}}, r"No label is called \['Lung'\]"),
    ],
)
def test_wrong_input_is_refused_in_words(case: Case, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        case.run(**changes)


def test_nan_score_of_a_known_label_is_refused_by_label_and_row(case: Case) -> None:
    case.known[11, 1] = True
    case.scores[11, 1] = np.nan
    with pytest.raises(DataError, match=r"1 scores of known labels are NaN.*'Mass' in row 11"):
        case.run()


def test_known_label_that_is_neither_0_nor_1_is_refused_by_label_and_row(case: Case) -> None:
    case.known[4, 0] = True
    case.y[4, 0] = -1
    with pytest.raises(DataError, match="Got -1 for 'Edema' in row 4"):
        case.run()


def test_scores_of_another_shape_are_refused(case: Case) -> None:
    with pytest.raises(DataError, match=r"shape of the labels, \(200, 3\)"):
        evaluate(case.y, case.scores[:, :2], names=NAMES, kind="multilabel")


def test_every_estimate_lies_in_its_interval_or_says_why_not(case: Case) -> None:
    found = dict(_estimates(case.run()))
    assert len(found) == 8 + 3 * (4 + 10)
    for name, estimate in found.items():
        if "sensitivity>=" in name:
            assert estimate.reason == "only 3 positives", name
            continue
        assert estimate.value is not None, name
        if name.endswith("calibration_error"):  # biased upwards: never with an interval
            assert (estimate.low, estimate.high, estimate.reason) == (None, None, None), name
            continue
        assert estimate.low is not None, name
        assert estimate.high is not None, name
        assert 0 <= estimate.low < estimate.value < estimate.high <= 1, name


def test_averages_name_their_labels_and_how_they_were_made(case: Case) -> None:
    case.y[:, 2] = 0
    found = case.run().averages
    assert [(a.average, a.metric) for a in found] == [
        ("macro", "average_precision"),
        ("macro", "brier"),
        ("weighted", "auroc"),
        ("weighted", "average_precision"),
        ("micro", "auroc"),
        ("micro", "average_precision"),
        ("macro", "calibration_error"),
    ]
    assert {a.labels for a in found} == {("Edema", "Mass")}


def test_one_label_has_one_value_for_every_average(case: Case) -> None:
    found = case.run(thresholds=None)
    alone = evaluate(
        case.y[:, :1],
        case.scores[:, :1],
        known=case.known[:, :1],
        names=NAMES[:1],
        kind="binary",
        patients=case.patients,
        image_ids=case.ids,
    )
    assert alone.macro == found.labels[0].auroc
    for average in alone.averages:
        assert average.estimate == getattr(found.labels[0], average.metric), average


def test_operating_point_counts_are_those_at_or_above_the_threshold(case: Case) -> None:
    point = _label(case.run(), "Edema").operating_points[0]
    rows = case.known[:, 0]
    assert (case.scores[rows, 0] == CUT).any()
    (tn, fp), (fn, tp) = confusion_matrix(case.y[rows, 0], case.scores[rows, 0] >= CUT)
    counts = (
        point.true_positives,
        point.false_positives,
        point.true_negatives,
        point.false_negatives,
    )
    assert counts == (tp, fp, tn, fn)
    assert point.sensitivity.value == tp / (tp + fn)
    assert point.specificity.value == tn / (tn + fp)
    assert point.ppv.value == tp / (tp + fp)
    assert point.npv.value == tn / (tn + fn)
    assert point.f1.value == pytest.approx(2 * tp / (2 * tp + fp + fn), abs=1e-15)
    assert (point.rule, point.threshold, point.chosen_on) == ("youden", CUT, (30, 70))
    assert point.probability == pytest.approx(1 / (1 + np.exp(-CUT)), abs=1e-15)


def test_label_without_a_threshold_says_why_at_every_number(case: Case) -> None:
    point = _label(case.run(), "Edema").operating_points[1]
    assert (point.threshold, point.probability, point.reason) == (None, None, "only 3 positives")
    for ratio in RATIOS:
        assert getattr(point, ratio).value is None
        assert getattr(point, ratio).reason == "only 3 positives"


def test_threshold_that_nothing_reaches_has_no_ppv_and_says_so(case: Case) -> None:
    high = (Threshold("youden", 99.0, None, 30, 70),)
    point = _label(case.run(thresholds=[high] * 3), "Edema").operating_points[0]
    assert point.ppv.value is None
    assert point.ppv.reason == "no row at or above the threshold"
    assert (point.sensitivity.value, point.specificity.value, point.f1.value) == (0, 1, 0)
    assert point.sensitivity.high is not None
    assert 0 < point.sensitivity.high < 0.5  # Wilson's interval exists at 0
    assert point.f1.reason == "no interval: no positive row is found"
    low = (Threshold("youden", -99.0, None, 30, 70),)
    point = _label(case.run(thresholds=[low] * 3), "Edema").operating_points[0]
    assert point.npv.reason == "no row below the threshold"


def test_one_class_on_test_leaves_what_needs_the_other(case: Case) -> None:
    case.y[:, 2] = 0
    hernia = _label(case.run(), "Hernia")
    reason = f"no positives among {case.known[:, 2].sum()} known rows"
    point = hernia.operating_points[0]
    for estimate in (hernia.average_precision, point.sensitivity, point.f1):
        assert estimate is not None
        assert (estimate.value, estimate.reason) == (None, reason)
    assert point.specificity.value is not None
    assert point.ppv.value == 0
    assert point.npv.value == 1
    assert hernia.brier is not None
    assert hernia.brier.low is not None
    assert hernia.calibration is not None
    assert hernia.calibration.prevalence == 0
    assert hernia.calibration.slope.reason == reason


def test_wholly_masked_or_unscored_label_has_reasons_everywhere(case: Case) -> None:
    case.known[:, 1] = False
    case.scores[:, 0] = np.nan
    found = case.run(not_scored={"Edema": "not fitted"})
    for name, reason in (("Edema", "not fitted"), ("Mass", "no known rows")):
        label = _label(found, name)
        for metric in METRICS:
            assert (getattr(label, metric).value, getattr(label, metric).reason) == (None, reason)
        for ratio in RATIOS:
            assert getattr(label.operating_points[0], ratio).reason == reason
    assert _label(found, "Edema").calibration is None


def test_one_row_has_losses_and_no_intervals() -> None:
    point = Threshold("youden", 0.0, None, 30, 70)
    found = evaluate([[1]], [[0.0]], names=["a"], kind="binary", thresholds=[[point]]).labels[0]
    assert found.brier is not None
    assert (found.brier.value, found.brier.low) == (0.25, None)
    assert (
        found.brier.reason
        == "no interval: the value cannot be computed without one of its patients or images"
    )
    assert found.auroc.reason == "no negatives among 1 known row"
    assert found.operating_points[0].sensitivity.value == 1
    assert found.operating_points[0].npv.reason == "no row below the threshold"


def test_constant_scores_are_chance_and_the_interval_is_that_of_chance() -> None:
    y = (np.arange(60) % 3 == 0).astype(int)[:, None]
    found = evaluate(y, np.zeros((60, 1)), names=["a"], kind="binary")
    label = found.labels[0]
    assert label.auroc.value == 0.5
    assert label.auroc.low is not None
    assert label.auroc.low < 0.4
    assert label.calibration is not None
    assert label.calibration.slope.value is None
    assert len(label.calibration.bins) == 1


def test_few_patients_of_one_class_mark_only_what_rests_on_them(case: Case) -> None:
    case.known[:, 2] = True
    case.y[:, 2] = 0
    case.y[:12, 2] = 1
    patients = ["p"] * 6 + ["q"] * 6 + case.patients[12:]
    hernia = _label(case._replace(patients=patients).run(), "Hernia")
    said = "only 2 positive patients: the interval rests on very few"
    point = hernia.operating_points[0]
    for estimate in (hernia.average_precision, hernia.brier, point.sensitivity, point.f1):
        assert estimate is not None
        assert said in estimate.cautions
    assert point.specificity.cautions == ()


def test_wilsons_interval_of_a_share_uses_the_design_effect_and_patients() -> None:
    y = np.ones((60, 1), np.int8)
    y[40:] = 0
    scores = np.where(np.arange(60) % 5 == 0, -1.0, 1.0)[:, None]
    points = [[Threshold("youden", 0.0, None, 30, 70)]]

    def sensitivity(patients: list[str] | None) -> Estimate:
        found = evaluate(
            y, scores, names=["a"], kind="binary", patients=patients, thresholds=points
        )
        return found.labels[0].operating_points[0].sensitivity

    alone = sensitivity(None)
    quantile = t.ppf(0.975, 39)
    expected = proportion_confint(32, 40, quantile)
    # One image per patient: the design effect is 1 up to the last digit.
    assert (alone.low, alone.high) == pytest.approx(expected, abs=1e-6)
    copies = sensitivity([str(i // 5) for i in range(60)])
    assert alone.low is not None
    assert alone.high is not None
    assert copies.low is not None
    assert copies.high is not None
    assert copies.value == alone.value == 0.8


def test_thresholds_chosen_on_validation_fit_in_as_they_are(case: Case) -> None:
    chosen = choose_thresholds(
        case.y, case.scores, known=case.known, names=NAMES, rules=["youden", "sensitivity>=0.8"]
    )
    for label in case.run(thresholds=chosen).labels:
        youden, sensitive = label.operating_points
        assert youden.threshold is not None
        assert sensitive.sensitivity.value is not None
        assert sensitive.sensitivity.value >= 0.8  # the same rows chose it


def test_every_number_of_a_result_is_finite_or_none(case: Case) -> None:
    case.y[:, 2] = 0
    for estimate in dict(_estimates(case.run())).values():
        for number in astuple(estimate)[:3]:
            assert number is None or np.isfinite(number)
