"""Many logistic fits on the same features at once: L-BFGS, batched as matrix products.

Each iteration costs two products with the features, whatever the line search does: the margins of a
direction are computed once, and the search along it looks at derivatives only, so that nothing
cancels close to the minimum. The initial inverse Hessian is the bound C·mean p(1-p)·λ + 1 in the
eigenbasis of the features' Gram matrix. A fit leaves the batch once it has converged or stalled.

Limited-memory BFGS: Liu and Nocedal, Mathematical Programming 1989;45:503-528.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from cxrlearn.probes.centred import CentredMatrix
    from cxrlearn.probes.links import Link

MEMORY = 10
"""Pairs of steps and gradient changes remembered."""
SLOPE_LEFT = 0.3
"""A step is accepted once the slope along it has shrunk to this share."""
SEARCHES = 30
"""Most trials of one line search."""
ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-14}
"""Relative change of a gradient below which it is rounding, and no curvature is learned."""


@dataclass(frozen=True)
class Goal:
    """When a fit may leave the batch."""

    gap: float
    """Largest ½‖∇_w‖² / objective."""
    decrement: float
    """Largest ½ ∇ᵀ M⁻¹ ∇ / objective, M the preconditioner: an estimate of the true gap."""
    patience: int
    """Iterations without progress after which a fit counts as stalled."""
    max_iter: int = 500
    """Most iterations."""


@dataclass(frozen=True)
class Spectrum:
    """Eigendecomposition of the Gram matrix of the features."""

    values: torch.Tensor
    """(D,) not negative."""
    vectors: torch.Tensor
    """(D, D), one eigenvector a column."""

    @classmethod
    def of(cls, matrix: CentredMatrix, dtype: torch.dtype) -> Spectrum:
        """Decompose; in float32 small eigenvalues are noise, which only slows the solver."""
        values, vectors = torch.linalg.eigh(matrix.gram(dtype))
        return cls(values.clamp(min=0), vectors)

    def to(self, dtype: torch.dtype) -> Spectrum:
        """Return it in another type."""
        return Spectrum(self.values.to(dtype), self.vectors.to(dtype))

    def solve(self, gradient: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Return (scale·Gram + 1)⁻¹ gradient, (G, K, D), for a scale (G, K) each."""
        inside = gradient @ self.vectors
        inside /= scale[..., None] * self.values + 1
        return inside @ self.vectors.T


@dataclass
class Batch:
    """G fits that are still running; every tensor's first axis is G."""

    index: torch.Tensor
    """Which fit of the caller's each is."""
    C: torch.Tensor
    """(G,)."""
    truth: torch.Tensor
    """(G, K, N) of 0 and 1."""
    weight: torch.Tensor
    """(G, 1, N) weight of each row; 0 where masked."""
    x: torch.Tensor
    """(G, K, D + 1): weights, then the intercept."""
    margins: torch.Tensor
    """(G, K, N)."""

    def keep(self, mask: torch.Tensor) -> Batch:
        """Return the fits where `mask` (G,) holds."""
        return replace(self, **{f.name: getattr(self, f.name)[mask] for f in fields(self)})


@dataclass(frozen=True)
class Point:
    """Where a batch stands: derivatives there."""

    gradient: torch.Tensor
    """(G, K, D + 1)."""
    scale: torch.Tensor
    """(G, K) C·Σ weight·p(1-p) / N: how strongly the data bend the objective."""
    objective: torch.Tensor
    """(G,)."""

    def keep(self, mask: torch.Tensor) -> Point:
        """Return the fits where `mask` (G,) holds."""
        return Point(self.gradient[mask], self.scale[mask], self.objective[mask])


@dataclass
class Outcome:
    """Where all fits ended, in the caller's order."""

    x: torch.Tensor
    """(G, K, D + 1)."""
    iterations: torch.Tensor
    """(G,) of whole numbers."""


