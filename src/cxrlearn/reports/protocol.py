"""What was done, in sentences: which split decided what, and what an interval is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.runtime.words import counted

FEW_POSITIVES = 20
"""Validation positives from which a label chooses its own C."""

if TYPE_CHECKING:
    from cxrlearn.reports.schema import (
        FinetuneReport,
        LinearReport,
        NeighboursReport,
        RunReport,
        SetReport,
        SplitReport,
    )

_UNKNOWN = {
    "mask": "left out, label by label",
    "zeros": "taken as negative",
    "ones": "taken as positive",
}


def short_protocol(report: RunReport) -> tuple[str, ...]:
    """Return what a reader of the main table has to know: fit, choices and intervals."""
    return (
        _fit(report),
        _choice(report),
        *_seeds(report),
        *map(_intervals, report.results),
        *_rows(report),
    )


def protocol_sentences(report: RunReport) -> tuple[str, ...]:
    """Return the whole protocol of a run, derived from its own numbers."""
    return (
        *short_protocol(report),
        _macro(report),
        *_metrics(report),
        f"Labels that are uncertain (-1) are {_UNKNOWN[report.task.uncertain]}; "
        f"blank ones are {_UNKNOWN[report.task.blank]}.",
    )


def backbone_sentence(report: RunReport) -> str:
    """Say which features these are, and what is known of the weights."""
    backbone = report.backbone
    if backbone.random_weights is not None:
        return (
            f"RANDOM WEIGHTS (seed {backbone.random_weights}): "
            f"these numbers say nothing about {backbone.name}."
        )
    digest = "" if backbone.weights_sha256 is None else f", sha256 {backbone.weights_sha256[:12]}…"
    weights = "" if backbone.weights is None else f"; weights {backbone.weights}{digest}"
    return (
        f"Features: {backbone.tag} ({backbone.features}, {backbone.feature_dim} wide, "
        f"preprocessing {backbone.preprocessing}, {backbone.precision}){weights} "
        f"({backbone.verification})."
    )


def _rows(report: RunReport) -> tuple[str, ...]:
    if report.aggregation is None:
        return ()
    column, _, how = report.aggregation.partition(", ")
    return (
        f"Validation and test images were aggregated by {column} ({how}) before evaluation: "
        "counts of positives and negatives are counts of such groups, not of images.",
    )


def _fit(report: RunReport) -> str:
    train = [split for split in report.splits if split.role == "train"]
    if report.finetune is not None:
        return (
            f"The network was trained ({report.probe.solver}) on "
            f"{' and '.join(map(_size, train))} only{_head(report.finetune)}; splits: "
            f"{report.split_origin}."
        )
    return (
        f"The probe ({report.probe.kind}, {report.probe.solver}) was fitted on "
        f"{' and '.join(map(_size, train))} only{_certified(report)}; splits: "
        f"{report.split_origin}."
    )


def _head(finetune: FinetuneReport) -> str:
    if finetune.head_init == "random":
        return ""
    return "; its head started as the logistic regression on the features of the frozen backbone"


def _certified(report: RunReport) -> str:
    gaps = [label.gap for label in report.probe.labels if label.gap is not None]
    if not gaps or any(label.converged is False for label in report.probe.labels):
        return ""  # a warning names those that have not converged
    return f", every fit proved to be within {max(gaps):.0e} of its minimum"


def _size(split: SplitReport) -> str:
    patients = "" if split.patients is None else f" of {split.patients:,} patients"
    return f"{split.name} ({split.used:,} images{patients})"


def _choice(report: RunReport) -> str:
    where = " and ".join(split.name for split in report.splits if split.role == "validation")
    if report.finetune is not None:
        return _epoch_choice(report.finetune, where)
    if report.probe.linear is not None:
        return _rate_choice(report.probe.linear, where)
    if report.probe.knn is not None:
        return _neighbour_choice(report.probe.knn, where)
    return _c_choice(report, where)


def _seeds(report: RunReport) -> list[str]:
    """Return the spread over trainings that differ in their seed alone; empty for one."""
    if report.finetune is None or len(report.finetune.seeds) < 2:
        return []
    seeds = report.finetune.seeds
    spread = []
    for place, result in enumerate(report.results):
        macros = [one.macro[place] for one in seeds]
        values = ", ".join("undefined" if value is None else f"{value:.3f}" for value in macros)
        spread.append(f"{values} on {result.name}")
    named = ", ".join(str(one.seed) for one in seeds)
    return [f"{len(seeds)} trainings, seeds {named}: macro AUROC {'; '.join(spread)}."]


def _epoch_choice(finetune: FinetuneReport, where: str) -> str:
    taken = f"weights of epoch {finetune.best_epoch + 1} of {finetune.epochs}"
    early = ", where training ended early" if finetune.ended == "early" else ""
    if finetune.criterion is None:
        return f"The network: {taken}; no split chose it."
    if len(finetune.seeds) > 1:
        early += f"; one of {len(finetune.seeds)} trainings, the others show the spread"
    return f"The network: {taken}{early}, chosen on {where} by {finetune.criterion}."


def _rate_choice(linear: LinearReport, where: str) -> str:
    trained = f"learning rate {linear.rate:g}, weights of epoch {linear.best_epoch + 1}"
    if linear.criterion is None:
        return f"The linear layer: {trained} of {linear.epochs}; no split chose them."
    limit = "; the rate lies at the end of those tried" if linear.at_limit else ""
    return (
        f"The linear layer: {trained} of {linear.epochs}, both chosen on {where} by "
        f"{linear.criterion} among {len(linear.tried)} rates{limit}."
    )


def _neighbour_choice(knn: NeighboursReport, where: str) -> str:
    how = "as given; no split chose it"
    if knn.tried:
        how = f"chosen on {where} by log-loss among {len(knn.tried)} values"
    return f"k = {knn.k} neighbours, {how}; temperature {knn.temperature:g}."


def _c_choice(report: RunReport, where: str) -> str:
    sources = {label.c_from for label in report.probe.labels} - {None}
    values = sorted({label.C for label in report.probe.labels if label.C is not None})
    if not sources & {"validation", "shared"}:
        said = ", ".join(f"{value:.4g}" for value in values)
        how = "as given" if sources <= {"given"} else _no_choice(where)
        return f"C = {said}, {how}; no split chose it." if said else "No label could be fitted."
    if report.task.kind == "multiclass":
        return f"C was chosen on {where} by cross-entropy."
    by = {
        source: [label.name for label in report.probe.labels if label.c_from == source]
        for source in ("validation", "shared", "default")
    }
    parts = []
    if by["validation"]:
        own = len(by["validation"])
        parts.append(
            "for the label"
            if own == 1 == len(report.probe.labels)
            else f"for {own} of {len(report.probe.labels)} labels separately"
        )
    if by["shared"]:
        parts.append(
            f"one shared value for {_named(by['shared'])} with few positives or negatives there"
        )
    text = f"C was chosen on {where} by log-loss: {'; '.join(parts)}"
    if by["default"]:
        text += f"; the default for {_named(by['default'])}, which {where} cannot decide"
    return f"{text}.{_small_validation(report, by)}"


def _no_choice(where: str) -> str:
    """Say why the default was taken."""
    if not where:
        return "the default"
    return f"the default, because {where} has no label with both classes"


def _small_validation(report: RunReport, by: dict[str, list[str]]) -> str:
    """Say that the validation set is too small to choose on, where no label decides alone."""
    if by["validation"]:
        return ""
    counts = [
        min(one.positives, one.negatives)
        for split in report.splits
        if split.role == "validation"
        for one in split.labels
    ]
    return (
        f" The validation set is small for this choice: no label has {FEW_POSITIVES} positives and "
        f"negatives there, the most has {max(counts, default=0)}."
    )


def _named(names: list[str]) -> str:
    return f"{counted(len(names), 'label')} ({', '.join(names)})"


def _intervals(result: SetReport) -> str:
    evaluation = result.evaluation
    alone = ""
    lone = evaluation.rows_without_patient
    if evaluation.unit == "image":
        alone = " No patient ids: if patients have several images, these intervals are too narrow."
    elif lone:
        alone = f" {lone:,} of these patients are images that name no patient."
    rows = counted(evaluation.rows, result.row)
    unit = counted(evaluation.clusters, evaluation.unit)
    size = rows if rows == unit else f"{rows} of {unit}"
    return f"{result.name}: {size}. {evaluation.interval_method}.{alone}"


def _macro(report: RunReport) -> str:
    averaging = {result.evaluation.averaging for result in report.results}
    return f"Macro: {'; '.join(sorted(averaging))}, over labels with both classes in the set."


def _metrics(report: RunReport) -> list[str]:
    """Return a sentence for each kind of number that this report holds beside the AUROC."""
    labels = [label for result in report.results for label in result.evaluation.labels]
    said = []
    if any(label.operating_points for label in labels):
        where = " and ".join(split.name for split in report.splits if split.role == "validation")
        said.append(
            f"Thresholds were chosen on {where or 'validation'} for each label and applied to the "
            "test sets as they are; an image at or above the threshold counts as positive. "
            "PPV and NPV hold at the prevalence of the set."
        )
    if any(label.calibration is not None for label in labels):
        said.append(
            "Calibration: up to 15 bins of equal count; intercept 0 and slope 1 are perfect. "
            "Probabilities were not recalibrated."
        )
    return said + _comparisons(report)


def _comparisons(report: RunReport) -> list[str]:
    said = []
    columns = dict.fromkeys(group.column for one in report.results for group in one.subgroups)
    if columns:
        said.append(
            f"Subgroups by {', '.join(columns)}: the same scores, each group alone; its macro is "
            "over the labels with both classes within it, so groups may average other labels."
        )
    if any(result.floor is not None for result in report.results):
        said.append(
            "The metadata baseline is the same kind of probe on who was imaged and how, without "
            "any image, fitted on the same training rows. A model exceeds it if the lower limit "
            "of the paired difference is above zero; with fewer than 10 positive patients there "
            "is no verdict."
        )
    if report.curve:
        said.append(
            "Label efficiency: nested subsets of training patients, drawn anew in each repeat; the "
            "range is from the lowest to the highest repeat. The macro of a size averages the "
            "labels that all its repeats could score."
            + (
                " Sizes lack different labels: compare them by the macro of the labels of all "
                "sizes."
                if any(point.common is not None for point in report.curve)
                else ""
            )
        )
    return said


def training_facts(report: RunReport) -> dict[str, object]:
    """Return what a reader asks first of a training, in order; empty for a probe."""
    found = report.finetune
    if found is None:
        return {}
    taken = found.history[found.best_epoch].validation_auroc if found.history else None
    score = "" if taken is None else f", validation macro AUROC {taken:.3f}"
    late = found.criterion is not None and found.best_epoch == found.epochs - 1
    return {
        "epochs": f"{found.epochs}, {'ended early' if found.ended == 'early' else 'all of them'}",
        "weights": f"of epoch {found.best_epoch + 1}{score}"
        + ("; the last one was the best: more epochs may be better" if late else ""),
        "optimiser": f"{report.probe.solver}; rate {found.learning_rate:g}",
        "batch": f"{found.batch_size} images, {found.ranks} process{'es' * (found.ranks > 1)}",
        "augmentation": found.augment,
        "head at the start": found.head_init,
        "numbers that learned": f"{found.learned:,} of {found.parameters:,}",
    }
