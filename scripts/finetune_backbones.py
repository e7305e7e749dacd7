"""Finetune every registered backbone for two epochs on 64 real images: does its loss fall?

    python scripts/finetune_backbones.py [NAME ...]

On `../shared/data/nih`, batch 8, on the CPU; about 15 minutes on two cores. Backbones whose
weights do not come with the program start from random ones, so a figure says that training works
and nothing about how good a backbone is: losses are all that is printed, and nothing is kept.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

from cxrlearn.backbones.registry import list_specs
from cxrlearn.workflows.finetune import run_finetune
from cxrlearn.workflows.finetune_config import FinetuneConfig
from cxrlearn.workflows.settings import NamedPath

NIH = Path(__file__).parents[2] / "shared" / "data" / "nih"
IMAGES, EPOCHS, BATCH = 64, 2, 8
BUNDLED = "cxr-tiny"
"""Its weights are part of the program."""


def main() -> int:
    """Train what is asked for, print one line each, and return 1 where a loss did not fall."""
    known = [spec.name for spec in list_specs()]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    names = parser.parse_args().names or known
    fell = True
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            started = time.monotonic()
            first, last = train_losses(name, Path(folder))
            fell &= last < first
            verdict = "fell" if last < first else "DID NOT FALL"
            seconds = time.monotonic() - started
            print(f"{name:14} {first:.4f} -> {last:.4f}  {verdict}  {seconds:.0f} s", flush=True)
    return 0 if fell else 1


def train_losses(name: str, folder: Path) -> tuple[float, float]:
    """Return the mean training loss of the first epoch and of the last."""
    config = FinetuneConfig(
        model=name,
        random_weights=None if name == BUNDLED else 0,
        train_csv=NIH / "train.csv",
        val_csv=NIH / "valid.csv",
        test_csv=(NamedPath(f"test={NIH / 'test.csv'}"),),
        limit=IMAGES,
        class_columns=label_columns(),
        origin=("nih",),
        epochs=EPOCHS,
        batch_size=BATCH,
        device="cpu",
        cache_dir=folder / "cache",
        output_dir=folder / "runs",
        name=name,
    )
    run = run_finetune(config).folder
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    return losses[0], losses[-1]


def label_columns() -> tuple[str, ...]:
    """Return the columns of the manifest that are findings."""
    with (NIH / "train.csv").open(newline="", encoding="utf-8") as file:
        columns = next(csv.reader(file))
    return tuple(columns[1 : columns.index("patient_id")])


if __name__ == "__main__":
    sys.exit(main())
