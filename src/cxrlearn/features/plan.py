"""Which images still need features: decided from names, sizes, times and hashes, without torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.data.images import read_file, read_radiograph
from cxrlearn.errors import UnreadableImageError
from cxrlearn.features.rows import place_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cxrlearn.data.images import Intensity
    from cxrlearn.features.rows import Index

HASH_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
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
    """Finds the rows of an index by (id, place, size, time) and by (id, content hash).

    The place keeps two datasets apart that share relative paths, even where sizes and times agree
    as well; a file that was moved is hashed once.
    """

    def __init__(self, index: Index) -> None:
        """Build the look-ups; two small dicts, features stay on disk."""
        seen = index.seen
        names, sizes = index.image_id, index.size.tolist()
        self._index = index
        self._by_time: dict[tuple[str, int, int, int], int] = {
            (names[row], place, sizes[row], mtime_ns): row
            for row, place, mtime_ns in zip(
                seen.row.tolist(), seen.place.tolist(), seen.mtime_ns.tolist(), strict=True
            )
        }
        self._by_content: dict[tuple[str, bytes], int] = {
            key: row for row, key in enumerate(zip(names, index.content_hash.tolist(), strict=True))
        }

    def unchanged(self, image: Image) -> int | None:
        """Return the row of an image whose file has the size and time it had then, or None."""
        try:
            status = image.path.stat()
        except (OSError, ValueError):  # ValueError: a NUL character in the path
            return None
        place = place_of(image.path)
        return self._by_time.get((image.image_id, place, status.st_size, status.st_mtime_ns))

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


def without_unreadable(
    images: Sequence[Image], failed_before: Container[str], intensity: Intensity
) -> tuple[list[Image], dict[str, str]]:
    """Try images that are likely to fail here, so that only they do not start the backbone.

    Args:
        images: images without features.
        failed_before: ids of images that could not be read by an earlier run.
        intensity: as for `decode_radiograph`.

    Returns:
        The images worth a full attempt, and id to reason for those that still cannot be read.
    """
    kept: list[Image] = []
    failed: dict[str, str] = {}
    for image in images:
        try:
            if image.image_id in failed_before:
                read_radiograph(image.path, intensity=intensity)
            elif not image.path.exists():
                read_file(image.path)
        except UnreadableImageError as error:
            failed[image.image_id] = str(error)
        else:
            kept.append(image)
    return kept, failed


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
