"""Chosen rows of a feature file as a matrix that is read slice by slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlearn.features.store import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class StoredRows:
    """Rows that stay on disk; a slice is fast where its rows lie together in the file."""

    file: Path
    """The feature file."""
    rows: NDArray[np.intp]
    """(N,) their positions in the file."""
    dim: int
    """D."""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        return len(self.rows), self.dim

    def __len__(self) -> int:
        """Return N."""
        return len(self.rows)

    def take(self, positions: NDArray[np.intp]) -> StoredRows:
        """Return the rows at these positions, still on disk."""
        return StoredRows(self.file, self.rows[positions], self.dim)

    def __getitem__(self, rows: slice, /) -> NDArray[np.float32]:
        """Read these rows.

        Raises:
            FeatureFileError: the file is missing or damaged.
        """
        return read_rows(self.file, self.rows[rows])
