"""TIFF files of every kind, written by tifffile or Pillow: read right, or refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from cxrlearn.data.images import decode_radiograph
from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Y, _X = np.mgrid[0:64, 0:80]
SHARE: NDArray[np.float64] = (np.sin(_X / 17) + np.cos(_Y / 23) + _X / 40 + _Y / 60 + 1.5) / 6.5
"""A picture without symmetry, between 0 and 1."""
WHOLE = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
DTYPES = (*WHOLE, "float16", "float32", "float64")
PACKINGS: list[dict[str, Any]] = [
    {},
    {"rowsperstrip": 7},
    {"tile": (16, 32)},
    {"bigtiff": True},
    {"compression": "deflate"},
    {"compression": "deflate", "predictor": 2, "rowsperstrip": 5},
]


def _values(dtype: str) -> NDArray[Any]:
    """The picture over the whole range of a type; the upper half of uint32 lies above 2**31."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (SHARE * 3 - 1).astype(kind)
    limits = np.iinfo(kind)
    return (SHARE * (float(limits.max) - limits.min) + limits.min).astype(kind)


def _tiff(values: NDArray[Any], **options: Any) -> bytes:  # noqa: ANN401 - tifffile's
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, metadata=None, **options)
    return buffer.getvalue()


def _packings(dtype: str) -> list[dict[str, Any]]:
    """Return the packings that tifffile writes for a type; its predictor is for whole numbers."""
    return [one for one in PACKINGS if dtype in WHOLE or "predictor" not in one]


