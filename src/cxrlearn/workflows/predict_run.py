"""A finished run, as far as predicting with it goes: labels, thresholds, backbone, settings."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cxrlearn.errors import DataError, UsageError
from cxrlearn.reports.document import REPORT, read_report
from cxrlearn.reports.run_files import check_run_files
from cxrlearn.workflows.compare_runs import find_runs
from cxrlearn.workflows.settings import NamedPath

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SETTINGS = "settings.toml"


@dataclass(frozen=True)
class OperatingRule:
    """One way in which validation chose thresholds."""

    name: str
    """Such as `youden`."""
    thresholds: tuple[float | None, ...]
    """Log-odds of each label from which on it is called positive; None where there is none."""
    reasons: tuple[str | None, ...]
    """Why there is none."""


@dataclass(frozen=True)
class FinishedRun:
    """What the folder of a run says of it."""

    folder: Path
    """Where it is."""
    command: str
    """`probe` or `finetune`."""
    kind: str
    """binary, multilabel or multiclass."""
    labels: tuple[str, ...]
    """Labels or classes, in order."""
    rules: tuple[OperatingRule, ...]
    """Operating points."""
    backbone: Mapping[str, Any]
    """Of report.json."""
    settings: Mapping[str, Any]
    """Of settings.toml; what is not set is absent."""
    null_control: bool
    """It was trained on permuted labels."""

    @property
    def weights(self) -> tuple[NamedPath, ...]:
        """The `--weights` that the run was given."""
        return tuple(NamedPath(entry) for entry in self.settings.get("weights", ()))


def open_run(run: str, output_dir: Path) -> FinishedRun:
    """Read what a run says of itself.

    Raises:
        UsageError: there is no such run, or the folder holds several.
        DataError: its report or settings are missing or damaged, or of two runs.
    """
    folders = find_runs((run,), output_dir)
    if len(folders) > 1:
        names = ", ".join(str(folder) for folder in folders)
        raise UsageError(f"--run {run} holds several runs: {names}. Name one.")
    folder = folders[0]
    document = read_report(folder)
    command = str(document.get("command"))
    settings = _settings(folder, command)
    check_run_files(folder, document, models=False)
    try:
        labels = tuple(str(name) for name in document["task"]["labels"])
        return FinishedRun(
            folder=folder,
            command=command,
            kind=str(document["task"]["kind"]),
            labels=labels,
            rules=_rules(document["results"][0]["evaluation"]["labels"]),
            backbone=document["backbone"],
            settings=settings,
            null_control=bool(document.get("null_control", False)),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f"the report {folder / REPORT} is damaged ({type(error).__name__}: {error}): run it "
            "again."
        ) from error


def check_model(run: FinishedRun) -> None:
    """See that the probe or the model in the folder is the one that the report is of.

    Raises:
        TrainingError: it was changed, or is of another run.
    """
    check_run_files(run.folder, read_report(run.folder))


def _settings(folder: Path, command: str) -> Mapping[str, Any]:
    file = folder / SETTINGS
    try:
        section = tomllib.loads(file.read_text(encoding="utf-8"))[command]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{file} does not hold the settings of the run ({error}): run it again."
        ) from error
    if not isinstance(section, dict):
        raise DataError(f"{file} does not hold the settings of the run: run it again.")
    return section


def _rules(labels: list[Mapping[str, Any]]) -> tuple[OperatingRule, ...]:
    """Gather the operating points of all labels by rule; they are the same on every test set."""
    points = [label["operating_points"] for label in labels]
    return tuple(
        OperatingRule(
            name=str(of_labels[0]["rule"]),
            thresholds=tuple(point["threshold"] for point in of_labels),
            reasons=tuple(point["reason"] for point in of_labels),
        )
        for of_labels in zip(*points, strict=True)
    )
