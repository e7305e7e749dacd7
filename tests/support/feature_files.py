"""Feature files made by hand, and everything that is in one."""

from __future__ import annotations

import os
import struct
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from cxrlearn.features.checked import seal
from cxrlearn.features.fingerprint import Fingerprint
from cxrlearn.features.parts import PartWriter, Row
from cxrlearn.features.rows import Index, Sightings
from cxrlearn.features.store import write_feature_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

FINGERPRINT = Fingerprint(
    backbone="tiny-test",
    arch=None,
    pretrained_on=None,
    weights="sha256:00",
    feature="pooled",
    dim=3,
    preprocessing={"steps": [], "mean": [0.5]},
    intensity="percentile",
    precision="fp32",
    store="float32",
)


def digest_of(number: int) -> bytes:
    """Return a made-up content hash."""
    return f"{number:064x}".encode()


def row_of(number: int, name: str | None = None, *, place: int = 1, mtime_ns: int = 5) -> Row:
    """Return a row whose every value follows from its number."""
    return Row(
        image_id=f"img/{number:04d}.png" if name is None else name,
        content_hash=digest_of(number),
        size=100 + number,
        mtime_ns=mtime_ns,
        place=place,
    )


def features_of(number: int, dim: int = 3) -> NDArray[np.float32]:
    """Return the features of a row."""
    return np.random.default_rng(number).normal(size=dim).astype(np.float32)


def add_rows(writer: PartWriter, *numbers: int, **changes: Any) -> None:  # noqa: ANN401 - of row_of
    """Give a writer the rows with these numbers."""
    for number in numbers:
        writer.add(row_of(number, **changes), features_of(number))


def write_rows(path: Path, rows: list[Row], **changes: Any) -> Path:  # noqa: ANN401 - fields of Fingerprint
    """Write a feature file with these rows, which must be sorted."""
    times = np.array([row.mtime_ns for row in rows], dtype=np.int64)
    index = Index(
        np.array([os.fsencode(row.image_id) for row in rows], dtype=bytes if rows else "S1"),
        np.array([row.content_hash for row in rows], dtype="S64"),
        np.array([row.size for row in rows], dtype=np.int64),
        times,
        Sightings(
            np.arange(len(rows)), np.array([row.place for row in rows], dtype=np.uint64), times
        ),
    )
    fingerprint = replace(FINGERPRINT, **changes)
    numbers = [int(row.content_hash, 16) for row in rows]
    blocks = (
        [np.stack([features_of(number, fingerprint.dim) for number in numbers])] if rows else []
    )
    write_feature_file(path, fingerprint, {"made": "by hand"}, index, {"z.png": "gone"}, blocks)
    return path


@contextmanager
def edited(path: Path) -> Iterator[h5py.File]:
    """Open a feature file for changes, as a writer other than cxrlearn may; seal it again."""
    content = path.read_bytes()
    length, block = struct.unpack("<QQ", content[-64:-48])
    assert content.endswith(b"cxrlearn-sums-1\n")
    assert len(content) == length + -(-length // block) * 32 + 64
    path.write_bytes(content[:length])
    with h5py.File(path, "r+") as file:
        yield file
    seal(path)


def everything(path: Path) -> dict[str, Any]:
    """Return every dataset and attribute of a feature file, but for the provenance."""
    found: dict[str, Any] = {}

    def visit(name: str, element: h5py.HLObject) -> None:
        if isinstance(element, h5py.Dataset):
            found[name] = (element.dtype, element.shape, element[()].tobytes())

    with h5py.File(path) as file:
        file.visititems(visit)
        found |= {f"@{key}": file.attrs[key] for key in file.attrs if key != "provenance"}
    return found
