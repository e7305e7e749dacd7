"""Proof in float64 of how far a fit can be from the minimum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from cxrlearn.probes.centred import CentredMatrix
    from cxrlearn.probes.lbfgs import Batch
    from cxrlearn.probes.links import Link

CERTIFIED = 1e-6
"""A fit whose certified relative gap is at most this has converged."""
_INTERCEPT_STEPS = 50


def certify(batch: Batch, matrix: CentredMatrix, link: Link) -> torch.Tensor:
    """Put every intercept at its optimum and bound (objective - minimum) / objective, (G,).

    The objective f(w) = min_b C·Σ weight·loss + ½‖w‖² is 1-strongly convex in w, so
    f - f* ≤ ½‖∇f‖² (Boyd and Vandenberghe, Convex Optimization, 9.1.2, with m = 1), and at the
    best intercept ∇f is the partial gradient. Nothing is assumed of how the fit was found. All in
    float64, from the raw features. Margins and intercepts of `batch` are replaced.
    """
    groups, classes, width = batch.x.shape
    w = batch.x[..., :-1]
    margins = matrix.margins(w.reshape(groups * classes, width - 1)).reshape(groups, classes, -1)
    batch.margins = margins + batch.x[..., -1:]
    _best_intercepts(batch, link)
    p = link.probabilities(batch.margins)
    residual = batch.C[:, None, None] * batch.weight * (p - batch.truth)
    pulled = matrix.pull(residual.reshape(groups * classes, -1)).reshape(w.shape)
    losses = link.losses(batch.margins, batch.truth)
    objective = batch.C * (batch.weight[:, 0] * losses).sum(1) + 0.5 * (w * w).sum((1, 2))
    return 0.5 * ((pulled + w) ** 2).sum((1, 2)) / objective


def _best_intercepts(batch: Batch, link: Link) -> None:
    """Newton steps on the intercepts alone, halved where the loss would rise."""
    total = batch.weight.sum((1, 2))
    value = _mean_loss(batch, batch.margins, link)
    for _ in range(_INTERCEPT_STEPS):
        p = link.probabilities(batch.margins)
        gradient = (batch.weight * (p - batch.truth)).sum(2)
        if bool((gradient.abs().amax(1) <= 1e-13 * total).all()):
            return
        hessian = link.intercept_hessian(p, batch.weight)
        step = -(torch.linalg.pinv(hessian, hermitian=True) @ gradient[..., None])[..., 0]
        step, value = _damped(batch, step, value, link)
        batch.x[..., -1] += step
        batch.margins = batch.margins + step[..., None]
        if bool((step.abs().amax(1) <= 1e-14 * (1 + batch.x[..., -1].abs().amax(1))).all()):
            return


def _damped(
    batch: Batch, step: torch.Tensor, value: torch.Tensor, link: Link
) -> tuple[torch.Tensor, torch.Tensor]:
    """Halve steps (G, K) until no loss rises; return them, and the losses after them."""
    tried = value
    for _ in range(_INTERCEPT_STEPS):
        tried = _mean_loss(batch, batch.margins + step[..., None], link)
        worse = ~(tried <= value + 1e-15 * value.abs())
        if not worse.any():
            break
        step = torch.where(worse[:, None], step / 2, step)
    return step, tried


def _mean_loss(batch: Batch, margins: torch.Tensor, link: Link) -> torch.Tensor:
    losses = (batch.weight[:, 0] * link.losses(margins, batch.truth)).sum(1)
    return losses / batch.weight.sum((1, 2))
