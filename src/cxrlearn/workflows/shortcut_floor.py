"""The metadata baseline: what age, sex and view alone predict, without looking at an image.

A model that does not beat it may have learned who was imaged and how, not what is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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
    from cxrlearn.workflows.probe_data import SplitData
    from cxrlearn.workflows.study_settings import StudySettings

OFF = ("none",)
Role = Literal["age", "sex", "view"]
ROLES: tuple[Role, ...] = ("age", "sex", "view")
MOST_VALUES = 20
"""Most values of one column that become a feature; rarer ones count as unknown."""
DEFAULT_C = 1.0
"""Without a validation split; the features have unit variance, or are 0 and 1."""
LARGEST = 1e30
"""Cells of a larger size are no numbers but mistakes."""
FAR = 1e6
"""Most standard deviations from the mean of train that a number may lie."""


@dataclass(frozen=True)
class _Column:
    """One column as features, fixed on train."""

    name: str
    role: Role | None
    """Under which another manifest may have it by another name."""
    center: float | None
    """Of a numeric column; None: a column of categories."""
    spread: float
    values: tuple[str, ...]
    """Categories, each one feature."""

    @classmethod
    def of(cls, name: str, role: Role | None, cells: list[str | None]) -> _Column:
        """Measure a column of train: ages are numbers, so that `063Y` is one and 411 is none."""
        numbers = [_number(cell, role) for cell in cells]
        known = np.array([n for n in numbers if n is not None])
        different = {cell.casefold() for cell in cells if cell is not None}
        numeric = len(known) >= 0.9 * sum(cell is not None for cell in cells) and len(different) > 5
        if len(known) and (numeric or role == "age"):
            return cls(name, role, float(known.mean()), float(known.std()) or 1.0, ())
        if role == "age":  # nothing in it is an age
            return cls(name, role, None, 1.0, ())
        lowered = [cell.casefold() for cell in cells if cell is not None]
        common = sorted(different, key=lambda value: (-lowered.count(value), value))
        return cls(name, role, None, 1.0, tuple(sorted(common[:MOST_VALUES])))

    def encode(self, cells: list[str | None]) -> NDArray[np.float32]:
        """Return (N, features): a number and whether it is missing, or 0/1 of each category."""
        if self.center is None:
            lowered = [None if cell is None else cell.casefold() for cell in cells]
            hits = [[cell == value for value in self.values] for cell in lowered]
            return np.array(hits, dtype=np.float32).reshape(len(cells), len(self.values))
        numbers = [_number(cell, self.role) for cell in cells]
        rows = [
            (0.0, 1.0) if number is None else ((number - self.center) / self.spread, 0.0)
            for number in numbers
        ]
        # What train has never seen anything like may be far off, but stays a float32.
        near = np.clip(np.array(rows).reshape(len(cells), 2), -FAR, FAR)
        return np.asarray(near, dtype=np.float32)

    def cells(self, manifest: Manifest) -> list[str | None]:
        """Return the column of a manifest, under whatever name; blanks where there is none."""
        name = _name_in(manifest, self.name, self.role)
        return [None] * len(manifest) if name is None else list(manifest.column(name))


def _number(cell: str | None, role: Role | None) -> float | None:
    if role == "age" or cell is None:
        return age_years(cell)
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if abs(number) <= LARGEST else None


def _role(manifest: Manifest, name: str) -> Role | None:
    return next((role for role in ROLES if getattr(manifest.columns, role) == name), None)


def _name_in(manifest: Manifest, name: str, role: Role | None) -> str | None:
    """Return what a manifest calls a column: the same, or whatever plays the same part there."""
    if name in manifest.table.columns:
        return name
    found: str | None = None if role is None else getattr(manifest.columns, role)
    return found


@dataclass(frozen=True)
class ShortcutFloor:
    """A fitted baseline."""

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
    return np.hstack([one.encode(one.cells(manifest)) for one in encoders])


def floor_columns(
    config: StudySettings, train: Manifest, others: list[Manifest]
) -> tuple[str, ...]:
    """Return the columns of the baseline as train calls them: as asked, else age, sex and view.

    Age, sex and view are taken where all sets have them, under whatever name.

    Raises:
        DataError: a column that was asked for is missing.
    """
    if config.floor_columns == OFF:
        return ()
    roles = {name: _role(train, name) for name in map(str, train.table.columns)}
    for manifest in (train, *others):
        for name in config.floor_columns:
            if _name_in(manifest, name, roles.get(name)) is None:
                raise DataError(
                    f"{manifest.file} has no column {name!r} for the metadata baseline "
                    f"(--floor-columns). Columns: {', '.join(map(str, manifest.table.columns))}."
                )
    if config.floor_columns:
        return config.floor_columns
    found = [(role, getattr(train.columns, role)) for role in ROLES]
    return tuple(
        name
        for role, name in found
        if name is not None and all(_name_in(other, name, role) is not None for other in others)
    )


def fit_floor(
    columns: tuple[str, ...], task: Task, train: SplitData, val: SplitData | None
) -> ShortcutFloor | None:
    """Fit logistic regression on the columns, C by validation; None where nothing can be fitted."""
    manifest = train.manifest
    encoders = tuple(
        _Column.of(name, _role(manifest, name), list(manifest.column(name))) for name in columns
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
