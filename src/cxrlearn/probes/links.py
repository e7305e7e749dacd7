"""From margins to probabilities: the sigmoid of one label, the softmax of several classes.

Tensors are (G, K, N): G fits side by side, K margins each (1 for a sigmoid), N rows.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch.nn import functional


class Link(Protocol):
    """What the solver has to know of a likelihood."""

    def probabilities(self, margins: torch.Tensor) -> torch.Tensor:
        """Return (G, K, N) in [0, 1]."""

    def losses(self, margins: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Return the negative log-likelihood of every row (G, N)."""

    def bend(self, p: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """Return the second derivative of the loss of every row along `direction`, (G, N)."""

    def intercept_hessian(self, p: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the second derivatives (G, K, K) of the weighted loss by the intercepts."""

    def felt(self, vector: torch.Tensor) -> torch.Tensor:
        """Return the part of (G, K, …) that the likelihood can feel."""


class Sigmoid:
    """One margin a fit: log-odds."""

    def probabilities(self, margins: torch.Tensor) -> torch.Tensor:
        """See `Link`."""
        return torch.sigmoid(margins)

    def losses(self, margins: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """See `Link`; stable for margins of any size."""
        return functional.softplus(torch.where(truth > 0, -margins, margins)).sum(1)

    def bend(self, p: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """See `Link`."""
        return (p * (1 - p) * direction * direction).sum(1)

    def intercept_hessian(self, p: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """See `Link`."""
        return (weight * p * (1 - p)).sum(2, keepdim=True)

    def felt(self, vector: torch.Tensor) -> torch.Tensor:
        """See `Link`: all of it."""
        return vector


class Softmax:
    """K margins a fit; adding the same to all of a row changes nothing."""

    def probabilities(self, margins: torch.Tensor) -> torch.Tensor:
        """See `Link`."""
        return torch.softmax(margins, 1)

    def losses(self, margins: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """See `Link`."""
        return torch.logsumexp(margins, 1) - (truth * margins).sum(1)

    def bend(self, p: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """See `Link`: the variance of `direction` under p."""
        mean = (p * direction).sum(1, keepdim=True)
        return (p * (direction - mean) ** 2).sum(1)

    def intercept_hessian(self, p: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """See `Link`."""
        weighted = weight * p
        return torch.diag_embed(weighted.sum(2)) - weighted @ p.transpose(1, 2)

    def felt(self, vector: torch.Tensor) -> torch.Tensor:
        """See `Link`: without what is the same for all classes, which the penalty makes zero."""
        return vector - vector.mean(1, keepdim=True)
