"""What has to happen with the inputs of `shared/field-cases/backbone-*`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlearn.features.store import read_features
from tests.support.cli import done

if TYPE_CHECKING:
    from collections.abc import Callable


def _own_timm_weights(case: Path) -> None:
    name = "timm:resnet10t"
    images = case.parent / "csv-img"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        subprocess.run([sys.executable, case / "make.py"], cwd=place, check=True)
        arguments = ["embed", "-m", name, "--weights", f"{name}=own.pth", "--images", images]
        done(*arguments, "--offline", cwd=place)
        (file,) = (place / "features").glob("*.h5")
        assert len(read_features(file).ids) == sum(path.is_file() for path in images.iterdir())


CHECKS: dict[str, Callable[[Path], None]] = {"backbone-fingerprint-tuple": _own_timm_weights}
"""A checker for each folder, by its name; it gets the folder."""