def minimise(
    batch: Batch, matrix: CentredMatrix, spectrum: Spectrum, link: Link, goal: Goal
) -> Outcome:
    """Minimise C·Σ weight·loss + ½‖w‖² of every fit from where it stands, in the type of `x`."""
    outcome = Outcome(batch.x.clone(), torch.zeros(len(batch.C), dtype=torch.int64))
    memory = _Memory()
    progress = _Progress.of(batch)
    before: torch.Tensor | None = None
    step = torch.zeros_like(batch.x)
    for iteration in range(goal.max_iter + 1):
        point = _point(batch, matrix, link)
        ahead = _Preconditioner(spectrum, link, point.scale, matrix.count)(point.gradient)
        if before is not None:
            memory.learn(step, point.gradient - before, point.gradient)
        finished = progress.update(point, ahead, goal)
        if iteration == goal.max_iter:
            finished = torch.ones_like(finished)
        if finished.any():
            ended = batch.index[finished]
            outcome.x[ended] = batch.x[finished]
            outcome.iterations[ended.cpu()] = iteration
            running = ~finished
            if not running.any():
                break
            batch, point = batch.keep(running), point.keep(running)
            memory.keep(running)
            progress = progress.keep(running)
        step, along = _step(batch, point, matrix, spectrum, memory, link)
        batch.x = batch.x + step
        batch.margins = batch.margins + along
        before = point.gradient
    return outcome


def _point(batch: Batch, matrix: CentredMatrix, link: Link) -> Point:
    p = link.probabilities(batch.margins)
    C = batch.C[:, None, None]
    residual = C * batch.weight * (p - batch.truth)
    groups, classes, rows = p.shape
    pulled = matrix.pull(residual.reshape(groups * classes, rows)).reshape(groups, classes, -1)
    w = batch.x[..., :-1]
    gradient = torch.cat([pulled + w, residual.sum(2, keepdim=True)], 2)
    losses = link.losses(batch.margins, batch.truth)
    objective = batch.C * (batch.weight[:, 0] * losses).sum(1) + 0.5 * (w * w).sum((1, 2))
    scale = (C * batch.weight * p * (1 - p)).sum(2) / rows
    return Point(gradient, scale, objective)


@dataclass(frozen=True)
class _Preconditioner:
    """The inverse of C·mean p(1-p)·Gram + 1, with the intercept's own curvature."""

    spectrum: Spectrum
    link: Link
    scale: torch.Tensor
    """(G, K)."""
    rows: int

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        """Apply it to (G, K, D + 1), within what the likelihood can feel."""
        felt = self.link.felt(vector)
        # Where every row is far from the boundary, the intercept's own curvature vanishes; a floor
        # keeps its step finite.
        bend = (self.scale * self.rows).clamp(min=1e-12)
        w, b = self.spectrum.solve(felt[..., :-1], self.scale), felt[..., -1:] / bend[..., None]
        return self.link.felt(torch.cat([w, b], 2))


@dataclass
class _Progress:
    """The least decrement so far, and for how many iterations it has not shrunk."""

    best: torch.Tensor
    idle: torch.Tensor

    @classmethod
    def of(cls, batch: Batch) -> _Progress:
        return cls(torch.full_like(batch.C, torch.inf), torch.zeros_like(batch.C))

    def keep(self, mask: torch.Tensor) -> _Progress:
        return _Progress(self.best[mask], self.idle[mask])

    def update(self, point: Point, ahead: torch.Tensor, goal: Goal) -> torch.Tensor:
        """Return which fits (G,) are finished: converged, stalled or not finite."""
        g = point.gradient
        decrement = 0.5 * _dot(g, ahead)
        intercept = 0.5 * (g[..., -1] * ahead[..., -1]).sum(1)
        gap = 0.5 * (g[..., :-1] ** 2).sum((1, 2)) + intercept
        converged = (gap <= goal.gap * point.objective) & (
            decrement <= goal.decrement * point.objective
        )
        better = decrement < 0.9 * self.best
        self.idle = torch.where(better, 0, self.idle + 1)
        self.best = torch.where(better, decrement, self.best)
        return converged | (self.idle >= goal.patience) | ~torch.isfinite(decrement)


