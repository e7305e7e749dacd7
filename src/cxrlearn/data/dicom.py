"""DICOM files to grey: pydicom reads the header, GDCM the compressed pixels (`dicom_pixels`).

Order of operations: stored values, modality LUT, display settings (or the picture's own range),
inversion, padding to black.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.tag import Tag

from cxrlearn.data.dicom_display import display_share
from cxrlearn.data.dicom_luts import modality_values
from cxrlearn.data.dicom_pixels import (
    OVERLAY_BIT_POSITIONS,
    grey_of_colour,
    stored_values,
    within_bits_stored,
)
from cxrlearn.data.integrity import truncated
from cxrlearn.data.intensity import Intensity, Levels, Radiograph, levels_of, render
from cxrlearn.data.pictures import radiograph_of
from cxrlearn.data.reasons import plain
from cxrlearn.data.size_limit import check_size
from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What pydicom raises over damaged bytes, found by reading it and by feeding it many damaged files.
# It converts values when they are first looked at, so any access may raise, and it wraps what its
# decoders raise into RuntimeError.
_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_WANTED = [
    Tag(name)
    for name in (
        "Modality",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PlanarConfiguration",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
        "ModalityLUTSequence",
        "RescaleIntercept",
        "RescaleSlope",
        "VOILUTSequence",
        "VOILUTFunction",
        "WindowCenter",
        "WindowWidth",
        "PresentationLUTShape",
        *(
            f"{colour}PaletteColorLookupTable{part}"
            for colour in ("Red", "Green", "Blue")
            for part in ("Descriptor", "Data")
        ),
        "PixelData",
    )
] + [Tag(position) for position in OVERLAY_BIT_POSITIONS]
"""All that is read of a header: what is not needed cannot be what is wrong."""

_REQUIRED = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")


def looks_like_dicom(data: bytes) -> bool:
    """Tell by content: the mark after the preamble, or else a first element of group 2 or 8.

    Files without preamble are as old as DICOM itself; their first element is a short one.
    """
    if data[128:132] == b"DICM":
        return True
    if len(data) < 16:
        return False
    big_endian = data[:2] in {b"\x00\x08", b"\x00\x02"}
    if not big_endian and data[:2] not in {b"\x08\x00", b"\x02\x00"}:
        return False
    element = int.from_bytes(data[2:4], "big" if big_endian else "little")
    explicit = data[4:6].isalpha() and data[4:6].isupper()
    implicit = not big_endian and int.from_bytes(data[4:8], "little") <= 1024
    return element <= 0x0100 and (explicit or implicit)


def decode_dicom(data: bytes, intensity: Intensity) -> Radiograph:
    """Decode the bytes of a DICOM file.

    Args:
        data: the whole file, with or without preamble.
        intensity: how values become grey where the file has no display settings.

    Raises:
        UnreadableImageError: damaged, truncated, too large, in colour, of several frames, without
            pixels, or compressed in a way that GDCM does not read.
    """
    with warnings.catch_warnings(record=True) as breaches:
        # pydicom warns of every breach of the standard; what touches the pixels is checked below.
        warnings.simplefilter("always")
        try:
            dataset = _read_header(data)
            if any("end of file" in str(breach.message).lower() for breach in breaches):
                raise truncated("DICOM file")
            _check_header(dataset)
            return _radiograph(dataset, stored_values(dataset), intensity)
        except _FAULTS as error:
            raise UnreadableImageError(_reason(error)) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, EOFError):
        return str(truncated("DICOM file"))
    # What stumbled was Python, over what the file says: its words would help nobody.
    return "damaged DICOM file: its header or its pixels make no sense"


def _read_header(data: bytes) -> Dataset:
    if uid.DeflatedExplicitVRLittleEndian.encode() in data[:2048]:
        # Inflating has no bound, and nobody deflates pixels.
        raise UnreadableImageError(
            "a deflated DICOM file is not supported: inflate it with DCMTK: "
            "dcmconv --write-xfer-little FILE NEW.dcm"
        )
    dataset = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=_WANTED)
    meta = getattr(dataset, "file_meta", None) or FileMetaDataset()
    if "TransferSyntaxUID" not in meta:
        implicit, little_endian = dataset.original_encoding
        guess = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
        meta.TransferSyntaxUID = guess if little_endian else uid.ExplicitVRBigEndian
    dataset.file_meta = meta
    return dataset


def _check_header(dataset: Dataset) -> None:
    if "PixelData" not in dataset:
        modality = plain(dataset.get("Modality") or "unknown", most=16)
        raise UnreadableImageError(
            f"a DICOM file without pixels (modality {modality}): not a picture, or cut off"
        )
    lacking = [name for name in _REQUIRED if dataset.get(name) is None]
    if lacking:
        raise UnreadableImageError(f"damaged DICOM file: {', '.join(lacking)} missing")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        frames = int(dataset.NumberOfFrames)
        raise UnreadableImageError(
            f"a DICOM file of {frames} frames: a radiograph is one. To get each as a picture, with "
            "DCMTK: dcm2pnm --all-frames --write-png FILE NEW"
        )
    samples = int(dataset.get("SamplesPerPixel") or 1)
    photometric = plain(dataset.get("PhotometricInterpretation") or "MONOCHROME2", most=16)
    if samples != (1 if _has_one_channel(photometric) else 3):
        raise UnreadableImageError(
            f"damaged DICOM file: {samples} samples a pixel with {photometric}"
        )
    whole_bytes = -(-int(dataset.BitsAllocated) // 8)
    check_size(int(dataset.Columns), int(dataset.Rows), samples * whole_bytes)
    _check_depth(dataset)


def _has_one_channel(photometric: str) -> bool:
    return photometric.startswith(("MONOCHROME", "PALETTE"))


def _check_depth(dataset: Dataset) -> None:
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    if allocated not in {8, 16} or not 1 <= stored <= allocated:
        raise UnreadableImageError(
            f"{stored} bits stored in {allocated} are not supported: save it with 8 or 16 allocated"
        )
    high = int(dataset.get("HighBit", stored - 1))
    if high != stored - 1:
        raise UnreadableImageError(
            f"high bit {high} with {stored} bits stored is not supported: save it with the values "
            "in the lowest bits (HighBit = BitsStored - 1)"
        )


def _radiograph(dataset: Dataset, stored: NDArray[Any], intensity: Intensity) -> Radiograph:
    photometric = str(dataset.get("PhotometricInterpretation") or "MONOCHROME2")
    if not photometric.startswith("MONOCHROME"):
        # Colours are what is to be seen: no window changes them, and none do those of a PNG.
        return radiograph_of(grey_of_colour(dataset, stored), intensity)
    values, notices = within_bits_stored(dataset, stored)
    table = levels_of(values)
    padding = _padding(dataset, table.values)
    counts = np.where(padding, 0, table.counts)
    changed, more = modality_values(dataset, table.values)
    levels = Levels(table.index, changed, counts)
    if not levels.seen().any():
        return render(levels, np.zeros(padding.shape))
    share, aside = display_share(dataset, levels, intensity)
    if _is_inverse(dataset):
        share = 1 - share
    return replace(render(levels, np.where(padding, 0.0, share)), notices=(*notices, *more, *aside))


def _is_inverse(dataset: Dataset) -> bool:
    """Tell whether bone is dark: both elements say it, in files of DX and CR often only one."""
    photometric = str(dataset.get("PhotometricInterpretation", "")).strip()
    shape = str(dataset.get("PresentationLUTShape", "")).strip()
    return photometric == "MONOCHROME1" or shape == "INVERSE"


def _padding(dataset: Dataset, stored: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (K,) which stored values fill the area outside the picture (PS3.3 C.7.5.1.1.2)."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = sorted(
        _as_stored(dataset, int(end)) for end in (value, value if limit is None else limit)
    )
    return (stored >= ends[0]) & (stored <= ends[1])


def _as_stored(dataset: Dataset, value: int) -> int:
    """Return a value that was written as unsigned beside signed pixels in their sign."""
    bits = int(dataset.BitsAllocated)
    unsigned_beside_signed = int(dataset.PixelRepresentation) and value >= 1 << (bits - 1)
    return value - (1 << bits) if unsigned_beside_signed else value
