"""The settings that probe and finetune share: the data, their labels, and how results are made."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol

from cxrlearn.data.origins import check_origins
from cxrlearn.errors import UsageError
from cxrlearn.evaluation.thresholds import parse_rule
from cxrlearn.workflows.effects import without_effect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Literal

    from cxrlearn.workflows.setting_values import NamedPath


class StudySettings(Protocol):
    """What decides rows, labels and numbers; `ProbeConfig` says what each means."""

    # Properties, because the configs are frozen.
    @property
    def csv(self) -> Path | None:
        """One manifest that is split here."""

    @property
    def train_csv(self) -> Path | None:
        """Manifest of the training images."""

    @property
    def val_csv(self) -> Path | None:
        """Manifest of the validation images."""

    @property
    def test_csv(self) -> tuple[NamedPath, ...]:
        """Manifests of the test sets."""

    @property
    def image_root(self) -> Path | None:
        """Folder the image paths are relative to."""

    @property
    def path_column(self) -> str | None:
        """Column with the image paths."""

    @property
    def path_prefix(self) -> str | None:
        """`OLD=NEW`, for the start of every image path."""

    @property
    def path_suffix(self) -> str | None:
        """Suffix of the image files."""

    @property
    def split_column(self) -> str | None:
        """Column of `csv` with train, val or test."""

    @property
    def split_by_image(self) -> bool:
        """Allow a random split without patients."""

    @property
    def class_columns(self) -> tuple[str, ...]:
        """Label columns."""

    @property
    def positive(self) -> str | None:
        """Which of two text values is positive."""

    @property
    def label_separator(self) -> str | None:
        """Sign between the findings of one cell."""

    @property
    def task(self) -> Literal["auto", "binary", "multilabel", "multiclass"]:
        """What the label columns are taken as."""

    @property
    def num_classes(self) -> int | None:
        """How many classes must be found."""

    @property
    def blank(self) -> Literal["mask", "zeros"]:
        """What a blank label means."""

    @property
    def uncertain(self) -> Literal["mask", "zeros", "ones"]:
        """What -1 means."""

    @property
    def patient_column(self) -> str | None:
        """Column with patient ids."""

    @property
    def strict(self) -> bool:
        """A patient in two splits is an error."""

    @property
    def limit(self) -> int | None:
        """Use the first rows of each manifest only."""

    @property
    def operating_point(self) -> tuple[str, ...]:
        """Rules by which validation chooses thresholds."""

    @property
    def subgroup(self) -> tuple[str, ...]:
        """Columns whose values divide results."""

    @property
    def floor_columns(self) -> tuple[str, ...]:
        """Columns of the metadata baseline."""

    @property
    def aggregate_by(self) -> str | None:
        """What gets one prediction."""

    @property
    def aggregate(self) -> Literal["mean", "max"]:
        """How images become one prediction."""

    @property
    def origin(self) -> tuple[str, ...]:
        """Public datasets that the images come from."""

    @property
    def seed(self) -> int:
        """Seed of everything drawn."""

    def test_names(self) -> list[str]:
        """Return the names of the test sets."""


def test_set_names(files: tuple[NamedPath, ...]) -> list[str]:
    """Return the names of test sets: as given, `test` for a single one, else the file's stem."""
    if len(files) == 1:
        return [files[0].name or "test"]
    return [file.name or file.path.stem for file in files]


def source_problems(config: StudySettings) -> list[str]:
    """Return what is wrong with the choice of manifests."""
    three = [config.train_csv, config.val_csv, *config.test_csv]
    if config.csv is not None and any(three):
        return ["--csv stands alone: leave out --train-csv, --val-csv and --test-csv, or --csv."]
    if config.csv is not None:
        return []
    if not any(three):
        return [
            "no data: give --csv FILE, or --train-csv, --val-csv and --test-csv, or write "
            "them into cxrlearn.toml (`cxrlearn init`)."
        ]
    problems = []
    if config.train_csv is None:
        problems.append("--train-csv is missing: the model is fitted on it.")
    if not config.test_csv:
        problems.append("--test-csv is missing: results are reported on it, never on validation.")
    names = config.test_names()
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


def evaluation_problems(config: StudySettings) -> list[str]:
    """Return what is wrong with origins and operating points; origins are put in one spelling."""
    problems = []
    try:
        object.__setattr__(config, "origin", check_origins(config.origin))
    except UsageError as error:
        problems.append(str(error))
    for rule in config.operating_point:
        try:
            parse_rule(rule)
        except UsageError as error:
            problems.append(f"--operating-point: {error}")
    return problems


def effect_problems(section: str, config: Any, told: Sequence[str] = ()) -> list[str]:  # noqa: ANN401 - any config
    """Return a problem for each setting off its default that does nothing in this run.

    A bound such as `memory_limit` may be set by a caller for all probes alike.

    Args:
        section: the command.
        config: its config.
        told: problems found before; an option among them is not named again.
    """
    defaults = {one.name: one.default for one in fields(config)}
    idle = {
        f"--{key.replace('_', '-')}": why
        for key, why in without_effect(section, config).items()
        if key != "memory_limit" and getattr(config, key) != defaults[key]
    }
    return [
        f"{option} {why}"
        for option, why in idle.items()
        if not any(line.startswith(f"{option}:") for line in told)
    ]


def least_problems(config: StudySettings, least: dict[str, int]) -> list[str]:
    """Return a problem for each whole number below its least value; None is none."""
    values = {key: getattr(config, key) for key in least}
    return [
        f"--{key.replace('_', '-')}: expected at least {least[key]}, got {value}."
        for key, value in values.items()
        if value is not None and value < least[key]
    ]


def name_problems(name: str | None) -> list[str]:
    """Return why the name of a run cannot be that of a folder."""
    if name is None or not (name in {"", ".", ".."} or set(name) & set('/\\:*?"<>|')):
        return []
    return [f"--name: {name!r} cannot be the name of a folder."]