class _Memory:
    """Steps, changes of the gradient, and the inverse of their products, newest last."""

    def __init__(self) -> None:
        self.pairs: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def learn(self, step: torch.Tensor, change: torch.Tensor, gradient: torch.Tensor) -> None:
        product = _dot(step, change)
        length = _dot(step, step).sqrt()
        floor = ROUNDING[step.dtype] * length * _dot(gradient, gradient).sqrt()
        # A pair without measurable curvature is forgotten for that fit alone.
        inverse = torch.where(product > floor, 1 / product, torch.zeros_like(product))
        self.pairs = [*self.pairs[-(MEMORY - 1) :], (step, change, inverse)]

    def keep(self, mask: torch.Tensor) -> None:
        self.pairs = [(s[mask], y[mask], r[mask]) for s, y, r in self.pairs]

    def forget(self, mask: torch.Tensor) -> None:
        self.pairs = [(s, y, torch.where(mask, 0, r)) for s, y, r in self.pairs]

    def direction(self, gradient: torch.Tensor, initial: _Preconditioner) -> torch.Tensor:
        """Return minus the inverse Hessian, as far as it is known, times the gradient."""
        vector, factors = gradient.clone(), []
        for step, change, inverse in reversed(self.pairs):
            factor = inverse * _dot(step, vector)
            vector -= factor[:, None, None] * change
            factors.append(factor)
        vector = initial(vector)
        for (step, change, inverse), factor in zip(self.pairs, reversed(factors), strict=True):
            vector += (factor - inverse * _dot(change, vector))[:, None, None] * step
        return -vector


def _step(
    batch: Batch,
    point: Point,
    matrix: CentredMatrix,
    spectrum: Spectrum,
    memory: _Memory,
    link: Link,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the step of every fit (G, K, D + 1), and the change of its margins (G, K, N)."""
    initial = _Preconditioner(spectrum, link, point.scale, matrix.count)
    direction = memory.direction(point.gradient, initial)
    slope = _dot(point.gradient, direction)
    if (uphill := slope >= 0).any():
        memory.forget(uphill)
        direction = memory.direction(point.gradient, initial)
        slope = _dot(point.gradient, direction)
    groups, classes, width = direction.shape
    along = matrix.margins(direction[..., :-1].reshape(groups * classes, width - 1))
    along = along.reshape(groups, classes, -1) + direction[..., -1:]
    size = _line_search(batch, direction, along, slope, link)[:, None, None]
    return size * direction, size * along


def _line_search(
    batch: Batch, direction: torch.Tensor, along: torch.Tensor, slope: torch.Tensor, link: Link
) -> torch.Tensor:
    """Return the step size (G,) at which the slope has shrunk enough, by safeguarded Newton."""
    w, d = batch.x[..., :-1], direction[..., :-1]
    linear, square = _dot(w, d), _dot(d, d)
    size = torch.ones_like(slope)
    low, high = torch.zeros_like(slope), torch.full_like(slope, torch.inf)
    open_ = torch.arange(len(slope), device=slope.device)
    for _ in range(SEARCHES):
        every = len(open_) == len(slope)  # the common case needs no copies
        part = slice(None) if every else open_
        here = size[part]
        p = link.probabilities(batch.margins[part] + here[:, None, None] * along[part])
        weight, C = batch.weight[part], batch.C[part]
        pull = (weight * (p - batch.truth[part]) * along[part]).sum((1, 2))
        first = C * pull + linear[part] + here * square[part]
        second = C * (weight[:, 0] * link.bend(p, along[part])).sum(1) + square[part]
        accepted = first.abs() <= SLOPE_LEFT * slope[part].abs()
        over = (first > 0) | ~torch.isfinite(first)
        high[part] = torch.where(over, here, high[part])
        low[part] = torch.where(over, low[part], here)
        guess = here - first / second
        middle = torch.where(high[part].isfinite(), (low[part] + high[part]) / 2, 2 * here)
        inside = (guess > low[part]) & (guess < high[part])
        size[part] = torch.where(accepted, here, torch.where(inside, guess, middle))
        open_ = open_[~accepted]
        if len(open_) == 0:
            break
    return size


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum((1, 2))
