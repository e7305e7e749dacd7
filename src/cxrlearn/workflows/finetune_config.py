"""The settings of `cxrlearn finetune`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cxrlearn.errors import UsageError
from cxrlearn.runtime.devices import device_problems, usable_cores
from cxrlearn.workflows.setting_values import NamedPath
from cxrlearn.workflows.study_settings import (
    effect_problems,
    evaluation_problems,
    least_problems,
    name_problems,
    source_problems,
    test_set_names,
)


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Everything that decides what finetuning computes; validated as a whole at construction."""

    model: str | None = None
    """Backbone; None takes the settings file's `[embed]`, else the only feature file there is."""
    arch: str | None = None
    """Variant of the architecture; None is the record's default."""
    pretrained_on: str | None = None
    """Variant of the weights; None is the record's default."""
    features: str | None = None
    """Which feature the head takes; None is the record's default."""
    weights: tuple[NamedPath, ...] = ()
    """Weight files or folders to look in."""
    preprocessing: str | None = None
    """Another named preprocessing record than the published one."""
    random_weights: int | None = None
    """Seed of random weights, instead of a file: training from scratch."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the forward pass; auto is bf16 on recent GPUs."""
    offline: bool = False
    """Never download anything."""
    backbone_from: str | None = None
    """Where the choice of the backbone was taken from, and what was passed over; None: given."""

    csv: Path | None = None
    """One manifest that is split here."""
    train_csv: Path | None = None
    """Manifest of the training images."""
    val_csv: Path | None = None
    """Manifest of the validation images: the epoch is chosen on it."""
    test_csv: tuple[NamedPath, ...] = ()
    """Manifests of the test sets."""
    image_root: Path | None = None
    """Folder the image paths are relative to; None is each manifest's own."""
    path_column: str | None = None
    """Column with the image paths; None finds it by name."""
    path_prefix: str | None = None
    """`OLD=NEW`: what every image path starts with, and what to write instead."""
    path_suffix: str | None = None
    """Suffix of the image files, for paths that lack it or have another."""
    split_column: str | None = None
    """Column of `csv` with train, val or test; None finds `split`."""
    split_by_image: bool = False
    """Allow a random split without patients."""
    class_columns: tuple[str, ...] = ()
    """Label columns."""
    positive: str | None = None
    """Which of two text values is positive, in every label column."""
    label_separator: str | None = None
    """Sign between the findings of one cell; None: a cell holds one value."""
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

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Stochastic gradient descent with momentum, or AdamW."""
    learning_rate: float = 1e-3
    """At the height of the schedule; the original's."""
    momentum: float = 0.9
    """Of SGD; the original's."""
    weight_decay: float = 0.0
    """Of matrices and kernels; biases and norms never decay."""
    layer_decay: float = 1.0
    """Each layer towards the image learns at this share of the rate of the one above it."""
    epochs: int = 100
    """Most epochs; the original's."""
    batch_size: int = 32
    """Images of a step, over all ranks and micro-batches."""
    accumulate: int = 1
    """Micro-batches that a batch is cut into, to save memory."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """How the rate falls, step by step."""
    warmup_epochs: float = 0.0
    """Epochs of a linear rise of the rate at the start."""
    clip_norm: float | None = None
    """Gradients are scaled down to this norm."""
    patience: int = 15
    """Epochs without a better validation score after which training ends; 0: never."""
    pos_weight: Literal["none", "balanced"] = "none"
    """balanced: both classes of a label count alike, or all classes."""
    head_init: Literal["random", "probe"] = "random"
    """probe: the head starts as the logistic regression on the features of the frozen backbone."""
    freeze_to: str | None = None
    """A module of the network: it and all before it stay as they are."""
    freeze_backbone: bool = False
    """Train the head only."""
    batch_norm: Literal["sync", "local", "frozen"] | None = None
    """None: sync on several GPUs, frozen on several CPU ranks, else local."""
    augment: Literal["light", "none"] = "light"
    """light: small rotations, shifts and changes of exposure; no mirror images."""
    seeds: int = 1
    """Trainings with seeds of their own; the first is reported, all are compared."""
    deterministic: bool = False
    """Only operations that give the same bits every time, also on GPUs."""
    save_every: int | None = None
    """Also save after this many steps of an epoch."""
    resume: bool = False
    """Go on where the run of this name was stopped."""
    max_restarts: int = 0
    """How often a run goes on by itself after a worker of --gpus died."""
    tensorboard: bool = False
    """Also write logs for TensorBoard."""
    null: bool = False
    """Permute the labels of train and validation by patient: AUROC should be near 0.5."""

    operating_point: tuple[str, ...] = ("youden",)
    """Rules by which validation chooses thresholds."""
    subgroup: tuple[str, ...] = ()
    """Columns whose values divide results; () is sex, age and view where found, `none` is none."""
    floor_columns: tuple[str, ...] = ()
    """Columns of the metadata baseline; () is age, sex and view where found, `none` is none."""
    aggregate_by: str | None = None
    """`patient` or a column, such as a study id: one prediction for each value."""
    aggregate: Literal["mean", "max"] = "mean"
    """Mean of the probabilities, or the highest."""
    origin: tuple[str, ...] = ()
    """Public datasets that the images come from."""
    seed: int = 0
    """Seed of everything drawn: split, head, order, augmentation."""

    device: str = "auto"
    """Where it is trained, by one process."""
    gpus: tuple[str, ...] = ()
    """Start one training worker on each."""
    workers: int = -1
    """Processes that decode images, over all ranks; -1 is one for each usable core."""
    cache_dir: Path | None = None
    """Where decoded images are kept for the next epoch and the next run."""
    allow_failures: bool = False
    """Exit 0 although some images could not be read."""

    features_dir: Path = Path("features")
    """Where a feature file names the backbone, if nothing else does."""
    output_dir: Path = Path("runs")
    """Where the run's folder is made."""
    name: str | None = None
    """Name of the run; None is `<tag>-finetune`."""
    overwrite: bool = False
    """Overwrite a run of the same name, also an unfinished one."""

    def __post_init__(self) -> None:
        """Check all settings together.

        Raises:
            UsageError: every problem, one a line.
        """
        if self.workers == -1:
            object.__setattr__(self, "workers", usable_cores())
        problems = [
            *source_problems(self),
            *self._number_problems(),
            *device_problems(self.device, self.gpus),
            *self._training_problems(),
            *evaluation_problems(self),
            *name_problems(self.name),
        ]
        if problems:
            raise UsageError(*problems)

    def _number_problems(self) -> list[str]:
        problems = least_problems(self, _LEAST)
        most_epochs = max(self.epochs, 1)
        ranges = {
            "learning_rate": (0 < self.learning_rate < float("inf"), "a positive number"),
            "momentum": (0 <= self.momentum < 1, "a number from 0 to below 1"),
            "weight_decay": (0 <= self.weight_decay < float("inf"), "0 or a positive number"),
            "layer_decay": (0 < self.layer_decay <= 1, "a number above 0 and at most 1"),
            "warmup_epochs": (
                0 <= self.warmup_epochs < most_epochs,
                "0 or more, below --epochs",
            ),
            "clip_norm": (
                self.clip_norm is None or 0 < self.clip_norm < float("inf"),
                "a positive number",
            ),
        }
        return problems + [
            f"--{key.replace('_', '-')}: expected {wanted}, got {getattr(self, key)}."
            for key, (good, wanted) in ranges.items()
            if not good
        ]

    def _training_problems(self) -> list[str]:
        problems = []
        if self.freeze_backbone and self.freeze_to is not None:
            problems.append("--freeze-backbone and --freeze-to exclude each other.")
        if self.resume and self.overwrite:
            problems.append("--resume goes on, --overwrite starts anew: give one of them.")
        problems += effect_problems("finetune", self)
        parts = self.accumulate * max(len(self.gpus), 1)
        if self.accumulate > 0 and 0 < self.batch_size < parts:
            problems.append(
                f"--batch-size {self.batch_size} is the batch of all ranks and micro-batches "
                f"together: with these it has to be {parts} or more."
            )
        return problems

    def test_names(self) -> list[str]:
        """Return the names of the test sets: as given, `test` for a single one, else its stem."""
        return test_set_names(self.test_csv)


_LEAST = {
    "epochs": 1,
    "batch_size": 1,
    "accumulate": 1,
    "patience": 0,
    "seeds": 1,
    "save_every": 1,
    "max_restarts": 0,
    "workers": 0,
    "seed": 0,
    "limit": 1,
    "random_weights": 0,
}
"""Least values of whole numbers."""
