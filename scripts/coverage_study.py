"""Simulates test sets of known truth: how often does every printed interval hold it, every test?

`simulated_sets.py` says how sets are drawn, `studied_intervals.py` what is asked of each. Prints
Markdown and writes nothing. Exits 1 where a promise (`PROMISES`) is broken by more than three
standard errors of the simulation. Sets are the same whatever else is run.

    python scripts/coverage_study.py --sets 500 --processes 16
    python scripts/coverage_study.py --sets 100 --only models
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np
from simulated_sets import DOMINATED, Design
from studied_intervals import SHARED, STUDIES, WEAK, Cell

TRUE = (0.6, 0.8, 0.95)
"""AUROC of all labels of a cell."""
IMAGES = ("one", "several", "heavy tail")
"""Of a patient."""
CLASSES = (("one", 10, 3), ("several", 10, 5), ("one", 45, 5), ("several", 45, 3))
"""Images of a patient, positive patients of each rare class, number of classes."""
RATES = ("sensitivity", "specificity", "PPV", "NPV", "F1")
CHUNK = 20
"""Sets that a process draws at a time."""
WORTH_SAYING = 0.005
"""Share of values without an interval that a table shows."""
PROMISED_FROM = 10
"""Expected positive patients of a label from which promises hold."""
MOST_ON_ONE_SIDE = 0.05
"""Of intervals for average precision, of which nearly all misses were once on one side."""


@dataclass(frozen=True)
class Promise:
    """What is promised of a quantity from some number of positive patients up."""

    starts: str
    """Of the names of quantities."""
    least: float
    """Share of intervals that hold the truth."""
    most: float = 1.0
    """The same, against intervals that are too wide."""
    enough: int = PROMISED_FROM
    """Positive patients from which this one holds."""


PROMISES = (
    Promise("AUROC", 0.93, 0.985),
    Promise("average precision, macro", 0.93, enough=30),
    Promise("average precision, macro", 0.90),
    *(Promise(rate, 0.93) for rate in RATES[:4]),
    Promise("test", 0.93),
    Promise("", 0.92),
)
"""The first that fits counts. A test that rejects at most 7 % of true nulls "covers" 93 %."""


@dataclass(frozen=True)
class Found:
    """How one quantity fared in one cell, or how several did."""

    cells: tuple[Cell, ...]
    """The kinds of test sets."""
    quantity: str
    """What was estimated."""
    intervals: int
    """Simulated ones."""
    below: int
    """How many of them lie below the truth."""
    above: int
    """How many lie above it."""
    without: int
    """Values that had no interval."""
    sets: int
    """Sets they are from."""

    def __add__(self, other: Found) -> Found:
        """Return the counts of both."""
        cells = tuple(dict.fromkeys(self.cells + other.cells))
        names = ("intervals", "below", "above", "without", "sets")
        return Found(cells, self.quantity, *(getattr(self, n) + getattr(other, n) for n in names))

    @property
    def covered(self) -> float:
        """Share of intervals that hold the truth."""
        return 1 - (self.below + self.above) / max(self.intervals, 1)

    @property
    def share(self) -> float:
        """What tables show: the same, or of a test the share of true nulls that it rejects."""
        return 1 - self.covered if self.quantity.startswith("test") else self.covered

    def broken(self) -> str | None:
        """Say which promise is broken; None where none is."""
        fewest = min(cell.positives for cell in self.cells)
        promise = next(
            one for one in PROMISES if self.quantity.startswith(one.starts) and fewest >= one.enough
        )
        cell = self.cells[0]
        text = f"{cell.kind}, {cell.row}, AUROC {cell.design.auroc}: {self.quantity}"
        low, high = promise.least - self.slack(promise.least), promise.most
        if not low <= self.covered <= high + self.slack(high):
            return f"{text}: {100 * self.covered:.1f} %"
        below, above = (side / max(self.intervals, 1) for side in (self.below, self.above))
        one_sided = max(below, above) > MOST_ON_ONE_SIDE + self.slack(MOST_ON_ONE_SIDE)
        if self.quantity.startswith("average precision") and one_sided:
            return f"{text}: misses {100 * below:.1f} % below, {100 * above:.1f} % above"
        return None

    def slack(self, share: float) -> float:
        """Return three standard errors of a simulated share; a set counts once."""
        return 3 * math.sqrt(share * (1 - share) / max(self.sets, 1))


TABLES = (
    ("AUROC", "numbers", "AUROC"),
    ("Average precision", "numbers", "average"),
    ("Brier score", "numbers", "Brier"),
    ("Calibration", "numbers", "calibration"),
    *((rate[0].upper() + rate[1:], "numbers", rate) for rate in RATES),
    ("Averages of six labels that differ", "averages", ""),
    ("Classes, one against the rest", "classes", ""),
    ("Strata and subgroups", "groups", ""),
    ("Patients instead of images", "aggregated", ""),
    ("True nulls rejected: two equally good models", "models", "test"),
    ("Two models that differ", "models", "difference"),
    ("True nulls rejected: one model on two sets", "sets", "test"),
    ("One model on two sets that differ", "sets", "difference"),
)
"""Title, kind and start of the quantities of each table."""


def all_cells() -> list[Cell]:
    """Return every cell, for each kind those of one row of its table together."""
    designs = [
        Design(auroc, k, images) for images, k, auroc in product(IMAGES, (5, 10, 15, 45), TRUE)
    ]
    designs += [Design(auroc, 15, DOMINATED, patients=52) for auroc in TRUE]
    found = [Cell("numbers", design) for design in designs]
    for k in (10, 15):
        rare = Design(0.8, k, patients=1200)
        found.append(Cell("numbers", rare, case="several, prevalence below 1 %"))
    for k in (10, 45):
        wrong = Design(0.8, k, stretch=1.5, offset=0.5)
        found.append(Cell("numbers", wrong, case="several, wrong probabilities"))
    mixed = (0.6, 0.7, 0.8, 0.9, 0.95)
    for images, k in product(IMAGES, (10, 30)):
        found.append(Cell("averages", Design(mixed, k, images, labels=6, uneven=True)))
        found.append(Cell("groups", Design(0.8, 2 * k, images, labels=6)))
    found += [Cell("classes", Design(0.8, k, images, labels=n)) for images, k, n in CLASSES]
    found += [
        Cell("aggregated", Design(auroc, k, labels=6)) for k, auroc in product((10, 45), TRUE)
    ]
    return found + _compared()


def _compared() -> list[Cell]:
    """Return the cells of differences."""
    found = []
    for agreement, k, gap in product((0.0, 0.6, 0.9), (5, 10, 45), (0.0, 0.05)):
        case = f"several, correlation {agreement}"
        found.append(Cell("models", Design(0.8, k), agreement, gap, case))
    for images, k in product(("one", "heavy tail"), (10, 45)):
        found += [Cell("models", Design(auroc, k, images), 0.6) for auroc in (0.6, 0.95)]
        found.append(Cell("models", Design(0.8, k, images), case=f"{images}, {WEAK}"))
    for case, gap, k in product(("other patients", SHARED), (0.0, 0.05), (10, 45)):
        both = Design(0.8, 2 * k, patients=600, labels=6)
        found.append(Cell("sets", both, gap=gap, case=case))
    return found


def simulate(cell: Cell, numbers: range) -> list[Found]:
    """Draw sets of one kind, by their numbers, and count."""
    seen: dict[str, list[tuple[bool, bool, bool]]] = defaultdict(list)
    sets: dict[str, set[int]] = defaultdict(set)
    for number in numbers:
        rng = np.random.default_rng([number, *repr(cell).encode()])
        for quantity, true, found in STUDIES[cell.kind](cell, rng):
            if found.value is None:
                continue
            missing = found.low is None or found.high is None
            low, high = (0.0, 0.0) if missing else (found.low, found.high)
            seen[quantity].append(
                (not missing and high < true, not missing and low > true, missing)
            )
            if not missing:
                sets[quantity].add(number)
    return [
        Found((cell,), quantity, len(rows) - without, below, above, without, len(sets[quantity]))
        for quantity, rows in seen.items()
        for below, above, without in [np.sum(rows, axis=0).tolist()]
    ]


def together(parts: list[Found]) -> list[Found]:
    """Add what is of the same cell and quantity."""
    found: dict[tuple[Cell, str], list[Found]] = defaultdict(list)
    for part in parts:
        found[part.cells[0], part.quantity].append(part)
    return [reduce(Found.__add__, same) for same in found.values()]


# --- What is printed


def by_table(found: list[Found]) -> dict[str, list[Found]]:
    """Return what each table shows: a quantity of a row, over all true AUROC."""
    tables = {}
    for title, kind, starts in TABLES:
        rows: dict[tuple[tuple[str, int], str], list[Found]] = defaultdict(list)
        for one in found:
            if one.cells[0].kind == kind and one.quantity.startswith(starts):
                rows[one.cells[0].row, one.quantity].append(one)
        if rows:
            tables[title] = [reduce(Found.__add__, same) for same in rows.values()]
    return tables


def print_summary(tables: dict[str, list[Found]]) -> None:
    """Print one row for each table: the share over all its rows, and the lowest and highest."""
    print(f"\n| in %, from {PROMISED_FROM} positive patients up | rows | all | lowest | highest |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for title, rows in tables.items():
        found = [one for one in rows if one.cells[0].positives >= PROMISED_FROM]
        shares = sorted(one.share for one in found)
        values = (reduce(Found.__add__, found).share, shares[0], shares[-1])
        print(f"| {title} | {len(found)} | {' | '.join(f'{100 * one:.1f}' for one in values)} |")


def print_table(title: str, found: list[Found]) -> None:
    """Print shares in %, a row for each design, a column for each quantity."""
    columns = sorted({one.quantity for one in found}, key=_order)
    starts, heads = zip(*(column.rsplit(", ", 1) for column in columns), strict=True)
    heads = heads if len(set(starts)) == 1 else tuple(columns)
    rows: dict[tuple[str, int], dict[str, Found]] = defaultdict(dict)
    for one in found:
        rows[one.cells[0].row][one.quantity] = one
    sets = sorted(one.sets // len(one.cells) for one in found)
    print(f"\n## {title}\n\n{sets[0]:,} to {sets[-1]:,} sets in a cell.\n")
    print(f"| images a patient | positive patients | {' | '.join(heads)} |")
    print("| --- " + "| ---: " * (1 + len(columns)) + "|")
    for (case, positives), by in rows.items():
        cells = " | ".join(_text(by[column]) if column in by else "" for column in columns)
        print(f"| {case} | {positives} | {cells} |")


def _order(quantity: str) -> tuple[str, bool, float | str]:
    """Sort quantities: a label before its macros, and those by their number of labels."""
    start, last = quantity.rsplit(", ", 1)
    number = last.rsplit(" ", 1)[-1]
    return start, last != "label", float(number) if number[0].isdigit() else 0.0


def _text(one: Found) -> str:
    """Return the coverage, and what lies below and above the truth; of a test what it rejects."""
    if one.quantity.startswith("test"):
        return f"{100 * one.share:.1f}"
    below, above = (100 * side / max(one.intervals, 1) for side in (one.below, one.above))
    without = one.without / (one.without + one.intervals)
    note = f", {100 * without:.0f} % without" if without >= WORTH_SAYING else ""
    return f"{100 * one.share:.1f} ({below:.1f} + {above:.1f}{note})"


def print_verdict(found: list[Found]) -> int:
    """Say which promises are broken; return the exit status."""
    judged = [one for one in found if one.cells[0].positives >= PROMISED_FROM]
    broken = [text for one in judged if (text := one.broken()) is not None]
    print(f"\n{len(judged)} promises, {len(broken) or 'none'} broken.\n")
    for text in broken:
        print(f"- {text}")
    return 1 if broken else 0


def main() -> int:
    """Simulate all cells and print tables and verdict."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--sets", type=int, default=500, help="simulated sets a cell")
    parser.add_argument("--processes", type=int, default=2, help="at once")
    parser.add_argument("--only", choices=STUDIES, help="one kind of cells")
    options = parser.parse_args()
    cells = [cell for cell in all_cells() if options.only in {None, cell.kind}]
    chunks = [
        (cell, range(start, min(start + CHUNK, options.sets)))
        for cell in cells
        for start in range(0, options.sets, CHUNK)
    ]
    with ProcessPoolExecutor(options.processes) as pool:
        parts = pool.map(simulate, *zip(*chunks, strict=True))
        found = together([one for part in parts for one in part])
    print(f"{options.sets:,} simulated sets in each of {len(cells)} cells.")
    tables = by_table(found)
    print_summary(tables)
    for title, rows in tables.items():
        print_table(title, rows)
    return print_verdict(found)


if __name__ == "__main__":
    sys.exit(main())
