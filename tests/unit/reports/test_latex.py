"""LaTeX that needs booktabs alone: escaped, balanced, as many cells as columns."""

from __future__ import annotations

import re

from cxrlearn.reports.grids import comparison_grids
from cxrlearn.reports.latex import comparison_latex, escape_latex
from tests.support.comparisons import AWKWARD, sample_comparison

ALLOWED = {
    "begin", "end", "centering", "footnotesize", "caption", "toprule", "midrule", "bottomrule",
    "par", "smallskip", "raggedright", "textbf", "textsuperscript", "textbackslash", "textless",
    "textgreater", "textbar", "textasciitilde", "textasciicircum", "textdagger", "textdaggerdbl",
    "textendash", "ss",
}  # fmt: skip
"""Commands of LaTeX's own and of booktabs."""


def _unbraced(text: str) -> str:
    """What is left of a row when escaped characters are gone."""
    return re.sub(r"\\[\\{}$&#%_]", "", text)


def test_special_characters_are_escaped() -> None:
    assert escape_latex("a_b & 5 % #1 $x$ {y}") == r"a\_b \& 5 \% \#1 \$x\$ \{y\}"
    assert escape_latex("\\~^<>|") == (
        r"\textbackslash{}\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\textbar{}"
    )


def test_two_hyphens_or_quotes_never_join() -> None:
    assert escape_latex("a--b") == "a{-}{-}b"
    assert escape_latex("``''") == "{`}{`}{'}{'}"


def test_letters_become_accents_and_what_fonts_lack_its_code_point() -> None:
    assert escape_latex("Ödem ß é ï") == r"{\"{O}}dem \ss{} {\'{e}} {\"{\i}}"
    assert escape_latex("中α") == "U+4E2DU+03B1"
    assert escape_latex(AWKWARD).isascii()


def test_line_ends_are_blanks() -> None:
    assert escape_latex("a\r\nb\n\n\nc\x00") == "a b c"


def test_every_row_has_as_many_cells_as_columns_and_braces_are_balanced() -> None:
    report = sample_comparison()
    text = _unbraced(comparison_latex(report))
    assert text.count("{") == text.count("}")
    tables = re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL)
    assert len(tables) == len(comparison_grids(report)) == 3
    for columns, body in tables:
        rows = [line for line in body.splitlines() if "&" in line]
        assert len(rows) > 1
        assert all(line.count("&") == len(columns) - 1 for line in rows)


def test_nothing_but_booktabs_is_needed() -> None:
    text = comparison_latex(sample_comparison())
    assert text.isascii()
    assert set(re.findall(r"\\([a-zA-Z]+)", text.split("\n", 1)[1])) <= ALLOWED
    for line in text.splitlines()[1:]:
        assert not re.search(r"(?<!\\)[#%_]", line), line
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3


def test_negative_numbers_have_a_minus_and_names_a_hyphen() -> None:
    text = comparison_latex(sample_comparison())
    assert "$-$0.0" in text
    assert "run{-}1" in text
    assert "{-}0." not in text.split("raggedright")[0]
