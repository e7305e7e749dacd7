"""What `coverage_study.py` asks of a simulated set: every number with an interval, every test.

Intervals and tests come from the functions that commands call; here are only the true values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from simulated_sets import (
    Design,
    at_sensitivity,
    draw,
    draw_classes,
    patient_scores,
    pooled_auroc,
    pooled_precision,
    true_auroc,
)

from cxrlearn.evaluation.aggregate import aggregate_rows
from cxrlearn.evaluation.averages import mean_estimate
from cxrlearn.evaluation.calibration import calibrate
from cxrlearn.evaluation.differences import paired_difference, set_difference
from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.evaluation.metric_table import METRICS, label_estimate, measure
from cxrlearn.evaluation.operating import operating_point
from cxrlearn.evaluation.results import Estimate
from cxrlearn.evaluation.scored_set import scored_set
from cxrlearn.evaluation.strata import auroc_within_strata
from cxrlearn.evaluation.subgroups import evaluate_subgroups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from simulated_sets import Bools, Drawing, Floats, Label

    from cxrlearn.evaluation.results import Difference, Evaluation
    from cxrlearn.evaluation.scored_set import ScoredSet

    Seen = Iterator[tuple[str, float, Estimate]]
    """What is estimated, its true value, and what was printed of one set."""

SENSITIVITIES = (0.5, 0.8, 0.97)
"""True ones, at fixed thresholds."""
MACROS = (2, 6, 14)
"""Labels that are averaged."""
SINGLE = 3
"""Labels of a set whose own intervals are counted."""
HALVED = ("groups", "sets")
"""Kinds of cells in which subgroups or sets have half of the patients each."""
WEAK = "against scores of age and sex alone"
SHARED = "a third of the patients in both"


@dataclass(frozen=True)
class Cell:
    """One kind of test set, and what is asked of it."""

    kind: str
    """A key of `STUDIES`."""
    design: Design
    """How sets are drawn."""
    agreement: float = 0.0
    """Correlation of two models' scores given the truth."""
    gap: float = 0.0
    """True difference of two AUROC."""
    case: str = ""
    """What else sets it apart."""

    @property
    def positives(self) -> int:
        """Expected positive patients of a label where there are fewest, in a half of the set."""
        return self.design.positives // (2 if self.kind in HALVED else 1)

    @property
    def row(self) -> tuple[str, int]:
        """Its row in the table of its kind; cells of different true AUROC share one."""
        return self.case or self.design.images, self.positives


# --- What is printed of one set


def numbers(cell: Cell, rng: np.random.Generator) -> Seen:
    """Numbers of labels, and macros over 2, 6 and 14 of them, all of one true AUROC."""
    drawn, label = draw(cell.design, rng), cell.design.truth[0]
    data = _scored(drawn.positive, drawn.log_odds(cell.design.truth), drawn.patients)
    labels = data.ranked()
    for metric, true in (
        ("auroc", label.auroc),
        ("average_precision", pooled_precision((label,))),
        ("brier", label.brier),
    ):
        found = {(one, metric): measure(data, one, metric) for one in labels}
        for one in labels[:SINGLE]:
            yield f"{_name(metric)}, label", true, label_estimate(data, one, metric, found)
        for n in MACROS:
            chosen = [one for one in labels if one < n]
            if len(chosen) > 1:
                parts = [found[one, metric] for one in chosen]
                debias = METRICS[metric].debias
                mean = mean_estimate(data, chosen, parts, debias=debias)
                yield f"{_name(metric)}, macro of {n}", true, mean
    for one in labels[:SINGLE]:
        yield from _of_label(data, one, label)


def _of_label(data: ScoredSet, number: int, label: Label) -> Seen:
    """Calibration of one label, and its rates at fixed thresholds."""
    positive, score, codes = data.known(number)
    calibration = calibrate(positive, score, codes)
    yield "calibration, intercept", label.intercept, calibration.intercept
    yield "calibration, slope", label.slope, calibration.slope
    for sensitivity in SENSITIVITIES:
        point = operating_point(data, number, at_sensitivity(label, sensitivity))
        for rate, true in label.rates(sensitivity).items():
            name = rate.upper() if len(rate) < 4 else rate
            yield f"{name}, at sensitivity {sensitivity}", true, getattr(point, rate)


def averages(cell: Cell, rng: np.random.Generator) -> Seen:
    """Macro, weighted and micro averages of 6 labels that differ in AUROC and prevalence."""
    data, truth = draw(cell.design, rng), cell.design.truth
    result = _evaluated((data.positive, data.log_odds(truth), data.patients))
    labels = [truth[int(name)] for name in result.macro_labels]
    single = {
        "auroc": [label.auroc for label in labels],
        "average_precision": [pooled_precision((label,)) for label in labels],
        "brier": [label.brier for label in labels],
    }
    pooled = {"auroc": pooled_auroc, "average_precision": pooled_precision}
    weights = [label.prevalence for label in labels]
    yield "AUROC, macro", float(np.mean(single["auroc"])), result.macro
    for one in result.averages:
        if one.metric not in METRICS:
            continue
        if one.average == "micro":
            true = pooled[one.metric](tuple(labels))
        else:
            weighed = weights if one.average == "weighted" else None
            true = float(np.average(single[one.metric], weights=weighed))
        yield f"{_name(one.metric)}, {one.average}", true, one.estimate


