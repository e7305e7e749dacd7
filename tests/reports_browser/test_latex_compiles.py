from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from cxrlearn.reports.latex import comparison_latex
from tests.support.comparisons import sample_comparison

if TYPE_CHECKING:
    from pathlib import Path


def test_the_table_compiles_with_booktabs_alone(tmp_path: Path) -> None:
    (tmp_path / "table.tex").write_text(comparison_latex(sample_comparison()), encoding="utf-8")
    (tmp_path / "page.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{table}"
        "\\end{document}",
        encoding="utf-8",
    )
    pdflatex = shutil.which("pdflatex")
    assert pdflatex, "nox -s reports needs pdflatex (texlive-latex-recommended)"
    done = subprocess.run(
        [pdflatex, "-halt-on-error", "-interaction=nonstopmode", "page.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "page.pdf").stat().st_size > 1000
