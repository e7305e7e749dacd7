"""How fast the probe and the intervals are, against scikit-learn, in one run.

    python scripts/bench_probe.py [--rows 20000] [--dim 2048] [--json FILE]

Two fixed data sets of 14 labels: isotropic features, and features like those of a network (after a
ReLU, with a decaying spectrum). On each:

grid       14 labels x 9 values of C at once, against scikit-learn's lbfgs in float64 on the same
           columns, with a tolerance at which its certified gaps are as small as ours have to be
           (1e-6). It fits a sample of the columns, all values of C of some labels, and its time is
           scaled to all; `--full` fits every column.
one C      14 labels at one C, the same way.
default    scikit-learn with its own defaults (max_iter 100, tol 1e-4), and the gap it reaches.
memory     growth of the process over the one that holds the features.

And all intervals of a test set (14 labels, 25,000 images) against a bootstrap of 1,000 replicates
with scikit-learn's AUROC, average precision and Brier score, of which a few are timed.
"""

from __future__ import annotations

import argparse
import json
import resource
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from cxrlearn.evaluation.evaluate import evaluate
from cxrlearn.probes.batched import BatchedLogistic
from cxrlearn.probes.problem import relative_gap

if TYPE_CHECKING:
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float32]
    Labels = npt.NDArray[np.int8]

