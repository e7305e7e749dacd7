"""From a fitted probe to what each test set says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from cxrlearn.data.ages import age_bands
from cxrlearn.data.patients import names_nobody
from cxrlearn.errors import DataError
from cxrlearn.evaluation.aggregate import aggregate_rows
from cxrlearn.evaluation.differences import paired_macro_difference, set_difference
from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.evaluation.intervals import FEW_PATIENTS
from cxrlearn.evaluation.scored_set import scored_set
from cxrlearn.evaluation.strata import auroc_within_strata
from cxrlearn.evaluation.subgroups import evaluate_subgroups
from cxrlearn.evaluation.thresholds import choose_thresholds
from cxrlearn.reports.predictions import Predictions
from cxrlearn.reports.schema import DetectableReport, DropReport, FloorReport, SetReport

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlearn.data.manifest import Manifest
    from cxrlearn.data.tasks import Task
    from cxrlearn.evaluation.thresholds import Threshold
    from cxrlearn.workflows.probe_data import SplitData
    from cxrlearn.workflows.shortcut_floor import ShortcutFloor
    from cxrlearn.workflows.study_settings import StudySettings

OFF = ("none",)

Cells = tuple[str | None, ...]


@dataclass(frozen=True)
class ScoredSplit:
    """What is evaluated: one row per image, or one per group of images."""

    predictions: Predictions
    """Ids, patients, truth, scores, and beside them all that the report is made from."""
    columns: dict[str, Cells]
    """Subgroup columns, where the rows of a group agree."""
    strata: dict[str, Cells]
    """View and sex, whose combinations are the strata; empty without them."""


def score_split(
    config: StudySettings,
    task: Task,
    data: SplitData,
    logits: NDArray[np.float64],
    floor: ShortcutFloor | None,
    *,
    bare: bool = False,
) -> ScoredSplit:
    """Put the scores of one split together, aggregated if asked for; `bare`: without groups.

    Raises:
        DataError: the column to aggregate by, or of a subgroup, is missing.
    """
    columns = {} if bare else _columns(config, data.manifest)
    strata = {} if bare or config.subgroup == OFF else _strata(data.manifest)
    below = None if floor is None or bare else floor.decision(data.manifest)
    if config.aggregate_by is None:
        rows = (data.image_ids, data.patients, (data.values, data.known), logits)
        return ScoredSplit(_predictions(task, *rows, below, columns | strata), columns, strata)
    groups = _groups(config.aggregate_by, data.manifest)
    merged = aggregate_rows(
        data.values, data.known, logits, groups, how=config.aggregate, kind=task.kind
    )
    members = [np.flatnonzero(merged.codes == code) for code in range(len(merged.groups))]
    ids = tuple(
        group if group is not None else data.image_ids[int(rows[0])]
        for group, rows in zip(merged.groups, members, strict=True)
    )
    if below is not None:
        below = aggregate_rows(
            data.values, data.known, below, groups, how=config.aggregate, kind=task.kind
        ).y_score
    columns = {name: _agreed(cells, members) for name, cells in columns.items()}
    strata = {name: _agreed(cells, members) for name, cells in strata.items()}
    patients = _agreed(data.patients, members)
    rows = (ids, patients, (merged.y_true, merged.known), merged.y_score)
    return ScoredSplit(_predictions(task, *rows, below, columns | strata), columns, strata)


def _predictions(
    task: Task,
    ids: tuple[str, ...],
    patients: Cells,
    labels: tuple[NDArray[np.int8], NDArray[np.bool_]],
    logits: NDArray[np.float64],
    baseline: NDArray[np.float64] | None,
    groups: dict[str, Cells],
) -> Predictions:
    return Predictions(
        image_ids=ids,
        patient_ids=patients,
        names=task.names,
        values=labels[0],
        known=labels[1],
        logits=logits,
        probabilities=np.asarray(expit(logits), dtype=np.float64),
        baseline=baseline,
        groups=groups,
    )


def _groups(column: str, manifest: Manifest) -> list[str | None]:
    name = manifest.columns.patient if column == "patient" else column
    if name is None or name not in manifest.table.columns:
        raise DataError(
            f"{manifest.file} has no column {column!r} to aggregate by (--aggregate-by). "
            f"Columns: {', '.join(map(str, manifest.table.columns))}."
        )
    cells = manifest.column(name)
    return [None if cell is None or names_nobody(cell) else cell for cell in cells]


def check_columns(config: StudySettings, val: Manifest | None, tests: list[Manifest]) -> None:
    """Refuse columns that are not there before anything is computed.

    Raises:
        DataError: the column to aggregate by is missing in validation or a test set, or one of a
            subgroup in a test set.
    """
    for manifest in tests:
        _columns(config, manifest)
    for manifest in tests if val is None else (val, *tests):
        if config.aggregate_by is not None:
            _groups(config.aggregate_by, manifest)


def row_of(config: StudySettings, manifest: Manifest) -> str:
    """Return what a row of the results is: an image, a patient, or another group of images."""
    if config.aggregate_by is None:
        return "image"
    return "patient" if config.aggregate_by in {"patient", manifest.columns.patient} else "group"


def _agreed(cells: Cells, members: list[NDArray[np.intp]]) -> Cells:
    """Return the one value of each group, None where its rows differ."""
    found = ({cells[row] for row in rows.tolist()} for rows in members)
    return tuple(values.pop() if len(values) == 1 else None for values in found)


def _strata(manifest: Manifest) -> dict[str, Cells]:
    roles = manifest.columns
    return {
        name: tuple(manifest.column(name)) for name in (roles.view, roles.sex) if name is not None
    }


def _columns(config: StudySettings, manifest: Manifest) -> dict[str, Cells]:
    """Return the subgroup columns of a set, ages in bands."""
    roles, there = manifest.columns, set(manifest.table.columns)
    if config.subgroup == OFF:
        return {}
    wanted = config.subgroup or [name for name in (roles.sex, roles.age, roles.view) if name]
    absent = [name for name in wanted if name not in there]
    if absent:
        raise DataError(
            f"{manifest.file} has no column {absent[0]!r} (--subgroup). "
            f"Columns: {', '.join(map(str, manifest.table.columns))}."
        )
    columns = {}
    for name in wanted:
        cells = tuple(manifest.column(name))
        columns[name] = tuple(age_bands(cells)) if name == roles.age else cells
    return columns


def choose_operating_points(
    config: StudySettings, val: ScoredSplit | None, not_scored: dict[str, str]
) -> tuple[tuple[Threshold, ...], ...] | None:
    """Choose thresholds on validation; None without one."""
    if val is None:
        return None
    rows = val.predictions
    return choose_thresholds(
        rows.values,
        rows.logits,
        known=rows.known,
        names=rows.names,
        rules=config.operating_point,
        not_scored=not_scored,
    )


def evaluate_set(
    kind: str,
    name: str,
    scored: ScoredSplit,
    *,
    not_scored: dict[str, str],
    thresholds: tuple[tuple[Threshold, ...], ...] | None,
    floor: ShortcutFloor | None,
) -> SetReport:
    """Evaluate one test set: metrics, subgroups, strata, the floor and what the set can tell."""
    rows = scored.predictions
    evaluation = evaluate(
        rows.values,
        rows.logits,
        known=rows.known,
        names=rows.names,
        kind=kind,
        patients=rows.patient_ids,
        image_ids=rows.image_ids,
        not_scored=not_scored,
        thresholds=thresholds,
    )
    below = _floor(kind, scored, not_scored, floor)
    return SetReport(
        name=name,
        evaluation=evaluation,
        subgroups=()
        if not scored.columns
        else evaluate_subgroups(
            rows.values,
            rows.logits,
            known=rows.known,
            names=rows.names,
            kind=kind,
            patients=rows.patient_ids,
            image_ids=rows.image_ids,
            not_scored=not_scored,
            columns=scored.columns,
        ),
        within_strata=None
        if not scored.strata
        else auroc_within_strata(
            rows.values,
            rows.logits,
            known=rows.known,
            names=rows.names,
            kind=kind,
            patients=rows.patient_ids,
            image_ids=rows.image_ids,
            not_scored=not_scored,
            columns=scored.strata,
        ),
        floor=below,
        detectable=_detectable(below),
    )


def _floor(
    kind: str,
    scored: ScoredSplit,
    not_scored: dict[str, str],
    floor: ShortcutFloor | None,
) -> FloorReport | None:
    rows = scored.predictions
    if floor is None or rows.baseline is None:
        return None
    whole = evaluate_subgroups(
        rows.values,
        rows.baseline,
        known=rows.known,
        names=rows.names,
        kind=kind,
        patients=rows.patient_ids,
        image_ids=rows.image_ids,
        not_scored=floor.fit.not_fitted,
        columns={"all": ("all",) * len(rows.image_ids)},
    )[0]
    difference = paired_macro_difference(
        rows.values,
        rows.known,
        rows.logits,
        rows.baseline,
        rows.patient_ids,
        names=rows.names,
        image_ids=rows.image_ids,
        without_scores=not_scored.keys() | floor.fit.not_fitted.keys(),
    )
    few = _few_positive(rows, difference.labels)
    return FloorReport(
        columns=floor.columns,
        macro=whole.macro,
        labels=tuple(label.auroc for label in whole.labels),
        difference=difference,
        exceeds=None if few or difference.low is None else difference.low > 0,
        no_verdict=few or difference.reason,
    )


def _few_positive(rows: Predictions, labels: tuple[str, ...]) -> str | None:
    """Say that too few patients are behind a verdict; None where there are enough.

    A patient counts once for each class, however many labels it is positive for.
    """
    columns = [rows.names.index(name) for name in labels]
    owners = [
        f"image {image}" if patient is None else f"patient {patient}"
        for image, patient in zip(rows.image_ids, rows.patient_ids, strict=True)
    ]
    known, positive = rows.known[:, columns], rows.values[:, columns] == 1
    for which, cells in (("positive", known & positive), ("negative", known & ~positive)):
        count = len({owners[row] for row in np.flatnonzero(cells.any(axis=1))})
        if count < FEW_PATIENTS:
            plural = "" if count == 1 else "s"
            return f"only {count} {which} patient{plural}; a verdict needs {FEW_PATIENTS}"
    return None


def _detectable(floor: FloorReport | None) -> DetectableReport:
    if floor is None:
        return DetectableReport(
            None,
            None,
            "there is no metadata baseline to take a paired difference against: no column of age, "
            "sex or view, none that can be fitted, or --floor-columns none",
        )
    found = floor.difference
    reason = None if found.detectable is not None else found.reason or "it would be above 1"
    return DetectableReport(found.detectable, found.standard_error, reason)


def drop_from(
    kind: str,
    internal: tuple[str, Predictions],
    external: Predictions,
    not_scored: dict[str, str],
) -> DropReport:
    """Return by how much the macro AUROC differs from the first test set."""
    first, second = (
        scored_set(
            rows.values,
            rows.logits,
            known=rows.known,
            names=rows.names,
            kind=kind,
            patients=rows.patient_ids,
            image_ids=rows.image_ids,
            not_scored=not_scored,
        )
        for rows in (internal[1], external)
    )
    patients = internal[1].patient_ids, external.patient_ids
    shared = {*patients[0]} & {*patients[1]} - {None}
    return DropReport(internal[0], set_difference(first, second, patients), len(shared))
