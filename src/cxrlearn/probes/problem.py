"""One set of rows, prepared once, and fits on it: float32 while that helps, float64 to the end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from cxrlearn.probes.centred import CentredMatrix
from cxrlearn.probes.certificate import CERTIFIED, certify
from cxrlearn.probes.lbfgs import Batch, Goal, Spectrum, minimise
from cxrlearn.probes.links import Link, Sigmoid, Softmax

if TYPE_CHECKING:
    from cxrlearn.probes.model import FloatArray

SMALL = 4_000_000
"""Matrices with fewer numbers than this are solved in float64 from the start."""
WANTED = 0.01 * CERTIFIED
"""Fits above this gap are continued in float64: inside the certificate, probabilities agree too."""
FIRST_GOAL = Goal(gap=0.3 * WANTED, decrement=1e-10, patience=6)
"""When float32 hands over."""
LAST_GOAL = Goal(gap=0.1 * WANTED, decrement=1e-12, patience=60)
"""When float64 is content."""


@dataclass
class Problem:
    """One set of rows, prepared once for every fit on it."""

    matrix: CentredMatrix
    """The matrix the solver sees."""
    mean: FloatArray
    """(D,) of the raw rows."""
    unit: float
    """Of the raw rows."""
    basis: FloatArray | None
    """(D, n) orthonormal: raw centred rows are `matrix` times its transpose; None: the identity."""
    _spectra: dict[torch.dtype, Spectrum] = field(default_factory=dict)

    @classmethod
    def of(cls, centred: CentredMatrix) -> Problem:
        """Prepare; with fewer rows than features, rotate into the space that the rows span."""
        if centred.count >= centred.dim:
            return cls(centred, centred.mean, centred.unit, None)
        rows = centred.margins(torch.eye(centred.dim, dtype=torch.float64, device=centred.device))
        basis, triangle = torch.linalg.qr(rows)
        small = CentredMatrix(
            triangle.T.cpu().numpy(), None, np.zeros(centred.count), 1.0, centred.device,
            resident=True,
        )  # fmt: skip
        return cls(small, centred.mean, centred.unit, basis.cpu().numpy())

    @property
    def large(self) -> bool:
        """Float32 comes first."""
        return self.matrix.count * self.matrix.dim >= SMALL

    def spectrum(self, dtype: torch.dtype) -> Spectrum:
        """Return the eigendecomposition, computed once for each type."""
        if dtype not in self._spectra:
            self._spectra[dtype] = Spectrum.of(self.matrix, dtype)
        return self._spectra[dtype]

    def to_raw(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Turn (K, n + 1) into weights (K, D) and intercepts (K,) for raw features."""
        weights = x[:, :-1] if self.basis is None else x[:, :-1] @ self.basis.T
        weights = weights / self.unit
        return weights, x[:, -1] - weights @ self.mean


def solve_batch(
    problem: Problem,
    link: Link,
    truth: torch.Tensor,
    weight: torch.Tensor,
    strengths: FloatArray,
    max_iter: int,
) -> tuple[FloatArray, npt.NDArray[np.int64], FloatArray]:
    """Return (G, K, n + 1) for the centred matrix, iterations (G,) and certified gaps (G,)."""
    matrix, device = problem.matrix, problem.matrix.device
    C = torch.from_numpy(strengths).to(device)
    truth, weight = truth.to(device), weight.to(device)
    x = _start(truth, weight, matrix.dim)
    iterations = torch.zeros(len(C), dtype=torch.int64)
    gaps = torch.full_like(C, torch.inf)
    precisions: tuple[torch.dtype, ...] = (torch.float64,)
    if problem.large:
        x, iterations = _in_float32(
            problem, link, _batch(truth, weight, C, x, torch.float32), max_iter
        )
        batch = _batch(truth, weight, C, x, torch.float64)
        gaps, x = certify(batch, matrix, link), batch.x
        del batch
        # The float32 eigenvectors are good enough to continue with; if not, better ones are made.
        precisions = (torch.float32, torch.float64)
    for precision in precisions:
        failing = ~(gaps <= WANTED)
        if not failing.any():
            break
        rest = _batch(truth[failing], weight[failing], C[failing], x[failing], torch.float64)
        rest.margins = rest.margins + _margins(matrix, rest)
        goal = replace(LAST_GOAL, max_iter=max_iter)
        spectrum = problem.spectrum(precision).to(torch.float64)
        outcome = minimise(rest, matrix, spectrum, link, goal)
        ended = _batch(truth[failing], weight[failing], C[failing], outcome.x, torch.float64)
        again = certify(ended, matrix, link)
        better = again < gaps[failing]
        where = torch.nonzero(failing)[:, 0][better]
        x[where], gaps[where] = ended.x[better], again[better]
        iterations[failing.cpu()] += outcome.iterations
    return x.cpu().numpy(), iterations.numpy(), gaps.cpu().numpy()


