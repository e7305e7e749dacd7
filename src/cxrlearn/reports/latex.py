r"""A comparison as LaTeX: `\input` it into a document that uses the package booktabs."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from cxrlearn.reports.findings import DAGGER, MISSING
from cxrlearn.reports.grids import DOUBLE_DAGGER, comparison_grids, comparison_notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrlearn.reports.comparison import ComparisonReport
    from cxrlearn.reports.grids import Grid, GridCell

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "{''}",
    "'": "{'}", "`": "{`}", "-": "{-}",
    "[": "{[}", "]": "{]}", "*": "{*}",
    MISSING: r"\textendash{}", "\N{EM DASH}": r"\textemdash{}",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}", "\N{MINUS SIGN}": "$-$",
    DAGGER: r"\textdagger{}", DOUBLE_DAGGER: r"\textdaggerdbl{}",
    "\N{MIDDLE DOT}": r"\textperiodcentered{}", "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{DEGREE SIGN}": r"$^{\circ}$", "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MICRO SIGN}": r"$\mu$", "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$", "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{LEFT SINGLE QUOTATION MARK}": "`", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``", "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{LATIN SMALL LETTER SHARP S}": r"\ss{}", "\N{LATIN SMALL LETTER O WITH STROKE}": r"\o{}",
    "\N{LATIN CAPITAL LETTER O WITH STROKE}": r"\O{}", "\N{LATIN SMALL LETTER AE}": r"\ae{}",
    "\N{LATIN CAPITAL LETTER AE}": r"\AE{}", "\N{LATIN SMALL LIGATURE OE}": r"\oe{}",
    "\N{LATIN CAPITAL LIGATURE OE}": r"\OE{}", "\N{LATIN SMALL LETTER L WITH STROKE}": r"\l{}",
    "\N{LATIN CAPITAL LETTER L WITH STROKE}": r"\L{}", "\N{LATIN SMALL LETTER DOTLESS I}": r"\i{}",
}  # fmt: skip
r"""Brackets and asterisks in braces: after `\\` LaTeX would take them for its own; hyphens too, so
that two never join to a dash."""
_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`", "\N{COMBINING ACUTE ACCENT}": "'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^", "\N{COMBINING TILDE}": "~",
    "\N{COMBINING DIAERESIS}": '"', "\N{COMBINING RING ABOVE}": "r",
    "\N{COMBINING CARON}": "v", "\N{COMBINING CEDILLA}": "c", "\N{COMBINING MACRON}": "=",
    "\N{COMBINING BREVE}": "u", "\N{COMBINING DOT ABOVE}": ".",
    "\N{COMBINING DOUBLE ACUTE ACCENT}": "H",
}  # fmt: skip
_SIGN = re.compile(r"\{-\}(?=\d)")
"""The escaped hyphen before a number."""


def escape_latex(text: str) -> str:
    r"""Return `text` so that LaTeX with its standard fonts shows exactly it, line ends as blanks.

    The result is ASCII. A letter that the standard fonts lack is shown as its code point, such as
    `U+4E2D`.
    """
    return "".join(map(_character, " ".join(text.split())))


def _character(letter: str) -> str:
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    if letter.isascii():
        return letter if letter.isprintable() else ""
    parts = unicodedata.normalize("NFD", letter)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        base = {"i": r"\i", "j": r"\j"}.get(parts[0], parts[0])
        return f"{{\\{_ACCENTS[parts[1]]}{{{base}}}}}"
    return f"U+{ord(letter):04X}"


def comparison_latex(report: ComparisonReport) -> str:
    """Return a table environment for each table; the notes stand under the first."""
    notes = comparison_notes(report)
    first, *others = comparison_grids(report)
    parts = [
        "% Made by cxrlearn compare. In the preamble: \\usepackage{booktabs}",
        _table(first, notes),
        *(_table(grid, ()) for grid in others),
    ]
    return "\n\n".join(parts) + "\n"


def _table(grid: Grid, notes: Sequence[str]) -> str:
    columns = "l" * grid.names + "r" * (len(grid.header) - grid.names)
    lines = [
        r"\begin{table}",
        r"\centering",
        r"\footnotesize",
        rf"\caption{{{escape_latex(grid.title)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _row([escape_latex(heading) for heading in grid.header]),
        r"\midrule",
    ]
    for row in grid.rows:
        lines += [r"\midrule"] if row.rule else []
        cells = enumerate(row.cells)
        lines.append(_row([_cell(cell, number=place >= grid.names) for place, cell in cells]))
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip\raggedright {escape_latex(note)}" for note in notes]
    return "\n".join([*lines, r"\end{table}"])


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: GridCell, *, number: bool) -> str:
    text = escape_latex(cell.text)
    text = _SIGN.sub("$-$", text) if number else text
    shown = rf"\textbf{{{text}}}" if cell.bold else text
    return rf"{shown}\textsuperscript{{{escape_latex(cell.marks)}}}" if cell.marks else shown
