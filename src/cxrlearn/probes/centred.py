"""Features about their mean, in blocks of rows: from memory, or streamed where they do not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch

from cxrlearn.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxrlearn.probes.model import FloatArray

BLOCK_BYTES = 32 * 2**20
"""Size of one block of rows in float64."""
KEPT_BYTES = 336 * 2**20
"""A float64 copy is kept only below this size; it takes the place of the float32 one."""


class RowSource(Protocol):
    """A matrix that is read by slices of rows: an array, a memory map, a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.floating]:
        """Return these rows as an array of floating-point numbers."""


@dataclass
class CentredMatrix:
    """(raw - mean) / unit, in float32 for speed and in float64, from the raw rows, for proof.

    Neither step changes the objective of a probe: the free intercept absorbs the mean, and one
    unit common to all features turns C into C·unit². Both make a solver indifferent to the units
    and the offset of the features.
    """

    source: RowSource
    """Raw rows."""
    rows: npt.NDArray[np.intp] | None
    """Positions of the rows that count, ascending; None: all."""
    mean: FloatArray
    """(D,) mean of these rows."""
    unit: float
    """Root of the mean variance over features; 1 where none varies."""
    device: torch.device
    """Where products are computed."""
    resident: bool
    """The float32 matrix is kept; else every product reads the rows again."""

    def __post_init__(self) -> None:
        """Start without copies."""
        self._kept: dict[torch.dtype, torch.Tensor] = {}

    @classmethod
    def of(
        cls,
        source: RowSource,
        rows: npt.NDArray[np.intp] | None = None,
        *,
        device: torch.device | None = None,
        resident: bool = True,
    ) -> CentredMatrix:
        """Measure mean and unit in two passes over the rows.

        Raises:
            DataError: a feature is not finite.
        """
        shell = cls(
            source, rows, np.zeros(source.shape[1]), 1.0, device or torch.device("cpu"), resident
        )
        if shell.count:
            total = torch.zeros(shell.dim, dtype=torch.float64, device=shell.device)
            for _, block in shell._raw():
                total += block.sum(0)
            mean = total / shell.count
            if not mean.isfinite().all():
                raise DataError("Features hold NaN or infinite values: embed these images again.")
            squares = sum(block.sub_(mean).square_().sum() for _, block in shell._raw())
            variance = float(squares) / (shell.count * shell.dim)
            shell.mean = mean.cpu().numpy()
            # A variance at the level of rounding is that of a constant.
            size = float(np.abs(shell.mean).max(initial=0.0))
            shell.unit = variance**0.5 if variance > (1e-15 * size) ** 2 else 1.0
        return shell

    @property
    def count(self) -> int:
        """N, the rows that count."""
        return int(self.source.shape[0]) if self.rows is None else len(self.rows)

    @property
    def dim(self) -> int:
        """D."""
        return int(self.source.shape[1])

    def margins(self, weights: torch.Tensor) -> torch.Tensor:
        """Return weights (M, D) times the matrix: (M, N), in the type of the weights."""
        result = weights.new_empty((len(weights), self.count))
        for start, block in self._blocks(weights.dtype):
            torch.mm(weights, block.T, out=result[:, start : start + len(block)])
        return result

    def pull(self, residuals: torch.Tensor) -> torch.Tensor:
        """Return residuals (M, N) times the matrix: (M, D), in the type of the residuals."""
        result = residuals.new_zeros((len(residuals), self.dim))
        for start, block in self._blocks(residuals.dtype):
            result.addmm_(residuals[:, start : start + len(block)], block)
        return result

    def spread(self) -> FloatArray:
        """Return the standard deviation of every raw feature, (D,)."""
        mean = torch.from_numpy(self.mean).to(self.device)
        squares = sum(block.sub_(mean).square_().sum(0) for _, block in self._raw())
        found = torch.as_tensor(squares).cpu().numpy()
        return np.asarray(np.sqrt(found / max(1, self.count)), dtype=np.float64)

    def gram(self, dtype: torch.dtype) -> torch.Tensor:
        """Return the (D, D) products of features, summed over rows."""
        result = torch.zeros((self.dim, self.dim), dtype=dtype, device=self.device)
        for _, block in self._blocks(dtype):
            result.addmm_(block.T, block)
        return result

    def _blocks(self, dtype: torch.dtype) -> Iterator[tuple[int, torch.Tensor]]:
        if dtype not in self._kept and self._may_keep(dtype):
            self._kept.clear()  # one copy at a time: memory holds the raw features already
            kept = torch.empty((self.count, self.dim), dtype=dtype, device=self.device)
            for start, block in self._centred(dtype):
                kept[start : start + len(block)] = block
            self._kept[dtype] = kept
        if dtype in self._kept:
            yield 0, self._kept[dtype]
        else:
            yield from self._centred(dtype)

    def _may_keep(self, dtype: torch.dtype) -> bool:
        size = self.count * self.dim * 8
        return self.resident and (dtype == torch.float32 or size <= KEPT_BYTES)

    def _centred(self, dtype: torch.dtype) -> Iterator[tuple[int, torch.Tensor]]:
        mean = torch.from_numpy(self.mean).to(self.device)
        for start, block in self._raw():
            yield start, block.sub_(mean).div_(self.unit).to(dtype)

    def _raw(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield blocks of raw rows as fresh float64 tensors."""
        step = max(1, BLOCK_BYTES // (8 * max(1, self.dim)))
        for start in range(0, self.count, step):
            stop = min(start + step, self.count)
            if self.rows is None:
                block = self.source[slice(start, stop)]
            else:
                wanted = self.rows[start:stop]
                span = self.source[slice(int(wanted[0]), int(wanted[-1]) + 1)]
                block = span[wanted - wanted[0]]
            if not block.flags.writeable:  # torch would warn, though nothing is written
                block = block.copy()
            yield start, torch.from_numpy(block).to(self.device, torch.float64, copy=True)
