"""The tables of a run, as the terminal shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from cxrlearn.cli.streams import shown
from cxrlearn.reports.findings import (
    after_findings,
    before_findings,
    estimate_text,
    null_sentences,
    shown_name,
)
from cxrlearn.reports.protocol import backbone_sentence, protocol_sentences, short_protocol
from cxrlearn.reports.sections import curve_section, run_sections, set_sections
from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from cxrlearn.evaluation.results import Estimate, LabelResult
    from cxrlearn.reports.schema import RunReport, SetReport
    from cxrlearn.reports.sections import Section

_WORDS = 40
"""Columns with cells of more letters hold sentences, and begin at the left."""


def result_tables(report: RunReport, *, details: bool = False) -> list[Table | str]:
    """Return a table for each test set, and the sentences that say what the numbers are.

    Args:
        report: the run.
        details: also operating points, subgroups, shortcuts and all other tables of table.md,
            and the whole protocol.
    """
    parts: list[Table | str] = list(null_sentences(report))
    for result in report.results:
        parts += ["", _table(report, result), *_notes(result)]
        parts += [*before_findings(report, result), *after_findings(result)]
        if details:
            parts += _sections(set_sections(result))
    curve = curve_section(report)
    parts += _sections(run_sections(report) if details else (curve,) if curve else ())
    said = protocol_sentences(report) if details else short_protocol(report)
    parts += ["", backbone_sentence(report), *said]
    parts += [
        f"{split.name}: {split.rows - split.used:,} of {counted(split.rows, 'image')} left out: no "
        "features."
        for split in report.splits
        if split.used < split.rows
    ]
    return parts


def _table(report: RunReport, result: SetReport) -> Table:
    evaluation = result.evaluation
    title = f"{report.backbone.tag} on {shown_name(report, result.name)}: AUROC [95 % interval]"
    table = _plain_table(title)
    table.add_column("label", overflow="fold")
    table.add_column("AUROC", no_wrap=True)
    precision = any(label.average_precision is not None for label in evaluation.labels)
    of_whom = "(patients)" if evaluation.unit == "patient" else "(images)"
    for heading in (*(["AP"] if precision else []), "pos", of_whom, "known"):
        table.add_column(heading, justify="right", no_wrap=True)
    for label in evaluation.labels:
        ap = [_value(label.average_precision)] if precision else []
        table.add_row(shown(label.name), _cell(label.auroc), *ap, *_counts(label))
    table.add_section()
    what = f"macro, {counted(len(evaluation.macro_labels), 'label')}"
    macro = [one.estimate for one in evaluation.averages
             if (one.average, one.metric) == ("macro", "average_precision")]  # fmt: skip
    ap = [f"[bold]{_value(macro[0])}[/bold]"] if precision and macro else []
    table.add_row(f"[bold]{what}[/bold]", f"[bold]{_cell(evaluation.macro)}[/bold]", *ap)
    return table


def _plain_table(title: str) -> Table:
    return Table(title=shown(title), title_justify="left", box=None, pad_edge=False)


def _cell(estimate: Estimate) -> str:
    mark = " *" if estimate.reason or estimate.cautions else ""
    return shown(estimate_text(estimate)) + mark


def _value(estimate: Estimate | None) -> str:
    return "\N{EN DASH}" if estimate is None or estimate.value is None else f"{estimate.value:.3f}"


def _counts(label: LabelResult) -> tuple[str, ...]:
    known = label.positives + label.negatives
    return tuple(f"{count:,}" for count in (label.positives, label.positive_patients, known))


def _notes(result: SetReport) -> list[str]:
    """Return every reason and caution once, with the labels it is about."""
    about: dict[str, list[str]] = {}
    evaluation = result.evaluation
    estimates = [(label.name, label.auroc) for label in evaluation.labels]
    for name, estimate in [*estimates, ("macro", evaluation.macro)]:
        for note in filter(None, (estimate.reason, *estimate.cautions)):
            about.setdefault(note, []).append(name)
    return [f"* {', '.join(names)}: {note}" for note, names in about.items()]


def _sections(sections: tuple[Section, ...]) -> list[Table | str]:
    shown = [section for section in sections if not section.detail]
    return [part for section in shown for part in ("", _section_table(section))]


def _section_table(section: Section) -> Table:
    table = _plain_table(section.title)
    for number, heading in enumerate(section.header):
        cells = (row[number] for row in section.rows)
        words = number == 0 or any(isinstance(cell, str) and len(cell) > _WORDS for cell in cells)
        table.add_column(shown(heading), justify="left" if words else "right", overflow="fold")
    for row in section.rows:
        table.add_row(*(shown(cell) if isinstance(cell, str) else _cell(cell) for cell in row))
    return table
