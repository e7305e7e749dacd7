"""From the data settings to named splits of images and their labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cxrlearn.data.faults import quoted
from cxrlearn.data.label_cells import NEGATIVE, POSITIVE, spelled
from cxrlearn.data.labels import (
    LabelPolicy,
    count_labels,
    define_task,
    one_class_labels,
    placeholder_notices,
    read_labels,
    suggest_class_columns,
)
from cxrlearn.data.manifest import Manifest, read_manifest
from cxrlearn.data.splits import by_column, by_image, by_patient
from cxrlearn.errors import DataError, UsageError
from cxrlearn.workflows.patient_warnings import (
    patient_warnings,
    shared_patients,
    shares_warnings,
    spelling_warnings,
)
from cxrlearn.workflows.sharing import consequence, tell

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cxrlearn.data.labels import LabelCounts, Labels, Task
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.study_settings import StudySettings


@dataclass(frozen=True)
class ImageSets:
    """The images of every split."""

    train: Manifest
    """All a fit sees."""
    val: Manifest | None
    """Where choices are made."""
    tests: dict[str, Manifest]
    """Where results are reported, by name."""
    origin: str
    """A sentence that says where the split comes from."""
    drawn: bool = False
    """The split was drawn here, so it has to be written down."""

    def named(self) -> dict[str, Manifest]:
        """Return all splits by name, train first."""
        val = {} if self.val is None else {"val": self.val}
        return {"train": self.train, **val, **self.tests}


def load_sets(config: StudySettings, reporter: Reporter) -> ImageSets:
    """Read the manifests and divide them.

    Raises:
        DataError: a fault of a manifest, an empty split, or, with `--strict`, a shared patient.
        UsageError: a split has to be drawn and no patients are known.
    """
    if config.csv is None:
        sets = _separate_files(config)
        read = tuple(sets.named().values())
    else:
        read = (_read(config, config.csv, "all"),)
        sets = _divided(config, read[0])
    for notice in joined_notices(read):
        reporter.notice(notice)
    for message in (
        *(message for manifest in read for message in patient_warnings(manifest, config)),
        *(shares_warnings(sets) if sets.drawn else ()),
    ):
        reporter.warning(message)
    for what, a, b in shared_patients(sets.named()):
        tell(f"{what}: {consequence(a, b)}", a, b, reporter, strict=config.strict)
    for message, a, b in spelling_warnings(sets.named()):
        tell(message, a, b, reporter, strict=config.strict)
    return sets


def joined_notices(manifests: Sequence[Manifest]) -> list[str]:
    """Return the notices of manifests; what holds for several files is said once."""
    files: dict[str, list[str]] = {}
    for manifest in manifests:
        for notice in manifest.notices:
            said = notice.removeprefix(f"{manifest.file}: ")
            files.setdefault(said, []).append(str(manifest.file))
    return [f"{', '.join(dict.fromkeys(of))}: {said}" for said, of in files.items()]


def _separate_files(config: StudySettings) -> ImageSets:
    if config.train_csv is None:  # the config has refused this
        raise UsageError("--train-csv is missing.")
    train = _read(config, config.train_csv, "train")
    val = None if config.val_csv is None else _read(config, config.val_csv, "val")
    files = zip(config.test_names(), config.test_csv, strict=True)
    tests = {name: _read(config, file.path, name) for name, file in files}
    return ImageSets(train, val, tests, "the split of the given files")


def _read(config: StudySettings, file: Path, name: str) -> Manifest:
    return read_manifest(
        file,
        name=name,
        image_root=config.image_root,
        path_column=config.path_column,
        path_prefix=config.path_prefix,
        path_suffix=config.path_suffix,
        patient_column=config.patient_column,
        split_column=config.split_column,
        limit=config.limit,
    )


def _divided(config: StudySettings, whole: Manifest) -> ImageSets:
    """Divide one manifest by its split column, or else draw a split."""
    file, column = whole.file, whole.columns.split
    if column is not None:
        parts = by_column(whole, column)
        origin, drawn = f"column {column!r} of {file.name if file else whole.name}", False
    elif whole.columns.patient is not None:
        parts = by_patient(whole, seed=config.seed)
        origin, drawn = f"drawn by patient, 70/10/20, seed {config.seed}", True
    elif config.split_by_image:
        parts = by_image(whole, seed=config.seed)
        origin, drawn = f"drawn by image, 70/10/20, seed {config.seed}", True
    else:
        raise UsageError(
            f"{file} has neither a split column nor a patient column, and its paths name no "
            "patients, so a patient could be in train and in test. Name one (--split-column, "
            "--patient-column), or allow it with --split-by-image."
        )
    missing = [name for name in ("train", "test") if name not in parts]
    if missing:
        limited = "" if config.limit is None else f", of the first {config.limit} (--limit)"
        raise DataError(f"{file}: no rows for {' and '.join(missing)} ({origin}{limited}).")
    return ImageSets(parts["train"], parts.get("val"), {"test": parts["test"]}, origin, drawn)


@dataclass(frozen=True)
class LabelledSets:
    """Labels of every split, in the order of its manifest's rows."""

    task: Task
    """Fixed on train."""
    labels: dict[str, Labels]
    """By split name."""
    counts: dict[str, tuple[LabelCounts, ...]]
    """Positives, negatives and masked of every label, by split name."""


def load_labels(sets: ImageSets, config: StudySettings, reporter: Reporter) -> LabelledSets:
    """Fix the task on train and read the labels of every split.

    Raises:
        UsageError: no class columns were named; the message lists candidates.
        DataError: a fault of a label, with row and column.
    """
    if not config.class_columns:
        found = suggest_class_columns(sets.train.table)
        hint = f" These columns of {sets.train.file} hold 0/1: {','.join(found)}" if found else ""
        raise UsageError(f"--class-columns is missing: which columns are the labels?{hint}")
    policy = LabelPolicy(
        uncertain=config.uncertain,
        blank=config.blank,
        positive=config.positive,
        task=config.task,
        num_classes=config.num_classes,
        separator=config.label_separator,
    )
    task = define_task(sets.train, config.class_columns, policy)
    if task.negative == NEGATIVE and spelled(config.positive or "") == POSITIVE:
        reporter.warning(
            f"--positive {config.positive} has no effect: {quoted(task.columns)} holds 0 and 1."
        )
    labels = {name: read_labels(manifest, task) for name, manifest in sets.named().items()}
    for notice in placeholder_notices(list(sets.named().values()), task.columns):
        reporter.notice(notice)
    counts = {name: count_labels(labels[name], task.names) for name in labels}
    for message in one_class_labels(counts["train"], policy):
        reporter.warning(f"train: {message}")
    return LabelledSets(task, labels, counts)


def sorted_by_id(sets: ImageSets, labelled: LabelledSets) -> tuple[ImageSets, LabelledSets]:
    """Sort the rows of every split by image id, which is unique once labels have been read.

    After this, nothing depends on the order of the rows in a file: batches, sums, ties, draws.
    Messages about a file come before it, so they name rows in the order of the file.
    """
    manifests, labels = {}, {}
    for name, manifest in sets.named().items():
        order = sorted(range(len(manifest)), key=manifest.image_ids.__getitem__)
        manifests[name] = manifest.select(order)
        labels[name] = labelled.labels[name].select(order)
    tests = {name: manifests[name] for name in sets.tests}
    sets = replace(sets, train=manifests["train"], val=manifests.get("val"), tests=tests)
    return sets, replace(labelled, labels=labels)
