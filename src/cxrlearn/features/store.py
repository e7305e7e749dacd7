"""The HDF5 feature file, specified in docs/reference/feature-file.md; nothing else imports h5py.

The final file is never appended to. Rows are written in closed parts under `<file>.parts/`, each
under a temporary name and then moved; `merge` writes parts and the old file into a new one, sorted
by (image_id, content_hash), and moves that over the old.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h5py
import numpy as np

from cxrlearn.errors import FeatureFileError
from cxrlearn.features.fingerprint import Fingerprint
from cxrlearn.runtime.atomic import disk_errors, replace_file, write_step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = "cxrlearn-features"
VERSION = 1
BLOCK_BYTES = 16 * 1024 * 1024
"""Features are moved from file to file in blocks of about this size, so memory stays level."""
WRITE_STEPS = (
    "part.begin", "part.written", "part.moved", "merge.begin", "merge.block", "merge.written",
    "merge.moved", "parts.removed",
)  # fmt: skip
"""The moments of a write sequence at which the crash tests kill the process."""

_TEXT = h5py.string_dtype("utf-8")
_HASH = h5py.string_dtype("ascii", 64)
_COLUMNS = ("image_id", "content_hash", "size", "mtime_ns")
_SEEN = ("row", "place", "mtime_ns")


@dataclass(frozen=True)
class Sightings:
    """Which files were found to hold the content of which row; arrays of length M.

    One content can be in several places: two datasets share images under equal names, each with
    its own time.
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

    image_id: NDArray[np.object_]
    """Path relative to the image root, with `/`."""
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


@dataclass(frozen=True)
class Features:
    """The content of a feature file."""

    ids: NDArray[np.object_]
    """(N,) image ids, sorted."""
    features: NDArray[np.float32]
    """(N, D) float32."""
    content_hashes: NDArray[np.object_]
    """(N,) SHA-256 of each image file, as text."""
    failed: dict[str, str]
    """Image id to reason, for images that could not be read."""
    attributes: dict[str, object]
    """Format, version, fingerprint and provenance."""


@dataclass(frozen=True)
class Row:
    """One feature row on its way to the disk."""

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
    features: NDArray[np.float32]
    """(D,) float32."""


@dataclass(frozen=True)
class FileInfo:
    """What a feature file says of itself."""

    fingerprint: Fingerprint
    """What decided its numbers."""
    provenance: dict[str, object]
    """Versions, host and time of its making, and the precision asked for."""
    rows: int
    """N."""


def read_features(path: str | Path) -> Features:
    """Read a whole feature file.

    Args:
        path: a file written by `cxrlearn embed`.

    Returns:
        Ids, features as float32, hashes, failed images and attributes.

    Raises:
        FeatureFileError: not a feature file, damaged, or of a newer version.
    """
    from pathlib import Path as _Path  # noqa: PLC0415 - only for callers who pass a string

    path = _Path(path)
    with _opened(path) as file:
        return Features(
            ids=file["image_id"].asstr()[:],
            features=file["features"][:].astype(np.float32, copy=False),
            content_hashes=np.array([text.decode() for text in file["content_hash"][:]], dtype=object),
            failed=_read_failed(file),
            attributes={
                "format": FORMAT,
                "version": int(file.attrs["version"]),
                "fingerprint": json.loads(file.attrs["fingerprint"]),
                "provenance": json.loads(file.attrs["provenance"]),
            },
        )


def read_info(path: Path) -> FileInfo:
    """Read what a feature file says of itself.

    Raises:
        FeatureFileError: as `read_features`.
    """
    with _opened(path) as file:
        return _info(file)


def _info(file: h5py.File) -> FileInfo:
    return FileInfo(
        Fingerprint.from_json(file.attrs["fingerprint"]),
        json.loads(file.attrs["provenance"]),
        len(file["features"]),
    )


def read_index(path: Path) -> Index:
    """Read the rows of a feature file without their features.

    Raises:
        FeatureFileError: as `read_features`.
    """
    with _opened(path) as file:
        return _read_index(file)


def _read_index(file: h5py.File) -> Index:
    seen = file.get("seen")  # files of other writers may do without
    return Index(
        file["image_id"].asstr()[:],
        file["content_hash"][:],
        file["size"][:],
        file["mtime_ns"][:],
        _no_sightings() if seen is None else Sightings(*(seen[name][:] for name in _SEEN)),
    )


def empty_index() -> Index:
    """Return the index of a file that is not there."""
    none = np.empty(0, dtype=np.int64)
    return Index(np.empty(0, dtype=object), np.empty(0, dtype="S64"), none, none, _no_sightings())


def _no_sightings() -> Sightings:
    none = np.empty(0, dtype=np.int64)
    return Sightings(none, np.empty(0, dtype=np.uint64), none)


