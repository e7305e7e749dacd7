"""What the loop needs to know of other processes that train the same model."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


class Ranks(Protocol):
    """Processes that take every step together, each on its own micro-batches."""

    rank: int
    """Which one this is, from 0."""
    world_size: int
    """How many they are. Gradients are taken to be averaged over them, as by DDP."""

    def sum(self, values: Sequence[float]) -> list[float]:
        """Add each value over all ranks, in float64; every rank gets the same sums."""

    def hold_gradients(self, model: torch.nn.Module) -> AbstractContextManager[None]:
        """While open, `backward` keeps gradients to itself: DDP's `no_sync`."""


class _Alone:
    rank = 0
    world_size = 1

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the values: there is nobody else."""
        return list(values)

    def hold_gradients(
        self,
        model: torch.nn.Module,  # noqa: ARG002 - the protocol's names
    ) -> AbstractContextManager[None]:
        """Hold nothing: there is nobody to share with."""
        return nullcontext()


ALONE: Ranks = _Alone()
"""One process."""
