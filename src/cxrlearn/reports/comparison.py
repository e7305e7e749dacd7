"""Several runs side by side, as plain data: what `compare` found, before it is drawn."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cxrlearn.reports.document import json_text

if TYPE_CHECKING:
    from cxrlearn.evaluation.compare import Comparison
    from cxrlearn.evaluation.results import Estimate

SCHEMA_VERSION = 1
"""Raised when a key of the JSON changes its meaning or goes away; new keys do not raise it."""


@dataclass(frozen=True)
class ComparedRun:
    """One run: a column of the table."""

    name: str
    """Name of its folder, or the folder itself where two have one name."""
    folder: str
    """Where it is."""
    tag: str
    """Tag of its features."""
    backbone: str
    """Name of its backbone."""
    random_weights: int | None
    """Seed of random weights: then its numbers say nothing about the backbone."""
    null_control: bool
    """Training labels were permuted: its AUROC should be near 0.5."""

    @property
    def heading(self) -> str:
        """The name, with what keeps the run from being the best of anything."""
        marks = [
            *(["random weights"] if self.random_weights is not None else []),
            *(["label-permutation control"] if self.null_control else []),
        ]
        return f"{self.name} ({', '.join(marks)})" if marks else self.name

    @property
    def eligible(self) -> bool:
        """Whether it may be called the best."""
        return self.random_weights is None and not self.null_control


@dataclass(frozen=True)
class ComparedRow:
    """One label of one data set, or its macro: a row of the table."""

    label: str | None
    """None for the macro."""
    positives: tuple[int, int]
    """Known positive rows; for the macro the least and the most of its labels."""
    estimates: tuple[Estimate | None, ...]
    """One for each run of the report; None where a run is not on this set."""
    best: str | None
    """The run of the highest AUROC, among runs that are no control and not random."""
    like_best: tuple[str, ...]
    """Runs that no test tells apart from the best."""


@dataclass(frozen=True)
class ComparedSet:
    """One data set and the runs that can be compared on it: equal images, labels and truth."""

    name: str
    """As the runs name it."""
    runs: tuple[str, ...]
    """Names of the runs on it."""
    images: int
    """Rows."""
    patients: int | None
    """Different patients, a row without one counting as one; None without patients."""
    macro: ComparedRow
    """Mean AUROC over `macro_labels`."""
    macro_labels: tuple[str, ...]
    """Labels averaged: both classes, scored by every run."""
    labels: tuple[ComparedRow, ...]
    """One for each label."""
    comparison: Comparison | None
    """Every pair of runs; None with one run."""
    seen: tuple[str, ...]
    """Runs whose backbone may have seen this set in pretraining."""


@dataclass(frozen=True)
class ComparisonReport:
    """The whole of it."""

    runs: tuple[ComparedRun, ...]
    """In the order given."""
    sets: tuple[ComparedSet, ...]
    """In the order in which the runs name them."""
    by_label: bool
    """Labels are shown, with their exploratory tests."""
    sentences: tuple[str, ...]
    """What was not compared, and what else to know first."""


def comparison_document(report: ComparisonReport) -> dict[str, Any]:
    """Return the comparison as plain data for `--json`.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    document: dict[str, Any] = json.loads(
        json_text({"schema_version": SCHEMA_VERSION, **asdict(report)})
    )
    return document
