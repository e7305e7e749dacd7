"""The table of a run: for machines as CSV, for people as Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cxrlearn.reports.csvtext import csv_text
from cxrlearn.reports.protocol import backbone_sentence, protocol_sentences

if TYPE_CHECKING:
    from cxrlearn.evaluation.results import Estimate, Evaluation, LabelResult
    from cxrlearn.reports.schema import RunReport

MACRO = "macro"
"""`row` of the average in table.csv."""
MISSING = "\N{EN DASH}"
"""What stands where there is no number; a footnote says why."""

COLUMNS = (
    "set", "row", "label", "auroc", "low", "high", "positives", "negatives", "masked",
    "positive_patients", "negative_patients", "unit", "clusters", "replicates",
    "undefined_replicates", "reason", "cautions",
)  # fmt: skip
"""Columns of table.csv."""


def estimate_text(estimate: Estimate) -> str:
    """Return `0.859 [0.840, 0.875]`, with a dash for what does not exist."""
    if estimate.value is None:
        return MISSING
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f} [{MISSING}]"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def table_csv(report: RunReport) -> str:
    """Return one row for each set and label, and one with the macro of each set, unrounded.

    `row` tells the two kinds apart: `label` or `macro`. In a macro row `label` is blank.
    """
    rows: list[tuple[str, ...]] = [COLUMNS]
    for result in report.results:
        evaluation = result.evaluation
        for label in evaluation.labels:
            counts = (
                label.positives, label.negatives, label.masked,
                label.positive_patients, label.negative_patients,
            )  # fmt: skip
            cells = _cells(label.auroc, tuple(map(str, counts)), evaluation)
            rows.append((result.name, "label", label.name, *cells))
        cells = _cells(evaluation.macro, ("",) * 5, evaluation)
        rows.append((result.name, MACRO, "", *cells))
    return csv_text(rows)


def _cells(estimate: Estimate, counts: tuple[str, ...], evaluation: Evaluation) -> tuple[str, ...]:
    numbers = (estimate.value, estimate.low, estimate.high)
    return (
        *("" if number is None else repr(number) for number in numbers),
        *counts,
        evaluation.unit,
        str(evaluation.clusters),
        str(evaluation.replicates),
        str(estimate.undefined_replicates),
        estimate.reason or "",
        "; ".join(estimate.cautions),
    )


def table_markdown(report: RunReport) -> str:
    """Return the table with one column for each test set, its footnotes, and the protocol."""
    notes = _Footnotes()
    labels = report.task.labels
    header = ["label"]
    for result in report.results:
        name = escape_markdown(result.name)
        header += [f"{name}: AUROC [95 % CI]", f"{name}: positives / known"]
    rows = [header, ["---", *["---:"] * (len(header) - 1)]]
    rows += [
        [escape_markdown(name), *_label_cells(report, i, notes)] for i, name in enumerate(labels)
    ]
    macro = ["**macro**"]
    for result in report.results:
        averaged = f"{len(result.evaluation.macro_labels)} of {len(labels)} labels"
        macro += [notes.mark(result.evaluation.macro), averaged]
    table = "\n".join(f"| {' | '.join(row)} |" for row in [*rows, macro])
    said = [backbone_sentence(report), *protocol_sentences(report)]
    said += [f"Warning: {warning}" for warning in report.warnings]
    text = "\n".join(f"- {escape_markdown(sentence)}" for sentence in said)
    title = f"# {escape_markdown(report.name)}"
    return "\n\n".join(filter(None, (title, table, notes.text(), text))) + "\n"


def _label_cells(report: RunReport, index: int, notes: _Footnotes) -> list[str]:
    labels = [result.evaluation.labels[index] for result in report.results]
    return [cell for label in labels for cell in (notes.mark(label.auroc), _counts(label))]


def _counts(label: LabelResult) -> str:
    return f"{label.positives:,} / {label.positives + label.negatives:,}"


class _Footnotes:
    """Numbers each different remark once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, estimate: Estimate) -> str:
        """Return the estimate, followed by the numbers of what has to be said about it."""
        remarks = [remark for remark in (estimate.reason, *estimate.cautions) if remark]
        # The blank before a mark keeps it from being read as the target of a link.
        marks = "".join(
            f" [^{self._numbers.setdefault(remark, len(self._numbers) + 1)}]" for remark in remarks
        )
        return estimate_text(estimate) + marks

    def text(self) -> str:
        """Return the footnotes."""
        lines = (f"[^{n}]: {escape_markdown(text)}" for text, n in self._numbers.items())
        return "\n".join(lines)


_SPECIAL = re.compile(r"[\\`*|<>\[\]~#]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")


def escape_markdown(text: str) -> str:
    """Return `text` so that a Markdown table cell shows exactly it, line ends as blanks.

    An underscore between letters or digits starts no emphasis and stays bare.
    """
    return _SPECIAL.sub(lambda match: "\\" + match[0], " ".join(text.splitlines()))
