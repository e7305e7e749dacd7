"""report.html: a run as one file that opens offline, with nothing to load and no script."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from cxrlearn.reports.findings import (
    MISSING,
    after_findings,
    before_findings,
    null_sentences,
    shown_name,
)
from cxrlearn.reports.learning_curves import learning_figure
from cxrlearn.reports.pagestyle import STYLE
from cxrlearn.reports.panels import figure_svg
from cxrlearn.reports.plots import set_figures
from cxrlearn.reports.protocol import backbone_sentence, protocol_sentences, training_facts
from cxrlearn.reports.sections import run_sections, set_sections
from cxrlearn.reports.tables import Footnotes, counts_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cxrlearn.evaluation.results import Estimate
    from cxrlearn.reports.predictions import Predictions
    from cxrlearn.reports.schema import RunReport, SetReport
    from cxrlearn.reports.sections import Cell, Section

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What the file may load, said to the browser: nothing but what it holds."""
_WORDS = 40
"""Cells of more letters are sentences: they wrap, and begin at the left."""
_WIDE = 7
"""Tables of as many columns have the limits of an interval below its value."""
_CAPTIONS = {
    "roc": "Every threshold at once: how many positives are found for how many false alarms. The "
    "area below is the AUROC.",
    "pr": "How much of what is called positive is so. Chance reaches the prevalence, the dashed "
    "line, so curves of different labels do not compare.",
    "calibration": "On the dashed line a predicted 20 % happens in 20 % of images. Below it "
    "probabilities are too high. Axes differ between panels.",
    "learning": "Where the loss of validation (vermilion) rises while that of train (blue) falls, "
    "the network learns its training images by heart. The dotted line is the epoch that was taken.",
    "curve": "What more training patients bring. Small dots are repeats with other patients.",
}


def report_html(
    report: RunReport,
    provenance: Mapping[str, object],
    predictions: Mapping[str, Predictions],
    *,
    settings: str = "",
) -> str:
    """Draw the figures and return the page, see `page_html`.

    Args:
        report: the run.
        provenance: everything volatile.
        predictions: by test set; a set that is not in it has no figures.
        settings: the text of settings.toml.
    """
    figures = {
        result.name: {
            kind: figure_svg(figure)
            for kind, figure in set_figures(result, predictions[result.name], report.curve).items()
        }
        for result in report.results
        if result.name in predictions
    }
    learning = None if report.finetune is None else figure_svg(learning_figure(report.finetune))
    return page_html(report, provenance, figures, settings=settings, learning=learning)


def page_html(
    report: RunReport,
    provenance: Mapping[str, object],
    figures: Mapping[str, Mapping[str, str]],
    *,
    settings: str = "",
    learning: str | None = None,
) -> str:
    """Return the page: results, what was done, a part for each set, how it was made.

    Every name is escaped; figures stand in it as images, where no script could run.

    Args:
        report: the run.
        provenance: everything volatile.
        figures: SVG by set and kind.
        settings: the text of settings.toml.
        learning: SVG of a training's course.
    """
    notes = Footnotes()
    said = (backbone_sentence(report), *protocol_sentences(report))
    parts = [
        ("results", "Results", _results(report, notes)),
        ("done", "What was done", _list(said)),
    ]
    for number, result in enumerate(report.results):
        body = _figures(result, figures.get(result.name, {}))
        body += [_section(section, notes) for section in set_sections(result)]
        parts.append((f"set-{number}", f"Test set {result.name}", "".join(body)))
    if learning is not None:
        drawn = _framed([_figure("learning", report.name, learning)])
        parts.append(("training", "Training", drawn + _facts(training_facts(report))))
    rest = "".join(_section(section, notes) for section in run_sections(report))
    parts.append(("run", "The run", rest))
    parts.append(("made", "How it was made", _made(report, provenance, settings)))
    if notes.items():
        parts.append(("notes", "Notes", _notes(notes)))
    return _page(report, parts)


def _page(report: RunReport, parts: Sequence[tuple[str, str, str]]) -> str:
    contents = "".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title, _ in parts)
    sections = "".join(
        f'<section id="{key}"><h2>{escape(title)}</h2>{body}</section>\n'
        for key, title, body in parts
    )
    sets = ", ".join(shown_name(report, result.name) for result in report.results)
    what = "finetuned" if report.command == "finetune" else f"{report.probe.kind} probe"
    line = f"{report.backbone.tag}, {what}, on {sets}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.name)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<header><h1>{escape(report.name)}</h1><p class="soft">{escape(line)}</p></header>\n'
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav>\n<main>\n{sections}</main>\n'
        "</body>\n</html>\n"
    )


# --- Results


def _results(report: RunReport, notes: Footnotes) -> str:
    loud = list(null_sentences(report))
    if report.backbone.random_weights is not None:
        loud.append(backbone_sentence(report))
    before = [text for result in report.results for text in before_findings(report, result)]
    after = [text for result in report.results for text in after_findings(result)]
    warnings = [f"Warning: {warning}" for warning in report.warnings]
    return "".join(
        (
            *(f'<p class="alarm">{escape(text)}</p>' for text in loud),
            *(f"<p>{escape(text)}</p>" for text in before),
            _main_table(report, notes),
            _list([*after, *warnings]),
        )
    )


