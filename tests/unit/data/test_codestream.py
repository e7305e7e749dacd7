"""What is checked of a compressed frame before GDCM sees it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cxrlearn.data.codestream import Container, sound_codestream
from cxrlearn.errors import UnreadableImageError

_BASELINE, _LOSSLESS, _JPEG_LS, _JPEG_2000 = (
    f"1.2.840.10008.1.2.4.{last}" for last in (50, 70, 80, 90)
)
_CONTAINER = Container(rows=40, columns=48, bits_allocated=8)


def _film() -> Image.Image:
    values = np.linspace(0, 255, 40 * 48).astype(np.uint8).reshape(40, 48)
    return Image.fromarray(values)


def _jpeg(mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    _film().convert(mode).save(buffer, "JPEG", quality=90, comment=b"a comment")
    return buffer.getvalue()


def _jpeg_2000(mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    _film().convert(mode).save(buffer, "JPEG2000", no_jp2=True, num_resolutions=3)
    return buffer.getvalue()


def test_side_matter_is_left_out_and_the_pixels_stay() -> None:
    frame = _jpeg()

    sound = sound_codestream(frame + b"\x00", _BASELINE, _CONTAINER)

    assert b"JFIF" in frame
    assert b"JFIF" not in sound
    assert b"a comment" not in sound
    with Image.open(io.BytesIO(frame)) as before, Image.open(io.BytesIO(sound)) as after:
        assert np.array_equal(np.asarray(before), np.asarray(after))


def test_a_sound_jpeg_2000_frame_passes_unchanged() -> None:
    frame = _jpeg_2000()

    assert sound_codestream(frame, _JPEG_2000, _CONTAINER) == frame


def _changed(frame: bytes, marker: bytes, offset: int, new: bytes) -> bytes:
    at = frame.index(marker) + offset
    return frame[:at] + new + frame[at + len(new) :]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "do not begin as a JPEG does"),
        (_jpeg()[:2], "truncated: the compressed pixels are missing"),
        (_jpeg()[:300], "a marker is missing or has a wrong length"),
        (_jpeg()[:-2], "truncated: the compressed pixels have no end"),
        (_jpeg("RGB"), r"picture in colour \(3 channels\).*gdcmconv --raw"),
        (_changed(_jpeg(), b"\xff\xc0", 5, b"\x00\x29"), "48 x 41 pixels.*header says 48 x 40"),
        (_changed(_jpeg(), b"\xff\xc0", 1, b"\xc2"), r"another process \(SOF2\) .* dcmdjpeg"),
        (_changed(_jpeg(), b"\xff\xc0", 11, b"\x00"), "the frame header makes no sense"),
        (_changed(_jpeg(), b"\xff\xc0", 2, b"\x00\x08"), "a wrong length"),
        (_changed(_jpeg(), b"\xff\xc4", 5, b"\xff\xff"), "a Huffman table"),
        (_changed(_jpeg(), b"\xff\xc4", 4, b"\x55"), "a Huffman table makes no sense"),
        (_changed(_jpeg(), b"\xff\xdb", 4, b"\x77"), "a quantization table makes no sense"),
        (_changed(_jpeg(), b"\xff\xda", 4, b"\x02"), "the scan header makes no sense"),
        (_changed(_jpeg(), b"\xff\xda", 30, b"\xff\xc4"), "a marker stands amid the pixels"),
        (_changed(_jpeg(), b"\xff\xc0", 1, b"\xfe"), "0 frame headers instead of one"),
    ],
)
def test_damaged_jpeg_frames_are_refused(frame: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        sound_codestream(frame, _BASELINE, _CONTAINER)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (_jpeg(), "do not begin as JPEG 2000 does"),
        (_jpeg_2000("RGB"), r"picture in colour \(3 channels\).*gdcmconv --raw"),
        (_changed(_jpeg_2000(), b"\xff\x51", 6, b"\x00\x00\x01\x00"), "256 x 40 pixels"),
        (_changed(_jpeg_2000(), b"\xff\x51", 14, b"\x00\x00\x00\x05"), "35|own corner"),
        (_changed(_jpeg_2000(), b"\xff\x51", 30, b"\x00\x00\x00\x05"), "own corner"),
        (_changed(_jpeg_2000(), b"\xff\x51", 22, b"\x00\x00\x00\x01" * 2), "tiles without a size"),
        (_changed(_jpeg_2000(), b"\xff\x51", 40, b"\x25"), "38 bits a pixel"),
        (_changed(_jpeg_2000(), b"\xff\x52", 9, b"\x77"), "the coding style makes no sense"),
        (_changed(_jpeg_2000(), b"\xff\x52", 9, b"\x10"), "the quantization makes no sense"),
        (_changed(_jpeg_2000(), b"\xff\x52", 1, b"\x64"), "the coding style is missing"),
    ],
)
def test_damaged_jpeg_2000_frames_are_refused(frame: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        sound_codestream(frame, _JPEG_2000, _CONTAINER)


def test_a_depth_that_does_not_fit_the_container_is_refused() -> None:
    deep = Container(rows=40, columns=48, bits_allocated=16)

    with pytest.raises(
        UnreadableImageError, match=r"8 bits a pixel, compressed, .* of 16 bits .* not supported"
    ):
        sound_codestream(_jpeg(), _BASELINE, deep)


@pytest.mark.parametrize("syntax", [_LOSSLESS, _JPEG_LS])
def test_another_process_than_the_syntax_says_is_refused(syntax: str) -> None:
    with pytest.raises(UnreadableImageError, match=r"another process \(SOF0\)"):
        sound_codestream(_jpeg(), syntax, _CONTAINER)
