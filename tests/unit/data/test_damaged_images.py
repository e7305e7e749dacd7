"""Damaged bytes decode or are unreadable: no other exception, no warning."""

from __future__ import annotations

import io
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from cxrlearn.data.images import decode_radiograph
from cxrlearn.errors import UnreadableImageError
from tests.support.dicoms import (
    bare_bytes,
    dataset_of,
    dicom,
    encapsulated,
    file_bytes,
    lookup_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_FILM = np.linspace(0, 255, 30 * 25).astype(np.uint8).reshape(30, 25)


def _saved(image: Image.Image, kind: str, compression: str | None = None) -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    image.save(buffer, kind, exif=exif, compression=compression)
    return buffer.getvalue()


def _tifffile(values: NDArray[Any], **options: Any) -> bytes:  # noqa: ANN401 - tifffile's
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **({"photometric": "minisblack", "metadata": None} | options))
    return buffer.getvalue()


def _in_colour(photometric: str) -> bytes:
    dataset = dataset_of(np.repeat(_FILM, 3, axis=1), PhotometricInterpretation=photometric)
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.Columns = _FILM.shape[1]
    return file_bytes(dataset)


def _rle() -> bytes:
    dataset = dataset_of(_FILM)
    dataset.compress(RLELossless)
    return file_bytes(dataset)


def _with_tables() -> bytes:
    return dicom(
        _FILM.astype(np.uint16),
        ModalityLUTSequence=lookup_table(list(range(256)), first=0, bits=8),
        VOILUTSequence=lookup_table(bytes(range(256)), first=0, bits=8),
        PixelPaddingValue=0,
    )


_GREY = Image.fromarray(_FILM)
FILES: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: _saved(_GREY, "PNG"),
    "PNG palette": lambda: _saved(_GREY.convert("P"), "PNG"),
    "PNG 16 bit": lambda: _saved(Image.fromarray(_FILM.astype(np.uint16) * 16), "PNG"),
    "JPEG": lambda: _saved(_GREY, "JPEG"),
    "JPEG colour": lambda: _saved(_GREY.convert("RGB"), "JPEG"),
    "TIFF": lambda: _saved(_GREY, "TIFF"),
    "TIFF float": lambda: _saved(Image.fromarray(_FILM.astype(np.float32)), "TIFF"),
    "TIFF int8": lambda: _tifffile(_FILM.view(np.int8)),
    "TIFF planes": lambda: _tifffile(
        np.stack([_FILM.astype(np.uint16)] * 3), photometric="rgb", planarconfig="separate"
    ),
    "TIFF deflated float64": lambda: _tifffile(_FILM.astype(np.float64), compression="deflate"),
    "TIFF group 4": lambda: _saved(_GREY.convert("1"), "TIFF", "group4"),
    "BMP": lambda: _saved(_GREY, "BMP"),
    "WebP": lambda: _saved(_GREY.convert("RGB"), "WEBP"),
    "DICOM": lambda: dicom(_FILM, WindowCenter=[128, 2], WindowWidth=[200, 4]),
    "DICOM implicit": lambda: dicom(_FILM.astype(np.uint16), syntax=ImplicitVRLittleEndian),
    "DICOM without preamble": lambda: bare_bytes(dataset_of(_FILM)),
    "DICOM with tables": _with_tables,
    "DICOM RGB": lambda: _in_colour("RGB"),
    "DICOM RLE": _rle,
    "DICOM JPEG": lambda: encapsulated(_saved(_GREY, "JPEG"), _FILM, JPEGBaseline8Bit),
}


@cache  # pydicom draws a new identifier with each compressed file
def _file(name: str) -> bytes:
    return FILES[name]()


def _decodes_or_is_unreadable(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            radiograph = decode_radiograph(data)
        except UnreadableImageError as error:
            reason = str(error)
        else:
            assert radiograph.pixels.dtype == np.uint8
            assert radiograph.pixels.ndim == 2
            return
    assert reason
    assert reason.isprintable()
    assert " at 0x" not in reason


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_corrupted_files_decode_or_are_unreadable(name: str, data: st.DataObject) -> None:
    content = bytearray(_file(name))
    size = len(content)
    places = st.one_of(st.integers(0, size - 1), st.integers(0, min(size, 700) - 1))
    for place, value in data.draw(
        st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=12)
    ):
        content[place] = value

    _decodes_or_is_unreadable(bytes(content))


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_truncated_files_decode_or_are_unreadable(name: str, data: st.DataObject) -> None:
    content = _file(name)

    _decodes_or_is_unreadable(content[: data.draw(st.integers(0, len(content) - 1))])


@settings(max_examples=200, deadline=None)
@given(
    start=st.sampled_from(
        [
            b"",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff",
            b"II*\x00",
            b"MM\x00*",
            b"BM",
            b"\x08\x00",
            b"RIFF\x20\x00\x00\x00WEBP",
            bytes(128) + b"DICM",
            b"\x02\x00\x00\x00UL\x04\x00",
        ]
    ),
    rest=st.binary(max_size=200),
)
def test_any_bytes_decode_or_are_unreadable(start: bytes, rest: bytes) -> None:
    _decodes_or_is_unreadable(start + rest)