def _in_float32(
    problem: Problem, link: Link, batch: Batch, max_iter: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where float32 got to (G, K, n + 1), as float64, and its iterations (G,)."""
    goal = replace(FIRST_GOAL, max_iter=max_iter)
    outcome = minimise(batch, problem.matrix, problem.spectrum(torch.float32), link, goal)
    finite = outcome.x.isfinite().all(2).all(1)[:, None, None]
    return torch.where(finite, outcome.x, batch.x).double(), outcome.iterations


def relative_gap(
    features: FloatArray,
    truth: npt.NDArray[np.floating],
    row_weight: FloatArray,
    C: float,
    x: FloatArray,
) -> float:
    """Return the certified relative gap of one fit that another program found.

    Args:
        features: (N, D) float64 that the fit is of.
        truth: (N, K) of 0 and 1; one column for a sigmoid.
        row_weight: (N,).
        C: inverse regularisation strength for these features.
        x: (K, D + 1) weights and intercepts.
    """
    matrix = CentredMatrix(
        features, None, np.zeros(features.shape[1]), 1.0, torch.device("cpu"), resident=False
    )
    batch = _batch(
        torch.from_numpy(np.ascontiguousarray(truth.T, dtype=np.float64))[None],
        torch.from_numpy(np.ascontiguousarray(row_weight, dtype=np.float64))[None, None],
        torch.tensor([C], dtype=torch.float64),
        torch.from_numpy(x)[None],
        torch.float64,
    )
    link: Link = Sigmoid() if len(x) == 1 else Softmax()
    return float(certify(batch, matrix, link)[0])


def _margins(matrix: CentredMatrix, batch: Batch) -> torch.Tensor:
    """Return what the weights, without the intercepts, say of every row, (G, K, N)."""
    groups, classes, width = batch.x.shape
    flat = batch.x[..., :-1].reshape(groups * classes, width - 1)
    return matrix.margins(flat).reshape(groups, classes, -1)


def _start(truth: torch.Tensor, weight: torch.Tensor, width: int) -> torch.Tensor:
    """Return no weights and the intercepts of the prevalence, (G, K, width + 1) in float64."""
    groups, classes, _ = truth.shape
    x = truth.new_zeros((groups, classes, width + 1))
    share = (truth * weight).sum(2) / weight.sum(2)
    x[..., -1] = torch.logit(share) if classes == 1 else share.log()
    return x


def _batch(
    truth: torch.Tensor,
    weight: torch.Tensor,
    C: torch.Tensor,
    x: torch.Tensor,
    dtype: torch.dtype,
) -> Batch:
    """Return a batch whose margins are those of the intercepts alone."""
    x = x.to(dtype, copy=True)
    return Batch(
        index=torch.arange(len(C), device=C.device),
        C=C.to(dtype),
        truth=truth.to(dtype),
        weight=weight.to(dtype),
        x=x,
        margins=x[..., -1:].expand(*truth.shape).clone(),
    )
