"""A manifest: one row an image, with its file, its patient and its labels as text.

Reading one looks at no image and at no label: images that are missing turn up when they are
decoded, labels are the business of `cxrlearn.data.labels`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cxrlearn.data.columns import ColumnChoice, ColumnRoles, find_roles
from cxrlearn.data.faults import Faults
from cxrlearn.data.image_ids import image_id, path_on_disk
from cxrlearn.data.images import is_image_candidate
from cxrlearn.data.path_mends import PathMends
from cxrlearn.data.patients import FROM_PATH, names_nobody, patients_of_paths
from cxrlearn.data.placeholders import is_placeholder
from cxrlearn.data.sex_and_view import plain_sex, plain_view
from cxrlearn.data.tables import read_table
from cxrlearn.errors import DataError
from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, eq=False)
class Manifest:
    """The images of one file or folder; every field is in the order of its rows."""

    name: str
    """What the set is called in messages and reports."""
    file: Path | None
    """Where it was read; None for a folder of images."""
    image_root: Path
    """Folder that paths are relative to."""
    image_ids: tuple[str, ...]
    """Path relative to the image root with "/", in Unicode's NFC; absolute for files elsewhere."""
    paths: tuple[Path, ...]
    """Where each image is."""
    table: pd.DataFrame
    """All columns as in the file: text, or None where a cell is blank."""
    rows: tuple[int, ...]
    """Row number of each row in a spreadsheet; the header is row 1."""
    columns: ColumnRoles
    """Which column is which."""
    duplicates: int = 0
    """Rows that repeated another one exactly and were left out."""
    read_notices: tuple[str, ...] = ()
    """How the file was read, where that is not plain."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.image_ids)

    @property
    def patients(self) -> NDArray[np.object_]:
        """(N,) patient ids as text, None where the cell is blank or names nobody."""
        if self.columns.patient is None:
            return np.full(len(self), None, dtype=object)
        return self.column(self.columns.patient)

    @property
    def notices(self) -> tuple[str, ...]:
        """What the reader of results should know about the way the file was read."""
        notices = [f"{self.file}: {notice}" for notice in self.read_notices]
        if self.file is not None and self.columns.path != "Path":
            notices.append(f"{self.file}: image paths are those of column {self.columns.path!r}.")
        if self.duplicates:
            repeats = counted(self.duplicates, "exact repeat")
            notices.append(f"{self.file}: {repeats} of rows left out.")
        return tuple(notices)

    def column(self, name: str) -> NDArray[np.object_]:
        """Return the (N,) cells of a column: text or None.

        Sex and view come in one spelling, and a patient id that names nobody is None; `table`
        holds what the file says.
        """
        cells: NDArray[np.object_] = self.table[name].to_numpy(dtype=object, copy=True)
        plain = {
            self.columns.sex: plain_sex,
            self.columns.view: plain_view,
            self.columns.patient: _known_patient,
        }.get(name)
        if plain is None:
            return cells
        spelling = {cell: plain(cell) for cell in set(cells)}
        return np.array([spelling[cell] for cell in cells], dtype=object)

    def select(self, indices: Iterable[int], *, name: str | None = None) -> Manifest:
        """Return the rows at `indices` (0 to N - 1), in that order, as a manifest of their own."""
        chosen = [int(index) for index in indices]
        return replace(
            self,
            name=self.name if name is None else name,
            image_ids=tuple(self.image_ids[index] for index in chosen),
            paths=tuple(self.paths[index] for index in chosen),
            table=self.table.iloc[chosen].reset_index(drop=True),
            rows=tuple(self.rows[index] for index in chosen),
            duplicates=0,
        )


def _known_patient(cell: str | None) -> str | None:
    if cell is None or names_nobody(cell):
        return None
    return cell if cell.isascii() else unicodedata.normalize("NFC", cell)


def read_manifest(  # noqa: PLR0913 - what options say about one file, keyword-only
    file: str | Path,
    *,
    name: str,
    image_root: str | Path | None = None,
    path_column: str | None = None,
    path_prefix: str | None = None,
    path_suffix: str | None = None,
    patient_column: str | None = None,
    subgroups: Sequence[str] = (),
    split_column: str | None = None,
    limit: int | None = None,
) -> Manifest:
    """Read a CSV or Parquet manifest.

    Args:
        file: the manifest.
        name: what to call the set.
        image_root: folder that paths are relative to; None is the manifest's own folder.
        path_column: column of image paths; None finds it by name.
        path_prefix: "OLD=NEW": paths that start with OLD start with NEW instead.
        path_suffix: put at the end of paths without an image suffix, and in the place of another.
        patient_column: column of patient ids; None finds it by name, or else in paths of a known
            layout; "none" turns patients off.
        subgroups: columns that have to be there.
        split_column: column with train, val and test; None finds it by name.
        limit: read the first rows only; None reads all.

    Raises:
        DataError: all faults of the file together, with row numbers.
        UsageError: `path_prefix` or `path_suffix` is none.
    """
    file = Path(file)
    mends = PathMends(path_prefix, path_suffix)
    root = file.parent if image_root is None else Path(image_root)
    content = read_table(file)
    choice = ColumnChoice(path_column, patient_column, split_column, tuple(subgroups))
    roles = find_roles(file, content.frame, choice, content.ambiguous)
    if not root.is_dir():
        raise DataError(f"--image-root {root}: no such folder.")
    table, rows = content.frame.iloc[:limit], content.rows[:limit]
    mended, notices = mends.apply(list(table[roles.path]))
    written = _checked_paths(file, roles.path, mended, rows)
    ids = tuple(image_id(path, root) for path in written)
    unnamed = roles.patient is None or not any(map(_known_patient, table[roles.patient]))
    if patient_column is None and unnamed and (found := patients_of_paths(ids)):
        table = table.assign(**{FROM_PATH: pd.Series(found, index=table.index, dtype=object)})
        roles = replace(roles, patient=FROM_PATH)
        notices.append(
            f"no patient column with ids; patients are taken from the paths, such as {found[0]!r} "
            "(--patient-column none turns that off)."
        )
    manifest = Manifest(
        name=name,
        file=file,
        image_root=root,
        image_ids=ids,
        paths=tuple(path_on_disk(path, root) for path in written),
        table=table,
        rows=rows,
        columns=roles,
        read_notices=(*content.notices, *notices),
    )
    return _without_repeats(manifest)


def _checked_paths(
    file: Path, column: str, written: Sequence[str | None], rows: Sequence[int]
) -> list[str]:
    faults = Faults(file)
    for path, row in zip(written, rows, strict=True):
        if path is None or is_placeholder(path):
            faults.add("blank; every row needs the path of an image", row=row, column=column)
        elif _URL.match(path):
            faults.add("is a URL; images have to be files", row=row, column=column, value=path)
    faults.raise_if_any()
    return [path for path in written if path is not None]


def _without_repeats(manifest: Manifest) -> Manifest:
    """Leave out rows that repeat an earlier one in image file and in every other cell.

    Two files under one id (an accent in both of its forms) are no repeat: their labels are refused.
    """
    times = Counter(manifest.image_ids)
    if len(times) == len(manifest):
        return manifest
    others = manifest.table.drop(columns=manifest.columns.path)
    seen: set[object] = set()
    kept = []
    for index, identity in enumerate(manifest.image_ids):
        repeated = times[identity] > 1
        key = (
            (identity, _file(manifest.paths[index]), *others.iloc[index]) if repeated else identity
        )
        if key not in seen:
            seen.add(key)
            kept.append(index)
    return replace(manifest.select(kept), duplicates=len(manifest) - len(kept))


def _file(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from all others; None where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL character in the path
        return None
    return status.st_dev, status.st_ino


def scan_folder(folder: str | Path, *, name: str = "images", limit: int | None = None) -> Manifest:
    """List the images of a folder and its subfolders, sorted by id; the first `limit` of them.

    Hidden files and folders, side files (`._name`, `__MACOSX`) and files of other kinds (by suffix)
    are skipped; linked folders are entered once.

    Raises:
        DataError: no such folder, or no image in it.
    """
    root = Path(folder)
    if root.is_file():
        raise DataError(f"--images {root} is a file. For a manifest: --csv {root}")
    if not root.is_dir():
        raise DataError(f"--images {root}: no such folder.")
    found = sorted(
        (image_id(path.relative_to(root).as_posix(), root), path) for path in _walk(root)
    )[:limit]
    if not found:
        raise DataError(f"--images {root}: no images in this folder or below.")
    ids = tuple(identity for identity, _ in found)
    return Manifest(
        name=name,
        file=None,
        image_root=root,
        image_ids=ids,
        paths=tuple(path for _, path in found),
        table=pd.DataFrame({"path": pd.Series(ids, dtype=object)}),
        rows=tuple(range(2, len(ids) + 2)),
        columns=ColumnRoles(path="path"),
    )


def _walk(root: Path) -> Iterable[Path]:
    entered = set()
    for folder, below, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            below.clear()
            continue
        entered.add(real)
        below[:] = [name for name in below if not name.startswith(".") and name != "__MACOSX"]
        for path in (Path(folder, name) for name in names):
            if is_image_candidate(path) and path.is_file():
                yield path
