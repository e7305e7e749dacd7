"""`compare`: finished runs in one table, with the tests that say which differences are shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlearn.errors import UsageError
from cxrlearn.evaluation.compare import (
    Comparison,
    compare_models,
    not_distinguishable_from,
)
from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.reports.comparison import ComparedRow, ComparedSet, ComparisonReport
from cxrlearn.reports.comparison_html import comparison_html
from cxrlearn.reports.comparison_text import COLUMNS as CSV_COLUMNS
from cxrlearn.reports.comparison_text import comparison_csv, comparison_markdown
from cxrlearn.reports.latex import comparison_latex
from cxrlearn.runtime.atomic import disk_errors, write_text
from cxrlearn.runtime.events import SILENT
from cxrlearn.runtime.outputs import beginning, refuse_to_overwrite
from cxrlearn.runtime.words import counted
from cxrlearn.workflows.compare_groups import (
    Group,
    group_sets,
    patient_warnings,
    refusals,
    share_rows,
)
from cxrlearn.workflows.compare_runs import find_runs, load_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cxrlearn.evaluation.results import Estimate, Evaluation
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.compare_runs import Run

FORMATS: dict[str, Callable[[ComparisonReport], str]] = {
    "markdown": comparison_markdown,
    "csv": comparison_csv,
    "latex": comparison_latex,
    "html": comparison_html,
}
"""What `--format` takes."""
SUFFIXES = {".md": "markdown", ".csv": "csv", ".tex": "latex", ".html": "html"}
"""The format of `--output` by the end of its name."""
MARKS = {
    ".md": "# Comparison\n\n## ",
    ".csv": ",".join(CSV_COLUMNS) + "\n",
    ".tex": "% Made by cxrlearn compare.",
    ".html": "<h1>Comparison</h1>",
}
"""What the beginning of a file of `compare` holds: no other file is overwritten."""


@dataclass(frozen=True)
class CompareConfig:
    """Settings of `compare`, checked together."""

    runs: tuple[str, ...] = ()
    """Folders, or names of folders in `output_dir`; empty: every finished run there."""
    output_dir: Path = Path("runs")
    """Where runs are."""
    labels: bool = False
    """Show every label, with exploratory tests, not only the macro."""
    common_rows: bool = False
    """Compare runs of other rows on the rows that they share."""
    format: str | None = None
    """Text to print in place of the table: one of `FORMATS`."""
    output: Path | None = None
    """File to write, its format by its suffix."""

    def __post_init__(self) -> None:
        """Check what was given.

        Raises:
            UsageError: all problems, one a line.
        """
        problems = []
        if self.format is not None and self.format not in FORMATS:
            kinds = ", ".join(FORMATS)
            problems.append(f"--format: expected one of {kinds}, got {self.format!r}.")
        if self.output is not None and self.output.suffix.lower() not in SUFFIXES:
            problems.append(
                f"--output: expected a file that ends with one of {', '.join(SUFFIXES)}, got "
                f"{self.output.name!r}."
            )
        if problems:
            raise UsageError(*problems)


def run_compare(config: CompareConfig, reporter: Reporter = SILENT) -> ComparisonReport:
    """Read the runs, compare those on equal rows, and write `--output` if asked for.

    Raises:
        UsageError: a run is not there, none is finished, or `--output` is a file of other origin.
        DataError: a report or predictions are missing or damaged.
        DiskError: the output cannot be written.
    """
    if config.output is not None:
        mark = MARKS[config.output.suffix.lower()]
        refuse_to_overwrite(config.output, lambda file: mark in beginning(file), command="compare")
    runs = load_runs(find_runs(config.runs, config.output_dir))
    groups, sentences = group_sets(runs), list[str]()
    if config.common_rows:
        groups, sentences = share_rows(groups)
    sentences += refusals(groups, common_rows=config.common_rows) + patient_warnings(groups)
    sets = []
    for group in groups:
        images = counted(len(group.truth.image_ids), "image")
        reporter.notice(f"{group.name}: {counted(len(group.members), 'run')} on {images}")
        sets.append(_compare(group, runs))
    report = ComparisonReport(
        tuple(run.about for run in runs), tuple(sets), config.labels, tuple(sentences)
    )
    if config.output is not None:
        text = FORMATS[SUFFIXES[config.output.suffix.lower()]](report)
        with disk_errors(config.output, "Nothing was written."):
            config.output.parent.mkdir(parents=True, exist_ok=True)
        write_text(config.output, text, step="compare.output")
    return report


def _compare(group: Group, runs: Sequence[Run]) -> ComparedSet:
    truth, patients = group.truth, group.patients
    found = compare_models(
        truth.values,
        truth.known,
        {member.run.about.name: member.on.rows.logits for member in group.members},
        patients,
        names=truth.names,
        image_ids=truth.image_ids,
        not_scored={member.run.about.name: member.on.not_scored for member in group.members},
        controls=[
            member.run.about.name for member in group.members if member.run.about.null_control
        ],
    )
    macros, labels = _estimates(group, found)
    column = _Columns(runs, group)
    positives = dict(
        zip(truth.names, (truth.values & truth.known).sum(axis=0).tolist(), strict=True)
    )
    averaged = [positives[name] for name in found.macro_labels] or [0]
    return ComparedSet(
        name=group.name,
        runs=tuple(column.on),
        images=len(truth.image_ids),
        patients=found.clusters if found.unit == "patient" else None,
        macro=column.row(None, (min(averaged), max(averaged)), macros, found),
        macro_labels=found.macro_labels,
        labels=tuple(
            column.row(name, (positives[name],) * 2, labels[name], found) for name in truth.names
        ),
        comparison=found if len(group.members) > 1 else None,
        seen=tuple(member.run.about.name for member in group.members if member.on.seen),
    )


Estimates = dict[str, "Estimate"]
"""By name of the run."""


def _estimates(group: Group, found: Comparison) -> tuple[Estimates, dict[str, Estimates]]:
    """Return the macro and the labels' AUROC of each run: what it reports, wherever that holds.

    Where rows were left out, everything is computed anew; where runs average other labels, the
    macro is that of the labels they share.
    """
    names = group.truth.names
    if group.restricted:
        made = {member.run.about.name: _evaluate(group, place)
                for place, member in enumerate(group.members)}  # fmt: skip
        labels = {
            name: {run: one.labels[place].auroc for run, one in made.items()}
            for place, name in enumerate(names)
        }
    else:
        labels = {
            name: {member.run.about.name: member.on.estimates[name] for member in group.members}
            for name in names
        }
    reported = {member.run.about.name: member.on.macro for member in group.members}
    shared = {model.name: model.macro for model in found.models}
    alike = all(set(member.on.macro_labels) == set(found.macro_labels) for member in group.members)
    return (reported if alike and not group.restricted else shared), labels


def _evaluate(group: Group, place: int) -> Evaluation:
    member, truth = group.members[place], group.truth
    return evaluate(
        truth.values,
        member.on.rows.logits,
        known=truth.known,
        names=truth.names,
        kind=member.run.kind,
        patients=group.patients,
        image_ids=truth.image_ids,
        not_scored=dict.fromkeys(member.on.not_scored, "the run has no scores of it"),
    )


class _Columns:
    """Puts the numbers of a data set under the runs of the table."""

    def __init__(self, runs: Sequence[Run], group: Group) -> None:
        self._runs = [run.about for run in runs]
        self.on = [member.run.about.name for member in group.members]

    def row(
        self,
        label: str | None,
        positives: tuple[int, int],
        estimates: Mapping[str, Estimate],
        found: Comparison,
    ) -> ComparedRow:
        """Return one row with its best run and what is like it."""
        values = {
            run.name: value
            for run in self._runs
            if run.eligible
            and run.name in estimates
            and (value := estimates[run.name].value) is not None
        }
        best = max(values, key=values.__getitem__) if values and len(self.on) > 1 else None
        pairs = (
            found.pairs
            if label is None
            else tuple(pair for pair in found.labels if pair.label == label)
        )
        shown = tuple(estimates.get(run.name) for run in self._runs)
        return ComparedRow(label, positives, shown, best, not_distinguishable_from(best, pairs))
