"""The shortcut floor: what age, sex and view alone predict, without looking at an image.

A model that does not beat it may have learned who was imaged and how, not what is seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.data.ages import age_years
from cxrlearn.errors import DataError
from cxrlearn.probes.batched import BatchedLogistic
from cxrlearn.probes.grid import Validation
from cxrlearn.probes.selection import choose_c

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlearn.data.manifest import Manifest
    from cxrlearn.data.tasks import Task
    from cxrlearn.probes.model import LogisticFit
    from cxrlearn.workflows.probe_config import ProbeConfig
    from cxrlearn.workflows.probe_data import SplitData

OFF = ("none",)
MOST_VALUES = 20
"""Most values of one column that become a feature; rarer ones count as unknown."""
DEFAULT_C = 1.0
"""Without a validation split; the features have unit variance, or are 0 and 1."""


@dataclass(frozen=True)
class _Column:
    """One column as features, fixed on train."""

    name: str
    center: float | None
    """Of a numeric column; None: a column of categories."""
    spread: float
    values: tuple[str, ...]
    """Categories, each one feature."""
    is_age: bool
    """Cells are read as ages, so that `063Y` is a number and 411 is none."""

    @classmethod
    def of(cls, name: str, cells: list[str | None], *, is_age: bool) -> _Column:
        numbers = [_number(cell, is_age=is_age) for cell in cells]
        known = np.array([n for n in numbers if n is not None])
        different = {cell.casefold() for cell in cells if cell is not None}
        if len(known) >= 0.9 * sum(cell is not None for cell in cells) and len(different) > 5:
            return cls(name, float(known.mean()), float(known.std()) or 1.0, (), is_age)
        lowered = [cell.casefold() for cell in cells if cell is not None]
        common = sorted(different, key=lambda value: (-lowered.count(value), value))
        return cls(name, None, 1.0, tuple(sorted(common[:MOST_VALUES])), is_age)

    def encode(self, cells: list[str | None]) -> NDArray[np.float32]:
        """Return (N, features): a number and whether it is missing, or 0/1 of each category."""
        if self.center is None:
            lowered = [None if cell is None else cell.casefold() for cell in cells]
            hits = [[cell == value for value in self.values] for cell in lowered]
            return np.array(hits, dtype=np.float32).reshape(len(cells), len(self.values))
        numbers = [_number(cell, is_age=self.is_age) for cell in cells]
        rows = [
            (0.0, 1.0) if number is None else ((number - self.center) / self.spread, 0.0)
            for number in numbers
        ]
        return np.array(rows, dtype=np.float32).reshape(len(cells), 2)


def _number(cell: str | None, *, is_age: bool) -> float | None:
    if is_age or cell is None:
        return age_years(cell)
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


@dataclass(frozen=True)
class ShortcutFloor:
    """A fitted floor."""

    columns: tuple[str, ...]
    """What it knows."""
    fit: LogisticFit
    """Logistic regression on them."""
    encoders: tuple[_Column, ...]
    """How cells become features."""

    def decision(self, manifest: Manifest) -> NDArray[np.float64]:
        """Return log-odds (N, L) of the rows of a manifest; a column it lacks counts as blank."""
        return self.fit.decision(_encode(self.encoders, manifest))


def _encode(encoders: tuple[_Column, ...], manifest: Manifest) -> NDArray[np.float32]:
    blank: list[str | None] = [None] * len(manifest)
    there = set(manifest.table.columns)
    parts = [
        one.encode(list(manifest.column(one.name)) if one.name in there else blank)
        for one in encoders
    ]
    return np.hstack(parts)


def floor_columns(config: ProbeConfig, train: Manifest, tests: list[Manifest]) -> tuple[str, ...]:
    """Return the columns of the floor: as asked, else age, sex and view where all sets have them.

    Raises:
        DataError: a column that was asked for is missing.
    """
    if config.floor_columns == OFF:
        return ()
    for manifest in (train, *tests):
        absent = [name for name in config.floor_columns if name not in manifest.table.columns]
        if absent:
            raise DataError(
                f"{manifest.file} has no column {absent[0]!r} for the shortcut floor "
                f"(--floor-columns). Columns: {', '.join(map(str, manifest.table.columns))}."
            )
    if config.floor_columns:
        return config.floor_columns
    roles = train.columns
    found = [name for name in (roles.age, roles.sex, roles.view) if name is not None]
    return tuple(name for name in found if all(name in test.table.columns for test in tests))


def fit_floor(
    columns: tuple[str, ...], task: Task, train: SplitData, val: SplitData | None
) -> ShortcutFloor | None:
    """Fit logistic regression on the columns, C by validation; None where nothing can be fitted."""
    manifest = train.manifest
    encoders = tuple(
        _Column.of(name, list(manifest.column(name)), is_age=name == manifest.columns.age)
        for name in columns
    )
    if not encoders:
        return None
    features = _encode(encoders, manifest)
    if features.shape[1] == 0:
        return None
    solver = BatchedLogistic(features, train.values, train.known, task.kind, task.names)
    values: float | tuple[float, ...] = DEFAULT_C
    if val is not None:
        held_out = Validation(_encode(encoders, val.manifest), val.values, val.known)
        values = choose_c(
            solver, features, held_out, names=task.names, kind=task.kind, default_c=DEFAULT_C
        ).values
    fit = solver.fit(values)
    if len(fit.not_fitted) == len(fit.names):
        return None
    return ShortcutFloor(columns, fit, encoders)
