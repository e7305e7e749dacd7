"""PNG, JPEG, BMP, WebP and plain TIFF files to grey, with Pillow as the decoder.

The format is known from the content before Pillow is asked, so that each file meets one decoder
only, and Pillow's limit on the number of pixels (a warning at 89 megapixels, an error at 179) is
ours instead (see `size_limit`).
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import ImageChops
from PIL.BmpImagePlugin import BmpImageFile
from PIL.Image import DecompressionBombError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from cxrlearn.data.deep_channels import deep_channels_grey, deep_rawmode
from cxrlearn.data.integrity import check_whole, truncated
from cxrlearn.data.intensity import (
    Intensity,
    Radiograph,
    as_stored,
    levels_of,
    render,
    stretch,
    stretch_numbers,
)
from cxrlearn.data.library_output import held_back
from cxrlearn.data.reasons import JPEG_TO_PNG, TO_PNG, unquoted
from cxrlearn.data.size_limit import check_size
from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

OPENERS: Final[dict[str, Callable[[io.BytesIO], ImageFile]]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
    "WebP": WebPImageFile,
}
"""Pillow's class for each format."""

# What Pillow raises over damaged bytes, found by reading it and by feeding it hundreds of thousands
# of damaged files. Its readers parse without checks and leave it to Python to stumble: SyntaxError
# is Pillow's own word for a bad header, SystemError comes from tiles outside the picture, the rest
# from struct, zlib, indexing and arithmetic on numbers that the file made up.
_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    DecompressionBombError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    SystemError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_UNSUPPORTED = ("not supported", "unsupported", "cannot handle")
"""Words by which Pillow says that a file is sound, but not for it."""
_ORIENTATION = 274  # the EXIF and TIFF tag
_ORIENTATION_SOURCES = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
_PHOTOMETRIC = 262  # the TIFF tag; 0 is "white is zero"
TURNS: Final[dict[int, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: a.T[:, ::-1],
    7: lambda a: a.T[::-1, ::-1],
    8: lambda a: a.T[::-1],
}
"""How to turn the stored picture upright, by EXIF orientation (1 is upright)."""


def decode_picture(data: bytes, kind: str, intensity: Intensity, *, page: int = 0) -> Radiograph:
    """Decode the bytes of a picture file.

    Args:
        data: the whole file.
        kind: a key of `OPENERS`.
        intensity: how values of more than 8 bits become grey.
        page: which page of a TIFF holds the picture.

    Raises:
        UnreadableImageError: the file is damaged, truncated, too large, holds several pictures, or
            is of a kind that is not supported.
    """
    with warnings.catch_warnings():
        # Pillow warns of odd metadata; whatever touches the pixels, it raises.
        warnings.simplefilter("ignore")
        words: list[str] = []
        try:
            check_whole(data, kind)
            # libtiff writes to stderr; the other decoders of Pillow are silent.
            with held_back() if kind == "TIFF" else nullcontext(words) as words:
                pixels = _decode(data, kind, page)
        except _FAULTS as error:
            raise UnreadableImageError(_reason(kind, error, words)) from error
    errors = [line for line in words if "warning" not in line.lower()]
    if errors:  # libtiff has filled up what it could not decode
        raise UnreadableImageError(_damaged(kind, errors))
    return radiograph_of(pixels, intensity)


def radiograph_of(pixels: NDArray[Any], intensity: Intensity) -> Radiograph:
    """Return (H, W) uint8 as it is, and deeper or signed values stretched.

    Raises:
        UnreadableImageError: no pixel has a finite value.
    """
    if pixels.dtype == np.uint8:
        return as_stored(pixels.view(np.uint8))
    if pixels.dtype.kind == "f" or pixels.dtype.itemsize > 2:
        return stretch_numbers(pixels, intensity)
    levels = levels_of(pixels)
    return render(levels, stretch(levels, intensity))


def _reason(kind: str, error: BaseException, words: list[str]) -> str:
    if isinstance(error, DecompressionBombError):  # Pillow's own limit, for tiles and WebP
        return f"a {kind} of too many pixels: {error}"
    text = unquoted(error)
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return str(truncated(kind))
    return _fault(kind, error, text, words)


def _fault(kind: str, error: BaseException, text: str, words: list[str]) -> str:
    if any(word in text.lower() for word in _UNSUPPORTED):
        way_out = JPEG_TO_PNG if kind == "JPEG" else TO_PNG
        return f"this kind of {kind} is not supported ({text}): {way_out}"
    if words:  # libtiff says more than Pillow, which passes on a number
        return _damaged(kind, words)
    if isinstance(error, OSError | ValueError | SyntaxError) and "unpack" not in text:
        text = text.replace("not identified by this driver", "its header makes no sense")
        return f"damaged {kind}: {text}"
    return f"damaged {kind}: its header makes no sense"  # what stumbled was Python, over numbers


def _damaged(kind: str, words: list[str]) -> str:
    return f"damaged {kind}: {words[0].removeprefix('tempfile.tif: ')}"


def _decode(data: bytes, kind: str, page: int) -> NDArray[Any]:
    """Return (H, W) uint8 grey, or the values of a deeper picture, upright."""
    with OPENERS[kind](io.BytesIO(data)) as image:
        if kind == "TIFF":
            image.seek(page)
        rawmode = deep_rawmode(image)
        check_size(image.width, image.height, _bytes_per_pixel(image, rawmode))
        pages = 1 if kind == "TIFF" else getattr(image, "n_frames", 1)
        if pages > 1:
            raise UnreadableImageError(f"a {kind} of {pages} pictures: a radiograph is one")
        image.decodermaxblock = len(data)  # all is in memory: read it at one go
        image.load()
        pixels = (
            _grey(image) if rawmode is None else deep_channels_grey(data, OPENERS[kind], rawmode)
        )
        if kind != "TIFF":  # Pillow has turned those itself
            pixels = TURNS.get(_orientation(image), _upright)(pixels)
    return pixels


def _bytes_per_pixel(image: ImageFile, rawmode: str | None) -> int:
    if image.mode == "F" or image.mode.startswith("I"):
        return 2 if image.mode.startswith("I;16") else 4
    if rawmode is not None and rawmode.startswith("LA"):  # Pillow opens it as RGBA
        return 4
    turned = image.has_transparency_data and image.mode in {"P", "PA", "RGB"}
    channels = 4 if turned else len(image.getbands())
    return channels if rawmode is None else 2 * channels


def _upright(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels


def _orientation(image: Image) -> int:
    if not any(key in image.info for key in _ORIENTATION_SOURCES):
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _FAULTS:  # a damaged EXIF block says nothing about the pixels
        return 1
    return value if isinstance(value, int) else 1


def _grey(image: ImageFile) -> NDArray[Any]:
    """Return (H, W) uint8, or the values of a deeper picture, from a loaded image."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_grey(image)
    if not image.has_transparency_data:
        return np.asarray(image if image.mode == "L" else image.convert("L"))
    with_alpha = image.convert("LA" if image.mode in {"LA", "La", "L", "1"} else "RGBA")
    grey, alpha = with_alpha.convert("L"), with_alpha.getchannel("A")
    # What is transparent shows nothing, and nothing is black in a radiograph.
    opaque = alpha.getextrema()[0] == 255
    return np.asarray(grey if opaque else ImageChops.multiply(grey, alpha))


def _deep_grey(image: ImageFile) -> NDArray[Any]:
    pixels = np.asarray(image)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0:
        # Pillow turns 8-bit pictures in which white is zero, and leaves the deeper ones.
        return pixels.max() - pixels if pixels.dtype.kind == "u" else -pixels.astype(np.float64)
    return pixels
