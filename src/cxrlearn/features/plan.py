"""Which images still need features, decided from names, sizes, times and hashes: torch is not imported."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cxrlearn.features.store import Index

HASH_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Image:
    """One image file under the name that its features get."""

    image_id: str
    """Path relative to the image root, with `/`."""
    path: Path
    """Where it is."""


def unique_images(images: Iterable[Image]) -> list[Image]:
    """Return every (id, path) once, sorted by id: the order of all work and of the file."""
    return sorted(dict.fromkeys(images), key=lambda image: (image.image_id, str(image.path)))


class Catalogue:
    """Finds the rows of an index by (id, size, time) and by (id, content hash)."""

    def __init__(self, index: Index) -> None:
        """Build the look-ups; two small dicts, features stay on disk."""
        columns = (index.image_id, index.content_hash, index.size.tolist(), index.mtime_ns.tolist())
        self._index = index
        self._by_time: dict[tuple[str, int, int], int] = {}
        self._by_content: dict[tuple[str, bytes], int] = {}
        for row, (name, digest, size, mtime_ns) in enumerate(zip(*columns, strict=True)):
            self._by_time[name, size, mtime_ns] = row
            self._by_content[name, bytes(digest)] = row

    def unchanged(self, image: Image) -> int | None:
        """Return the row of an image whose file has the size and time it had then, or None."""
        try:
            status = image.path.stat()
        except OSError:
            return None
        return self._by_time.get((image.image_id, status.st_size, status.st_mtime_ns))

    def find(self, image: Image, *, verify_content: bool = False) -> int | None:
        """Return the row that holds this image's features, hashing its file if need be, or None."""
        row = None if verify_content else self.unchanged(image)
        if row is not None or not self._has_name(image.image_id):
            return row
        try:
            return self._by_content.get((image.image_id, file_digest(image.path)))
        except OSError:
            return None

    def _has_name(self, image_id: str) -> bool:
        # The index is sorted by id, as the format demands.
        names = self._index.image_id
        place = int(np.searchsorted(names, image_id)) if len(names) else 0
        return place < len(names) and names[place] == image_id

    def rows(self, images: Sequence[Image]) -> NDArray[np.intp]:
        """Return the row of every image, -1 where there is none."""
        found = (self.find(image) for image in images)
        return np.array([-1 if row is None else row for row in found], dtype=np.intp)


def file_digest(path: Path) -> bytes:
    """Return the SHA-256 of a file as 64 ASCII digits.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest().encode()


def images_to_embed(
    images: Sequence[Image], catalogue: Catalogue, *, verify_content: bool
) -> list[Image]:
    """Return the images that are new, changed, or touched since their features were computed.

    A touched image whose content is the same is on the list too: its features will be copied and
    its new time written down. Missing files are on the list, to be reported as failed.
    """
    if verify_content:
        return [image for image in images if not _verified(image, catalogue)]
    return [image for image in images if catalogue.unchanged(image) is None]


def _verified(image: Image, catalogue: Catalogue) -> bool:
    return (
        catalogue.unchanged(image) is not None
        and catalogue.find(image, verify_content=True) is not None
    )
