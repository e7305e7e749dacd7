"""The tables of a run, as the terminal shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from cxrlearn.reports.protocol import backbone_sentence, protocol_sentences
from cxrlearn.reports.tables import estimate_text

if TYPE_CHECKING:
    from cxrlearn.evaluation.results import Estimate, LabelResult
    from cxrlearn.reports.schema import RunReport, SetReport


def result_tables(report: RunReport) -> list[Table | str]:
    """Return a table for each test set, and the sentences that say what the numbers are."""
    parts: list[Table | str] = []
    for result in report.results:
        parts += ["", _table(report, result), *_notes(result)]
    lost = [split for split in report.splits if split.used < split.rows]
    parts += ["", backbone_sentence(report), *protocol_sentences(report)]
    parts += [
        f"{split.name}: {split.rows - split.used} of {split.rows} images are left out, they have "
        "no features."
        for split in lost
    ]
    return parts


def _table(report: RunReport, result: SetReport) -> Table:
    evaluation = result.evaluation
    title = f"{report.backbone.tag} on {result.name}: AUROC [95 % interval]"
    table = Table(title=escape(title), title_justify="left", box=None, pad_edge=False)
    table.add_column("label", overflow="fold")
    table.add_column("AUROC", no_wrap=True)
    counted = "(patients)" if evaluation.unit == "patient" else "(images)"
    for heading in ("pos", counted, "neg", "masked"):
        table.add_column(heading, justify="right", no_wrap=True)
    for label in evaluation.labels:
        table.add_row(escape(label.name), _cell(label.auroc), *_counts(label))
    table.add_section()
    what = f"macro, {len(evaluation.macro_labels)} labels"
    table.add_row(f"[bold]{what}[/bold]", f"[bold]{_cell(evaluation.macro)}[/bold]")
    return table


def _cell(estimate: Estimate) -> str:
    mark = " *" if estimate.reason or estimate.cautions else ""
    return escape(estimate_text(estimate)) + mark


def _counts(label: LabelResult) -> tuple[str, ...]:
    counts = (label.positives, label.positive_patients, label.negatives, label.masked)
    return tuple(f"{count:,}" for count in counts)


def _notes(result: SetReport) -> list[str]:
    """Return every reason and caution once, with the labels it is about."""
    about: dict[str, list[str]] = {}
    evaluation = result.evaluation
    estimates = [(label.name, label.auroc) for label in evaluation.labels]
    for name, estimate in [*estimates, ("macro", evaluation.macro)]:
        for note in filter(None, (estimate.reason, *estimate.cautions)):
            about.setdefault(note, []).append(name)
    return [f"* {', '.join(names)}: {note}" for note, names in about.items()]
