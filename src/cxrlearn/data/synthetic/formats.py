"""Write a synthetic film the ways real ones come: PNG, JPEG, TIFF and DICOM, 8 to 16 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cxrlearn.data.synthetic.canvas import Field

    Writer = Callable[[Field, Path], None]

_TWELVE_BITS = 4095
_BLACK, _SPAN = 480, 3200
"""Stored value of a black pixel and how many values the picture spans, of 12 bits."""
_UID_ROOT = "1.2.826.0.1.3680043.8.498."  # pydicom's own root for made-up identifiers


def write_png8(film: Field, path: Path) -> None:
    """Write 8-bit grey PNG."""
    Image.fromarray(_eight_bits(film)).save(path, format="PNG", compress_level=3)


def write_png16(film: Field, path: Path) -> None:
    """Write 16-bit grey PNG whose values span only a part of the range, as detectors give them."""
    _sixteen_bit_picture(film).save(path, format="PNG", compress_level=3)


def write_jpeg(film: Field, path: Path) -> None:
    """Write grey JPEG of quality 92."""
    Image.fromarray(_eight_bits(film)).save(path, format="JPEG", quality=92)


def write_tiff16(film: Field, path: Path) -> None:
    """Write 16-bit grey TIFF, uncompressed."""
    _sixteen_bit_picture(film).save(path, format="TIFF")


def write_dicom2(film: Field, path: Path) -> None:
    """Write DICOM MONOCHROME2 (large is bright), 12 of 16 bits, with a window."""
    _write_dicom(film, path, "MONOCHROME2")


def write_dicom1(film: Field, path: Path) -> None:
    """Write DICOM MONOCHROME1 (large is dark), 12 of 16 bits, with a window."""
    _write_dicom(film, path, "MONOCHROME1")


WRITERS: tuple[tuple[float, str, Writer], ...] = (
    (0.42, ".png", write_png8),
    (0.26, ".jpg", write_jpeg),
    (0.10, ".png", write_png16),
    (0.10, ".dcm", write_dicom2),
    (0.06, ".dcm", write_dicom1),
    (0.06, ".tif", write_tiff16),
)
"""Share of the demo's films, file suffix and writer of each format."""


def _eight_bits(film: Field) -> np.ndarray:
    return np.rint(film * 255).astype(np.uint8)


def _twelve_bits(film: Field) -> np.ndarray:
    return np.rint(film * _SPAN + _BLACK).astype(np.uint16)


def _sixteen_bit_picture(film: Field) -> Image.Image:
    return Image.fromarray(_twelve_bits(film) * np.uint16(8))


def _write_dicom(film: Field, path: Path, photometric: str) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset  # noqa: PLC0415 - only the demo needs it
    from pydicom.uid import (  # noqa: PLC0415
        DigitalXRayImageStorageForPresentation,
        ExplicitVRLittleEndian,
        generate_uid,
    )

    stored, centre = _twelve_bits(film), _BLACK + _SPAN / 2
    if photometric == "MONOCHROME1":
        stored, centre = _TWELVE_BITS - stored, _TWELVE_BITS - centre
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = DigitalXRayImageStorageForPresentation
    header.SOPInstanceUID = generate_uid(prefix=_UID_ROOT, entropy_srcs=[path.name])
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.PatientName, header.PatientID, header.Modality = "Synthetic^Film", path.stem, "DX"
    header.Rows, header.Columns = film.shape
    header.SamplesPerPixel, header.PixelRepresentation = 1, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.PhotometricInterpretation = photometric
    header.WindowCenter, header.WindowWidth = f"{centre:.0f}", str(_SPAN)
    header.PixelData = stored.astype("<u2").tobytes()
    header.save_as(path, enforce_file_format=True)
