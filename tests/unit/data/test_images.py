"""Picture files of every kind, against Pillow's and OpenCV's own reading of the same bytes."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from cxrlearn.data.images import decode_radiograph, is_image_candidate, read_radiograph
from cxrlearn.errors import UnreadableImageError
from tests.support.memory import little_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _film(rows: int = 40, columns: int = 56) -> NDArray[np.uint8]:
    """A picture without any symmetry, from dark to bright."""
    y, x = np.mgrid[0:rows, 0:columns]
    film: NDArray[np.uint8] = np.clip(3 * y + 2 * x + 30 * np.sin(x / 5), 0, 255).astype(np.uint8)
    return film


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401 - Pillow's
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _cv2(array: NDArray[Any], suffix: str, *flags: int) -> bytes:
    ok, encoded = cv2.imencode(suffix, array, flags)
    assert ok
    return encoded.tobytes()


def _png(header: tuple[int, int, int, int], raw: bytes) -> bytes:
    """Write a PNG by hand: (width, height, bit depth, colour type) and its unfiltered rows."""

    def chunk(name: bytes, payload: bytes) -> bytes:
        return (
            struct.pack(">I", len(payload))
            + name
            + payload
            + struct.pack(">I", zlib.crc32(name + payload))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


FILM = _film()
GREY = Image.fromarray(FILM)


@pytest.mark.parametrize(
    "data",
    [
        _saved(GREY, "PNG"),
        _saved(GREY, "PNG", optimize=True),
        _saved(GREY.convert("RGB"), "PNG"),
        _saved(GREY.convert("RGBA"), "PNG"),
        _saved(GREY.convert("LA"), "PNG"),
        _saved(GREY.quantize(256), "PNG"),
        _saved(GREY, "BMP"),
        _saved(GREY.convert("RGB"), "BMP"),
        _saved(GREY, "TIFF"),
        _saved(GREY, "TIFF", compression="tiff_lzw"),
        _saved(GREY, "TIFF", compression="tiff_adobe_deflate"),
        _saved(GREY, "TIFF", compression="packbits"),
        _saved(GREY.convert("RGB"), "TIFF"),
        _saved(GREY.convert("RGB"), "WEBP", lossless=True),
    ],
)
def test_lossless_eight_bit_files_give_their_pixels_as_stored(data: bytes) -> None:
    radiograph = decode_radiograph(data)

    assert radiograph.pixels.dtype == np.uint8
    assert np.abs(radiograph.pixels.astype(int) - FILM).max() <= 1  # a palette rounds
    assert not radiograph.constant


@pytest.mark.parametrize(
    "data",
    [
        _saved(GREY, "JPEG", quality=90),
        _saved(GREY, "JPEG", quality=90, progressive=True),
        _saved(GREY.convert("RGB"), "JPEG", quality=90),
        _saved(GREY.convert("CMYK"), "JPEG", quality=95),
        _saved(GREY.convert("RGB"), "WEBP", quality=90),
        _saved(GREY.convert("L"), "TIFF", compression="jpeg"),
    ],
)
def test_lossy_files_give_what_pillow_reads(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("L"))

    pixels = decode_radiograph(data).pixels

    assert np.array_equal(pixels, expected)
    assert np.abs(pixels.astype(int) - FILM).mean() < 4


def test_colour_becomes_itu_r_601_luma_as_opencv_computes_it() -> None:
    rng = np.random.default_rng(1)
    colour = rng.integers(0, 256, (17, 23, 3), dtype=np.uint8)

    pixels = decode_radiograph(_saved(Image.fromarray(colour), "PNG")).pixels

    assert np.abs(pixels.astype(int) - cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF-LZW"])
def test_exif_orientation_is_honoured(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    compression = "tiff_lzw" if kind == "TIFF-LZW" else None
    film, name = GREY.convert("RGB"), kind.removesuffix("-LZW")
    data = _saved(film, name, exif=exif, lossless=True, compression=compression)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("L"))

    assert np.array_equal(decode_radiograph(data).pixels, expected)
    assert expected.shape == (FILM.shape if orientation < 5 else FILM.shape[::-1])


@pytest.mark.parametrize("orientation", [0, 9, 60_000])
def test_senseless_orientation_leaves_the_picture_as_it_is(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation

    assert np.array_equal(decode_radiograph(_saved(GREY, "PNG", exif=exif)).pixels, FILM)


def test_damaged_exif_leaves_the_picture_as_it_is() -> None:
    data = _saved(GREY, "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff rubbish")

    assert decode_radiograph(data).pixels.shape == FILM.shape


def test_palette_order_is_not_brightness() -> None:
    order = np.random.default_rng(0).permutation(256)
    palette = Image.fromarray(np.argsort(order).astype(np.uint8)[FILM], "L").convert("P")
    palette.putpalette([value for value in order for _ in range(3)])

    assert np.array_equal(decode_radiograph(_saved(palette, "PNG")).pixels, FILM)


def test_one_bit_pictures_become_black_and_white() -> None:
    bilevel = GREY.convert("1")

    pixels = decode_radiograph(_saved(bilevel, "PNG")).pixels

    assert np.array_equal(pixels, np.asarray(bilevel) * np.uint8(255))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_is_transparent_is_black(mode: str) -> None:
    alpha = np.full(FILM.shape, 255, dtype=np.uint8)
    alpha[:10], alpha[10:20] = 0, 51
    image = GREY.convert(mode)
    image.putalpha(Image.fromarray(alpha))

    pixels = decode_radiograph(_saved(image, "PNG")).pixels

    assert not pixels[:10].any()
    assert np.abs(pixels[10:20] - FILM[10:20] / 5).max() < 1
    assert np.array_equal(pixels[20:], FILM[20:])


def test_a_transparent_palette_entry_is_black() -> None:
    image = GREY.quantize(256)
    index = int(np.asarray(image)[0, 0])

    pixels = decode_radiograph(_saved(image, "PNG", transparency=index)).pixels

    hidden = np.asarray(image) == index
    assert not pixels[hidden].any()
    assert np.abs(pixels[~hidden].astype(int) - FILM[~hidden]).max() <= 1


def _stretched(values: NDArray[Any]) -> NDArray[np.float64]:
    low, high = np.percentile(values, [0.5, 99.5])
    stretched: NDArray[np.float64] = np.rint(255 * np.clip((values - low) / (high - low), 0, 1))
    return stretched


DEEP = np.clip(FILM.astype(np.uint16) * 4 + 11, 0, 1023).astype(np.uint16)  # 10-bit values


@pytest.mark.parametrize(
    "data",
    [
        _saved(Image.fromarray(DEEP), "PNG"),
        _saved(Image.fromarray(DEEP), "TIFF"),
        _saved(Image.fromarray(DEEP), "TIFF", compression="tiff_lzw"),
        _saved(Image.fromarray(DEEP.astype(">u2")), "TIFF"),
        _saved(Image.fromarray(DEEP.astype(np.int32)), "TIFF"),
        _saved(Image.fromarray(DEEP.astype(np.float32)), "TIFF"),
        _saved(Image.fromarray(DEEP.astype(np.float32)), "TIFF", compression="tiff_adobe_deflate"),
    ],
)
def test_deeper_files_are_stretched_from_their_own_percentiles(data: bytes) -> None:
    assert np.array_equal(decode_radiograph(data).pixels, _stretched(DEEP))


@pytest.mark.parametrize(
    "data",
    [
        _cv2(np.dstack([DEEP] * 3), ".png"),
        _cv2(np.dstack([DEEP] * 3 + [np.full_like(DEEP, 65535)]), ".png"),
        _cv2(np.dstack([DEEP] * 3), ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, 1),
        _cv2(np.dstack([DEEP] * 3), ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, 5),
        _png(
            (FILM.shape[1], FILM.shape[0], 16, 4),
            b"".join(
                b"\x00" + np.dstack([row, np.full_like(row, 65535)]).astype(">u2").tobytes()
                for row in DEEP
            ),
        ),
    ],
    ids=["RGB PNG", "RGBA PNG", "RGB TIFF", "RGB LZW TIFF", "grey and alpha PNG"],
)
def test_sixteen_bits_a_channel_are_read_in_full(data: bytes) -> None:
    # Eight bits of these 10-bit values would be four grey values.
    assert np.array_equal(decode_radiograph(data).pixels, _stretched(DEEP))


def test_sixteen_bit_colour_agrees_with_opencv() -> None:
    colour = np.random.default_rng(3).integers(0, 65536, (31, 20, 3), dtype=np.uint16)
    luma = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)

    pixels = decode_radiograph(_cv2(colour[..., ::-1], ".png"), intensity="minmax").pixels

    low, high = int(luma.min()), int(luma.max())
    expected = 255 * (luma.astype(float) - low) / (high - low)
    assert np.abs(pixels - expected).max() < 0.6


def test_sixteen_bit_transparency_is_black() -> None:
    alpha = np.full_like(DEEP, 65535)
    alpha[:20] = 0

    pixels = decode_radiograph(_cv2(np.dstack([DEEP] * 3 + [alpha]), ".png")).pixels

    assert not pixels[:20].any()
    assert pixels[20:].any()


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_in_which_white_is_zero_is_turned_round(dtype: type, compression: str) -> None:
    stored: NDArray[Any] = FILM.astype(dtype) * (1 if dtype is np.uint8 else 16)
    data = bytearray(_saved(Image.fromarray(stored), "TIFF", compression=compression))
    position = data.index(struct.pack("<HHIHH", 262, 3, 1, 1, 0))  # "black is zero"
    data[position + 8] = 0

    pixels = decode_radiograph(bytes(data)).pixels

    upside = 255 - FILM if dtype is np.uint8 else _stretched(stored.max() - stored)
    assert np.array_equal(pixels, upside)


def test_minmax_on_request() -> None:
    values = np.array([[0, 100], [200, 1000]], dtype=np.uint16)

    pixels = decode_radiograph(_saved(Image.fromarray(values), "PNG"), intensity="minmax").pixels

    assert pixels.tolist() == [[0, 26], [51, 255]]


@pytest.mark.parametrize("value", [0, 90, 255])
def test_constant_pictures_are_zeros_and_say_so(value: int) -> None:
    for values in (np.full((9, 7), value, np.uint8), np.full((9, 7), value * 256, np.uint16)):
        radiograph = decode_radiograph(_saved(Image.fromarray(values), "PNG"))
        assert radiograph.constant
        assert not radiograph.pixels.any()
        assert radiograph.pixels.shape == (9, 7)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"the file is empty \(0 bytes\)"),
        (b"Path,Label\nimages/a.png,1\n", r"not an image but text \(PNG"),
        (b"<!DOCTYPE html><html>404", "perhaps the message of a failed download"),
        (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", "an AppleDouble side file of macOS"),
        (bytes(4096), "all bytes are zero, as after an interrupted copy"),
        (b"GIF89a" + bytes(30), "a GIF picture, which is not read: convert it to PNG"),
        (b"\xff\xd8\xff\xf7" + bytes(30), "a JPEG-LS picture, .* imagecodecs"),
        (b"\x00\x00\x00\x0cjP  \r\n", "a JPEG 2000 picture, .* magick FILE NEW.png"),
        (b"\x00\x00\x00\x18ftypheic", "a HEIC, AVIF or video file, which is not read: convert"),
        (b"%PDF-1.7 and so on", "not an image but a PDF document"),
        (bytes([7, 200, 13, 9] * 50), r"not an image of a known format \(PNG"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        decode_radiograph(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.9, 0.98])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    data = _saved(Image.fromarray(_film(200, 160)).convert("RGB"), kind)

    with pytest.raises(UnreadableImageError, match=r"is truncated$|Missing dimensions"):
        decode_radiograph(data[: int(len(data) * share)])


def test_a_jpeg_whose_end_was_overwritten_with_zeros_is_refused() -> None:
    data = _saved(Image.fromarray(_film(200, 160)), "JPEG")
    half = len(data) // 2

    with pytest.raises(UnreadableImageError, match="the JPEG is truncated"):
        decode_radiograph(data[:half] + bytes(len(data) - half))


def test_bytes_after_a_jpeg_do_no_harm() -> None:
    data = _saved(GREY, "JPEG")

    expected = decode_radiograph(data).pixels

    assert np.array_equal(decode_radiograph(data + b"camera trailer").pixels, expected)


def test_one_wrong_bit_in_a_png_is_noticed() -> None:
    data = bytearray(_saved(GREY, "PNG", compress_level=0))
    data[len(data) // 2] ^= 1  # Pillow would show it

    with pytest.raises(UnreadableImageError, match="damaged PNG: wrong checksum in its IDAT part"):
        decode_radiograph(bytes(data))


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "WEBP"])
def test_several_pictures_in_a_file_are_refused(kind: str) -> None:
    other = Image.fromarray(FILM[::-1].copy()).convert("RGB")
    data = _saved(GREY.convert("RGB"), kind, save_all=True, append_images=[other])

    with pytest.raises(UnreadableImageError, match="of 2 pictures: a radiograph is one"):
        decode_radiograph(data)


def test_a_jpeg_of_12_bits_is_not_called_damaged() -> None:
    data = bytearray(_saved(GREY, "JPEG"))
    data[data.index(b"\xff\xc0") + 1 : data.index(b"\xff\xc0") + 5] = b"\xc1\x00\x0b\x0c"

    with pytest.raises(UnreadableImageError, match=r"not supported .*c.imread\('FILE'\)") as caught:
        decode_radiograph(bytes(data))
    assert "damaged" not in str(caught.value)


def test_sizes_above_200_megapixels_are_refused_by_their_header() -> None:
    tiny = zlib.compress(b"")
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 10_001, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for chunk in (header, b"IDAT" + tiny, b"IEND"):
        data += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))

    with pytest.raises(UnreadableImageError, match="20000 x 10001 pixels are 200 megapixels"):
        decode_radiograph(data)


@pytest.mark.parametrize(
    ("side", "bits", "colour_type", "size"),
    [
        # 1.5 MB of file, which took 9.8 GB of memory.
        (14_000, 16, 6, "14000 x 14000 pixels of 8 bytes are 1568 MB"),
        (14_000, 16, 2, "14000 x 14000 pixels of 6 bytes are 1176 MB"),
        (14_000, 8, 6, "14000 x 14000 pixels of 4 bytes are 784 MB"),
        (14_000, 16, 4, "14000 x 14000 pixels of 4 bytes are 784 MB"),
        (14_000, 16, 0, "14000 x 14000 pixels of 2 bytes are 392 MB"),
    ],
)
def test_channels_and_bytes_count_in_the_size_limit(
    side: int, bits: int, colour_type: int, size: str
) -> None:
    with pytest.raises(UnreadableImageError, match=f"{size}; more than 200 MB are not decoded"):
        decode_radiograph(_png((side, side, bits, colour_type), b""))


@pytest.mark.slow
def test_sizes_between_pillows_limits_and_ours_are_decoded_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = Image.new("1", (13_500, 13_400))  # 181 megapixels: an error for Pillow
        image.paste(1, (0, 0, 100, 100))
        pixels = decode_radiograph(_saved(image, "PNG")).pixels

    assert pixels.shape == (13_400, 13_500)
    assert pixels[0, 0] == 255


def test_missing_files_folders_and_forbidden_files_have_a_reason(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"^file not found$"):
        read_radiograph(tmp_path / "gone.png")
    with pytest.raises(UnreadableImageError, match="not a file: a folder"):
        read_radiograph(tmp_path)
    (tmp_path / "a.png").write_bytes(_saved(GREY, "PNG"))
    with pytest.raises(UnreadableImageError, match="not a file"):
        read_radiograph(tmp_path / "a.png" / "b.png")
    with pytest.raises(UnreadableImageError, match="cannot read the file"):
        read_radiograph("a\x00b.png")
    with pytest.raises(UnreadableImageError, match="cannot read the file: File name too long"):
        read_radiograph(tmp_path / ("x" * 300))
    if os.geteuid() != 0:  # root may read everything
        (tmp_path / "a.png").chmod(0)
        with pytest.raises(UnreadableImageError, match="no permission"):
            read_radiograph(tmp_path / "a.png")


def test_content_tells_the_format_and_names_may_hold_anything(tmp_path: Path) -> None:
    for name in ("röntgen_胸部_№7.bmp", "a, b & (c).jpg", "no suffix", "UPPER.CASE.TIF"):
        (tmp_path / name).write_bytes(_saved(GREY, "PNG"))
        assert np.array_equal(read_radiograph(tmp_path / name).pixels, FILM)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", True),
        ("A.DCM", True),
        ("CR-MONO1-10-chest", True),
        ("41591_2020_819_Fig1_HTML.webp-day10.png", True),
        ("1.2.840.113619.2.5", True),
        ("._a.png", False),
        (".DS_Store", False),
        ("train.CSV", False),
        ("README.md", False),
        ("cxrlearn.toml", False),
        ("features.h5", False),
    ],
)
def test_folder_scans_skip_side_files_by_name(name: str, expected: bool) -> None:  # noqa: FBT001
    assert is_image_candidate(Path("folder") / name) is expected


def test_original_defect_s1_an_unreadable_image_is_an_error_and_never_skipped() -> None:
    files = [_saved(GREY, "PNG"), b"interrupted copy", _saved(GREY, "PNG")]
    outcomes: list[tuple[int, ...] | None] = []
    for data in files:
        try:
            outcomes.append(decode_radiograph(data).pixels.shape)
        except UnreadableImageError:
            outcomes.append(None)

    assert outcomes == [FILM.shape, None, FILM.shape]


def test_original_defect_s8_pixels_are_eight_bit_and_of_one_channel() -> None:
    radiograph = decode_radiograph(_saved(GREY.convert("RGB"), "PNG"))

    assert radiograph.pixels.nbytes == FILM.size


@pytest.mark.parametrize(
    "data",
    [
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nSECRETSECRET\n",
        b"SECRET" * 20,
        b"\x01SECRET\x02" * 20,
        b"root:x:0:0:SECRET:/root:/bin/bash\n",
        b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\x06SECR" + b"ETSECRET" * 9,
        b"BM" + b"SECRET" * 30,
        b"II*\x00" + b"SECRET" * 30,
        b"\xff\xd8\xff" + b"SECRET" * 30,
        b"RIFF\x00\x00\x00\x00WEBP" + b"SECRET" * 30,
        bytes(128) + b"DICM" + b"SECRET" * 30,
    ],
    ids=lambda data: ascii(data[:12]),
)
def test_a_reason_quotes_nothing_of_the_file(data: bytes) -> None:
    """Reasons are stored in feature files, and a path may lead to anybody's file."""
    with pytest.raises(UnreadableImageError) as caught:
        decode_radiograph(data)
    reason = str(caught.value)
    assert "SECR" not in reason
    assert b"SECRET"[:4].hex(" ") not in reason


def test_a_small_file_takes_little_memory_to_read(tmp_path: Path) -> None:
    """Not as much as the largest file that is read."""
    path = tmp_path / "small.png"
    Image.fromarray(np.zeros((40, 40), dtype=np.uint8)).save(path)
    read_radiograph(path)  # imports what it needs
    with little_memory(50_000_000):
        assert read_radiograph(path).constant