def classes(cell: Cell, rng: np.random.Generator) -> Seen:
    """One-vs-rest AUROC of the rare classes, and its macro over all classes."""
    drawing = draw_classes(cell.design, rng)
    result = _evaluated(drawing, kind="multiclass")
    true = true_auroc(cell.design, draw_classes)
    rare = float(np.mean(true[1:]))
    for label in result.labels[1:]:
        yield "AUROC, class", rare, label.auroc
    yield (
        "AUROC, macro of classes",
        float(np.mean([(rare if int(name) else true[0]) for name in result.macro_labels])),
        result.macro,
    )


def groups(cell: Cell, rng: np.random.Generator) -> Seen:
    """AUROC within two strata of patients, whose scores differ by one, and in one as a subgroup."""
    data, design = draw(cell.design, rng), cell.design
    stratum = rng.integers(2, size=design.patients)[data.codes]
    given = {
        "y_true": data.positive,
        "y_score": data.log_odds(design.truth) + stratum[:, None],
        "names": [str(i) for i in range(design.labels)],
        "kind": "multilabel",
        "patients": data.patients,
        "columns": {"sex": [str(value) for value in stratum]},
    }
    within = auroc_within_strata(**given)
    subgroup = evaluate_subgroups(**given)[0]
    auroc = design.truth[0].auroc
    yield f"within strata, macro of {design.labels}", auroc, within.macro
    yield f"subgroup, macro of {design.labels}", auroc, subgroup.macro
    for label, one in zip(within.labels, subgroup.labels, strict=True):
        yield "within strata, label", auroc, label
        yield "subgroup, label", auroc, one.auroc


def aggregated(cell: Cell, rng: np.random.Generator) -> Seen:
    """AUROC of patients, each with the mean probability of the images."""
    result = _evaluated(_aggregated(cell.design, rng))
    auroc = float(np.mean(true_auroc(cell.design, _aggregated)))
    yield f"AUROC of patients, macro of {cell.design.labels}", auroc, result.macro
    for label in result.labels:
        yield "AUROC of patients, label", auroc, label.auroc


def models(cell: Cell, rng: np.random.Generator) -> Seen:
    """Differences of two models on the same images, single labels and macros."""
    design = cell.design
    data = draw(design, rng, models=2, agreement=cell.agreement)
    first, second = data.log_odds(design.better(cell.gap).truth), data.log_odds(design.truth, 1)
    gap = cell.gap
    if cell.case.endswith(WEAK):
        second = patient_scores(data, rng)
        gap = design.truth[0].auroc - float(np.mean(true_auroc(design, _known_of_patients)))
    sides = [_scored(data.positive, scores, data.patients) for scores in (first, second)]
    for n in (1, 6, 14):
        labels = [one for one in sides[0].ranked() if one < n]
        found = paired_difference(*sides, labels)
        yield f"{'difference' if gap else 'test'}, {_labels(n)}", gap, _checked(found)


def sets(cell: Cell, rng: np.random.Generator) -> Seen:
    """Differences of one model between two sets, of other patients or of half the same."""
    data, design = draw(cell.design, rng), cell.design
    # Patients are in the first set, in the second, or have images in both.
    places = rng.integers(3 if cell.case == SHARED else 2, size=design.patients)[data.codes]
    second = np.where(places == 2, rng.random(len(places)) < 0.5, places == 1)
    scores = data.log_odds(design.truth), data.log_odds(design.better(cell.gap).truth)
    patients = np.array(data.patients, dtype=object)
    for n in (1, 6):
        sides = [
            _scored(data.positive[rows, :n], values[rows, :n], patients[rows])
            for rows, values in zip((~second, second), scores, strict=True)
        ]
        found = set_difference(*sides, (patients[~second], patients[second]))
        kind = "difference" if cell.gap else "test"
        yield f"{kind} between sets, {_labels(n)}", cell.gap, _checked(found)


def _evaluated(drawing: Drawing, *, kind: str = "multilabel") -> Evaluation:
    positive, scores, patients = drawing
    names = [str(i) for i in range(positive.shape[1])]
    return evaluate(positive, scores, names=names, kind=kind, patients=patients)


def _scored(positive: Bools, scores: Floats, patients: Sequence[str]) -> ScoredSet:
    return scored_set(
        positive,
        scores,
        known=None,
        names=[str(i) for i in range(positive.shape[1])],
        kind="multilabel",
        patients=patients,
        image_ids=None,
        not_scored=None,
    )


def _known_of_patients(design: Design, rng: np.random.Generator) -> Drawing:
    data = draw(design, rng)
    return data.positive, patient_scores(data, rng), data.patients


def _aggregated(design: Design, rng: np.random.Generator) -> Drawing:
    data = draw(design, rng)
    merged = aggregate_rows(data.positive, None, data.log_odds(design.truth), data.patients)
    return merged.y_true == 1, merged.y_score, [str(patient) for patient in merged.groups]


def _checked(found: Difference) -> Estimate:
    """Return a difference whose interval and test agree, so that to study one is to study both."""
    if found.p_value is not None and found.low is not None and found.high is not None:
        excluded = not found.low <= 0 <= found.high
        if excluded != (found.p_value < 0.05):
            raise RuntimeError(f"Interval and test disagree: {found}")
    return Estimate(found.difference, found.low, found.high, found.reason, found.cautions)


def _labels(n: int) -> str:
    return "label" if n == 1 else f"macro of {n}"


def _name(metric: str) -> str:
    return {"auroc": "AUROC", "brier": "Brier"}.get(metric, metric.replace("_", " "))


STUDIES: dict[str, Callable[[Cell, np.random.Generator], Seen]] = {
    "numbers": numbers,
    "averages": averages,
    "classes": classes,
    "groups": groups,
    "aggregated": aggregated,
    "models": models,
    "sets": sets,
}
"""By kind of cell: what is asked of a set."""
