"""Where a run is: with the tensors of model and optimiser, all it takes to go on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class EpochRow:
    """One line of the history."""

    epoch: int
    """From 0."""
    loss: float | None
    """Mean loss of the known labels, as they were met; None where there were none."""
    rate: float
    """Largest rate of the last step."""
    skipped: int
    """Steps without a known label."""
    score: float | None
    """What validation chose by; higher is better, None where undefined."""
    record: Mapping[str, float | None] = field(default_factory=dict)
    """What else validation measured."""


@dataclass(frozen=True)
class Position:
    """How far a run has come, between two steps."""

    epoch: int = 0
    """Epochs closed."""
    step: int = 0
    """Steps done of the epoch that is open."""
    loss_sum: float = 0.0
    """Of the epoch that is open, over all ranks."""
    known: float = 0.0
    """Known labels of the epoch that is open, a whole number."""
    skipped: int = 0
    """Steps of the epoch that is open without a known label."""
    best: float | None = None
    """Best score so far."""
    best_epoch: int | None = None
    """The epoch it came from, from 0; of equal ones the first."""
    done: bool = False
    """Validation has ended the run before its last epoch."""
    history: tuple[EpochRow, ...] = ()
    """One row for each closed epoch."""

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self) | {"history": [asdict(row) for row in self.history]}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Position:
        """Rebuild what `to_plain` gave.

        Raises:
            TypeError: the fields are not these.
            KeyError: there is no history.
        """
        return cls(**{**plain, "history": tuple(EpochRow(**row) for row in plain["history"])})
