"""How the linear layer is trained, with the original program's values as defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from cxrlearn.errors import UsageError
from cxrlearn.training.optim import MOMENTUM

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""Tried with a validation split: half decades about the original's 1e-3."""
EPOCHS = 100
"""The original program's."""
BATCH_SIZE = 32
"""The original program's."""
PATIENCE = 15
"""Epochs without a better validation score after which a rate is done."""


@dataclass(frozen=True)
class LinearSettings:
    """How the layer is trained."""

    rates: tuple[float, ...] | None = None
    """Learning rates tried side by side; None: RATES with validation, else the original's 1e-3."""
    epochs: int = EPOCHS
    """Most epochs; the cosine of the rate is as long."""
    batch_size: int = BATCH_SIZE
    """Rows a step."""
    momentum: float = MOMENTUM
    """Of stochastic gradient descent."""
    weight_decay: float = 0.0
    """Of the weights on scaled features, never of the bias."""
    patience: int | None = PATIENCE
    """Epochs without a better validation score after which a rate is done; None: never."""
    class_weight: Literal["balanced"] | None = None
    """balanced: positives weigh negatives / positives; classes the inverse of their share."""
    seed: int = 0
    """Decides the order of the rows."""

    def __post_init__(self) -> None:
        """Refuse impossible values, all in one message."""
        problems = [
            f"a learning rate must be a positive number, got {rate}."
            for rate in self.rates or ()
            if not 0 < rate < math.inf
        ]
        if self.rates is not None and len(set(self.rates)) != max(len(self.rates), 1):
            problems.append(f"learning rates must be at least one, each once, got {self.rates}.")
        if self.batch_size < 1:
            problems.append(f"batch_size must be positive, got {self.batch_size}.")
        if self.class_weight not in {None, "balanced"}:
            problems.append(f"class_weight must be balanced or None, got {self.class_weight!r}.")
        if problems:
            raise UsageError(" ".join(problems))
