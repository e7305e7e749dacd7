"""Rows to train, validation and test: by a column, or drawn patient by patient.

A drawn split sorts patients by a keyed hash of their id: the same seed puts a patient in the same
place in any order of rows, under any version of any library, and when others join.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import accumulate, combinations
from typing import TYPE_CHECKING

from cxrlearn.data.column_checks import where
from cxrlearn.data.faults import Faults, listed_rows, quoted
from cxrlearn.data.patients import counted_ids, nameless
from cxrlearn.errors import DataError
from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cxrlearn.data.manifest import Manifest

SETS = ("train", "val", "test")
"""Names of the three sets."""

FRACTIONS = (0.7, 0.1, 0.2)
"""Share of the images of each of `SETS` in a drawn split."""

_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
_EXAMPLES = 3
_FOLD = re.compile(r"(?:fold|cv|split)?[ _-]?[0-9]{1,2}(?:[.,]0)?", re.IGNORECASE)


@dataclass(frozen=True)
class Overlap:
    """Patients that two sets share."""

    a: str
    """Name of the one set."""
    b: str
    """Name of the other."""
    patients: int
    """How many patients are in both."""
    examples: tuple[str, ...]
    """Some of their ids, sorted."""


def by_column(manifest: Manifest, column: str) -> dict[str, Manifest]:
    """Divide by a column that says train, val (valid, validate, validation, dev) or test.

    Returns:
        The sets that have rows, in the order of `SETS`.

    Raises:
        DataError: blank cells or other values, with row numbers.
    """
    cells = manifest.column(column)
    folds = {cell for cell in cells if cell is not None}
    if folds and all(map(_FOLD.fullmatch, folds)):
        shown = quoted(sorted(folds), most=5)
        raise DataError(
            f"{where(manifest)}: column {column!r} holds folds ({shown}), and a split is train, "
            "val or test. Write them in a column of their own, such as fold 0 as test, fold 1 as "
            "val, the others as train, and name it with --split-column."
        )
    faults = Faults(where(manifest))
    indices: dict[str, list[int]] = defaultdict(list)
    for index, cell in enumerate(cells):
        word = _WORDS.get((cell or "").casefold())
        if word is None:
            what = "blank" if cell is None else "is no split"
            faults.add(
                f"{what}; expected train, val or test",
                row=manifest.rows[index],
                column=column,
                value=cell or "",
            )
        else:
            indices[word].append(index)
    faults.raise_if_any()
    return _divided(manifest, indices)


def by_patient(
    manifest: Manifest, *, seed: int, fractions: Sequence[float] = FRACTIONS
) -> dict[str, Manifest]:
    """Draw train, val and test so that no patient is in two of them.

    Args:
        manifest: with a patient column.
        seed: another seed, another split.
        fractions: share of the images of train, val and test; met as closely as whole patients
            allow, and each set gets at least one patient.

    Raises:
        DataError: no patient column, an id that names nobody, or fewer than three patients.
    """
    column = manifest.columns.patient
    if column is None:
        raise DataError(f"{where(manifest)} has no patient column: name it with --patient-column.")
    unknown = [
        row
        for row, patient in zip(manifest.rows, manifest.patients, strict=True)
        if patient is None
    ]
    if unknown:
        raise DataError(
            f"{where(manifest)}, {listed_rows(unknown)}, column {column!r}: no patient id "
            f"({counted_ids(nameless(manifest))}); a split by patient needs one in every row. Fill "
            "them in, leave these rows out, or draw by image: --patient-column none "
            "--split-by-image."
        )
    return _drawn(manifest, list(manifest.patients), seed, fractions, "patient")


def by_image(
    manifest: Manifest, *, seed: int, fractions: Sequence[float] = FRACTIONS
) -> dict[str, Manifest]:
    """Draw train, val and test image by image; for data in which nobody was imaged twice.

    Raises:
        DataError: fewer than three images.
    """
    return _drawn(manifest, list(manifest.image_ids), seed, fractions, "image")


def _drawn(
    manifest: Manifest, groups: Sequence[str], seed: int, fractions: Sequence[float], what: str
) -> dict[str, Manifest]:
    sizes = Counter(groups)
    if len(sizes) < len(SETS):
        raise DataError(f"{where(manifest)}: {counted(len(sizes), what)} can't be split in three.")
    home = _assigned(sizes, seed, fractions)
    indices: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        indices[home[group]].append(index)
    return _divided(manifest, indices)


def _assigned(sizes: Mapping[str, int], seed: int, fractions: Sequence[float]) -> dict[str, str]:
    """Deal the groups out in hash order: each set takes groups until its share is reached."""
    order = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())
    bounds = [share * sum(sizes.values()) for share in accumulate(fractions)]
    home: dict[str, str] = {}
    dealt, at, first = 0, 0, True
    for place, group in enumerate(order):
        reached = dealt + sizes[group] / 2 > bounds[at]
        needed = len(order) - place <= len(SETS) - 1 - at  # the last groups, one a set
        if at < len(SETS) - 1 and not first and (reached or needed):
            at, first = at + 1, True
        home[group] = SETS[at]
        dealt, first = dealt + sizes[group], False
    return home


def _divided(manifest: Manifest, indices: Mapping[str, Sequence[int]]) -> dict[str, Manifest]:
    return {name: manifest.select(indices[name], name=name) for name in SETS if name in indices}


def patient_overlap(sets: Mapping[str, Manifest]) -> list[Overlap]:
    """Return the pairs of sets that share patients, in the order of `sets`; blanks don't count."""
    patients = {
        name: {patient for patient in manifest.patients if patient is not None}
        for name, manifest in sets.items()
    }
    overlaps = []
    for a, b in combinations(sets, 2):
        shared = sorted(patients[a] & patients[b])
        if shared:
            overlaps.append(Overlap(a, b, len(shared), tuple(shared[:_EXAMPLES])))
    return overlaps
