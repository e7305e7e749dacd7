"""Which files of two splits hold the same bytes, under whatever names."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlearn.data.regular_files import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

SAMPLE = 1 << 16
"""Bytes at the start, in the middle and at the end that are compared before whole files are."""


def shared_files(splits: Mapping[str, Sequence[str | Path]]) -> dict[tuple[str, str], int]:
    """Return how many different contents any two splits share; pairs that share none are left out.

    Only files whose size occurs in two splits are opened, and only those whose samples are equal
    are read whole. Files that cannot be read share nothing.

    Args:
        splits: files by split.
    """
    groups: dict[Hashable, list[tuple[str, Path]]] = defaultdict(list)
    for name, files in splits.items():
        for file in files:
            groups[None].append((name, Path(file)))
    for key in (_size, _sample, _digest):
        groups = _divided(groups, key)
    found: dict[tuple[str, str], int] = defaultdict(int)
    for members in groups.values():
        names = {name for name, _ in members}
        for pair in combinations([name for name in splits if name in names], 2):
            found[pair] += 1
    return dict(found)


def _divided(
    groups: dict[Hashable, list[tuple[str, Path]]], key: Callable[[Path], Hashable]
) -> dict[Hashable, list[tuple[str, Path]]]:
    """Divide every group by a key of its files; keep what is still in two splits."""
    divided: dict[Hashable, list[tuple[str, Path]]] = defaultdict(list)
    for group, members in groups.items():
        for name, file in members:
            try:
                divided[group, key(file)].append((name, file))
            except OSError:  # it will be counted as unreadable where it is decoded
                continue
    return {
        group: members
        for group, members in divided.items()
        if len({name for name, _ in members}) > 1
    }


def _size(file: Path) -> int:
    return file.stat().st_size


def _sample(file: Path) -> bytes:
    with open_regular(file) as stream:
        size = file.stat().st_size
        parts = []
        for start in (0, size // 2, max(0, size - SAMPLE)):
            stream.seek(start)
            parts.append(stream.read(SAMPLE))
    return hashlib.sha256(b"".join(parts)).digest()


def _digest(file: Path) -> bytes:
    with open_regular(file) as stream:
        return hashlib.file_digest(stream, "sha256").digest()
