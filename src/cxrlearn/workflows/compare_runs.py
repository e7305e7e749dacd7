"""Finished runs and their test sets, read back and checked."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrlearn.errors import DataError, UsageError
from cxrlearn.evaluation.results import Estimate
from cxrlearn.reports.comparison import ComparedRun
from cxrlearn.reports.document import REPORT, read_report
from cxrlearn.reports.predictions import Predictions, read_predictions
from cxrlearn.reports.run_files import check_run_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class RunSet:
    """One test set of one run; rows by rising image id."""

    name: str
    """As the run names it."""
    rows: Predictions
    """Truth and scores of every image."""
    estimates: dict[str, Estimate]
    """AUROC of each label, as the run reports it."""
    macro: Estimate
    """As the run reports it."""
    macro_labels: tuple[str, ...]
    """The labels it averages."""
    seen: bool
    """The backbone may have seen this set in pretraining."""

    @property
    def not_scored(self) -> tuple[str, ...]:
        """Labels without a single score."""
        names, logits = self.rows.names, self.rows.logits
        return tuple(name for i, name in enumerate(names) if np.isnan(logits[:, i]).all())


@dataclass(frozen=True)
class Run:
    """One finished run."""

    about: ComparedRun
    """What stands in the head of its column."""
    kind: str
    """binary, multilabel or multiclass."""
    sets: tuple[RunSet, ...]
    """In the order of its report."""


def find_runs(runs: Sequence[str], output_dir: Path) -> list[Path]:
    """Return the folders that are meant; without names every finished run in `output_dir`.

    A folder that is no run stands for the finished runs in it.

    Raises:
        UsageError: a name is neither a folder nor a run; nothing is finished.
    """
    there = _finished(output_dir)
    if not runs:
        if not there:
            raise UsageError(
                f"no finished run in {output_dir}/: name the folders of runs, or --output-dir."
            )
        return there
    found = [folder for run in runs for folder in _folders(run, output_dir, there)]
    return list({folder.resolve(): folder for folder in found}.values())


def _finished(output_dir: Path) -> list[Path]:
    # Hidden folders are of a run that is just being written, or was killed.
    return sorted(file.parent for file in output_dir.glob(f"[!.]*/{REPORT}"))


def _folders(run: str, output_dir: Path, there: Sequence[Path]) -> list[Path]:
    """Return the folder that is meant, or the runs in it if it is no run itself."""
    for folder in (Path(run), output_dir / run):
        if run and folder.is_dir():
            inside = [] if (folder / REPORT).exists() else _finished(folder)
            return inside or [folder]
    names = [folder.name for folder in there]
    near = difflib.get_close_matches(run, names, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else f" Runs there: {', '.join(names) or 'none'}."
    raise UsageError(f"no run {run!r}: neither a folder nor a run in {output_dir}/.{meant}")


def load_runs(folders: Sequence[Path]) -> list[Run]:
    """Read reports and predictions, names made different from each other.

    Raises:
        DataError: a report or predictions are missing, damaged or do not belong together.
    """
    names = [folder.resolve().name for folder in folders]
    return [
        _load(folder, name if names.count(name) == 1 else str(folder))
        for folder, name in zip(folders, names, strict=True)
    ]


def _load(folder: Path, name: str) -> Run:
    document = read_report(folder)
    check_run_files(folder, document)
    try:
        return _run(folder, name, document)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f"the report {folder / REPORT} is damaged ({type(error).__name__}: {error}): run the "
            "probe again."
        ) from error


def _run(folder: Path, name: str, document: Mapping[str, Any]) -> Run:
    backbone = document["backbone"]
    about = ComparedRun(
        name=name,
        folder=folder.as_posix(),
        tag=str(backbone["tag"]),
        backbone=str(backbone["name"]),
        random_weights=backbone["random_weights"],
        null_control=bool(document.get("null_control", False)),
    )
    seen = {part["split"] for part in document.get("pretraining", ()) if part["datasets"]}
    sets = tuple(_set(folder, result, seen) for result in document["results"])
    return Run(about, str(document["task"]["kind"]), sets)


def _set(folder: Path, result: Mapping[str, Any], seen: set[str]) -> RunSet:
    named = result["predictions"]
    if named is None:
        raise DataError(
            f"{folder} holds no predictions of {result['name']}: the run was made without them. "
            "Run the probe again."
        )
    file = folder / Path(named["file"]).name
    rows = _by_image(read_predictions(file, sha256=named["sha256"]), file)
    evaluation = result["evaluation"]
    estimates = {label["name"]: _estimate(label["auroc"]) for label in evaluation["labels"]}
    if set(estimates) != set(rows.names):
        raise DataError(f"{file} and the report beside it speak of different labels.")
    return RunSet(
        name=str(result["name"]),
        rows=rows,
        estimates=estimates,
        macro=_estimate(evaluation["macro"]),
        macro_labels=tuple(evaluation["macro_labels"]),
        seen=result["name"] in seen,
    )


def _estimate(found: Mapping[str, Any]) -> Estimate:
    return Estimate(
        found["value"],
        found["low"],
        found["high"],
        found["reason"],
        tuple(found["cautions"]),
    )


def _by_image(rows: Predictions, file: Path) -> Predictions:
    if len(set(rows.image_ids)) != len(rows.image_ids):
        raise DataError(f"{file} names an image twice.")
    order = sorted(range(len(rows.image_ids)), key=rows.image_ids.__getitem__)
    return select_rows(rows, order)


def select_rows(rows: Predictions, kept: Sequence[int]) -> Predictions:
    """Return the rows at `kept`, in that order."""
    at = np.asarray(kept, dtype=np.intp)
    return Predictions(
        image_ids=tuple(rows.image_ids[i] for i in kept),
        patient_ids=tuple(rows.patient_ids[i] for i in kept),
        names=rows.names,
        values=rows.values[at],
        known=rows.known[at],
        logits=rows.logits[at],
        probabilities=rows.probabilities[at],
    )


def select_labels(rows: Predictions, names: Sequence[str]) -> Predictions:
    """Return the columns of `names`, in that order."""
    at = np.array([rows.names.index(name) for name in names], dtype=np.intp)
    return Predictions(
        image_ids=rows.image_ids,
        patient_ids=rows.patient_ids,
        names=tuple(names),
        values=rows.values[:, at],
        known=rows.known[:, at],
        logits=rows.logits[:, at],
        probabilities=rows.probabilities[:, at],
    )
