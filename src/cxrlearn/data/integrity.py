"""Is a picture file whole? Looked up in its structure, without decoding it.

Decoders are built to show whatever they can. Half a radiograph with labels is worse than none, so
a file has to be as long as it says, and the parts of a PNG have to match their checksums.
"""

from __future__ import annotations

import zlib

from cxrlearn.errors import UnreadableImageError

_JPEG_END, _JPEG_SCAN = b"\xff\xd9", b"\xff\xda"


def check_whole(data: bytes, kind: str) -> None:
    """Refuse a truncated PNG, JPEG, TIFF or WebP, and a PNG with a wrong checksum.

    Args:
        data: the whole file, beginning as a `kind` does.
        kind: the name of the format.

    Raises:
        UnreadableImageError: the file is truncated or damaged.
    """
    if kind == "PNG":
        _check_png(data)
    elif kind == "JPEG":
        # Trailing bytes are common; a missing end is not, and libjpeg may paint the rest grey.
        if not data.endswith(_JPEG_END) and data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN):
            raise truncated(kind)
    elif kind == "WebP":
        if len(data) < 8 + int.from_bytes(data[4:8], "little"):
            raise truncated(kind)
    elif kind == "TIFF" and data[2:4] in {b"*\x00", b"\x00*"}:
        directory = int.from_bytes(data[4:8], "little" if data[:2] == b"II" else "big")
        if len(data) < directory + 2:
            raise truncated(kind)


_PNG_PARTS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})


def truncated(kind: str) -> UnreadableImageError:
    """Return the error for a file that ends too early."""
    return UnreadableImageError(f"the {kind} is truncated")


def _check_png(data: bytes) -> None:
    """Check the checksum of every chunk that matters; Pillow skips those of the pixels."""
    position, kind, view = 8, b"", memoryview(data)
    while kind != b"IEND":
        head = data[position : position + 8]
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        end = position + 12 + length
        if len(head) < 8 or end > len(data):
            raise truncated("PNG")
        # A capital first letter marks the chunks without which there is no picture.
        stored = int.from_bytes(data[end - 4 : end], "big")
        if kind[:1].isupper() and zlib.crc32(view[position + 4 : end - 4]) != stored:
            part = f"its {kind.decode('ascii')}" if kind in _PNG_PARTS else "an unknown"
            raise UnreadableImageError(f"damaged PNG: wrong checksum in {part} part")
        position = end