def place_of(path: Path) -> int:
    """Return a 64-bit number for where a file lies, which tells it from all other files.

    A hash of the absolute path: the paths of the user's machine do not go into the file.
    """
    absolute = os.path.abspath(path)  # noqa: PTH100 - resolve() would touch the disk for each image
    digest = hashlib.blake2b(os.fsencode(absolute), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def read_rows(path: Path, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Read chosen rows as (len(rows), D) float32, in the order asked for; only they are kept in memory.

    Raises:
        FeatureFileError: as `read_features`.
    """
    with _opened(path) as file:
        data = file["features"]
        out = np.empty((len(rows), data.shape[1]), dtype=np.float32)
        step = max(1, BLOCK_BYTES // max(1, 4 * data.shape[1]))
        order = np.argsort(rows, kind="stable")
        wanted = np.asarray(rows)[order]
        for start in range(0, len(data), step):
            low, high = np.searchsorted(wanted, [start, start + step])
            if low < high:
                block = data[start : start + step]
                out[order[low:high]] = block[wanted[low:high] - start]
        return out


def read_failed(path: Path) -> dict[str, str]:
    """Read the images that could not be embedded: id to reason.

    Raises:
        FeatureFileError: as `read_features`.
    """
    with _opened(path) as file:
        return _read_failed(file)


def _read_failed(file: h5py.File) -> dict[str, str]:
    group = file["failed"]
    return dict(zip(group["image_id"].asstr()[:], group["reason"].asstr()[:], strict=True))


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a file that claims to be one of ours; anything wrong with it names the file."""
    if not path.is_file():
        raise FeatureFileError(f"no feature file {path}. `cxrlearn embed` writes it.")
    advice = "Delete it and run `cxrlearn embed` again."
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if isinstance(error, PermissionError):
            raise FeatureFileError(f"{path} may not be read: permission denied.") from error
        raise FeatureFileError(f"{path} is damaged or no HDF5 file. {advice}") from error
    with file:
        if file.attrs.get("format") != FORMAT:
            raise FeatureFileError(f"{path} is an HDF5 file, but no feature file of cxrlearn.")
        version = int(file.attrs.get("version", 0))
        if version > VERSION:
            raise FeatureFileError(
                f"{path} has format version {version}; this cxrlearn reads up to {VERSION}. "
                "Update cxrlearn."
            )
        try:
            yield file
        except (KeyError, OSError, ValueError, UnicodeDecodeError) as error:
            raise FeatureFileError(f"{path} is damaged ({error}). {advice}") from error


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
    _written: dict[bytes, tuple[Path, int]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Take a row; it is safe on disk once its part is closed."""
        self._rows.append(row)
        if len(self._rows) >= self.part_rows or time.monotonic() - self._closed > self.part_seconds:
            self.close_part()

    def read_back(self, hashes: Sequence[bytes]) -> NDArray[np.float32]:
        """Return the (n, D) features of contents that this writer has written, part by part."""
        out = np.empty((len(hashes), self.fingerprint.dim), dtype=np.float32)
        places = [self._written[content_hash] for content_hash in hashes]
        for path in dict.fromkeys(path for path, _ in places):
            here = [number for number, place in enumerate(places) if place[0] == path]
            out[here] = read_rows(path, np.array([places[number][1] for number in here]))
        return out

    def close_part(self) -> None:
        """Write what was collected as one part.

        Raises:
            DiskError: the disk is full; earlier parts are safe.
        """
        self._closed = time.monotonic()
        if not self._rows:
            return
        rows = sorted(self._rows, key=lambda row: (row.image_id, row.content_hash))
        rescue = "Parts written before are kept: free some space and run the same command again."
        with disk_errors(self.folder, rescue):
            self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.h5"
        replace_file(path, lambda temporary: self._write(temporary, rows), step="part")
        for number, row in enumerate(rows):
            self._written.setdefault(row.content_hash, (path, number))
        self._rows = []

    def _write(self, path: Path, rows: Sequence[Row]) -> None:
        with h5py.File(path, "w") as file:
            _write_head(file, self.fingerprint, self.provenance)
            file["features"] = np.stack([row.features for row in rows]).astype(self.fingerprint.store)
            _write_columns(
                file,
                np.array([row.image_id for row in rows], dtype=object),
                np.array([row.content_hash for row in rows], dtype="S64"),
                np.array([row.size for row in rows], dtype=np.int64),
                np.array([row.mtime_ns for row in rows], dtype=np.int64),
            )
            _write_failed(file, {})


def parts_folder(file: Path) -> Path:
    """Return the folder of a feature file's parts."""
    return file.with_name(f"{file.name}.parts")


def usable_parts(file: Path) -> tuple[list[tuple[Path, FileInfo]], list[str]]:
    """Return the whole parts beside a feature file, oldest first, and what was found broken.

    Temporary files and parts cut short by a crash of the machine are removed: what they held is
    computed again.
    """
    folder = parts_folder(file)
    parts: list[tuple[Path, FileInfo]] = []
    broken: list[str] = []
    if not folder.is_dir():
        return parts, broken
    for path in sorted(folder.iterdir()):
        if path.suffix != ".h5":
            path.unlink(missing_ok=True)
            continue
        try:
            parts.append((path, read_info(path)))
        except FeatureFileError:
            broken.append(path.name)
            path.unlink(missing_ok=True)
    return parts, broken


def remove_parts(file: Path) -> None:
    """Remove all parts beside a feature file."""
    folder = parts_folder(file)
    if folder.exists():
        shutil.rmtree(folder)
    write_step("parts.removed")


@dataclass(frozen=True)
class _Sources:
    """Where every row of the merged file comes from."""

    paths: list[Path]
    index: Index
    source: NDArray[np.intp]
    row: NDArray[np.intp]


def merge(
    file: Path,
    fingerprint: Fingerprint,
    provenance: dict[str, object],
    *,
    failed: dict[str, str],
) -> int:
    """Write the file and its parts into one new file and move it over the old; return its rows.

    Where several hold the same (image_id, content_hash), the newest is taken: it knows the image
    file's present time. Memory holds the index and one block of features.

    Raises:
        DiskError: the disk is full; the old file and all parts are untouched.
        FeatureFileError: the old file is damaged.
    """
    paths = [file] if file.is_file() else []
    paths += [path for path, _ in usable_parts(file)[0]]
    sources = _gather(paths)
    replace_file(
        file,
        lambda temporary: _write_merged(temporary, sources, fingerprint, provenance, failed),
        step="merge",
    )
    remove_parts(file)
    return len(sources.index)


def _gather(paths: list[Path]) -> _Sources:
    indices = [read_index(path) for path in paths] or [empty_index()]
    ids, hashes, sizes, times = (
        np.concatenate([getattr(index, name) for index in indices]) for name in _COLUMNS
    )
    source = np.repeat(np.arange(len(indices)), [len(index) for index in indices])
    row = np.concatenate([np.arange(len(index)) for index in indices])
    order = np.array(sorted(range(len(ids)), key=lambda i: (ids[i], hashes[i], source[i])), dtype=np.intp)
    last = np.ones(len(order), dtype=bool)
    last[:-1] = (ids[order[1:]] != ids[order[:-1]]) | (hashes[order[1:]] != hashes[order[:-1]])
    order = order[last]
    index = Index(ids[order], hashes[order], sizes[order], times[order])
    return _Sources(paths, index, source[order], row[order])


def _write_merged(
    path: Path,
    sources: _Sources,
    fingerprint: Fingerprint,
    provenance: dict[str, object],
    failed: dict[str, str],
) -> None:
    count, dim = len(sources.index), fingerprint.dim
    step = max(1, BLOCK_BYTES // (4 * dim))
    with h5py.File(path, "w") as file:
        _write_head(file, fingerprint, provenance)
        chunks = (min(count, max(1, 1024 * 1024 // (4 * dim))), dim) if count else None
        data = file.create_dataset("features", (count, dim), dtype=fingerprint.store, chunks=chunks)
        for start in range(0, count, step):
            data[start : start + step] = _block(sources, start, min(start + step, count), dim)
            write_step("merge.block")
        index = sources.index
        _write_columns(file, index.image_id, index.content_hash, index.size, index.mtime_ns)
        _write_failed(file, failed)


def _block(sources: _Sources, start: int, stop: int, dim: int) -> NDArray[np.float32]:
    block = np.empty((stop - start, dim), dtype=np.float32)
    source, row = sources.source[start:stop], sources.row[start:stop]
    for number in np.unique(source):
        here = np.flatnonzero(source == number)
        # Every source is sorted as the result is, so its rows of one block lie side by side.
        low, high = row[here].min(), row[here].max() + 1
        with _opened(sources.paths[number]) as file:
            block[here] = file["features"][low:high][row[here] - low]
    return block


def _write_head(file: h5py.File, fingerprint: Fingerprint, provenance: dict[str, object]) -> None:
    file.attrs["format"] = FORMAT
    file.attrs["version"] = VERSION
    file.attrs["fingerprint"] = fingerprint.as_json()
    file.attrs["fingerprint_sha256"] = fingerprint.digest
    file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)


def _write_columns(
    file: h5py.File,
    image_id: NDArray[np.object_],
    content_hash: NDArray[np.bytes_],
    size: NDArray[np.int64],
    mtime_ns: NDArray[np.int64],
) -> None:
    file.create_dataset("image_id", data=image_id, dtype=_TEXT)
    file.create_dataset("content_hash", data=content_hash, dtype=_HASH)
    file.create_dataset("size", data=size)
    file.create_dataset("mtime_ns", data=mtime_ns)


def _write_failed(file: h5py.File, failed: dict[str, str]) -> None:
    group = file.create_group("failed")
    names = sorted(failed)
    group.create_dataset("image_id", data=np.array(names, dtype=object), dtype=_TEXT)
    group.create_dataset("reason", data=np.array([failed[name] for name in names], dtype=object), dtype=_TEXT)