def _packbits(data: bytes) -> bytes:
    """Return a little-endian file of one strip whose pixels are packed, in runs of 100 bytes."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags  # type: ignore[union-attr]
        start, size = tags["StripOffsets"].value[0], tags["StripByteCounts"].value[0]
        places = [tags[name].valueoffset for name in ("StripOffsets", "StripByteCounts")]
        compression = tags["Compression"].valueoffset
    raw = data[start : start + size]
    runs = [raw[at : at + 100] for at in range(0, size, 100)]
    packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
    changed = bytearray(data)
    struct.pack_into("<H", changed, compression, 32773)
    for place, value in zip(places, (len(data), len(packed)), strict=True):
        struct.pack_into("<I", changed, place, value)
    return bytes(changed) + packed


def _agrees(data: bytes, truth: NDArray[Any]) -> None:
    pixels = decode_radiograph(data).pixels
    assert pixels.shape == truth.shape
    assert np.corrcoef(pixels.ravel(), truth.astype(np.float64).ravel())[0, 1] > 0.995


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_grey_numbers_of_every_type_are_read_right(dtype: str, order: str) -> None:
    values = _values(dtype)
    for options in _packings(dtype):
        _agrees(_tiff(values, byteorder=order, photometric="minisblack", **options), SHARE)
    _agrees(_packbits(_tiff(values, photometric="minisblack")), SHARE)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_white_is_zero_is_turned_round(dtype: str, order: str) -> None:
    data = _tiff(_values(dtype), byteorder=order, photometric="miniswhite")

    _agrees(data, 1 - SHARE)


def test_unsigned_eight_bit_pictures_stay_as_they_are() -> None:
    values = _values("uint8")
    for options in PACKINGS:
        data = _tiff(values, photometric="minisblack", **options)
        assert np.array_equal(decode_radiograph(data).pixels, values)
        data = _tiff(values, photometric="miniswhite", **options)
        assert np.array_equal(decode_radiograph(data).pixels, 255 - values)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_colour_in_pixels_and_in_planes_becomes_luma(dtype: str, planar: str) -> None:
    values = _values(dtype)
    colour = np.stack([values, values[::-1], values[:, ::-1]], axis=-1)
    luma = colour.astype(np.float64) @ [0.299, 0.587, 0.114]
    stored = colour if planar == "contig" else np.moveaxis(colour, -1, 0).copy()

    for options in _packings(dtype):
        _agrees(_tiff(stored, photometric="rgb", planarconfig=planar, **options), luma)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("meaning", ["unspecified", "assocalpha", "unassalpha"])
def test_grey_with_alpha_is_over_black(dtype: str, planar: str, meaning: str) -> None:
    values, top = _values(dtype), int(np.iinfo(dtype).max)
    alpha = np.full_like(values, top)
    alpha[:20] = top // 4
    seen = values.astype(np.float64) * (1 if meaning == "unspecified" else alpha / top)
    stored = np.stack([seen.astype(dtype) if meaning == "assocalpha" else values, alpha], axis=-1)
    if planar == "separate":
        stored = np.moveaxis(stored, -1, 0).copy()

    written: dict[str, Any] = {
        "photometric": "minisblack", "planarconfig": planar, "extrasamples": [meaning]
    }  # fmt: skip
    for options in PACKINGS:
        _agrees(_tiff(stored, **written, **options), seen)
    if planar == "contig":
        _agrees(_packbits(_tiff(stored, **written)), seen)


@pytest.mark.parametrize("top", [255, 65535])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colour_maps_of_8_and_16_bits_are_looked_up(dtype: str, top: int) -> None:
    size = int(np.iinfo(dtype).max) + 1
    if top == 255 and dtype == "uint16":
        pytest.skip("a map of 65,536 colours has 16 bits")
    order = np.random.default_rng(0).permutation(size)
    table = (order * (top // (size - 1))).astype(np.uint16)
    index = np.argsort(order).astype(dtype)[_values(dtype)]

    _agrees(_tiff(index, photometric="palette", colormap=np.stack([table] * 3)), SHARE)


def test_an_eight_bit_colour_map_gives_the_picture_as_it_was() -> None:
    values = _values("uint8")
    turned = np.arange(256, dtype=np.uint16)[::-1]
    data = _tiff(255 - values, photometric="palette", colormap=np.stack([turned] * 3))

    assert np.array_equal(decode_radiograph(data).pixels, values)


def _packed(bits: int, photometric: int, *, rows_per_strip: int = 64) -> bytes:
    """Write a TIFF of 9 to 15 bits a value by hand: rows begin at a byte, highest bit first."""
    height, width = SHARE.shape
    values = (SHARE * (2**bits - 1)).astype(np.uint16)
    rows = [
        np.packbits((row[:, None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).ravel()).tobytes()
        for row in values
    ]
    strips = [
        b"".join(rows[start : start + rows_per_strip]) for start in range(0, height, rows_per_strip)
    ]
    starts = np.cumsum([8, *map(len, strips[:-1])]).tolist()
    end = 8 + sum(map(len, strips))
    count = len(strips)
    lists = struct.pack(f"<{count}I", *starts) + struct.pack(f"<{count}I", *map(len, strips))
    tags = [
        (256, 1, width), (257, 1, height), (258, 1, bits), (259, 1, 1), (262, 1, photometric),
        (273, count, end if count > 1 else starts[0]), (277, 1, 1), (278, 1, rows_per_strip),
        (279, count, end + 4 * count if count > 1 else len(strips[0])),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags))
    for tag, number, value in tags:
        directory += struct.pack("<HHII", tag, 4, number, value)
    header = b"II*\x00" + struct.pack("<I", end + len(lists))
    return header + b"".join(strips) + lists + directory + bytes(4)


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15])
@pytest.mark.parametrize("rows_per_strip", [64, 10])
def test_nine_to_fifteen_bits_a_value_are_read_right(bits: int, rows_per_strip: int) -> None:
    _agrees(_packed(bits, 1, rows_per_strip=rows_per_strip), SHARE)
    _agrees(_packed(bits, 0, rows_per_strip=rows_per_strip), 1 - SHARE)


def test_nan_and_infinity_count_in_no_limit() -> None:
    for dtype in ("float16", "float32", "float64"):
        values = _values(dtype)
        values[0, :3] = np.nan, np.inf, -np.inf
        if dtype == "float32":
            values.view(np.uint32)[0, 0] = 0x7F800001  # a "signalling" NaN, of which numpy warns
        pixels = decode_radiograph(_tiff(values, photometric="minisblack")).pixels
        assert pixels[0, :3].tolist() == [0, 255, 0]
        assert np.corrcoef(pixels[1:].ravel(), SHARE[1:].ravel())[0, 1] > 0.995


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_orientation_holds_for_what_tifffile_reads(orientation: int) -> None:
    values = _values("int8")
    data = _tiff(values, photometric="minisblack", extratags=[(274, 3, 1, orientation, True)])

    turned = {3: SHARE[::-1, ::-1], 6: SHARE.T[:, ::-1], 8: SHARE.T[::-1]}[orientation]
    _agrees(data, turned)


@pytest.mark.parametrize("first", ["the picture", "the copy"])
def test_a_reduced_copy_is_no_second_picture(first: str) -> None:
    values, small = _values("uint16"), _values("uint16")[::4, ::4]
    pages = [(values, 0), (small, 1)] if first == "the picture" else [(small, 1), (values, 0)]
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page, kind in pages:
            writer.write(page, photometric="minisblack", subfiletype=kind, metadata=None)

    _agrees(buffer.getvalue(), SHARE)


def test_two_whole_pictures_are_refused() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for _ in range(2):
            writer.write(_values("int8"), photometric="minisblack", metadata=None)

    with pytest.raises(UnreadableImageError, match="a TIFF of 2 pictures: a radiograph is one"):
        decode_radiograph(buffer.getvalue())


def _relabelled(data: bytes, tag: int, old: int, new: int) -> bytes:
    """Change the value of a SHORT in the directory."""
    entry = struct.pack("<HHIH", tag, 3, 1, old)
    assert data.count(entry) == 1
    return data.replace(entry, struct.pack("<HHIH", tag, 3, 1, new))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            _relabelled(_tiff(_values("int8"), photometric="minisblack"), 259, 1, 5),
            "a TIFF of signed 8-bit values, compressed by LZW, is not supported: .*tiffcp -c none",
        ),
        (
            _relabelled(_tiff(_values("uint16"), photometric="minisblack"), 262, 1, 8),
            "colour space CIELAB is not supported: convert it to PNG",
        ),
        (
            _tiff(np.zeros((64, 80, 3), np.uint8), photometric="ycbcr", subsampling=(1, 1)).replace(
                struct.pack("<HHIHH", 530, 3, 2, 1, 1), struct.pack("<HHIHH", 530, 3, 2, 2, 2)
            ),
            "uncompressed colours at a lower resolution is not supported",
        ),
        (
            _relabelled(_tiff(_values("int8"), photometric="minisblack"), 259, 1, 60_000),
            "compressed by 60000, is not supported",
        ),
    ],
)
def test_what_is_not_supported_says_how_to_convert_it(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        decode_radiograph(data)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("dtype", ["int8", "float64"])
def test_truncated_files_are_refused(dtype: str, share: float) -> None:
    for options in _packings(dtype):
        data = _tiff(_values(dtype), photometric="minisblack", **options)
        with pytest.raises(UnreadableImageError, match=r"truncated|damaged"):
            decode_radiograph(data[: int(len(data) * share)])


def test_a_strip_that_inflates_to_more_than_it_says_is_refused() -> None:
    values = np.zeros((64, 80), dtype=np.int8)
    bomb = zlib.compress(bytes(50_000_000))
    data = bytearray(_tiff(values, photometric="minisblack", compression="deflate"))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags  # type: ignore[union-attr]
        places = [tags[name].valueoffset for name in ("StripOffsets", "StripByteCounts")]
    struct.pack_into("<I", data, places[0], len(data))
    struct.pack_into("<I", data, places[1], len(bomb))

    with pytest.raises(UnreadableImageError, match=r"larger than it may be"):
        decode_radiograph(bytes(data) + bomb)


def test_the_size_limit_counts_channels_and_bytes_of_a_tiff_before_decoding() -> None:
    data = bytearray(_tiff(_values("float64"), photometric="minisblack"))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags  # type: ignore[union-attr]
        for name in ("ImageWidth", "ImageLength"):
            struct.pack_into("<H", data, tags[name].valueoffset, 6000)

    with pytest.raises(UnreadableImageError, match="6000 x 6000 pixels of 8 bytes are 288 MB"):
        decode_radiograph(bytes(data))


def test_no_word_of_libtiff_reaches_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(_values("uint8")).save(buffer, "TIFF", compression="tiff_lzw")
    data = bytearray(buffer.getvalue())
    data[20:200] = b"\xff" * 180  # codes that LZW has not defined yet

    with pytest.raises(UnreadableImageError, match=r"^damaged TIFF: Using code not yet in table"):
        decode_radiograph(bytes(data))
    assert capfd.readouterr() == ("", "")


def test_what_libtiff_fills_up_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    bilevel = Image.fromarray(_values("uint8")).convert("1")
    buffer = io.BytesIO()
    bilevel.save(buffer, "TIFF", compression="group4")
    sound = buffer.getvalue()
    assert decode_radiograph(sound).pixels.max() == 255
    data = bytearray(sound)
    data[60:80] = b"\x01" * 20

    with pytest.raises(UnreadableImageError, match=r"^damaged TIFF: Fax4Decode: "):
        decode_radiograph(bytes(data))  # Pillow returns half a picture
    assert capfd.readouterr() == ("", "")
