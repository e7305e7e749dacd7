"""Which images still need features: decided from names, sizes, times and hashes, without torch."""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cxrlearn.data.images import read_file, read_radiograph
from cxrlearn.data.regular_files import open_regular
from cxrlearn.errors import UnreadableImageError
from cxrlearn.features.rows import encode_id, place_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from numpy.typing import NDArray

    from cxrlearn.data.images import Intensity
    from cxrlearn.features.rows import Index


class Image(NamedTuple):
    """One image file under the name that its features get; a plain tuple, as there are many."""

    image_id: str
    """Path relative to the image root, with `/`."""
    root: str
    """The image root."""
    spelling: str | None = None
    """Its path, where that is not root and id joined (an accent in another form, for example)."""

    @property
    def path(self) -> str:
        """Where it is."""
        return os.path.join(self.root, self.image_id) if self.spelling is None else self.spelling  # noqa: PTH118 - Paths would take seconds


def image_at(image_id: str, root: str, path: str) -> Image:
    """Return the image with this id at `path`; where root and id say it, the path is not kept."""
    plain = Image(image_id, root)
    return plain if plain.path == path else Image(image_id, root, path)


def unique_images(images: Iterable[Image]) -> list[Image]:
    """Return every (id, path) once, sorted by id: the order of all work and of the file."""
    # Two files may have one id, in the two ways in which Unicode writes an accent.
    return sorted(set(images), key=lambda one: (one.image_id, one.root, one.spelling or ""))


class Catalogue:
    """Finds the rows of an index by (id, place, size, time) and by (id, content hash).

    The place keeps two datasets apart that share relative paths, even where sizes and times agree
    as well; a file that was moved is hashed once.
    """

    def __init__(self, index: Index) -> None:
        """Build the look-ups of an index; features stay on disk."""
        self._index = index
        self.not_on_disk: set[str] = set()
        """Ids of images that `rows` found although their files are missing."""

    @cached_property
    def _by_time(self) -> dict[tuple[bytes, int, int, int], int]:
        names, sizes = self._index.image_id.tolist(), self._index.size.tolist()
        seen = self._index.seen
        columns = (seen.row.tolist(), seen.place.tolist(), seen.mtime_ns.tolist())
        return {
            (names[row], place, sizes[row], mtime_ns): row
            for row, place, mtime_ns in zip(*columns, strict=True)
        }

    @cached_property
    def _by_content(self) -> dict[tuple[bytes, bytes], int]:
        columns = (self._index.image_id.tolist(), self._index.content_hash.tolist())
        keys = zip(*columns, strict=True)
        return {key: row for row, key in enumerate(keys)}

    def unchanged(self, image: Image) -> int | None:
        """Return the row of an image whose file has the size and time it had then, or None."""
        path = image.path
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path for each of 100,000 takes seconds
        except (OSError, ValueError):  # ValueError: a NUL character in the path
            return None
        name = encode_id(image.image_id)
        return self._by_time.get((name, place_of(path), status.st_size, status.st_mtime_ns))

    def find(self, image: Image, *, verify_content: bool = False) -> int | None:
        """Return the row that holds this image's features, hashing its file if need be, or None."""
        row = None if verify_content else self.unchanged(image)
        name = encode_id(image.image_id)
        if row is not None or not self._has_name(name):
            return row
        try:
            return self._by_content.get((name, file_digest(image.path)))
        except (OSError, ValueError):
            return None

    def _has_name(self, name: bytes) -> bool:
        # The index is sorted by id, as the format demands.
        names = self._index.image_id
        place = int(np.searchsorted(names, name))
        return place < len(names) and bool(names[place] == name)

    def rows(self, images: Sequence[Image]) -> NDArray[np.intp]:
        """Return the row of every image, -1 where there is none.

        An image whose file is missing is found by its id alone, if it was embedded from that very
        place, or if none of the images is on disk: features are often copied without the images.
        """
        found = [self.find(image) for image in images]
        missing = [
            number
            for number, row in enumerate(found)
            if row is None and not os.path.lexists(images[number].path)
        ]
        for number in missing:
            image = images[number]
            found[number] = self._by_name(image, anywhere=len(missing) == len(images))
            if found[number] is not None:
                self.not_on_disk.add(image.image_id)
        return np.array([-1 if row is None else row for row in found], dtype=np.intp)

    def _by_name(self, image: Image, *, anywhere: bool) -> int | None:
        """Return the row last seen at an image's place; else, `anywhere`, the only one so named."""
        names, name = self._index.image_id, encode_id(image.image_id)
        first, end = (int(np.searchsorted(names, name, side)) for side in ("left", "right"))
        seen, order = self._index.seen, self._seen_by_row
        low, high = np.searchsorted(seen.row, [first, end], sorter=order)
        place = place_of(image.path)
        here = [sighting for sighting in order[low:high] if seen.place[sighting] == place]
        if here:
            return int(seen.row[max(here, key=seen.mtime_ns.__getitem__)])
        return first if anywhere and end - first == 1 else None

    @cached_property
    def _seen_by_row(self) -> NDArray[np.intp]:
        return np.argsort(self._index.seen.row, kind="stable")


def file_digest(path: str) -> bytes:
    """Return the SHA-256 of a file as 64 ASCII digits.

    Raises:
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest().encode()


def without_unreadable(
    images: Sequence[Image], failed_before: Container[str], intensity: Intensity
) -> tuple[list[Image], dict[str, str]]:
    """Try images that are likely to fail here, so that they alone do not start the backbone.

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
            elif not os.path.exists(image.path):  # noqa: PTH110 - as above
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
    row = catalogue.unchanged(image)
    return row is not None and catalogue.find(image, verify_content=True) == row
