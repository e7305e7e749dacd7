"""The HDF5 feature file, specified in docs/reference/feature-file.md; nothing else imports h5py.

Every file ends with checksums of all its bytes, which are compared before HDF5 sees a byte (see
`features.checked`): a damaged file is refused, and never gives a wrong number or name.

The final file is never appended to. Rows are written in closed parts under `<file>.parts/`, each
under a temporary name and then moved; `merge` writes parts and the old file into a new one, sorted
by (image_id, content_hash), and moves that over the old.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from cxrlearn.features.checked import seal
from cxrlearn.features.fingerprint import Fingerprint
from cxrlearn.features.opening import FORMAT, VERSION, checked, opened
from cxrlearn.features.rows import Index, Sightings, encode_id, no_sightings
from cxrlearn.features.shield import ShieldedFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

BLOCK_BYTES = 16 * 1024 * 1024
"""Features are moved from file to file in blocks of about this size, so memory stays level."""
CHUNK_BYTES = 1024 * 1024
COLUMN_CHUNK = 16384
WRITE_STEPS = (
    "part.begin", "part.written", "part.moved", "merge.begin", "merge.block", "merge.written",
    "merge.moved", "parts.removed",
)  # fmt: skip
"""The moments of a write sequence at which the crash tests kill the process."""

_HASH = h5py.string_dtype("ascii", 64)
_SEEN = ("row", "place", "mtime_ns")


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
    with opened(Path(path)) as file:
        return Features(
            ids=_read_text(file, "image_id"),
            features=file["features"][:].astype(np.float32, copy=False),
            content_hashes=file["content_hash"].asstr()[:],
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
    with opened(path) as file:
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
    with opened(path) as file:
        return _read_index(file)


def _read_index(file: h5py.File) -> Index:
    seen = file.get("seen")  # files of other writers may do without
    return Index(
        _fixed_length(file["image_id"][:]),
        file["content_hash"][:],
        file["size"][:],
        file["mtime_ns"][:],
        no_sightings() if seen is None else Sightings(*(seen[name][:] for name in _SEEN)),
    )


def read_rows(path: Path, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Read chosen rows as (len(rows), D) float32, in the order asked for.

    Only they are kept in memory.

    Raises:
        FeatureFileError: as `read_features`.
    """
    with opened(path) as file:
        data = file["features"]
        out = np.empty((len(rows), data.shape[1]), dtype=np.float32)
        step = max(1, BLOCK_BYTES // max(1, 4 * data.shape[1]))
        order = np.argsort(rows, kind="stable")
        wanted = np.asarray(rows)[order]
        for start in range(0, len(data), step):
            low, high = np.searchsorted(wanted, [start, start + step])
            if low < high:
                first, last = wanted[low], wanted[high - 1]
                out[order[low:high]] = data[first : last + 1][wanted[low:high] - first]
        return out


def read_slice(path: Path, start: int, stop: int) -> NDArray[np.float32]:
    """Read the rows from `start` up to `stop` as (stop - start, D) float32.

    Raises:
        FeatureFileError: as `read_features`.
    """
    with opened(path) as file:
        block: NDArray[np.float32] = file["features"][start:stop].astype(np.float32, copy=False)
        return block


def check_whole(path: Path) -> None:
    """Read everything once and compare it with the checksums.

    Raises:
        FeatureFileError: as `read_features`.
    """
    with checked(path) as content:
        content.check_all()
    with opened(path):
        pass  # of this format and version


def read_failed(path: Path) -> dict[str, str]:
    """Read the images that could not be embedded: id to reason.

    Raises:
        FeatureFileError: as `read_features`.
    """
    with opened(path) as file:
        return _read_failed(file)


def _read_failed(file: h5py.File) -> dict[str, str]:
    group = file["failed"]
    return dict(zip(_read_text(group, "image_id"), _read_text(group, "reason"), strict=True))


def write_feature_file(
    path: Path,
    fingerprint: Fingerprint,
    provenance: dict[str, object],
    index: Index,
    failed: dict[str, str],
    blocks: Iterable[NDArray[np.float32]],
) -> None:
    """Write a whole feature file, or a part, to `path`, which is not there yet.

    Args:
        path: a temporary name; see `runtime.atomic.replace_file`. Its last bytes are checksums.
        fingerprint: what decided the numbers.
        provenance: what did not.
        index: the N rows, sorted by (image_id, content_hash).
        failed: image id to reason.
        blocks: (n, D) arrays, N rows together.

    Raises:
        OSError: the disk is full, or fails.
    """
    count, dim = len(index), fingerprint.dim
    # Since version 1.10 HDF5 also guards its own structures with checksums, for readers that do
    # not know ours.
    with ShieldedFile(path) as disk, h5py.File(disk, "w", libver=("v110", "v110")) as file:
        file.attrs["format"] = FORMAT
        file.attrs["version"] = VERSION
        file.attrs["fingerprint"] = fingerprint.as_json()
        file.attrs["fingerprint_sha256"] = fingerprint.digest
        file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
        chunk = (max(1, min(count, CHUNK_BYTES // (4 * dim))), dim)
        data = _dataset(file, "features", (count, dim), np.dtype(fingerprint.store), chunk)
        start = 0
        for block in blocks:
            data[start : start + len(block)] = block
            start += len(block)
            disk.check()
        _write_encoded(file, "image_id", index.image_id)
        _write_column(file, "content_hash", index.content_hash.astype(_HASH))
        _write_column(file, "size", index.size)
        _write_column(file, "mtime_ns", index.mtime_ns)
        seen = file.create_group("seen")
        for name in _SEEN:
            _write_column(seen, name, getattr(index.seen, name))
        group = file.create_group("failed")
        names = sorted(failed)
        _write_text(group, "image_id", names)
        _write_text(group, "reason", [failed[name] for name in names])
    seal(path)


def _dataset(
    group: h5py.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    chunk: tuple[int, ...],
) -> h5py.Dataset:
    """Create a dataset whose chunks carry checksums, so that damage is found when it is read."""
    if shape[0] == 0:  # HDF5 has no chunks of nothing
        return group.create_dataset(name, shape, dtype=dtype)
    return group.create_dataset(name, shape, dtype=dtype, chunks=chunk, fletcher32=True)


def _write_column(group: h5py.Group, name: str, values: NDArray[Any]) -> None:
    chunk = (max(1, min(len(values), COLUMN_CHUNK)),)
    _dataset(group, name, values.shape, values.dtype, chunk)[...] = values


def _write_text(group: h5py.Group, name: str, texts: Iterable[str]) -> None:
    encoded = [encode_id(text) for text in texts]
    _write_encoded(group, name, np.array(encoded, dtype=bytes if encoded else "S1"))


def _write_encoded(group: h5py.Group, name: str, texts: NDArray[np.bytes_]) -> None:
    """Write UTF-8 of fixed length: unlike HDF5's variable-length strings, it has checksums."""
    longest = max(1, int(np.char.str_len(texts).max(initial=1)))
    _write_column(group, name, texts.astype(h5py.string_dtype("utf-8", longest)))


def _fixed_length(texts: NDArray[Any]) -> NDArray[np.bytes_]:
    """Return text columns of other writers, whose strings may vary in length, as fixed ones."""
    return texts.astype(bytes) if texts.dtype == object else texts


def _read_text(group: h5py.Group, name: str) -> NDArray[np.object_]:
    texts: NDArray[np.object_] = group[name].asstr(errors="surrogateescape")[:]
    return texts
