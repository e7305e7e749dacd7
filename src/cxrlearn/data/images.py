"""Radiograph files to 8-bit grey, upright, bone bright: PNG, JPEG, TIFF, BMP, WebP and DICOM.

The content tells the format, never the name.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cxrlearn.data.intensity import Intensity, Radiograph
from cxrlearn.data.pictures import decode_picture
from cxrlearn.data.reasons import JPEG_TO_PNG, TO_PNG
from cxrlearn.data.regular_files import open_regular
from cxrlearn.data.size_limit import MAX_FILE_BYTES
from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Intensity", "Radiograph", "decode_radiograph", "is_image_candidate", "read_radiograph"]

_PICTURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
)
_JPEG_LS: Final = b"\xff\xd8\xff\xf7"
_OTHER_PICTURES: Final = (
    (_JPEG_LS, "JPEG-LS"),
    (b"GIF8", "GIF"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"P5", "PGM"),
    (b"P6", "PPM"),
)
"""First bytes of pictures that are not read."""
_STRANGERS: Final = (
    (b"\x00\x05\x16\x07", "an AppleDouble side file of macOS"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"<", "a text in HTML or XML, perhaps the message of a failed download"),
)
"""First bytes of what is met under the name of a picture, and a word for it."""

_READABLE = "PNG, JPEG, TIFF, BMP, WebP and DICOM are read"
_OTHER_SUFFIXES: Final = """
    .csv .tsv .txt .json .jsonl .md .rst .toml .yaml .yml .xml .html .htm .pdf .log .ini .cfg .py
    .sh .ipynb .parquet .h5 .hdf5 .npy .npz .pkl .pt .pth .safetensors .zip .gz .tar .tgz .7z .rar
    .xls .xlsx .doc .docx .db .sqlite .bak .tmp .part .lock .sha256 .md5
"""
_NO_IMAGES = frozenset(_OTHER_SUFFIXES.split())


def decode_radiograph(data: bytes, *, intensity: Intensity = "percentile") -> Radiograph:
    """Decode the bytes of one radiograph file.

    8-bit pictures stay as they are; deeper ones, and DICOM files without display settings, are
    stretched from their own 0.5 to 99.5 percentiles, or from their smallest and largest value
    under "minmax".

    Args:
        data: the whole file.
        intensity: how values of more than 8 bits become grey.

    Returns:
        (H, W) uint8 grey, upright, bone bright.

    Raises:
        UnreadableImageError: the reason, without the name of the file.
    """
    kind = _sniff(data)
    try:
        return _decode(data, kind, intensity)
    except MemoryError as error:
        raise UnreadableImageError(f"not enough memory to decode this {kind} file") from error


def _decode(data: bytes, kind: str, intensity: Intensity) -> Radiograph:
    # The other formats do without pydicom and tifffile.
    if kind == "DICOM":
        from cxrlearn.data.dicom import decode_dicom  # noqa: PLC0415

        return decode_dicom(data, intensity)
    if kind == "TIFF":
        from cxrlearn.data.tiff import decode_tiff  # noqa: PLC0415

        return decode_tiff(data, intensity)
    return decode_picture(data, kind, intensity)


def read_radiograph(path: str | Path, *, intensity: Intensity = "percentile") -> Radiograph:
    """Read and decode one radiograph file; see `decode_radiograph`.

    Raises:
        UnreadableImageError: the reason, without the name of the file.
    """
    return decode_radiograph(read_file(path), intensity=intensity)


def read_file(path: str | Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        UnreadableImageError: it is missing, no regular file, larger than `MAX_FILE_BYTES`, or may
            not be read.
    """
    try:
        with open_regular(path) as file:
            # Room for all that is asked for is made before anything is read.
            return file.read(min(os.fstat(file.fileno()).st_size, MAX_FILE_BYTES))
    except FileNotFoundError as error:
        raise UnreadableImageError("file not found") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise UnreadableImageError(
            "not a file: a folder of that name, or one in its path is a file"
        ) from error
    except PermissionError as error:
        raise UnreadableImageError("no permission to read the file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise UnreadableImageError(f"cannot read the file: {error.args[-1]}") from error


def is_image_candidate(path: Path) -> bool:
    """Tell by its name whether a file of a folder scan may be a radiograph.

    DICOM files often have no suffix, so only hidden files, side files (`._name`) and well-known
    suffixes of other kinds are left out.
    """
    return not path.name.startswith(".") and path.suffix.lower() not in _NO_IMAGES


def _sniff(data: bytes) -> str:
    """Return a key of `OPENERS`, or "DICOM"."""
    if not data:
        raise UnreadableImageError("the file is empty (0 bytes)")
    if data[128:132] == b"DICM":  # before the others: the preamble may be a TIFF header
        return "DICOM"
    for start, kind in _PICTURES:
        if data.startswith(start) and not data.startswith(_JPEG_LS):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:2] in {b"\x08\x00", b"\x02\x00", b"\x00\x08", b"\x00\x02"}:
        from cxrlearn.data.dicom import looks_like_dicom  # noqa: PLC0415 - as above

        if looks_like_dicom(data):
            return "DICOM"
    raise UnreadableImageError(_what_else(data))


def _what_else(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return f"a HEIC, AVIF or video file, which is not read: {TO_PNG}"
    for start, name in _OTHER_PICTURES:
        if data.startswith(start):
            way_out = JPEG_TO_PNG if start == _JPEG_LS else TO_PNG
            return f"a {name} picture, which is not read: {way_out}"
    for start, name in _STRANGERS:
        if data.startswith(start):
            return f"not an image but {name} ({_READABLE})"
    return _unknown(data)


def _unknown(data: bytes) -> str:
    """Say what kind of file it may be, and nothing of what is in it.

    Reasons are stored in feature files, which are shared; a path may lead to anybody's file.
    """
    if not data.strip(b"\x00"):
        return "not an image: all bytes are zero, as after an interrupted copy"
    head = data[:24]
    if head.isascii() and not any(byte < 32 and byte not in b"\t\r\n" for byte in head):
        return f"not an image but text ({_READABLE})"
    return f"not an image of a known format ({_READABLE})"
