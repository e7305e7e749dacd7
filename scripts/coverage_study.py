"""Simulates test sets of known AUROC: do 95 % intervals cover, does the paired test keep its level?

Scores are normal with equal variances, so the true AUROC is Φ(shift / √2). A clustered set has
patients with 1 + Poisson(2) images; half of the variance of a score belongs to its patient, and a
positive patient shows the finding on a share of the images that is the patient's own (one at
least). A set that is not clustered has one image a patient. Pairs within a patient, about one in
300, are ordered a little better than the truth says; that is below what the study resolves.

Prints Markdown and writes nothing. Exits 1 where a promise is broken by more than three standard
errors of the simulation: from 10 positive patients up, Newcombe's interval with the design effect
covers in 93 to 98.5 % of sets, and the clustered paired test rejects a true null in at most 7 %.

    python scripts/coverage_study.py --sets 500
"""

from __future__ import annotations

import argparse
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from cxrlearn.evaluation.bootstrap import patient_bootstrap_auroc, percentile_interval
from cxrlearn.evaluation.delong import auroc_interval, paired_auroc_difference
from scipy.special import ndtri

from cxrlearn.evaluation.inputs import Clusters, Truth

if TYPE_CHECKING:
    from collections.abc import Iterable

AUROCS = (0.6, 0.8, 0.95)
POSITIVE_PATIENTS = (5, 10, 20, 50)
NEGATIVE_PATIENTS = 300
PATIENT_SHARE = 0.5
"""Share of a score's variance that belongs to the patient."""
NORMAL = 1.959964
REPLICATES = 400
BOOTSTRAP_EVERY = 4
"""The bootstrap is made on every fourth set: it costs more than all the rest."""
PROMISED_FROM = 10
"""Positive patients from which the promises hold."""
COVERAGE = (0.93, 0.985)
TYPE_I = 0.07

Drawn = tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64], npt.NDArray[np.intp]]


@dataclass(frozen=True)
class Cell:
    """One kind of test set."""

    auroc: float
    """The truth."""
    clustered: bool
    """Patients have several images."""
    patients: int
    """Positive ones."""

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Return labels (N,), scores (2, N) of two equally good models, patients (N,)."""
        count = self.patients + NEGATIVE_PATIENTS
        images = 1 + rng.poisson(2, count) if self.clustered else np.ones(count, np.intp)
        codes = np.repeat(np.arange(count), images)
        first = np.diff(codes, prepend=-1) > 0
        shown = first | (rng.random(len(codes)) < rng.beta(2, 1, count)[codes])
        positive = (codes < self.patients) & shown
        of_patients = rng.normal(scale=math.sqrt(PATIENT_SHARE), size=(2, count))
        of_images = rng.normal(scale=math.sqrt(1 - PATIENT_SHARE), size=(2, len(codes)))
        shift = math.sqrt(2) * float(ndtri(self.auroc))
        return positive, shift * positive + of_patients[:, codes] + of_images, codes

    def rngs(self, sets: int) -> Iterable[np.random.Generator]:
        """Return a generator for each set: the same sets whatever else runs."""
        key = (round(100 * self.auroc), int(self.clustered), self.patients)
        return (np.random.default_rng((*key, number)) for number in range(sets))


@dataclass(frozen=True)
class Coverage:
    """How often three intervals held the truth, and how wide they were on average."""

    cell: Cell
    """The kind of test set."""
    score: float
    """Newcombe's interval with the design effect."""
    score_width: float
    """Its mean width."""
    delong: float
    """Row-wise DeLong with the normal distribution."""
    percentile: float
    """Percentile bootstrap of patients; replicates without a class left out."""


def study_coverage(cell: Cell, sets: int) -> Coverage:
    """Simulate `sets` test sets of one kind."""
    covered, width = np.zeros(3), 0.0
    for number, rng in enumerate(cell.rngs(sets)):
        positive, scores, codes = cell.draw(rng)
        found = auroc_interval(positive, scores[0], codes)
        low, high = _limits(found.low, found.high)
        covered[0] += low <= cell.auroc <= high
        width += high - low
        rows = auroc_interval(positive, scores[0], np.arange(len(codes)))
        half = NORMAL * (rows.standard_error or 0.0)
        covered[1] += abs((rows.auroc or 0.0) - cell.auroc) <= half
        if number % BOOTSTRAP_EVERY == 0:
            low, high = _percentile(positive, scores[0], codes, rng)
            covered[2] += low <= cell.auroc <= high
    resampled = math.ceil(sets / BOOTSTRAP_EVERY)
    score, delong, percentile = (covered / (sets, sets, resampled)).tolist()
    return Coverage(cell, score, width / sets, delong, percentile)


