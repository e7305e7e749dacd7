"""What has to happen with the pictures among the inputs of `shared/field-cases`."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cxrlearn.data.images import Radiograph, read_radiograph
from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

PYTHON_ERROR = re.compile(r"object|attribute|NoneType|could not convert|Traceback|Error\b")
"""Words of Python's own messages."""


def correlation(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the correlation of two pictures of one size; 0 where one is constant."""
    assert one.shape == other.shape
    if not (np.ptp(one) and np.ptp(other)):
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _outcomes(folder: Path) -> Iterator[tuple[str, Radiograph | str]]:
    """Yield every file that `expected.txt` names with its picture, or the reason of a refusal."""
    for line in (folder / "expected.txt").read_text().splitlines():
        name = line.partition(":")[0]
        try:
            yield name, read_radiograph(folder / name)
        except UnreadableImageError as error:
            yield name, str(error)


def _seen_as_the_reference(folder: Path, picture: Radiograph) -> bool:
    with Image.open(folder / "reference.png") as image:
        return correlation(picture.pixels, np.asarray(image)) >= 0.95


def _check_read(folder: Path) -> None:
    for name, outcome in _outcomes(folder):
        assert isinstance(outcome, Radiograph), f"{name}: {outcome}"
        assert _seen_as_the_reference(folder, outcome), name


def _check_read_or_refused(folder: Path, *, reason: str) -> None:
    for name, outcome in _outcomes(folder):
        if isinstance(outcome, Radiograph):
            assert _seen_as_the_reference(folder, outcome), name
        else:
            assert re.search(reason, outcome), f"{name}: {outcome}"
            assert "damaged" not in outcome, f"{name}: {outcome}"
            assert not PYTHON_ERROR.search(outcome), outcome


def _check_displayed(folder: Path) -> None:
    for name, outcome in _outcomes(folder):
        assert isinstance(outcome, Radiograph), f"{name}: {outcome}"
        assert _seen_as_the_reference(folder, outcome), name
        low, high = np.percentile(outcome.pixels, [1, 99])
        assert np.unique(outcome.pixels).size >= 100, name
        assert high - low > 150, name


CHECKS: dict[str, Callable[[Path], None]] = {
    "dicom-broken-lut-refused": _check_read,
    "dicom-codestream-called-damaged": partial(_check_read_or_refused, reason="JP2 box"),
    "dicom-grey-in-colour": _check_read,
    "dicom-useless-display-settings": _check_displayed,
    "dicom-values-beyond-bits-stored": partial(_check_read_or_refused, reason="BitsStored"),
    "thumbnail-counts-as-picture": _check_read,
    "tiff-misread-silently": partial(_check_read_or_refused, reason="not supported: "),
    "unsupported-called-damaged": partial(_check_read_or_refused, reason="not supported.*: .*FILE"),
}
"""A checker for each folder, by its name; it gets the folder."""