def _main_table(report: RunReport, notes: Footnotes) -> str:
    header = ["label"]
    macro: list[Cell] = ["macro"]
    rows: list[list[Cell]] = [[name] for name in report.task.labels]
    for result in report.results:
        name = shown_name(report, result.name)
        header += [f"{name}: AUROC [95 % CI]", "positives / known"]
        for row, label in zip(rows, result.evaluation.labels, strict=True):
            row += [label.auroc, counts_text(label)]
        averaged = f"{len(result.evaluation.macro_labels)} of {len(rows)} labels"
        macro += [result.evaluation.macro, averaged]
    return _table("AUROC by label", header, [*rows, macro], notes)


def _list(sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


# --- Sections and tables


def _section(section: Section, notes: Footnotes) -> str:
    lead = "".join(f'<p class="soft">{escape(sentence)}</p>' for sentence in section.lead)
    body = lead + _table(section.title, section.header, section.rows, notes)
    if section.detail:
        return _folded(section.title, body)
    return f"<h3>{escape(section.title)}</h3>{body}"


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def _table(
    name: str, header: Sequence[str], rows: Iterable[Sequence[Cell]], notes: Footnotes
) -> str:
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in header)
    body = "".join(_row(row, notes) for row in rows)
    wide = " wide" if len(header) >= _WIDE else ""
    # Focus lets the keyboard scroll a box that is wider than the screen.
    return (
        f'<div class="scroll{wide}" role="region" tabindex="0" aria-label="{escape(name)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: Sequence[Cell], notes: Footnotes) -> str:
    kind = ' class="average"' if row[0] == "macro" else ""
    cells = "".join(_cell(cell, notes) for cell in row[1:])
    return f'<tr{kind}><th scope="row">{_name(row[0])}</th>{cells}</tr>'


def _name(cell: Cell) -> str:
    """Return a name that may break where people would break it."""
    return re.sub("([_/])", r"\1<wbr>", escape(str(cell)))


def _cell(cell: Cell, notes: Footnotes) -> str:
    if isinstance(cell, str):
        words = ' class="words"' if len(cell) > _WORDS else ""
        return f"<td{words}>{escape(cell)}</td>"
    return f"<td>{_estimate(cell, notes)}</td>"


def _estimate(estimate: Estimate, notes: Footnotes) -> str:
    marks = ", ".join(f'<a href="#n{number}">{number}</a>' for number in notes.numbers(estimate))
    mark = f" <sup>{marks}</sup>" if marks else ""
    if estimate.value is None:
        return MISSING + mark
    limits = MISSING
    if estimate.low is not None and estimate.high is not None:
        limits = f"{estimate.low:.3f}, {estimate.high:.3f}"
    return f'{estimate.value:.3f}{mark} <span class="ci">[{limits}]</span>'


def _notes(notes: Footnotes) -> str:
    items = "".join(f'<li id="n{number}">{escape(text)}</li>' for number, text in notes.items())
    return f"<ol>{items}</ol>"


# --- Figures


def _figures(result: SetReport, figures: Mapping[str, str]) -> list[str]:
    shown = [_figure(kind, result.name, svg) for kind, svg in figures.items()]
    return [_framed(shown)] if shown else []


def _framed(figures: Sequence[str]) -> str:
    return f'<div class="figures">{"".join(figures)}</div>'


def _figure(kind: str, name: str, svg: str) -> str:
    data = base64.b64encode(svg.encode("utf-8")).decode("ascii")
    where = "history.csv" if kind == "learning" else "the tables"
    alternative = escape(f"{kind} of {name}; its numbers stand in {where}")
    return (
        f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{alternative}">'
        f"<figcaption>{escape(_CAPTIONS[kind])}</figcaption></figure>"
    )


# --- How it was made


def _made(report: RunReport, provenance: Mapping[str, object], settings: str) -> str:
    backbone, probe = report.backbone, report.probe
    facts = {
        "backbone": backbone.tag,
        "weights": backbone.weights,
        "sha256 of the weights": backbone.weights_sha256,
        "verification": backbone.verification,
        "fingerprint of the features": backbone.fingerprint,
        "probe": f"{probe.kind}, {probe.solver}",
        "objective": probe.objective,
        "seed of the probe": probe.seed,
    }
    return "".join(
        (
            _facts(facts),
            _folded("Versions and place", _facts(_flat(provenance))),
            _folded("Settings", f"<pre>{escape(settings)}</pre>") if settings else "",
        )
    )


def _facts(facts: Mapping[str, object]) -> str:
    pairs = (
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>"
        for name, value in facts.items()
        if value is not None
    )
    return f"<dl>{''.join(pairs)}</dl>"


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}: ")
        elif isinstance(value, (list, tuple)):
            flat[prefix + name] = " ".join(map(str, value))
        else:
            flat[prefix + name] = value
    return flat
