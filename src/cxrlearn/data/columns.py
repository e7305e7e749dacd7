"""Which column of a manifest plays which part: found by lists of names, or named by option."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cxrlearn.data.faults import missing_columns, quoted
from cxrlearn.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

PATH_NAMES = (
    "path",
    "image",
    "filename",
    "imagepath",
    "imgpath",
    "filepath",
    "imagefile",
    "imagefilename",
    "imagename",
    "imageindex",
    "file",
    "img",
    "pathtoimage",
    "pngpath",
    "relativepath",
    "imageid",
)
"""Names of the column of image paths, the most likely first; case, blanks and signs don't count."""
PATIENT_NAMES = (
    "patient",
    "patientid",
    "patientnumber",
    "subject",
    "subjectid",
    "deidpatientid",
    "participantid",
    "personid",
    "pid",
    "mrn",
)
"""Names of the column of patient ids."""
SEX_NAMES = ("sex", "gender", "patientsex", "patientgender")
"""Names of the column of the patient's sex."""
AGE_NAMES = ("age", "patientage", "ageyears", "ageinyears")
"""Names of the column of the patient's age."""
VIEW_NAMES = ("view", "viewposition", "projection", "appa", "frontallateral")
"""Names of the column of the view."""
SPLIT_NAMES = ("split",)
"""Names of the column that divides the rows."""

OFF = "none"
"""The value of an option that switches a part off."""

IMAGE_SUFFIXES = frozenset(
    [".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".tif", ".tiff", ".bmp", ".webp"]
)
"""How the names of image files end."""


@dataclass(frozen=True)
class ColumnRoles:
    """Names of the columns that mean something to cxrlearn, None where there is none."""

    path: str
    """Image paths."""
    patient: str | None = None
    """Patient ids."""
    sex: str | None = None
    """Sex of the patient."""
    age: str | None = None
    """Age of the patient."""
    view: str | None = None
    """Projection: PA, AP, lateral."""
    split: str | None = None
    """train, val or test."""
    subgroups: tuple[str, ...] = ()
    """Columns whose values divide results into subgroups."""


@dataclass(frozen=True)
class ColumnChoice:
    """What the options say about columns; None leaves it to the lists of names."""

    path: str | None = None
    """`--path-column`"""
    patient: str | None = None
    """`--patient-column`; "none" for no patients."""
    split: str | None = None
    """`--split-column`"""
    subgroups: tuple[str, ...] = ()
    """`--subgroup`"""


def find_roles(
    file: Path, table: pd.DataFrame, choice: ColumnChoice, ambiguous: Sequence[str] = ()
) -> ColumnRoles:
    """Decide which column is which.

    Args:
        file: for messages.
        table: its cells.
        choice: what the options say.
        ambiguous: names that several columns of the file had, before they were numbered.

    Raises:
        DataError: a column that an option names is not there, none holds image paths, or what is
            found by name is there more than once.
    """
    columns = [str(name) for name in table.columns]
    for option, likely, named in (
        ("--path-column", PATH_NAMES, choice.path),
        ("--patient-column", PATIENT_NAMES, choice.patient),
        ("--split-column", SPLIT_NAMES, choice.split),
    ):
        twice = None if named is not None else _find(ambiguous, likely)
        if twice is not None:
            raise DataError(
                f"{file}: more than one column is called {twice!r}. Rename them, or name one: "
                f"{option} '{twice} (column N)', N counted from 1."
            )
    asked: dict[str, list[str | None]] = {
        "--path-column": [choice.path],
        "--patient-column": [None if choice.patient == OFF else choice.patient],
        "--split-column": [choice.split],
        "--subgroup": list(choice.subgroups),
    }
    for option, names in asked.items():
        wrong = [name for name in names if name is not None and name not in columns]
        if wrong:
            raise DataError(f"{file}: {missing_columns(wrong, columns, option)}")
    path = choice.path or _find(columns, PATH_NAMES)
    if path is None:
        raise DataError(_no_path_column(file, table, columns))
    patient = None if choice.patient == OFF else choice.patient or _find(columns, PATIENT_NAMES)
    return ColumnRoles(
        path=path,
        patient=patient,
        sex=_find(columns, SEX_NAMES),
        age=_find(columns, AGE_NAMES),
        view=_find(columns, VIEW_NAMES),
        split=choice.split or _find(columns, SPLIT_NAMES),
        subgroups=choice.subgroups,
    )


def _find(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the first column, in the order of `names`, whatever its case and signs."""
    plain = [plain_name(name) for name in columns]
    return next((columns[plain.index(name)] for name in names if name in plain), None)


def plain_name(name: str) -> str:
    """Return a column name without case, blanks and signs, as the lists of names write it."""
    return "".join(sign for sign in name.casefold() if sign.isalnum())


def is_image_name(text: str) -> bool:
    """Tell whether a text ends as the name of an image file does."""
    return PurePosixPath(text).suffix.lower() in IMAGE_SUFFIXES


def _no_path_column(file: Path, table: pd.DataFrame, columns: Sequence[str]) -> str:
    parts = [f"{file} has no column of image paths (Path, image, filename and the like)."]
    likely = [name for name in columns if _holds_images(table[name])]
    if likely:
        parts.append(f"Column {likely[0]!r} looks like it: --path-column {likely[0]!r}.")
    elif len(columns) == 1:
        parts.append("It has one column only: separate cells by comma, semicolon or tab.")
    else:
        parts.append("Name it with --path-column.")
    return " ".join([*parts, f"The columns are {quoted(columns)}."])


def _holds_images(cells: pd.Series) -> bool:
    known = [cell for cell in cells.head(20) if cell is not None]
    return bool(known) and all(is_image_name(cell) for cell in known)
