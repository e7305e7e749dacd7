"""STUB by the lead until helper D's real module lands: D, write over this file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cxrlearn.data.images import is_image_candidate


@dataclass(frozen=True)
class Manifest:
    name: str
    file: Path | None
    image_root: Path
    image_ids: tuple[str, ...]
    paths: tuple[Path, ...]
    table: object
    notices: tuple[str, ...] = ()
    duplicates: int = 0

    def __len__(self) -> int:
        return len(self.image_ids)


def read_manifest(
    file,
    *,
    name,
    image_root=None,
    path_column=None,
    patient_column=None,
    subgroups=(),
    split_column=None,
):
    table = pd.read_csv(file, dtype=str)
    root = Path(image_root or Path(file).parent)
    ids = tuple(table[path_column or "Path"])
    return Manifest(name, Path(file), root, ids, tuple(root / i for i in ids), table)


def scan_folder(folder):
    paths = sorted(p for p in Path(folder).rglob("*") if p.is_file() and is_image_candidate(p))
    return Manifest(
        "images",
        None,
        Path(folder),
        tuple(p.relative_to(folder).as_posix() for p in paths),
        tuple(paths),
        None,
    )
