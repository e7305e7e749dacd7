"""Label efficiency: the same probe on nested random subsets of the training patients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from cxrlearn.data.faults import quoted
from cxrlearn.evaluation.metrics import auroc_score
from cxrlearn.reports.schema import CurveMacroReport, CurveMissingReport, CurvePointReport
from cxrlearn.runtime.events import SILENT
from cxrlearn.runtime.words import counted
from cxrlearn.workflows.probe_evaluate import OFF, score_split
from cxrlearn.workflows.probe_fit import fit_probe
from cxrlearn.workflows.subsets import PatientOrder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cxrlearn.data.tasks import Task
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.probe_config import ProbeConfig
    from cxrlearn.workflows.probe_data import SplitData

Size = tuple[Literal["fraction", "shots"], float]


def label_efficiency(
    config: ProbeConfig, task: Task, data: dict[str, SplitData], reporter: Reporter
) -> tuple[CurvePointReport, ...]:
    """Fit on every size and repeat, and score every test set.

    The macro AUROC of a size averages the labels that all its repeats could score. Where sizes lack
    different labels, a second macro averages those that all sizes have, which can be compared from
    size to size, and a warning says so. A subset that no label can be fitted on has no macro, and
    has no say in which labels the others average.
    """
    sizes: list[Size] = [("fraction", share) for share in sorted(set(config.train_fraction))]
    sizes += [("shots", float(shots)) for shots in sorted(set(config.few_shot))]
    if not sizes:
        return ()
    train = data["train"]
    has_patients = any(patient is not None for patient in train.patients)
    rows: dict[Size, list[NDArray[np.intp]]] = {size: [] for size in sizes}
    aurocs: dict[Size, list[dict[str, NDArray[np.float64]]]] = {size: [] for size in sizes}
    unfinished = 0
    fits = sum(1 if size == ("fraction", 1.0) else config.repeats for size in sizes)
    with reporter.progress("fitting the label-efficiency curve", fits) as progress:
        for repeat in range(config.repeats):
            order = PatientOrder(train.patients, train.image_ids, seed=config.seed, repeat=repeat)
            for size in sizes:
                if size == ("fraction", 1.0) and repeat:  # every repeat would be the same
                    continue
                chosen = _chosen(order, train, size)
                rows[size].append(chosen)
                found, finished = _score(config, task, data, chosen)
                aurocs[size].append(found)
                unfinished += not finished
                progress.advance()
    if unfinished:
        reporter.warning(
            f"the solver stopped before it had converged in {unfinished} of the "
            f"{counted(fits, 'fit')} of the label-efficiency curve: raise --max-iter."
        )
    points = [
        point
        for name in data
        if name not in {"train", "val"}
        for point in _points(task, name, rows, aurocs, train.patients if has_patients else None)
    ]
    common = {point.set_name: point.common for point in points if point.common is not None}
    for name, macro in common.items():
        reporter.warning(_not_comparable(name, macro.labels))
    return tuple(points)


def _not_comparable(name: str, common: tuple[str, ...]) -> str:
    start = (
        f"{name}: not every size of the label-efficiency curve could score the same labels, and "
        "the macro of a size averages its own"
    )
    if not common:
        return f"{start}; no label is common to all: leave out the smallest size."
    return f"{start}; compare sizes by the macro of the labels that all have: {quoted(common)}."


def _chosen(order: PatientOrder, train: SplitData, size: Size) -> NDArray[np.intp]:
    kind, amount = size
    if kind == "fraction":
        return order.fraction(amount)
    positive = (train.values == 1) & train.known
    return order.shots(positive, train.known & ~positive, int(amount))


def _score(
    config: ProbeConfig, task: Task, data: dict[str, SplitData], chosen: NDArray[np.intp]
) -> tuple[dict[str, NDArray[np.float64]], bool]:
    """Return the AUROC of every label on every test set, NaN where there is none.

    Predictions are aggregated first, if that was asked for. Second: whether the solver converged.
    """
    train = data["train"].select(chosen)
    if not _fittable(train):
        return {name: np.full(len(task.names), np.nan) for name in data}, True
    plain = replace(config, subgroup=OFF)
    fitted = fit_probe(config, task, train, data.get("val"), SILENT)
    scores = {}
    for name, split in data.items():
        if name in {"train", "val"}:
            continue
        rows = score_split(plain, task, split, fitted.decision(split.features), None).predictions
        scores[name] = np.array(
            [
                auroc_score(rows.values[known, i], rows.logits[known, i])
                if not np.isnan(rows.logits[:, i]).any()
                else np.nan
                for i, known in enumerate(rows.known.T)
            ]
        )
    return scores, all(label.converged is not False for label in fitted.probe.labels)


def _fittable(train: SplitData) -> bool:
    positive = ((train.values == 1) & train.known).any(axis=0)
    negative = ((train.values == 0) & train.known).any(axis=0)
    return bool((positive & negative).any())


def _points(
    task: Task,
    name: str,
    rows: dict[Size, list[NDArray[np.intp]]],
    aurocs: dict[Size, list[dict[str, NDArray[np.float64]]]],
    patients: tuple[str | None, ...] | None,
) -> Iterator[CurvePointReport]:
    """Yield the points of one test set."""
    found = {size: np.stack([fit[name] for fit in fits]) for size, fits in aurocs.items()}
    scored = {size: one[~np.isnan(one).all(axis=1)] for size, one in found.items()}
    kept = {size: _labels_of_all(one) for size, one in scored.items()}
    having = [kept[size] for size in kept if len(scored[size])]
    shared = np.logical_and.reduce(having) if having else np.zeros(len(task.names), dtype=bool)
    same = all((one == shared).all() for one in having)
    for size, values in found.items():
        own, lacking = _macro(task, values, kept[size]), np.isnan(scored[size]).sum(axis=0)
        count = len(scored[size]) or len(values)
        yield CurvePointReport(
            set_name=name,
            kind=size[0],
            size=size[1],
            rows=tuple(map(len, rows[size])),
            patients=None
            if patients is None
            else tuple(len({patients[row] for row in one}) for one in rows[size]),
            macro=own.macro,
            labels=own.labels,
            mean=own.mean,
            low=own.low,
            high=own.high,
            missing=tuple(
                CurveMissingReport(label, int(times) if len(scored[size]) else count, count)
                for label, times, keep in zip(task.names, lacking, kept[size], strict=True)
                if not keep
            ),
            common=None if same else _macro(task, values, shared),
        )


def _labels_of_all(aurocs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which labels every fit could score, (L,); none without a fit."""
    if not len(aurocs):
        return np.zeros(aurocs.shape[1], dtype=np.bool_)
    return np.logical_not(np.isnan(aurocs).any(axis=0))


def _macro(task: Task, aurocs: NDArray[np.float64], kept: NDArray[np.bool_]) -> CurveMacroReport:
    """Average the kept labels in every repeat."""
    macro = [
        None if not kept.any() or np.isnan(one[kept]).any() else float(one[kept].mean())
        for one in aurocs
    ]
    defined = [value for value in macro if value is not None]
    return CurveMacroReport(
        labels=tuple(label for label, keep in zip(task.names, kept, strict=True) if keep),
        macro=tuple(macro),
        mean=float(np.mean(defined)) if defined else None,
        low=min(defined, default=None),
        high=max(defined, default=None),
    )
