"""Write the demo's data set: synthetic films in mixed formats, and a CSV for each split."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.data.synthetic.cohort import SyntheticFilm, draw_cohort
from cxrlearn.data.synthetic.formats import WRITERS
from cxrlearn.data.synthetic.traits import FINDINGS
from cxrlearn.runtime.atomic import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cxrlearn.data.synthetic.formats import Writer

COLUMNS = ("Path", *FINDINGS, "patient_id", "sex", "age", "view")
"""Columns of every CSV."""
SPLITS = ("train", "val", "test")
_FRACTIONS = (0.62, 0.14, 0.24)
_SIZES = ((256, 256), (320, 320), (384, 320), (288, 352), (320, 384), (416, 416))
"""(height, width) in pixels."""
_BLANK, _UNCERTAIN = 0.02, 0.015
"""Shares of training labels left blank and marked -1, as report miners leave them."""


@dataclass(frozen=True)
class DemoDataset:
    """What was written."""

    folder: Path
    """Holds everything."""
    train_csv: Path
    """About 62 % of the films; a few labels are blank or -1."""
    val_csv: Path
    """About 14 %, other patients."""
    test_csv: Path
    """About 24 %, other patients."""
    class_columns: tuple[str, ...]
    """Label columns."""
    images: int
    """Number of films in all."""
    patients: int
    """Number of patients in all."""


def write_demo_dataset(
    folder: Path,
    *,
    n_images: int = 600,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> DemoDataset:
    """Draw a cohort and write `images/` and train.csv, val.csv and test.csv into `folder`.

    No patient is in two splits. The CSVs come last, so a folder that holds all three is complete.

    Args:
        folder: made if it is not there; files of the same names are replaced.
        n_images: number of films, at least 12.
        seed: equal seeds give equal bytes on one machine.
        progress: called with the number of films written so far.

    Raises:
        ValueError: fewer than 12 films.
        DiskError: a CSV cannot be written.
    """
    if n_images < 12:
        raise ValueError(f"n_images is an int of at least 12, got {n_images!r}")
    films = draw_cohort(n_images, seed)
    splits = _split_patients(films, seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[list[str]]] = {name: [] for name in SPLITS}
    formats = _deal_formats(n_images, seed)
    for index, (film, (suffix, write)) in enumerate(zip(films, formats, strict=True)):
        rng = np.random.default_rng((*film.seed, 1))
        size = _SIZES[int(rng.integers(len(_SIZES)))]
        name = f"images/{film.patient_id}_{film.number}{suffix}"
        write(film.draw(size), folder / name)
        split = splits[film.patient_id]
        rows[split].append(_row(film, name, rng if split == "train" else None))
        if progress is not None:
            progress(index + 1)
    for split, lines in rows.items():
        write_text(folder / f"{split}.csv", _as_csv(lines), step=f"demo.{split}")
    train, val, test = (folder / f"{split}.csv" for split in SPLITS)
    return DemoDataset(folder, train, val, test, FINDINGS, n_images, len(splits))


def _split_patients(films: Sequence[SyntheticFilm], seed: int) -> dict[str, str]:
    """Deal whole patients out, in an order of chance, to the split that lacks most of its share."""
    counts: dict[str, int] = {}
    for film in films:
        counts[film.patient_id] = counts.get(film.patient_id, 0) + 1
    rng = np.random.default_rng((seed, 0, 5))
    order = [sorted(counts)[index] for index in rng.permutation(len(counts))]
    filled = dict.fromkeys(SPLITS, 0)
    splits = {}
    for patient in order:
        shares = zip(SPLITS, _FRACTIONS, strict=True)
        split = max(shares, key=lambda share: 1 - filled[share[0]] / (share[1] * len(films)))[0]
        splits[patient] = split
        filled[split] += counts[patient]
    return splits


def _deal_formats(n_images: int, seed: int) -> list[tuple[str, Writer]]:
    """Return suffix and writer of every film: shares are met closely, the order is of chance."""
    places = np.random.default_rng((seed, 0, 6)).permutation(n_images)
    ends = np.cumsum([share for share, _, _ in WRITERS])
    chosen = np.searchsorted(ends, (places + 0.5) / n_images).clip(max=len(WRITERS) - 1)
    return [WRITERS[index][1:] for index in chosen]


def _row(film: SyntheticFilm, name: str, rng: np.random.Generator | None) -> list[str]:
    """Return one CSV row; with `rng`, a few labels are made blank or uncertain."""
    labels = [str(value) for value in film.labels()]
    if rng is not None:
        fate = rng.random(len(labels))
        labels = [
            "" if draw < _BLANK else "-1" if draw < _BLANK + _UNCERTAIN else label
            for label, draw in zip(labels, fate, strict=True)
        ]
    traits = film.traits
    return [name, *labels, film.patient_id, traits.sex, f"{traits.age:.0f}", traits.view]


def _as_csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue()
