"""Rows of text to CSV that every reader splits the same way."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def csv_text(rows: Sequence[Sequence[str]]) -> str:
    r"""Return CSV with `\n` after each row, quoting cells where needed.

    Before Python 3.13 the csv module leaves a bare carriage return unquoted, and readers would
    split the row there: a file that holds one quotes everything.
    """
    returns = any("\r" in cell for row in rows for cell in row)
    buffer = io.StringIO(newline="")
    if returns:
        writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
    else:
        writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows(rows)
    return buffer.getvalue()
