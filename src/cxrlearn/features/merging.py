"""A feature file and its parts, merged into one sorted file with level memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.errors import FeatureFileError
from cxrlearn.features.parts import finished_parts_are_kept, remove_parts, usable_parts
from cxrlearn.features.rows import Index, Sightings, empty_index
from cxrlearn.features.store import BLOCK_BYTES, read_index, read_slice, write_feature_file
from cxrlearn.runtime.atomic import replace_file, write_step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from cxrlearn.features.fingerprint import Fingerprint


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

    Where several hold the same (image_id, content_hash), the oldest is taken, so that rows keep
    their bits; what is known about their files is put together. Memory holds the index and one
    block of features.

    Raises:
        DiskError: the disk is full; the old file and all parts are untouched.
        FeatureFileError: the old file is damaged, or a part was made with other settings.
    """
    parts = usable_parts(file).usable
    for path, info in parts:
        if info.fingerprint != fingerprint:
            raise FeatureFileError(
                f"{path} was made with other settings than the parts beside it: the workers did "
                "not agree. Run the same command again, with one --precision for all."
            )
    paths = ([file] if file.is_file() else []) + [path for path, _ in parts]
    sources = _gather(paths)

    def write(temporary: Path) -> None:
        blocks = _blocks(sources, fingerprint)
        write_feature_file(temporary, fingerprint, provenance, sources.index, failed, blocks)

    with finished_parts_are_kept():
        replace_file(file, write, step="merge")
    remove_parts(file, (path for path, _ in parts))
    return len(sources.index)


def _gather(paths: list[Path]) -> _Sources:
    indices = [read_index(path) for path in paths] or [empty_index()]
    lengths = [len(index) for index in indices]
    offsets = np.cumsum([0, *lengths[:-1]])
    ids = np.concatenate([index.image_id for index in indices])
    hashes = np.concatenate([index.content_hash for index in indices])
    sizes = np.concatenate([index.size for index in indices])
    times = np.concatenate([index.mtime_ns for index in indices])
    seen = Sightings(
        np.concatenate(
            [start + index.seen.row for start, index in zip(offsets, indices, strict=True)]
        ),
        np.concatenate([index.seen.place for index in indices]),
        np.concatenate([index.seen.mtime_ns for index in indices]),
    )
    del indices  # of many images, a second copy of their names counts
    order = np.lexsort((hashes, ids))  # stable: of equal rows, the oldest source comes first
    first = np.ones(len(order), dtype=bool)
    first[1:] = (ids[order[1:]] != ids[order[:-1]]) | (hashes[order[1:]] != hashes[order[:-1]])
    merged = np.empty(len(order), dtype=np.int64)
    merged[order] = np.cumsum(first) - 1
    seen = _latest_sightings(replace(seen, row=merged[seen.row]))
    times = _latest_times(seen, merged, times)
    order = order[first]
    ids = ids[order]
    hashes = hashes[order]
    source = np.repeat(np.arange(len(lengths)), lengths)[order]
    row = np.concatenate([np.arange(length) for length in lengths])[order]
    return _Sources(paths, Index(ids, hashes, sizes[order], times, seen), source, row)


def _latest_sightings(seen: Sightings) -> Sightings:
    """Return the last sighting of each row and place, sorted by them."""
    order = np.lexsort((seen.place, seen.row))  # stable: of equals, the newest source comes last
    row, place = seen.row[order], seen.place[order]
    last = np.ones(len(order), dtype=bool)
    last[:-1] = (row[1:] != row[:-1]) | (place[1:] != place[:-1])
    return Sightings(row[last], place[last], seen.mtime_ns[order][last])


def _latest_times(
    seen: Sightings, merged: NDArray[np.int64], said: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the latest time of every merged row: of its sightings, else what the sources say."""
    never = np.iinfo(np.int64).min
    latest, otherwise = (np.full(int(merged.max(initial=-1)) + 1, never) for _ in range(2))
    np.maximum.at(latest, seen.row, seen.mtime_ns)
    np.maximum.at(otherwise, merged, said)
    return np.where(latest == never, otherwise, latest)


def _blocks(sources: _Sources, fingerprint: Fingerprint) -> Iterator[NDArray[np.float32]]:
    """Yield the features in order, in blocks of about `BLOCK_BYTES`."""
    step = max(1, BLOCK_BYTES // (4 * fingerprint.dim))
    for start in range(0, len(sources.index), step):
        stop = min(start + step, len(sources.index))
        block = np.empty((stop - start, fingerprint.dim), dtype=np.float32)
        source, row = sources.source[start:stop], sources.row[start:stop]
        for number in np.unique(source):
            here = np.flatnonzero(source == number)
            # Every source is sorted as the result is: its rows of one block lie side by side.
            low, high = int(row[here].min()), int(row[here].max()) + 1
            block[here] = read_slice(sources.paths[number], low, high)[row[here] - low]
        yield block
        write_step("merge.block")
