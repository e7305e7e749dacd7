"""The parts of a feature file in the making: closed files that survive whatever ends the run."""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cxrlearn.errors import DiskError, FeatureFileError, OtherFileError
from cxrlearn.features.rows import Contents, Index, Sightings, encode_id
from cxrlearn.features.store import (
    check_whole,
    read_index,
    read_info,
    read_rows,
    write_feature_file,
)
from cxrlearn.runtime.atomic import disk_errors, replace_file, write_step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cxrlearn.features.fingerprint import Fingerprint
    from cxrlearn.features.store import FileInfo


_PART = re.compile(r"\d{20}-[0-9a-f]{8}\.h5")
_TEMPORARY = re.compile(r"\..+\.h5\.\d+\.tmp")

PART_BYTES = 16 * 1024 * 1024
"""A part is closed at the latest when its features take this much."""


class Row(NamedTuple):
    """One row on its way to the disk, but for its features."""

    image_id: str
    """Path relative to the image root."""
    content_hash: bytes
    """64 ASCII digits."""
    size: int
    """Bytes of the image file."""
    mtime_ns: int
    """Its modification time."""
    place: int
    """`place_of` the file."""


@dataclass
class PartWriter:
    """Collects rows and closes them into parts, so that a killed run loses only the open part."""

    folder: Path
    """`<file>.parts/`."""
    fingerprint: Fingerprint
    """Written into every part, so that parts of other settings are recognised."""
    provenance: dict[str, object]
    """Versions, host, time."""
    part_rows: int = 4096
    """A part is closed at this many rows…"""
    part_seconds: float = 30.0
    """…or this long after the last one."""
    _rows: list[Row] = field(default_factory=list)
    _closed: float = field(default_factory=time.monotonic)
    _written: list[Path] = field(default_factory=list)

    @cached_property
    def _features(self) -> NDArray[np.float32]:
        # One buffer for all parts. If the rows were kept where the network left them, each batch
        # would pin a hole in the heap that the next one's large tensors do not fit into: memory
        # then grew by a gigabyte in a part.
        dim = self.fingerprint.dim
        rows = max(1, min(self.part_rows, PART_BYTES // (4 * dim)))
        return np.empty((rows, dim), dtype=np.float32)

    def add(self, row: Row, features: NDArray[np.float32]) -> None:
        """Take a row and copy its (D,) features; they are safe once their part is closed."""
        self._features[len(self._rows)] = features
        self._rows.append(row)
        late = time.monotonic() - self._closed > self.part_seconds
        if late or len(self._rows) == len(self._features):
            self.close_part()

    def read_back(self, hashes: Sequence[bytes]) -> NDArray[np.float32]:
        """Return the (n, D) features of contents that are in closed parts of this writer."""
        out = np.empty((len(hashes), self.fingerprint.dim), dtype=np.float32)
        for path in self._written:
            contents = Contents(read_index(path).content_hash)
            rows = np.array([-1 if (row := contents.find(one)) is None else row for one in hashes])
            here = np.flatnonzero(rows >= 0)
            if len(here):
                out[here] = read_rows(path, rows[here])
        return out

    def close_part(self) -> None:
        """Write what was collected as one part.

        Raises:
            DiskError: the disk is full; earlier parts are safe.
        """
        self._closed = time.monotonic()
        if not self._rows:
            return
        path = self.folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.h5"
        with finished_parts_are_kept():
            with disk_errors(self.folder, ""):
                self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(path, self._write, step="part")
        self._written.append(path)
        self._rows = []

    def _write(self, path: Path) -> None:
        names = [encode_id(row.image_id) for row in self._rows]
        order = sorted(
            range(len(names)), key=lambda number: (names[number], self._rows[number].content_hash)
        )
        rows = [self._rows[number] for number in order]
        times = np.array([row.mtime_ns for row in rows], dtype=np.int64)
        places = np.array([row.place for row in rows], dtype=np.uint64)
        index = Index(
            np.array([names[number] for number in order], dtype=bytes),
            np.array([row.content_hash for row in rows], dtype="S64"),
            np.array([row.size for row in rows], dtype=np.int64),
            times,
            Sightings(np.arange(len(rows), dtype=np.int64), places, times),
        )
        blocks = (self._features[order[start : start + 256]] for start in range(0, len(order), 256))
        write_feature_file(path, self.fingerprint, self.provenance, index, {}, blocks)


@contextmanager
def finished_parts_are_kept() -> Iterator[None]:
    """Say so when the disk is full, and what to do."""
    try:
        yield
    except DiskError as error:
        raise DiskError(
            f"{error} Finished parts are kept: free some space and run the same command again."
        ) from error


def parts_folder(file: Path) -> Path:
    """Return the folder of a feature file's parts."""
    return file.with_name(f"{file.name}.parts")


class FoundParts(NamedTuple):
    """What lies in the folder of parts beside a feature file."""

    usable: list[tuple[Path, FileInfo]]
    """Whole parts, oldest first."""
    broken: list[str]
    """Damaged parts; they were removed."""
    foreign: list[str]
    """Names of everything else: parts of another version, and what somebody put there."""


def usable_parts(file: Path) -> FoundParts:
    """Find the parts beside a feature file.

    Temporary files and parts damaged by a crash of the machine are removed: what they held is
    computed again. Whatever is not recognised by its name and content is left alone.
    """
    folder = parts_folder(file)
    found = FoundParts([], [], [])
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)
        elif not _PART.fullmatch(path.name) or not path.is_file():
            found.foreign.append(path.name)
        else:
            _look_at(path, found)
    return found


def _look_at(path: Path, found: FoundParts) -> None:
    try:
        check_whole(path)
        found.usable.append((path, read_info(path)))
    except OtherFileError:
        found.foreign.append(path.name)
    except FeatureFileError:
        found.broken.append(path.name)
        path.unlink(missing_ok=True)


def remove_leftovers(file: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote `file`."""
    ours = re.compile(rf"\.{re.escape(file.name)}\.\d+\.tmp")
    for path in file.parent.iterdir():
        if ours.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def remove_parts(file: Path, parts: Iterable[Path]) -> None:
    """Remove these parts of a feature file, and their folder if nothing else is in it."""
    for part in parts:
        part.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it is not there, or somebody's files are in it
        parts_folder(file).rmdir()
    write_step("parts.removed")
