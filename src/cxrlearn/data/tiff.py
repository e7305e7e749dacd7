"""TIFF files: tifffile reads the header, and the pixels of what Pillow reads wrong or not at all.

Pillow takes planes for channels, signed for unsigned numbers and one byte order for the other, and
says nothing. So the header decides who reads the pixels: Pillow what is on the list of kinds that
it reads right, tifffile the rest of what is not or simply compressed. Everything else is refused.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tifffile import TiffFile, TiffFileError, TiffPage

from cxrlearn.data.deep_channels import over_black
from cxrlearn.data.integrity import truncated
from cxrlearn.data.pictures import TURNS, decode_picture, radiograph_of
from cxrlearn.data.reasons import TO_PNG
from cxrlearn.data.size_limit import check_size
from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlearn.data.intensity import Intensity, Radiograph

# What tifffile raises over damaged bytes: its own error, and what Python stumbles over.
_FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TiffFileError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_WHITE, _BLACK, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_RAW, _DEFLATE, _PACKBITS = 1, {8, 32946}, 32773
_IGNORED, _ASSOCIATED = 0, 1
_SUBFILE, _OLD_SUBFILE, _ORIENTATION = 254, 255, 274
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2


@dataclass(frozen=True)
class _Kind:
    """What decides who can read a page."""

    photometric: int
    bits: int
    number: int
    """`_UNSIGNED`, `_SIGNED` or `_FLOAT`."""
    samples: int
    planar: bool
    compression: int
    big_endian: bool
    big_tiff: bool
    extra: int | None
    """What the channel after the colours is: `_IGNORED`, `_ASSOCIATED` or other alpha; None."""
    short_colours: bool
    """A colour map of 8 bits a colour, against the rule."""

    def __str__(self) -> str:
        number = {_SIGNED: "signed ", _FLOAT: "float "}.get(self.number, "")
        channels = f" in {self.samples} channels" if self.samples > 1 else ""
        return f"{number}{self.bits}-bit values{channels}"

    def pillow_reads(self) -> bool:
        """Tell whether Pillow reads the kind right: tried out with each, written by tifffile."""
        if self.big_tiff and self.big_endian:
            return False
        if self.photometric in {_WHITE, _BLACK} and self.samples == 1:
            return self._pillow_reads_grey()
        if self.number != _UNSIGNED or self.bits > 16:
            return False
        if self.photometric == _RGB:
            mixed_up = (self.planar and self.compression == _RAW) or self.extra == _ASSOCIATED
            return self.samples in {3, 4} and (self.bits == 8 or (self.bits == 16 and not mixed_up))
        if self.photometric == _PALETTE:
            return self.samples == 1 and self.bits <= 8 and not self.short_colours
        rest = self.photometric in {_CMYK, _YCBCR} or self._grey_and_alpha()
        return rest and self.bits == 8 and not self.planar

    def _pillow_reads_grey(self) -> bool:
        key = self.number, self.bits
        if key in {(_UNSIGNED, bits) for bits in (1, 2, 4, 8)}:
            return True
        if key == (_UNSIGNED, 12) and self.photometric == _BLACK:
            return self.compression == _RAW and not self.big_endian
        if self.photometric == _WHITE:
            return key in {(_UNSIGNED, 16), (_FLOAT, 32)} and not self.big_endian
        # libtiff gives numbers in the order of this machine, and Pillow turns some once more.
        turned = self.big_endian and self.compression != _RAW
        deep = {(_SIGNED, 16), (_SIGNED, 32), (_FLOAT, 32)}
        return key == (_UNSIGNED, 16) or (key in deep and not turned)

    def _grey_and_alpha(self) -> bool:
        return self.photometric == _BLACK and self.samples == 2 and not self.simply_packed()

    def simply_packed(self) -> bool:
        """Tell whether tifffile unpacks it by itself."""
        return self.compression in {_RAW, *_DEFLATE, _PACKBITS}


def decode_tiff(data: bytes, intensity: Intensity) -> Radiograph:
    """Decode the bytes of a TIFF file.

    Args:
        data: the whole file.
        intensity: how values of more than 8 bits become grey.

    Raises:
        UnreadableImageError: the file is damaged, truncated, too large, holds several pictures, or
            is of a kind that is not supported.
    """
    try:
        with TiffFile(io.BytesIO(data)) as file:
            number, page = _the_picture(file)
            kind = _kind(page, file)
            check_size(page.imagewidth, page.imagelength, kind.samples * max(1.0, kind.bits / 8))
            pixels = None if kind.pillow_reads() else _pixels(page, kind, data)
    except _FAULTS as error:
        raise UnreadableImageError(
            "damaged TIFF: its header or its pixels make no sense"
        ) from error
    if pixels is None:
        return decode_picture(data, "TIFF", intensity, page=number)
    return radiograph_of(pixels, intensity)


def _the_picture(file: TiffFile) -> tuple[int, TiffPage]:
    """Return the number and the page that is neither a reduced copy of another nor a mask."""
    pages = [page for page in file.pages if isinstance(page, TiffPage)]
    if not pages or len(pages) < len(file.pages):
        raise truncated("TIFF")
    whole = [(number, page) for number, page in enumerate(pages) if not _is_side_page(page)]
    if len(whole) > 1:
        raise UnreadableImageError(f"a TIFF of {len(whole)} pictures: a radiograph is one")
    return whole[0] if whole else (0, pages[0])


def _is_side_page(page: TiffPage) -> bool:
    kind = int(page.tags.valueof(_SUBFILE, 0))
    return bool(kind & (_REDUCED | _MASK)) or page.tags.valueof(_OLD_SUBFILE) == _OLD_REDUCED


def _kind(page: TiffPage, file: TiffFile) -> _Kind:
    bits = page.tags.valueof("BitsPerSample", 1)
    numbers = page.tags.valueof("SampleFormat", _UNSIGNED)
    found = {*bits} if isinstance(bits, tuple) else {bits}
    formats = {*numbers} if isinstance(numbers, tuple) else {numbers}
    if len(found) > 1 or len(formats) > 1 or page.imagedepth != 1:
        raise _not_supported("channels of different kinds")
    if page.is_subsampled and page.compression == _RAW:
        raise _not_supported("uncompressed colours at a lower resolution")
    return _Kind(
        photometric=int(page.photometric),
        bits=int(found.pop()),
        number=int(formats.pop()),
        samples=int(page.samplesperpixel),
        planar=page.samplesperpixel > 1 and int(page.planarconfig) == 2,
        compression=int(page.compression),
        big_endian=file.byteorder == ">",
        big_tiff=file.is_bigtiff,
        extra=int(page.extrasamples[0]) if page.extrasamples else None,
        short_colours=page.colormap is not None and bool(np.max(page.colormap) < 256),
    )


def _name(value: int) -> str:
    """Return the name of what tifffile knows, else the number that stands in the file."""
    return str(getattr(value, "name", value))


def _not_supported(what: str) -> UnreadableImageError:
    return UnreadableImageError(f"a TIFF of {what} is not supported: {TO_PNG}")


def _pixels(page: TiffPage, kind: _Kind, data: bytes) -> NDArray[Any]:
    """Return (H, W) uint8 grey or deeper values, upright, by tifffile."""
    if page.fillorder != 1:
        raise _not_supported("reversed bits")
    if kind.photometric not in {_WHITE, _BLACK, _RGB, _PALETTE}:
        raise _not_supported(f"colour space {_name(page.photometric)}")
    if not kind.simply_packed() or page.predictor not in {1, 2}:
        raise UnreadableImageError(
            f"a TIFF of {kind}, compressed by {_name(page.compression)}, is not supported: write "
            "it without compression, for example with libtiff's tools: tiffcp -c none FILE NEW.tif"
        )
    _check_segments(page, kind, data)
    if kind.bits in {8, 16, 32, 64} and page.dtype is not None:
        stored = page.asarray(maxworkers=1)
    else:
        stored = _unpacked(page, kind, data)
    channels = np.moveaxis(stored, 0, -1) if kind.planar else stored
    grey = _grey(channels.reshape(page.imagelength, page.imagewidth, -1), page, kind)
    turn = TURNS.get(page.tags.valueof(_ORIENTATION, 1))
    return grey if turn is None else turn(grey)


def _unpacked(page: TiffPage, kind: _Kind, data: bytes) -> NDArray[Any]:
    """Return (H, W) uint16 from strips of 9 to 15 bits a value, the highest bit first."""
    simple = kind.samples == 1 and kind.compression == _RAW and not page.is_tiled
    if not simple or kind.number != _UNSIGNED or not 8 < kind.bits < 16:
        raise UnreadableImageError(
            f"a TIFF of {kind} is not supported: save it with 8 or 16 bits a value, uncompressed"
        )
    width, weights = page.imagewidth, 1 << np.arange(kind.bits, dtype=np.uint16)[::-1]
    row_bytes = -(-width * kind.bits // 8)
    pixels = np.empty((page.imagelength, width), dtype=np.uint16)
    for row in range(page.imagelength):
        strip, place = divmod(row, page.rowsperstrip)
        start = page.dataoffsets[strip] + place * row_bytes
        bits = np.unpackbits(np.frombuffer(data, np.uint8, row_bytes, start))
        pixels[row] = bits[: width * kind.bits].reshape(width, kind.bits) @ weights
    return pixels if kind.photometric == _BLACK else np.uint16(2**kind.bits - 1) - pixels


def _check_segments(page: TiffPage, kind: _Kind, data: bytes) -> None:
    """Check that every strip or tile is in the file, and no more than it says once inflated.

    Raises:
        UnreadableImageError: it is not. tifffile fills what is missing with zeros.
    """
    height, width = (
        (page.tilelength, page.tilewidth)
        if page.is_tiled
        else (min(page.rowsperstrip, page.imagelength), page.imagewidth)
    )
    samples = 1 if kind.planar else kind.samples
    check_size(width, height, samples * kind.bits / 8)
    expected = height * width * samples * kind.bits // 8
    wanted = -(-page.imagelength // height) * -(-page.imagewidth // width)
    wanted *= kind.samples if kind.planar else 1
    places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if page.is_contiguous:
        places, wanted, expected = [(page.dataoffsets[0], page.nbytes)], 1, page.nbytes
    if len(places) < wanted:
        raise truncated("TIFF")
    rows = page.imagelength - (wanted // (kind.samples if kind.planar else 1) - 1) * height
    # The last strip may be lower; tiles are whole.
    least = expected if page.is_contiguous or page.is_tiled else expected // height * rows
    for offset, size in places:
        short = kind.compression == _RAW and size < least
        if size < 1 or short or offset + size > len(data):
            raise truncated("TIFF")
        if kind.compression in _DEFLATE:
            inflated = zlib.decompressobj().decompress(data[offset : offset + size], expected + 1)
            if len(inflated) > expected:
                raise UnreadableImageError("damaged TIFF: a part is larger than it may be")


def _grey(channels: NDArray[Any], page: TiffPage, kind: _Kind) -> NDArray[Any]:
    """Return (H, W) from (H, W, samples): white bright, palette looked up, luma, over black."""
    if kind.photometric == _PALETTE:
        return _looked_up(channels[..., 0], page, kind)
    if kind.samples == 1:
        only = channels[..., 0]
        if kind.photometric == _BLACK or kind.bits % 8:  # unpacked: turned already
            return only
        # Unsigned values stay unsigned, so that 8-bit pictures stay as they are.
        whole = kind.number == _UNSIGNED
        return np.iinfo(only.dtype).max - only if whole else -only.astype(np.float64)
    colours = 3 if kind.photometric == _RGB else 1
    if kind.photometric == _WHITE or kind.samples not in {colours, colours + 1}:
        raise _not_supported(f"{kind.samples} channels")
    if kind.extra in {_IGNORED, _ASSOCIATED}:  # associated alpha: the colours are over black
        channels = channels[..., :colours]
    return channels[..., 0] if channels.shape[-1] == 1 else _luma(channels, kind)


def _luma(channels: NDArray[Any], kind: _Kind) -> NDArray[Any]:
    if kind.number == _UNSIGNED and kind.bits <= 16:
        scale = np.uint16(257 if kind.bits == 8 else 1)
        luma = over_black(channels.astype(np.uint16) * scale)
        return luma if kind.bits == 16 else (luma >> 8).astype(np.uint8)
    if channels.shape[-1] != 3:
        raise _not_supported(str(kind))
    return np.asarray(channels.astype(np.float64) @ np.array([0.299, 0.587, 0.114]))


def _looked_up(index: NDArray[Any], page: TiffPage, kind: _Kind) -> NDArray[Any]:
    """Return (H, W) by the colour map: 16 bits a colour, or 8 where no entry exceeds 255."""
    table = page.colormap
    if table is None or table.shape[0] != 3 or index.max() >= table.shape[1]:
        raise UnreadableImageError("damaged TIFF: its colour map is missing or too short")
    colours = np.asarray(table, dtype=np.uint16).T[None]
    if kind.short_colours:
        colours = colours * np.uint16(257)
    luma = over_black(colours)[0]
    # 8-bit pictures with a palette are 8-bit pictures.
    return np.take((luma >> 8).astype(np.uint8) if index.dtype == np.uint8 else luma, index)