LABELS = 14
STRENGTHS = tuple(10 ** (step / 2) for step in range(-6, 3))
"""λ of the nine values of C: the first steps of `--C auto`."""
CERTIFIED = 1e-6
SAMPLE = (3, 10)
"""Labels whose columns scikit-learn fits, with all values of C."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=2_048)
    parser.add_argument("--full", action="store_true", help="scikit-learn fits every column")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    batched(*make_data("isotropic", 2_500, 2_048), [1e-4])  # libraries wake up
    for name in ("isotropic", "relu"):
        X, y = make_data(name, options.rows, options.dim)
        found[name] = measure(name, X, y, range(LABELS) if options.full else SAMPLE)
        del X, y
    found["intervals"] = intervals()
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def make_data(kind: str, rows: int, dim: int) -> tuple[Matrix, Labels]:
    """Draw features and 14 labels of 2 to 30 % prevalence that a linear rule half explains."""
    rng = np.random.default_rng(20261124)
    X = rng.standard_normal((rows, dim), dtype=np.float32)
    if kind == "relu":
        X *= (1.0 + np.arange(dim, dtype=np.float32)) ** -1
        mix = rng.standard_normal((dim, dim), dtype=np.float32) * np.float32(10 / dim**0.5)
        X = np.maximum(X @ mix + 0.1 * rng.standard_normal(dim, dtype=np.float32), 0)
    score = (X - X.mean(axis=0)) @ rng.standard_normal((dim, LABELS), dtype=np.float32)
    score = 1.5 * score / score.std(axis=0) + rng.logistic(size=score.shape)
    shares = np.linspace(0.02, 0.3, LABELS)
    cuts = np.array([np.quantile(score[:, i], 1 - share) for i, share in enumerate(shares)])
    return X, (score > cuts).astype(np.int8)


def measure(name: str, X: Matrix, y: Labels, sample: range | tuple[int, ...]) -> dict[str, Any]:
    """Return the figures of one data set."""
    scale = len(X) * float(X.var(axis=0, dtype=np.float64).mean())
    values = [1 / (strength * scale) for strength in STRENGTHS]
    print(f"\n{name}: {len(X):,} rows, {X.shape[1]:,} features, {LABELS} labels")
    ours = {}
    for what, several in (("grid", values), ("one C", values[4:5])):
        with Growth() as growth:
            seconds, gap = batched(X, y, several)
        ours[what] = {"seconds": seconds, "gap": gap, "growth_mb": growth.megabytes}
        print(
            f"  {what:8} ours {seconds:7.1f} s, largest certified gap {gap:.1e}, growth "
            f"{growth.megabytes:,.0f} MB (features {X.nbytes / 2**20:,.0f} MB)"
        )
    centred = X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)
    peer: dict[str, Any] = {}
    slowest, per_value = 0.0, []
    for C in values:
        runs = [_peer(centred, y[:, label], C) for label in sample]
        per_value.append(sum(run["seconds"] for run in runs) / len(runs) * LABELS)
        slowest = max(slowest, *(run["gap"] for run in runs))
    peer["grid"] = {"seconds": sum(per_value), "gap": slowest}
    peer["one C"] = {"seconds": per_value[4], "gap": slowest}
    default = [_peer(centred, y[:, sample[1]], C, tol=1e-4, max_iter=100) for C in values]
    result: dict[str, Any] = {"ours": ours, "scikit_learn": peer, "columns": len(sample)}
    for what in ("grid", "one C"):
        ratio = peer[what]["seconds"] / ours[what]["seconds"]
        result[f"ratio {what}"] = ratio
        print(
            f"  {what:8} scikit-learn {peer[what]['seconds']:7.1f} s to gaps of at most "
            f"{slowest:.0e} (from {len(sample)} of {LABELS} labels): ratio {ratio:.0f}"
        )
    seconds = sum(run["seconds"] for run in default) * LABELS
    gaps = [run["gap"] for run in default]
    print(
        f"  default  scikit-learn {seconds:7.1f} s with its defaults; its gaps: "
        f"{min(gaps):.0e} to {max(gaps):.0e}"
    )
    result["scikit_learn_default"] = {"seconds": seconds, "largest_gap": max(gaps)}
    return result


def batched(X: Matrix, y: Labels, values: list[float], device: str = "cpu") -> tuple[float, float]:
    """Fit all labels at all values of C; return the seconds and the largest certified gap."""
    start = time.perf_counter()
    names = tuple(map(str, range(LABELS)))
    solver = BatchedLogistic(X, y, np.ones(y.shape, bool), "multilabel", names, device=device)
    fits = solver(values, range(LABELS))
    seconds = time.perf_counter() - start
    return seconds, max(label.gap or 0.0 for fit in fits for label in fit.labels)


def _peer(
    X: npt.NDArray[np.float64],
    target: Labels,
    C: float,
    *,
    tol: float | None = None,
    max_iter: int = 20_000,
) -> dict[str, float]:
    """Fit one column; without `tol`, with about the loosest at which it is certified.

    Its rule is max |gradient| / (C · N) ≤ tol, the certificate ½ |gradient|² ≤ 1e-6 · objective.
    With a gradient spread evenly over D features the two meet at the first tolerance tried; time
    counts for the fit that is certified alone.
    """
    share = target.mean()
    entropy = -share * np.log(share) - (1 - share) * np.log1p(-share)
    first = 3 * (2 * CERTIFIED * entropy / (C * X.size)) ** 0.5
    tolerances = [first / 4**step for step in range(8)] if tol is None else [tol]
    for tolerance in tolerances:
        model = LogisticRegression(C=C, tol=tolerance, max_iter=max_iter)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, target)
        seconds = time.perf_counter() - start
        x = np.hstack([model.coef_, model.intercept_[:, None]])
        gap = relative_gap(X, target[:, None].astype(np.float64), np.ones(len(X)), C, x)
        if gap <= CERTIFIED:
            break
    return {"seconds": seconds, "gap": gap}


class Growth:
    """How much the resident memory of this process grew at most inside the block."""

    def __enter__(self) -> Self:
        """Start watching."""
        self.before = self.most = _resident()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.02):
            self.most = max(self.most, _resident())

    @property
    def megabytes(self) -> float:
        """The growth."""
        return (self.most - self.before) / 2**20


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def intervals(rows: int = 25_000, replicates: int = 1_000, timed: int = 3) -> dict[str, float]:
    """Time all intervals of a set against a bootstrap loop over scikit-learn's metrics."""
    rng = np.random.default_rng(1)
    y = (rng.random((rows, LABELS)) < np.linspace(0.01, 0.2, LABELS)).astype(np.int8)
    scores = rng.normal(size=y.shape) + y
    patients = [f"{i:05d}" for i in rng.integers(0, rows // 4, rows)]
    names = tuple(map(str, range(LABELS)))
    start = time.perf_counter()
    evaluate(y, scores, names=names, kind="multilabel", patients=patients)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(timed):
        drawn = rng.integers(0, rows, rows)
        for label in range(LABELS):
            truth, score = y[drawn, label], scores[drawn, label]
            roc_auc_score(truth, score)
            average_precision_score(truth, score)
            brier_score_loss(truth, expit(score))
    loop = (time.perf_counter() - start) / timed * replicates
    print(
        f"\nintervals: all metrics and averages of {LABELS} labels, {rows:,} images: ours "
        f"{ours:.2f} s, {replicates:,} replicates of scikit-learn's AUROC, average precision and "
        f"Brier score {loop:.0f} s: ratio {loop / ours:.0f}"
    )
    return {"ours": ours, "loop": loop, "ratio": loop / ours}


if __name__ == "__main__":
    main()
