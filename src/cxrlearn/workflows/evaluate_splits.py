"""From scores of every split to results: thresholds by validation, then each test set once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cxrlearn.workflows.probe_evaluate import (
    choose_operating_points,
    drop_from,
    evaluate_set,
    row_of,
    score_split,
)
from cxrlearn.workflows.shortcut_floor import fit_floor

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from cxrlearn.data.tasks import Task
    from cxrlearn.reports.predictions import Predictions
    from cxrlearn.reports.schema import SetReport
    from cxrlearn.workflows.probe_data import SplitData
    from cxrlearn.workflows.study_settings import StudySettings


def evaluate_splits(
    config: StudySettings,
    task: Task,
    data: Mapping[str, SplitData],
    logits: Mapping[str, NDArray[np.float64]],
    *,
    not_scored: dict[str, str],
    below: tuple[str, ...],
) -> tuple[tuple[SetReport, ...], dict[str, Predictions]]:
    """Evaluate every test set, by whatever model the scores come from.

    Args:
        config: how.
        task: what was predicted.
        data: rows of every split, train first.
        logits: (N, L) log-odds of the rows of every split but train.
        not_scored: labels without scores, with the reason.
        below: columns of the metadata baseline.

    Returns:
        A report and the predictions of each test set.
    """
    val = data.get("val")
    floor = fit_floor(below, task, data["train"], val) if below else None
    # Validation chooses thresholds; it has neither subgroups nor a floor.
    scored = {
        name: score_split(config, task, data[name], scores, floor, bare=name == "val")
        for name, scores in logits.items()
    }
    thresholds = choose_operating_points(config, scored.get("val"), not_scored)
    results: list[SetReport] = []
    for name, rows in scored.items():
        if name == "val":
            continue
        result = evaluate_set(
            task.kind,
            name,
            rows,
            not_scored=not_scored,
            thresholds=thresholds,
            floor=floor,
        )
        result = replace(result, row=row_of(config, data[name].manifest))
        if results:
            first = results[0].name
            internal = (first, scored[first].predictions)
            drop = drop_from(task.kind, internal, rows.predictions, not_scored)
            result = replace(result, drop=drop)
        results.append(result)
    return tuple(results), {result.name: scored[result.name].predictions for result in results}
