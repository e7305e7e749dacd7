"""The settings of `cxrlearn embed`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cxrlearn.errors import UsageError
from cxrlearn.runtime.devices import device_problems, usable_cores
from cxrlearn.workflows.setting_values import NamedPath
from cxrlearn.workflows.study_settings import effect_problems


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Everything that decides what `embed` computes; validated as a whole at construction."""

    model: tuple[str, ...] = ()
    """Backbones; each image is decoded once for all of them. `all`: all whose weights are here."""
    arch: str | None = None
    """Variant of the architecture; None is the record's default."""
    pretrained_on: str | None = None
    """Variant of the weights; None is the record's default."""
    features: str | None = None
    """Which feature of the backbone; None is the record's default."""
    weights: tuple[NamedPath, ...] = ()
    """Weight files or folders to look in."""
    preprocessing: str | None = None
    """Another named preprocessing record than the published one."""
    random_weights: int | None = None
    """Seed of random weights, instead of a file."""
    offline: bool = False
    """Never download anything."""

    csv: Path | None = None
    """A manifest."""
    train_csv: Path | None = None
    """Another manifest; `embed` treats all alike."""
    val_csv: Path | None = None
    """Another manifest."""
    test_csv: tuple[NamedPath, ...] = ()
    """More manifests."""
    images: Path | None = None
    """A folder: every image below it."""
    image_root: Path | None = None
    """Folder the image paths are relative to; None is each manifest's own."""
    path_column: str | None = None
    """Column with the image paths; None finds it by name."""
    path_prefix: str | None = None
    """`OLD=NEW`: what every image path starts with, and what to write instead."""
    path_suffix: str | None = None
    """Suffix of the image files, for paths that lack it or have another."""
    intensity: Literal["percentile", "minmax"] = "percentile"
    """How 16-bit files and DICOM without a window become grey."""
    limit: int | None = None
    """Use the first rows of each manifest only."""

    device: str = "auto"
    """Where the backbone computes."""
    gpus: tuple[str, ...] = ()
    """Start one worker on each."""
    batch_size: int = 32
    """Rows of every batch; the last one is padded."""
    workers: int = -1
    """Processes that decode images; -1 is one for each usable core, 0 decodes in this process."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of the forward pass; `auto` is bf16 on CUDA 8.0 and above, else fp32."""
    store: Literal["float32", "float16"] = "float32"
    """Type of the features on disk."""
    verify_content: bool = False
    """Hash every image again instead of trusting size and time."""
    allow_failures: bool = False
    """Exit 0 although some images could not be read."""
    output_dir: Path = Path("features")
    """Where feature files go."""

    part_rows: int = 4096
    """Rows after which a part is closed; for tests."""
    part_seconds: float = 30.0
    """Seconds after which a part is closed; for tests."""

    def __post_init__(self) -> None:
        """Check all settings together.

        Raises:
            UsageError: every problem, one a line.
        """
        if self.workers == -1:
            object.__setattr__(self, "workers", usable_cores())
        problems = [
            *self._source_problems(),
            *device_problems(self.device, self.gpus),
            *self._number_problems(),
            *effect_problems("embed", self),
        ]
        if not self.model:
            problems.insert(
                0,
                "--model is missing: which backbone? `cxrlearn models list` names them; cxr-tiny "
                "needs no file.",
            )
        if problems:
            raise UsageError(*problems)

    def _source_problems(self) -> list[str]:
        manifests = [self.csv, self.train_csv, self.val_csv, *self.test_csv]
        if self.images is None and not any(manifests):
            return [
                "no images: give --csv FILE or --images DIR, or write them into cxrlearn.toml "
                "(`cxrlearn init`)."
            ]
        if self.images is not None and any(manifests):
            return ["--images stands alone: leave it out, or the CSV files."]
        return []

    def _number_problems(self) -> list[str]:
        bounds = (("batch_size", 1), ("workers", 0), ("limit", 1), ("random_weights", 0))
        values = [(key, getattr(self, key), least) for key, least in bounds]
        return [
            f"--{key.replace('_', '-')}: expected at least {least}, got {value}."
            for key, value, least in values
            if value is not None and value < least
        ]
