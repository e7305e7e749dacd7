"""A small study: 44 radiograph-like pictures of 22 patients, two findings, three splits."""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tests.support.cli import done

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LABELS = ("Cardiomegaly", "Effusion")
SIZE = 64
PATIENTS = {"train": range(12), "val": range(12, 16), "test": range(16, 22)}
TAG = "cxr-tiny"

SETTINGS = """\
[data]
train_csv = "train.csv"
val_csv = "val.csv"
test_csv = "test.csv"
class_columns = ["Cardiomegaly", "Effusion"]

[embed]
model = "cxr-tiny"
"""

Row = dict[str, str]


@dataclass(frozen=True)
class Study:
    """A folder as a user would have it."""

    folder: Path
    """With images/, train.csv, val.csv, test.csv and cxrlearn.toml."""

    def rows(self, split: str) -> list[Row]:
        """Return the rows of a CSV."""
        with (self.folder / f"{split}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def rewrite(self, split: str, change: Callable[[Row], Row | None], *, to: str = "") -> None:
        """Change every row of a CSV; None drops it."""
        changed = [row for row in map(change, self.rows(split)) if row is not None]
        write_rows(self.folder / f"{to or split}.csv", changed)

    def all_rows(self) -> list[Row]:
        """Return the rows of all splits with their split, as one manifest."""
        return [{**row, "split": split} for split in PATIENTS for row in self.rows(split)]

    @property
    def features(self) -> Path:
        """The feature file."""
        return self.folder / "features" / f"{TAG}.h5"

    def copy(self, folder: Path) -> Study:
        """Return a copy that a test may damage."""
        shutil.copytree(self.folder, folder)
        return Study(folder)


def write_rows(file: Path, rows: list[Row]) -> None:
    """Write rows with the header of the first one."""
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_study(folder: Path, *, seed: int = 0) -> Study:
    """Write the pictures, the CSVs and the settings; another seed, other pictures, equal names."""
    generator = np.random.Generator(np.random.PCG64(seed))
    (folder / "images").mkdir(parents=True)
    for split, patients in PATIENTS.items():
        rows = []
        for patient in patients:
            for view in range(2):
                # Both values in every split; noise keeps AUROC away from 1.
                findings = [patient % 2, (patient // 2 + view) % 2]
                name = f"images/p{patient:02d}_{view}.png"
                _picture(generator, findings).save(folder / name)
                labels = {label: str(v) for label, v in zip(LABELS, findings, strict=True)}
                rows.append({"Path": name, "patient_id": f"P{patient:02d}", **labels})
        write_rows(folder / f"{split}.csv", rows)
    (folder / "cxrlearn.toml").write_text(SETTINGS, encoding="utf-8")
    return Study(folder)


def embedded_study(folder: Path, *, seed: int = 0) -> Study:
    """Write a study and embed it with cxr-tiny."""
    study = write_study(folder, seed=seed)
    done("embed", "--quiet", cwd=folder)
    return study


def _picture(generator: np.random.Generator, findings: list[int]) -> Image.Image:
    """Draw noise with a heart of some width and a shadow of some depth."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    heart_width = 0.10 + 0.12 * findings[0] + 0.06 * generator.standard_normal()
    shadow = 0.08 + 0.16 * findings[1] + 0.08 * generator.standard_normal()
    pixels = 0.3 * generator.random((SIZE, SIZE)) + 0.2
    pixels += 0.4 * (((x - 0.55) / max(heart_width, 0.02)) ** 2 + ((y - 0.6) / 0.2) ** 2 < 1)
    pixels += 0.3 * (y > 1 - max(shadow, 0.0))
    return Image.fromarray(np.clip(pixels * 255, 0, 255).astype(np.uint8))