def _percentile(
    positive: npt.NDArray[np.bool_],
    score: npt.NDArray[np.float64],
    codes: npt.NDArray[np.intp],
    rng: np.random.Generator,
) -> tuple[float, float]:
    replicates = patient_bootstrap_auroc(
        Truth(positive[:, None], np.ones((len(codes), 1), bool)),
        score[:, None],
        Clusters(codes, int(codes.max()) + 1, "patient", 0),
        n_replicates=REPLICATES,
        rng=rng,
    )
    interval = percentile_interval(replicates[:, 0])
    return _limits(interval.low, interval.high)


def _limits(low: float | None, high: float | None) -> tuple[float, float]:
    """No interval excludes nothing."""
    return (0.0 if low is None else low), (1.0 if high is None else high)


@dataclass(frozen=True)
class Rejections:
    """How often the paired test told two equally good models apart at the 5 % level."""

    cell: Cell
    """The kind of test set."""
    clustered: float
    """By patients (Obuchowski's variance, Student's t)."""
    rows: float
    """By rows: DeLong's variance, normal distribution."""


def study_rejections(cell: Cell, sets: int) -> Rejections:
    """Simulate `sets` test sets of one kind, each scored by two models."""
    clustered = rows = 0
    for rng in cell.rngs(sets):
        positive, scores, codes = cell.draw(rng)
        pair = paired_auroc_difference(positive, scores[0], scores[1], codes)
        clustered += pair.p_value is not None and pair.p_value < 0.05
        alone = paired_auroc_difference(positive, scores[0], scores[1], np.arange(len(codes)))
        rows += alone.z is not None and abs(alone.z) > NORMAL
    return Rejections(cell, clustered / sets, rows / sets)


def main() -> int:
    """Run both studies and print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--sets", type=int, default=4000, help="simulated sets a cell")
    parser.add_argument("--processes", type=int, default=2, help="cells simulated at once")
    options = parser.parse_args()
    cells = [Cell(*parts) for parts in product(AUROCS, (True, False), POSITIVE_PATIENTS)]
    together = [cell for cell in cells if cell.clustered]
    with ProcessPoolExecutor(options.processes) as pool:
        coverages = list(pool.map(study_coverage, cells, [options.sets] * len(cells)))
        rejections = list(pool.map(study_rejections, together, [options.sets] * len(together)))
    print_coverage(coverages, options.sets)
    print_rejections(rejections, options.sets)
    return print_verdict(coverages, rejections, options.sets)


def print_coverage(found: list[Coverage], sets: int) -> None:
    """Print the first table."""
    print(
        f"Coverage of nominal 95 % intervals, in %: {sets:,} simulated sets a cell with "
        f"{NEGATIVE_PATIENTS} negative patients; the bootstrap {REPLICATES} replicates on "
        f"{math.ceil(sets / BOOTSTRAP_EVERY):,} of them.\n"
    )
    print("| AUROC | images a patient | positive patients | Newcombe, design effect, t ", end="")
    print("| (mean width) | DeLong by rows | percentile bootstrap of patients |")
    print("|---|---|---|---|---|---|---|")
    for one in found:
        images = "several" if one.cell.clustered else "one"
        print(
            f"| {one.cell.auroc} | {images} | {one.cell.patients} | {100 * one.score:.1f} | "
            f"{one.score_width:.3f} | {100 * one.delong:.1f} | {100 * one.percentile:.1f} |"
        )


def print_rejections(found: list[Rejections], sets: int) -> None:
    """Print the second table."""
    print(
        "\nTrue nulls rejected by the paired test at the 5 % level, in %: two equally good models "
        f"on {sets:,} simulated sets a cell, several images a patient.\n"
    )
    print("| AUROC | positive patients | by patients, t | by rows, normal |\n|---|---|---|---|")
    for one in found:
        print(
            f"| {one.cell.auroc} | {one.cell.patients} | {100 * one.clustered:.1f} | "
            f"{100 * one.rows:.1f} |"
        )


def print_verdict(coverages: list[Coverage], rejections: list[Rejections], sets: int) -> int:
    """Say which promises are broken; return the exit status."""
    low, high = COVERAGE
    broken = [
        f"{one.cell} covers {100 * one.score:.1f} %"
        for one in coverages
        if one.cell.patients >= PROMISED_FROM
        and not low - _slack(low, sets) <= one.score <= high + _slack(high, sets)
    ] + [
        f"{one.cell} rejects {100 * one.clustered:.1f} %"
        for one in rejections
        if one.cell.patients >= PROMISED_FROM and one.clustered > TYPE_I + _slack(TYPE_I, sets)
    ]
    print("\n" + ("Broken: " + "; ".join(broken) if broken else "All promises hold."))
    return 1 if broken else 0


def _slack(share: float, sets: int) -> float:
    return 3 * math.sqrt(share * (1 - share) / sets)


if __name__ == "__main__":
    sys.exit(main())
