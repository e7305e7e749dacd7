"""The settings of `cxrlearn probe`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cxrlearn.errors import UsageError
from cxrlearn.runtime.devices import device_problems, usable_cores
from cxrlearn.workflows.settings import NamedPath


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Everything that decides what a probe computes; validated as a whole at construction."""

    model: str | None = None
    """Backbone; None takes the settings file's `[embed]`, else the only feature file there is."""
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
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of the forward pass, for images that have to be embedded first."""
    offline: bool = False
    """Never download anything."""

    csv: Path | None = None
    """One manifest that is split here."""
    train_csv: Path | None = None
    """Manifest of the training images: all the fit ever sees."""
    val_csv: Path | None = None
    """Manifest of the validation images: C is chosen on it."""
    test_csv: tuple[NamedPath, ...] = ()
    """Manifests of the test sets."""
    image_root: Path | None = None
    """Folder the image paths are relative to; None is each manifest's own."""
    path_column: str | None = None
    """Column with the image paths; None finds it by name."""
    split_column: str | None = None
    """Column of `csv` with train, val or test; None finds `split`."""
    split_by_image: bool = False
    """Allow a random split without patients."""
    class_columns: tuple[str, ...] = ()
    """Label columns."""
    positive: str | None = None
    """Which of two text values is positive."""
    task: Literal["auto", "binary", "multilabel", "multiclass"] = "auto"
    """What the label columns are taken as."""
    num_classes: int | None = None
    """A check: how many classes must be found."""
    blank: Literal["mask", "zeros"] = "mask"
    """What a blank label means."""
    uncertain: Literal["mask", "zeros", "ones"] = "mask"
    """What -1 means."""
    patient_column: str | None = None
    """Column with patient ids; `none` turns patients off."""
    intensity: Literal["percentile", "minmax"] = "percentile"
    """How 16-bit files and DICOM without a window become grey."""
    strict: bool = False
    """A patient in two splits is an error."""
    limit: int | None = None
    """Use the first rows of each manifest only."""

    use_logreg: bool = True
    """Logistic regression; the only probe so far."""
    C: float | Literal["auto"] | None = None
    """Inverse regularisation strength; None is `auto` where there is a validation split."""
    max_iter: int = 500
    """Most iterations of the solver."""
    replicates: int = 1000
    """Bootstrap replicates behind each interval."""
    seed: int = 0
    """Seed of the split and of the bootstrap."""

    device: str = "auto"
    """Where images that have no features yet are embedded."""
    gpus: tuple[str, ...] = ()
    """Start one embedding worker on each."""
    batch_size: int = 32
    """Images in a batch."""
    workers: int = -1
    """Processes that decode images; -1 is one for each usable core."""
    allow_failures: bool = False
    """Exit 0 although some images could not be read."""

    features_dir: Path = Path("features")
    """Where feature files are."""
    output_dir: Path = Path("runs")
    """Where the run's folder is made."""
    name: str | None = None
    """Name of the run; None is `<tag>-logreg`."""
    overwrite: bool = False
    """Overwrite a run of the same name that was made with other settings."""

    def __post_init__(self) -> None:
        """Check all settings together.

        Raises:
            UsageError: every problem, one a line.
        """
        if self.workers == -1:
            object.__setattr__(self, "workers", usable_cores())
        problems = [*self._source_problems(), *self._number_problems()]
        problems += device_problems(self.device, self.gpus)
        if not self.use_logreg:
            problems.append("--use-logreg is the only probe so far; leave it on.")
        if self.name is not None and (
            self.name in {"", ".", ".."} or set(self.name) & set('/\\:*?"<>|')
        ):
            problems.append(f"--name: {self.name!r} cannot be the name of a folder.")
        if problems:
            raise UsageError("\n".join(problems))

    def _source_problems(self) -> list[str]:
        three = [self.train_csv, self.val_csv, *self.test_csv]
        if self.csv is not None and any(three):
            return [
                "--csv stands alone: leave out --train-csv, --val-csv and --test-csv, or --csv."
            ]
        if self.csv is not None:
            return []
        if not any(three):
            return [
                "no data: give --csv FILE, or --train-csv, --val-csv and --test-csv, or write "
                "them into cxrlearn.toml (`cxrlearn init`)."
            ]
        problems = []
        if self.train_csv is None:
            problems.append("--train-csv is missing: the probe is fitted on it.")
        if not self.test_csv:
            problems.append(
                "--test-csv is missing: results are reported on it, never on validation."
            )
        names = self.test_names()
        problems += [
            f"--test-csv: two test sets are named {name!r}; give names, as in {name}2=FILE."
            for name in sorted({n for n in names if names.count(n) > 1})
        ]
        problems += [
            f"--test-csv: {name!r} cannot name a test set; it is the name of another split."
            for name in names
            if name in {"train", "val"}
        ]
        return problems

    def _number_problems(self) -> list[str]:
        problems = []
        if isinstance(self.C, float) and not 0 < self.C < float("inf"):
            problems.append(f"--C: expected a positive number or auto, got {self.C}.")
        if self.C == "auto" and self.csv is None and self.val_csv is None:
            problems.append(
                "--C auto needs a validation split (--val-csv): C is chosen there. Or give a "
                "number."
            )
        for key, least in (
            ("max_iter", 1),
            ("replicates", 100),
            ("batch_size", 1),
            ("workers", 0),
            ("seed", 0),
        ):
            if getattr(self, key) < least:
                problems.append(
                    f"--{key.replace('_', '-')}: expected at least {least}, got "
                    f"{getattr(self, key)}."
                )
        if self.limit is not None and self.limit < 1:
            problems.append(f"--limit: expected at least 1, got {self.limit}.")
        if self.random_weights is not None and self.random_weights < 0:
            problems.append(f"--random-weights: expected at least 0, got {self.random_weights}.")
        return problems

    def test_names(self) -> list[str]:
        """Return the names of the test sets: as given, `test` for a single one, else its stem."""
        if len(self.test_csv) == 1:
            return [self.test_csv[0].name or "test"]
        return [file.name or file.path.stem for file in self.test_csv]
