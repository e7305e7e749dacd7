"""Decoded, resized pictures on disk, shared by all workers and ranks: `--cache-dir`.

One small file an image, mapped into memory, so that processes share one copy in the system's page
cache and hold nothing of their own. A file is written under a name of its own and moved; any number
of processes may write the same one. What does not agree with its checksum, its image's path, size
and time, or its own length, counts as absent and is written anew.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import uuid4

import numpy as np

from cxrlearn.runtime.atomic import disk_errors, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_MAGIC: Final = b"cxrgrey1"
_HEADER: Final = struct.Struct("<8s32sQQIIL")
"""Magic, SHA-256 of the path, size, modification time, height, width, checksum; little-endian."""
_RESCUE: Final = "Choose another --cache-dir, or none."


class ImageFile(NamedTuple):
    """A file as it was when it was looked at."""

    path: str
    """Where it is."""
    size: int
    """Bytes."""
    mtime_ns: int
    """Its modification time."""


@dataclass(frozen=True)
class DecodedCache:
    """The pictures that one rule makes, by the path, size and modification time of their files.

    Unchanged size and time mean unchanged content, as in feature files. A changed file takes the
    place of its former picture, so the cache never holds more than one picture an image and rule.
    """

    folder: Path
    """Of this rule's pictures."""

    def get(self, image: ImageFile) -> NDArray[np.uint8] | None:
        """Return the (h, w) uint8 picture of a file, read-only and mapped; None: not there."""
        try:
            with self._place(image).open("rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # ValueError: an empty file
            return None
        return _picture(content, image)

    def put(self, image: ImageFile, picture: NDArray[np.uint8]) -> None:
        """Keep the (h, w) uint8 picture of a file.

        Raises:
            DiskError: it cannot be written; nothing half-written stays.
        """
        place = self._place(image)
        temporary = place.with_name(f".{uuid4().hex}.tmp")
        pixels = np.ascontiguousarray(picture).tobytes()
        with disk_errors(place, _RESCUE):
            place.parent.mkdir(exist_ok=True)
            try:
                temporary.write_bytes(_header(image, picture.shape, pixels) + pixels)
                temporary.replace(place)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise

    def _place(self, image: ImageFile) -> Path:
        name = _digest(image.path).hex()
        return self.folder / name[:2] / name[2:34]


def open_cache(folder: Path, rule: Mapping[str, object]) -> DecodedCache:
    """Make or find the cache of one rule below `folder`.

    Args:
        folder: what `--cache-dir` names; it may serve many rules and data sets.
        rule: everything that decides the pixels of a picture apart from the file, as JSON-ready
            data: steps and their sizes, intensity, generation of the decoders.

    Raises:
        DiskError: the folder cannot be made or written to.
    """
    text = json.dumps(rule, sort_keys=True, indent=1)
    own = folder / f"decoded-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    with disk_errors(own, _RESCUE):
        own.mkdir(parents=True, exist_ok=True)
    if not (own / "rule.json").exists():
        write_text(own / "rule.json", text + "\n", step="cache-rule")
    return DecodedCache(own)


def _digest(path: str) -> bytes:
    return hashlib.sha256(os.fsencode(os.path.abspath(path))).digest()  # noqa: PTH100 - resolve() asks the disk for every folder on the way


def _header(image: ImageFile, shape: tuple[int, ...], pixels: bytes) -> bytes:
    height, width = shape
    start = (_MAGIC, _digest(image.path), image.size, image.mtime_ns, height, width)
    checksum = zlib.crc32(pixels, zlib.crc32(_HEADER.pack(*start, 0)))
    return _HEADER.pack(*start, checksum)


def _picture(content: mmap.mmap, image: ImageFile) -> NDArray[np.uint8] | None:
    """Return the picture of a mapped file if it is whole and that of `image`."""
    if len(content) < _HEADER.size:
        return None
    *start, checksum = _HEADER.unpack_from(content)
    magic, digest, size, mtime_ns, height, width = start
    if (magic, digest) != (_MAGIC, _digest(image.path)):
        return None
    if (size, mtime_ns) != (image.size, image.mtime_ns):
        return None
    if len(content) != _HEADER.size + height * width:
        return None
    pixels = np.frombuffer(content, np.uint8, offset=_HEADER.size)
    if zlib.crc32(pixels.data, zlib.crc32(_HEADER.pack(*start, 0))) != checksum:
        return None
    return pixels.reshape(height, width)
