"""The rows of a feature file without their features, and where their images were seen."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


SEEN_AT_ONCE = 8192
"""Hashes that are collected before they are sorted in."""


@dataclass(frozen=True)
class Sightings:
    """Which files were found to hold the content of which row; arrays of length M.

    One content can be in several places: two datasets share images under equal names, each file
    with a time of its own.
    """

    row: NDArray[np.int64]
    """Row whose content it is."""
    place: NDArray[np.uint64]
    """`place_of` the file."""
    mtime_ns: NDArray[np.int64]
    """The file's modification time when it was read."""


@dataclass(frozen=True)
class Index:
    """The rows of a feature file without their features; arrays of length N, in file order."""

    image_id: NDArray[np.bytes_]
    """Path relative to the image root, with `/`, in UTF-8 (see `encode_id`)."""
    content_hash: NDArray[np.bytes_]
    """SHA-256 of the image file, 64 ASCII digits."""
    size: NDArray[np.int64]
    """Bytes of the image file."""
    mtime_ns: NDArray[np.int64]
    """Its modification time; the latest, where it was seen in several places."""
    seen: Sightings
    """Where the rows' images were found."""

    def __len__(self) -> int:
        """Return N."""
        return len(self.image_id)


def no_sightings() -> Sightings:
    """Return the sightings of a file that has none."""
    none = np.empty(0, dtype=np.int64)
    return Sightings(none, np.empty(0, dtype=np.uint64), none)


def empty_index() -> Index:
    """Return the index of a file that is not there."""
    none = np.empty(0, dtype=np.int64)
    return Index(np.empty(0, dtype="S1"), np.empty(0, dtype="S64"), none, none, no_sightings())


class Contents:
    """Finds rows by the hash of their image; compact, as a dict of so many would not be."""

    def __init__(self, content_hash: NDArray[np.bytes_]) -> None:
        """Sort the (N,) hashes of an index."""
        self._order = np.argsort(content_hash, kind="stable")
        self._sorted = content_hash[self._order]

    def find(self, content_hash: bytes) -> int | None:
        """Return the first row of that content, or None."""
        place = int(np.searchsorted(self._sorted, content_hash))
        if place == len(self._sorted) or self._sorted[place] != content_hash:
            return None
        return int(self._order[place])

    def __contains__(self, content_hash: object) -> bool:
        """Tell whether a row has that content."""
        return isinstance(content_hash, bytes) and self.find(content_hash) is not None


class SeenContents:
    """A set of hashes that grows; 32 bytes each, where a set of Python's takes four times that."""

    def __init__(self) -> None:
        """Begin empty."""
        self._recent: set[bytes] = set()
        self._sorted = np.empty(0, dtype="S32")

    def add(self, content_hash: bytes) -> None:
        """Take the 64 ASCII digits of a hash."""
        self._recent.add(bytes.fromhex(content_hash.decode()))
        if len(self._recent) >= SEEN_AT_ONCE:
            recent = np.array(list(self._recent), dtype="S32")
            self._sorted = np.sort(np.concatenate([self._sorted, recent]), kind="stable")
            self._recent.clear()

    def __contains__(self, content_hash: bytes) -> bool:
        """Tell whether a hash was added."""
        raw = bytes.fromhex(content_hash.decode())
        if raw in self._recent:
            return True
        place = int(np.searchsorted(self._sorted, raw))
        # numpy drops zeros at the end of a string; on both sides, so they compare as they should.
        return place < len(self._sorted) and bool(self._sorted[place] == raw.rstrip(b"\0"))


def encode_id(image_id: str) -> bytes:
    """Return an image id in UTF-8; bytes of a file name that are not UTF-8 stay as they are."""
    return image_id.encode("utf-8", "surrogateescape")


def place_of(path: str) -> int:
    """Return a 64-bit number for where a file lies, which tells it from all other files.

    A hash of the absolute path: the paths of somebody's machine do not go into the file.
    """
    absolute = os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 - a Path would take seconds
    digest = hashlib.blake2b(os.fsencode(absolute), digest_size=8).digest()
    return int.from_bytes(digest, "little")
