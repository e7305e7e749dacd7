"""The tables of a run for people, as Markdown; `csvtables` has them for machines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cxrlearn.reports.findings import (
    after_findings,
    before_findings,
    estimate_text,
    null_sentences,
    shown_name,
)
from cxrlearn.reports.protocol import backbone_sentence, protocol_sentences
from cxrlearn.reports.sections import run_sections, set_sections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrlearn.evaluation.results import Estimate, LabelResult
    from cxrlearn.reports.schema import RunReport
    from cxrlearn.reports.sections import Cell, Section


def table_markdown(report: RunReport) -> str:
    """Return what can be told apart, the main table, its footnotes, all else, and the protocol.

    The main table has one column for each test set. Footnotes are numbered through the document.
    """
    notes = Footnotes()
    main = [f"# {escape_markdown(report.name)}", *_before(report), _main_table(report, notes)]
    rest = [_section(section, notes) for section in _sections(report) if not section.detail]
    said = [backbone_sentence(report), *protocol_sentences(report)]
    said += [f"Warning: {warning}" for warning in report.warnings]
    parts = (*main, *_after(report), *rest, _footnotes(notes), _bullets(said))
    return "\n\n".join(filter(None, parts)) + "\n"


def _before(report: RunReport) -> list[str]:
    """Return what has to be read before any number."""
    loud = [f"**{escape_markdown(text)}**" for text in null_sentences(report)]
    said = [text for result in report.results for text in before_findings(report, result)]
    return [*loud, *map(escape_markdown, said)]


def _after(report: RunReport) -> list[str]:
    said = [text for result in report.results for text in after_findings(result)]
    return [_bullets(said)] if said else []


def _sections(report: RunReport) -> list[Section]:
    return [
        *(section for result in report.results for section in set_sections(result)),
        *run_sections(report),
    ]


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {escape_markdown(sentence)}" for sentence in sentences)


def _main_table(report: RunReport, notes: Footnotes) -> str:
    labels = report.task.labels
    header = ["label"]
    for result in report.results:
        name = escape_markdown(shown_name(report, result.name))
        header += [f"{name}: AUROC [95 % CI]", f"{name}: positives / known"]
    rows = [
        [escape_markdown(name), *_label_cells(report, i, notes)] for i, name in enumerate(labels)
    ]
    macro = ["**macro**"]
    for result in report.results:
        averaged = f"{len(result.evaluation.macro_labels)} of {len(labels)} labels"
        macro += [_mark(result.evaluation.macro, notes), averaged]
    return _table(header, [*rows, macro])


def _section(section: Section, notes: Footnotes) -> str:
    header = [escape_markdown(heading) for heading in section.header]
    rows = [[_cell(cell, notes) for cell in row] for row in section.rows]
    lead = [escape_markdown(sentence) for sentence in section.lead]
    title = f"## {escape_markdown(section.title)}"
    return "\n\n".join((title, *lead, _table(header, rows)))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def _cell(cell: Cell, notes: Footnotes) -> str:
    return escape_markdown(cell) if isinstance(cell, str) else _mark(cell, notes)


def _label_cells(report: RunReport, index: int, notes: Footnotes) -> list[str]:
    labels = [result.evaluation.labels[index] for result in report.results]
    return [cell for label in labels for cell in (_mark(label.auroc, notes), counts_text(label))]


def counts_text(label: LabelResult) -> str:
    """Return `positives / known`."""
    return f"{label.positives:,} / {label.positives + label.negatives:,}"


def _mark(estimate: Estimate, notes: Footnotes) -> str:
    # The blank before a mark keeps it from being read as the target of a link.
    marks = "".join(f" [^{number}]" for number in notes.numbers(estimate))
    return estimate_text(estimate) + marks


def _footnotes(notes: Footnotes) -> str:
    return "\n".join(f"[^{n}]: {escape_markdown(text)}" for n, text in notes.items())


class Footnotes:
    """Numbers each different remark once."""

    def __init__(self) -> None:
        """Start at 1."""
        self._numbers: dict[str, int] = {}

    def numbers(self, estimate: Estimate) -> tuple[int, ...]:
        """Return the numbers of what has to be said about an estimate."""
        remarks = [remark for remark in (estimate.reason, *estimate.cautions) if remark]
        return tuple(self._numbers.setdefault(text, len(self._numbers) + 1) for text in remarks)

    def items(self) -> list[tuple[int, str]]:
        """Return number and text of each remark so far."""
        return [(number, text) for text, number in self._numbers.items()]


_SPECIAL = re.compile(r"[\\`*|<>\[\]~#$]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")


def escape_markdown(text: str) -> str:
    """Return `text` so that a Markdown table cell shows exactly it, line ends as blanks.

    An underscore between letters or digits starts no emphasis and stays bare.
    """
    return _SPECIAL.sub(lambda match: "\\" + match[0], " ".join(text.splitlines()))
