"""The settings of `cxrlearn predict`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cxrlearn.errors import UsageError
from cxrlearn.reports.document import REPORT
from cxrlearn.runtime.devices import device_problems, usable_cores
from cxrlearn.workflows.setting_values import NamedPath
from cxrlearn.workflows.study_settings import effect_problems

SUFFIXES = (".csv", ".parquet")
"""What predictions can be written as."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Everything that decides what `predict` does; validated as a whole at construction.

    How images are decoded and preprocessed is no setting: the run says it.
    """

    run: str | None = None
    """Folder of a finished run, or its name in `output_dir`."""
    output_dir: Path = Path("runs")
    """Where runs are."""

    csv: Path | None = None
    """A manifest of new images."""
    images: Path | None = None
    """A folder: every image below it."""
    image_root: Path | None = None
    """Folder the image paths are relative to; None is the manifest's own."""
    path_column: str | None = None
    """Column with the image paths; None finds it by name."""
    path_prefix: str | None = None
    """`OLD=NEW`: what every image path starts with, and what to write instead."""
    path_suffix: str | None = None
    """Suffix of the image files, for paths that lack it or have another."""
    limit: int | None = None
    """Use the first rows only."""

    weights: tuple[NamedPath, ...] = ()
    """Weight files or folders to look in; none: those of the run."""
    offline: bool = False
    """Never download anything."""
    features_dir: Path = Path("features")
    """Where feature files are, and go."""

    device: str = "auto"
    """Where the network computes."""
    batch_size: int = 32
    """Images in a batch."""
    workers: int = -1
    """Processes that decode images; -1 is one for each usable core, 0 decodes in this process."""

    saliency: Path | None = None
    """Folder for an overlay of every image; None draws none."""
    saliency_label: str | None = None
    """Label that overlays explain; None is the most probable of each image."""

    output: Path = Path("predictions.csv")
    """Where predictions go; the suffix says the format."""
    overwrite: bool = False
    """Overwrite what is there."""
    allow_failures: bool = False
    """Exit 0 although some images could not be read."""

    def __post_init__(self) -> None:
        """Check all settings together.

        Raises:
            UsageError: every problem, one a line.
        """
        if self.workers == -1:
            object.__setattr__(self, "workers", usable_cores())
        problems = [
            *self._missing(),
            *device_problems(self.device, ()),
            *self._number_problems(),
            *self._output_problems(),
        ]
        if problems:
            raise UsageError(*problems)

    def _missing(self) -> list[str]:
        problems = []
        if self.run is None:
            names = sorted(file.parent.name for file in self.output_dir.glob(f"*/{REPORT}"))
            there = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if names[10:] else "")
            problems.append(
                "--run is missing: which finished run? Its folder, or its name. "
                f"Runs in {self.output_dir}/: {there or 'none'}."
            )
        if self.csv is None and self.images is None:
            problems.append("no images: give --csv FILE or --images DIR.")
        if self.csv is not None and self.images is not None:
            problems.append("--images stands alone: leave it out, or --csv.")
        return problems + effect_problems("predict", self)

    def _number_problems(self) -> list[str]:
        bounds = (("batch_size", 1), ("workers", 0), ("limit", 1))
        values = [(key, getattr(self, key), least) for key, least in bounds]
        return [
            f"--{key.replace('_', '-')}: expected at least {least}, got {value}."
            for key, value, least in values
            if value is not None and value < least
        ]

    def _output_problems(self) -> list[str]:
        problems = []
        if self.output.suffix.lower() not in SUFFIXES:
            problems.append(
                f"--output {self.output}: the name has to end with {' or '.join(SUFFIXES)}."
            )
        if self.overwrite:
            return problems
        if os.path.isfile(self.output):  # noqa: PTH113 - Path's raises where a name is too long
            problems.append(f"{self.output} is there already: --overwrite it, or name an --output.")
        if self.saliency is not None and self.saliency.is_dir() and any(self.saliency.iterdir()):
            problems.append(f"--saliency {self.saliency} holds files already: --overwrite them.")
        return problems
