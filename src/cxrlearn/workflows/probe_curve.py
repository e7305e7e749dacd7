"""Label efficiency: the same probe on nested random subsets of the training patients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from cxrlearn.evaluation.metrics import auroc_score
from cxrlearn.reports.schema import CurvePointReport
from cxrlearn.runtime.events import SILENT
from cxrlearn.workflows.probe_evaluate import OFF, score_split
from cxrlearn.workflows.probe_fit import fit_probe
from cxrlearn.workflows.subsets import PatientOrder

if TYPE_CHECKING:
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

    The macro AUROC averages the labels that every fit of the curve could score, so that its points
    can be compared with each other. A subset that no label can be fitted on has no macro, and has
    no say in which labels the others average.
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
            f"the solver stopped before it had converged in {unfinished} of the {fits} fits of the "
            "label-efficiency curve: raise --max-iter."
        )
    return tuple(
        _point(task, name, size, rows[size], aurocs, data if has_patients else None)
        for name in data
        if name not in {"train", "val"}
        for size in sizes
    )


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


def _point(
    task: Task,
    name: str,
    size: Size,
    rows: list[NDArray[np.intp]],
    aurocs: dict[Size, list[dict[str, NDArray[np.float64]]]],
    data: dict[str, SplitData] | None,
) -> CurvePointReport:
    every = np.stack([found[name] for fits in aurocs.values() for found in fits])
    scored = every[np.logical_not(np.isnan(every).all(axis=1))]
    kept: NDArray[np.bool_] = np.logical_not(np.isnan(scored).any(axis=0)) & (len(scored) > 0)
    macro = [
        None
        if not kept.any() or np.isnan(found[name][kept]).any()
        else float(found[name][kept].mean())
        for found in aurocs[size]
    ]
    defined = [value for value in macro if value is not None]
    patients = None
    if data is not None:
        owners = np.array(data["train"].patients, dtype=object)
        patients = tuple(len({*owners[chosen]}) for chosen in rows)
    return CurvePointReport(
        set_name=name,
        kind=size[0],
        size=size[1],
        rows=tuple(len(chosen) for chosen in rows),
        patients=patients,
        macro=tuple(macro),
        labels=tuple(label for label, keep in zip(task.names, kept.tolist(), strict=True) if keep),
        mean=float(np.mean(defined)) if defined else None,
        low=min(defined, default=None),
        high=max(defined, default=None),
    )
