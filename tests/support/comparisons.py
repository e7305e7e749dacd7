"""A small comparison with awkward names, made by hand: only tests are computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cxrlearn.evaluation.compare import compare_models
from cxrlearn.evaluation.results import Estimate
from cxrlearn.reports.comparison import ComparedRow, ComparedRun, ComparedSet, ComparisonReport

AWKWARD = 'a_b*c | <script>alert(1)</script> & 100 % "q" Ödem \\ {x} $y$ #1 ~^ 中'
"""A name that every format has to escape."""
RUNS = ("run-1", AWKWARD, "=cmd|'/c calc'!A1")
LABELS = ("Pleural_Effusion", AWKWARD)


def _estimate(value: float | None, reason: str | None = None) -> Estimate:
    if value is None:
        return Estimate(None, None, None, reason, ())
    return Estimate(value, value - 0.05, value + 0.04, reason, ())


def sample_comparison(*, by_label: bool = True) -> ComparisonReport:
    """Compare three runs on one set, two of them on a second, none but one on a third."""
    runs = tuple(
        ComparedRun(name, f"runs/{place}", "tag", "medaug", seed, null_control=False)
        for place, (name, seed) in enumerate(zip(RUNS, (None, None, 7), strict=True))
    )
    first = _set("test", RUNS, best=AWKWARD, like=("run-1",), seed=0)
    second = _set(f"ext {AWKWARD}", RUNS[:2], best="run-1", like=(), seed=1)
    alone = replace(
        _set("alone", RUNS[:1], best=None, like=(), seed=2),
        comparison=None,
        patients=None,
        seen=("run-1",),
    )
    return ComparisonReport(runs, (first, second, alone), by_label, ("first: a & b differ.",))


def _set(
    name: str, runs: tuple[str, ...], *, best: str | None, like: tuple[str, ...], seed: int
) -> ComparedSet:
    rng = np.random.default_rng(seed)
    y = (rng.random((60, 2)) < 0.4).astype(np.int8)
    scores = {run: y * k + rng.normal(size=y.shape) for k, run in enumerate(runs)}
    found = compare_models(y, None, scores, None, names=LABELS)

    def row(label: str | None) -> ComparedRow:
        estimates = [_estimate(0.7 + 0.05 * place) for place in range(len(runs))]
        if label == LABELS[1]:
            estimates[0] = _estimate(None, "no positives among 60 known rows")
        shown = (*estimates, *([None] * (len(RUNS) - len(runs))))
        return ComparedRow(label, (20, 20 if label else 30), shown, best, like)

    return ComparedSet(
        name=name,
        runs=runs,
        images=1060,
        patients=1040,
        macro=row(None),
        macro_labels=LABELS[:1],
        labels=tuple(map(row, LABELS)),
        comparison=found,
        seen=(),
    )
