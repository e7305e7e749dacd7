"""Every awkward file of the shared folder gets the outcome its list states.

Where the list leaves the choice to us ("either"), the decision stands in `DECIDED`.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from cxrlearn.data.images import is_image_candidate, read_radiograph
from cxrlearn.errors import UnreadableImageError
from tests.support.shared import SHARED, shared_path

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.shared

READ, REFUSED = "ok", "error"
DECIDED = {
    "CR-MONO1-10-chest": READ,  # DICOM is known by content, with or without preamble
    "extremity_jpeg_extended_12bit.dcm": REFUSED,  # GDCM corrupts its memory over 12-bit lossy JPEG
    "jpeg_inside.png": READ,  # the content tells the format
    "one_pixel.png": READ,  # as a constant picture: zeros, with a warning
    "bilevel.png": READ,  # black and white
    "gray.tif": READ,
}
REASONS = {
    "extremity_jpeg_extended_12bit.dcm": "JPEG Extended with 12 bits a pixel",
    "two_frames_rgb.dcm": "a DICOM file of 2 frames: a radiograph is one",
    "no_pixel_data.dcm": r"a DICOM file without pixels \(modality RTPLAN\)",
    "truncated.jpg": "the JPEG is truncated",
    "empty.png": r"the file is empty \(0 bytes\)",
    "text.png": "not an image but text",
    "._sidecar.png": "an AppleDouble side file of macOS",
    "does_not_exist.png": "file not found",
}
CONSTANT = {"black.png", "one_pixel.png"}


def _rows() -> list[dict[str, str]]:
    listing = SHARED / "data/oddities/oddities.csv"
    if not listing.exists():
        return [{"Path": "(the shared folder is missing)"}]
    with listing.open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row["Path"])
def test_outcome_is_the_stated_one(row: dict[str, str]) -> None:
    folder = shared_path("data/oddities")
    name = row["Path"]
    expected = DECIDED[name] if row["expected"] == "either" else row["expected"]

    if expected == REFUSED:
        with pytest.raises(UnreadableImageError, match=REASONS[name]) as caught:
            read_radiograph(folder / name)
        assert name not in str(caught.value)
        return
    radiograph = read_radiograph(folder / name)

    assert radiograph.constant == (name in CONSTANT)
    if row["width"]:
        assert radiograph.pixels.shape == (int(row["height"]), int(row["width"]))
    if row["reference"]:
        assert _correlation(radiograph.pixels, folder / row["reference"]) >= 0.9


def _correlation(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], reference: Path) -> float:
    small = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BOX), dtype=float)
    with Image.open(reference) as image:
        wanted = np.asarray(image.convert("L"), dtype=float)
    return float(np.corrcoef(small.ravel(), wanted.ravel())[0, 1])


def test_every_choice_left_to_us_is_written_down() -> None:
    shared_path("data/oddities")

    assert {row["Path"] for row in _rows() if row["expected"] == "either"} == set(DECIDED)


def test_a_folder_scan_skips_the_side_file_only() -> None:
    names = shared_path("data/oddities").iterdir()
    skipped = {path.name for path in names if path.is_file() and not is_image_candidate(path)}

    assert skipped == {"._sidecar.png", "README.md", "oddities.csv"}


def test_the_same_pixels_give_the_same_picture_in_another_wrapping() -> None:
    folder = shared_path("data/oddities")

    bare = read_radiograph(folder / "CR-MONO1-10-chest")

    assert np.array_equal(bare.pixels, read_radiograph(folder / "chest_mono1_10bit.dcm").pixels)
