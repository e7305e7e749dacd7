"""The stored values of a DICOM picture, compressed or not, and grey pictures stored in colour."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut

from cxrlearn.data.codestream import (
    BASELINE,
    COMPRESSED,
    LOSSLESS,
    Container,
    lossless_precision,
    sound_codestream,
)
from cxrlearn.data.deep_channels import over_black
from cxrlearn.data.integrity import check_whole
from cxrlearn.data.library_output import held_back
from cxrlearn.data.reasons import plain
from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

NATIVE = frozenset(
    {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian}
)
OVERLAY_BIT_POSITIONS = [0x60000102 + (group << 16) for group in range(0, 0x20, 2)]
"""Tags of (60xx,0102): a position above 0 says that an overlay lies in the pixels' spare bits."""

# The conversion from YCbCr and JPEG itself round; a tint that the eye sees is far above.
_ROUNDING = 3


def stored_values(dataset: Dataset) -> NDArray[Any]:
    """Return (H, W) integers, or (H, W, 3) colours, in the order of this machine.

    Raises:
        UnreadableImageError: they are cut off, damaged, or compressed in a way that is not read.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    samples = int(dataset.get("SamplesPerPixel") or 1)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    bits = int(dataset.BitsStored)
    size = rows * columns * samples * int(dataset.BitsAllocated) // 8
    if syntax in NATIVE:
        _check_length(len(dataset.PixelData), size)
        plugin = ""
    elif syntax == uid.RLELossless:
        plugin = "pydicom"
    elif syntax in COMPRESSED:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        if samples == 3 and syntax in BASELINE:
            return _colour_jpeg(frame, rows, columns)
        container = Container(rows, columns, int(dataset.BitsAllocated))
        frame = sound_codestream(frame, syntax, container)
        dataset.PixelData = encapsulate([frame])
        plugin = "gdcm"
        if syntax in LOSSLESS:  # GDCM cuts the values of these down to what the header states
            bits = max(bits, lossless_precision(frame))
    else:
        raise UnreadableImageError(
            f"the transfer syntax {plain(syntax.name)} is not supported: save the file "
            "uncompressed (Explicit VR Little Endian)"
        )
    stated, dataset.BitsStored = dataset.BitsStored, bits
    # One decoder by name: features must not depend on which others happen to be installed.
    with held_back() as words:
        pixels, _ = get_decoder(syntax).as_array(
            dataset,
            index=0,
            decoding_plugin=plugin,
            correct_unused_bits=False,  # type: ignore[arg-type]  # pydicom's own option
        )
    cut_off = [line for line in words if "premature end" in line.lower()]
    if cut_off:  # libjpeg has filled up the rest
        raise UnreadableImageError(f"the compressed pixels are damaged: {cut_off[0]}")
    dataset.BitsStored = stated
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


def _colour_jpeg(frame: bytes, rows: int, columns: int) -> NDArray[np.uint8]:
    check_whole(frame.rstrip(b"\x00"), "JPEG")
    with JpegImageFile(io.BytesIO(frame)) as image:
        if image.size != (columns, rows):
            raise UnreadableImageError(
                f"the compressed pixels are damaged: they are {image.width} x {image.height}, but "
                f"the header says {columns} x {rows}"
            )
        return np.asarray(image.convert("RGB"))


def grey_of_colour(dataset: Dataset, pixels: NDArray[Any]) -> NDArray[Any]:
    """Return (H, W) uint8 or uint16 from colours, or from numbers in a palette, that are all grey.

    Raises:
        UnreadableImageError: the channels differ: a picture in colour.
    """
    photometric = plain(dataset.get("PhotometricInterpretation"), most=16)
    if pixels.ndim == 2:
        try:
            pixels = apply_color_lut(pixels, dataset)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise UnreadableImageError(
                f"a colour picture ({photometric}) whose palette is missing or damaged"
            ) from error
    tolerance = 0 if photometric in {"RGB", "PALETTE COLOR"} else _ROUNDING
    if dataset.file_meta.TransferSyntaxUID in BASELINE:
        tolerance = _ROUNDING
    spread = pixels.max(axis=2) - pixels.min(axis=2)
    if int(spread.max()) > tolerance:
        raise UnreadableImageError(
            f"a colour picture ({photometric}): not a radiograph. If it is one, convert it to a "
            "grey PNG with DCMTK and ImageMagick: dcm2pnm --write-png FILE NEW.png, then "
            "magick NEW.png -colorspace Gray NEW.png"
        )
    luma = over_black(pixels[..., :3].astype(np.uint16))
    return luma.astype(np.uint8) if pixels.dtype == np.uint8 else luma


def within_bits_stored(
    dataset: Dataset, pixels: NDArray[Any]
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return (H, W) values without what is none of theirs, and notices.

    Bits above BitsStored may hold an overlay, which goes; or the sign, which may be missing; or
    the header is wrong and they belong to the values, which are then read whole.

    Raises:
        UnreadableImageError: signed values beyond the range of BitsStored, whose sign is in doubt.
    """
    bits, spare = int(dataset.BitsStored), 8 * pixels.itemsize - int(dataset.BitsStored)
    signed = pixels.dtype.kind == "i"
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if low <= int(pixels.min()) and int(pixels.max()) <= high:
        return pixels, ()
    without_sign = signed and int(pixels.min()) >= 0 and int(pixels.max()) < 1 << bits
    if without_sign or _overlay_in_pixels(dataset, bits):
        return (pixels << spare) >> spare, ()
    stated = f"values beyond the {bits} bits that the header states (BitsStored)"
    if signed:
        raise UnreadableImageError(
            f"{stated}, and their sign is in doubt: if all {bits + spare} bits hold values, say so "
            f"with DCMTK: dcmodify -m BitsStored={bits + spare} -m HighBit={bits + spare - 1} FILE"
        )
    return pixels, (f"{stated}: all {bits + spare} bits are read",)


def _overlay_in_pixels(dataset: Dataset, bits: int) -> bool:
    found = (dataset[tag].value for tag in OVERLAY_BIT_POSITIONS if tag in dataset)
    return any(int(position or 0) >= bits for position in found)
