"""DICOM files to grey: pydicom reads the header, GDCM the compressed pixels.

Order of operations: stored values, modality LUT, display settings (or the picture's own range),
inversion, padding to black.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder

from cxrlearn.data.codestream import COMPRESSED, Container, sound_codestream
from cxrlearn.data.dicom_luts import display_share, modality_values
from cxrlearn.data.integrity import truncated
from cxrlearn.data.intensity import Intensity, Levels, Radiograph, levels_of, render, stretch
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
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_NATIVE = frozenset(
    {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian}
)
_WANTED = [
    "Modality",
    "SamplesPerPixel",
    "PhotometricInterpretation",
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
    "PixelData",
]
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
            return _render(dataset, _stored_values(dataset), intensity)
        except _FAULTS as error:
            raise UnreadableImageError(_reason(error)) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory to decode this DICOM file"
    if isinstance(error, EOFError):
        return str(truncated("DICOM file"))
    return f"damaged DICOM file: {plain(error) or type(error).__name__}"


def _read_header(data: bytes) -> Dataset:
    if uid.DeflatedExplicitVRLittleEndian.encode() in data[:2048]:
        # Inflating has no bound, and nobody deflates pixels.
        raise UnreadableImageError("a deflated DICOM file: save it uncompressed")
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
        raise UnreadableImageError(f"a DICOM file of {frames} frames: a radiograph is one")
    photometric = plain(dataset.get("PhotometricInterpretation") or "MONOCHROME2", most=16)
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or not photometric.startswith("MONOCHROME"):
        raise UnreadableImageError(f"a colour picture ({photometric}): not a radiograph")
    check_size(int(dataset.Columns), int(dataset.Rows))
    _check_depth(dataset)


def _check_depth(dataset: Dataset) -> None:
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    if allocated not in {8, 16} or not 1 <= stored <= allocated:
        raise UnreadableImageError(f"{stored} bits stored in {allocated} are not supported")
    high = int(dataset.get("HighBit", stored - 1))
    if high != stored - 1:
        raise UnreadableImageError(f"high bit {high} with {stored} bits stored is not supported")


def _stored_values(dataset: Dataset) -> NDArray[Any]:
    """Return (H, W) integers as stored."""
    syntax = dataset.file_meta.TransferSyntaxUID
    size = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8
    if syntax in _NATIVE:
        _check_length(len(dataset.PixelData), size)
        plugin = ""
    elif syntax == uid.RLELossless:
        plugin = "pydicom"
    elif syntax in COMPRESSED:
        container = Container(int(dataset.Rows), int(dataset.Columns), int(dataset.BitsAllocated))
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        dataset.PixelData = encapsulate([sound_codestream(frame, syntax, container)])
        plugin = "gdcm"
    else:
        raise UnreadableImageError(f"the transfer syntax {plain(syntax.name)} is not supported")
    # One decoder by name: features must not depend on which others happen to be installed.
    pixels, _ = get_decoder(syntax).as_array(dataset, index=0, decoding_plugin=plugin)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _check_length(found: int, expected: int) -> None:
    if found < expected:
        raise UnreadableImageError(
            f"the DICOM file is truncated: {found} of {expected} bytes of pixels"
        )
    if found >= 2 * expected:  # a little more is padding
        raise UnreadableImageError(
            f"damaged DICOM file: {found} bytes of pixels where its header needs {expected}"
        )


def _render(dataset: Dataset, stored: NDArray[Any], intensity: Intensity) -> Radiograph:
    table = levels_of(stored)
    padding = _padding(dataset, table.values)
    counts = np.where(padding, 0, table.counts)
    levels = Levels(table.index, modality_values(dataset, table.values), counts)
    if not levels.seen().any():
        return render(levels, np.zeros(padding.shape))
    share = display_share(dataset, levels.values)
    if share is None or np.ptp(share[levels.seen()]) == 0:
        # Nothing would be left of the picture in a window that misses all its values.
        share = stretch(levels, intensity)
    if _is_inverse(dataset):
        share = 1 - share
    return render(levels, np.where(padding, 0.0, share))


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
