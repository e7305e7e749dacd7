"""The settings of `cxrlearn probe`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from cxrlearn.errors import UsageError
from cxrlearn.runtime.devices import device_problems, usable_cores
from cxrlearn.workflows.effects import probe_kind
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
    store: Literal["float32", "float16"] = "float32"
    """Type of the features on disk."""
    offline: bool = False
    """Never download anything."""
    backbone_from: str | None = None
    """Where the choice of the backbone was taken from, and what was passed over; None: given."""

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

    use_logreg: bool | None = None
    """Logistic regression: the default."""
    linear: bool = False
    """A linear layer trained by gradient descent instead."""
    knn: bool = False
    """Nearest neighbours instead."""
    solver: Literal["batched", "sklearn"] = "batched"
    """Whose solver fits logistic regression: ours, certified, or scikit-learn's in float64."""
    class_weight: Literal["none", "balanced"] = "none"
    """balanced: rows weigh inversely to the frequency of their class."""
    standardize: bool = False
    """Divide each feature by its standard deviation in train before fitting."""
    C: float | Literal["auto"] | None = None
    """Inverse regularisation strength; None is `auto` where there is a validation split."""
    max_iter: int = 500
    """Most iterations of the solver."""
    learning_rate: tuple[float, ...] = ()
    """Of the linear layer; several are tried side by side. () is a grid about 1e-3."""
    epochs: int = 100
    """Most epochs of the linear layer."""
    k: int | None = None
    """Neighbours; None chooses on validation."""
    train_fraction: tuple[float, ...] = ()
    """Shares of the training patients for a label-efficiency curve."""
    few_shot: tuple[int, ...] = ()
    """Numbers of positive and negative patients for each label, for the same curve."""
    repeats: int = 5
    """Random subsets of each size."""
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
    """Seed of everything drawn: split, subsets, order of rows."""
    memory_limit: float | None = None
    """GiB; training features that need more are streamed. None is what the machine has free."""

    device: str = "auto"
    """Where the probe is fitted, and images that have no features yet are embedded."""
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
    """Name of the run; None is `<tag>-<probe>`."""
    overwrite: bool = False
    """Overwrite a run of the same name that was made with other settings."""

    def __post_init__(self) -> None:
        """Check all settings together.

        Raises:
            UsageError: every problem, one a line.
        """
        if self.workers == -1:
            object.__setattr__(self, "workers", usable_cores())
        problems = [*source_problems(self), *self._number_problems()]
        problems += device_problems(self.device, self.gpus)
        problems += self._probe_problems()
        problems += effect_problems("probe", self, problems)
        problems += name_problems(self.name)
        if problems:
            raise UsageError(*problems)
        object.__setattr__(self, "use_logreg", self.kind == "logreg")  # as saved with results

    @property
    def kind(self) -> Literal["logreg", "linear", "knn"]:
        """Which probe."""
        return cast("Literal['logreg', 'linear', 'knn']", probe_kind(self))

    def _probe_problems(self) -> list[str]:
        chosen = {"--use-logreg": self.use_logreg, "--linear": self.linear, "--knn": self.knn}
        asked = [option for option, value in chosen.items() if value]
        problems = []
        if len(asked) > 1:
            problems.append(f"{' and '.join(asked)} exclude each other: one probe a run.")
        if self.use_logreg is False and not asked:
            problems.append("--use-logreg: without it, another probe is needed: --linear or --knn.")
        problems += evaluation_problems(self)
        if self.null and (self.train_fraction or self.few_shot):
            problems.append("--null and a label-efficiency curve exclude each other.")
        return problems

    def _number_problems(self) -> list[str]:
        problems = list_problems(self)
        if isinstance(self.C, float) and not 0 < self.C < float("inf"):
            problems.append(f"--C: expected a positive number or auto, got {self.C}.")
        if self.C == "auto" and self.csv is None and self.val_csv is None:
            problems.append(
                "--C auto needs a validation split (--val-csv): C is chosen there. Or give a "
                "number."
            )
        problems += least_problems(
            self,
            {
                "max_iter": 1,
                "epochs": 1,
                "repeats": 1,
                "batch_size": 1,
                "workers": 0,
                "seed": 0,
                "limit": 1,
                "k": 1,
                "random_weights": 0,
            },
        )
        return problems

    def test_names(self) -> list[str]:
        """Return the names of the test sets: as given, `test` for a single one, else its stem."""
        return test_set_names(self.test_csv)


def list_problems(config: ProbeConfig) -> list[str]:
    """Return what is wrong with numbers given as lists."""
    problems = [
        f"--train-fraction: expected shares above 0 and at most 1, got {share}."
        for share in config.train_fraction
        if not 0 < share <= 1
    ]
    problems += [
        f"--few-shot: expected at least 1 patient, got {shots}."
        for shots in config.few_shot
        if shots < 1
    ]
    problems += [
        f"--learning-rate: expected a positive number, got {rate}."
        for rate in config.learning_rate
        if not 0 < rate < float("inf")
    ]
    if config.memory_limit is not None and not config.memory_limit > 0:
        problems.append(f"--memory-limit: expected a positive number, got {config.memory_limit}.")
    return problems
