"""Everything that is decided before a network is loaded, so that mistakes cost no time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlearn.data.same_content import shared_files
from cxrlearn.errors import DataError, UsageError
from cxrlearn.workflows.datasets import load_labels, load_sets, sorted_by_id
from cxrlearn.workflows.finetune_folder import refuse_other_settings
from cxrlearn.workflows.finetune_tensorboard import require_tensorboard
from cxrlearn.workflows.null_control import permute_labelled
from cxrlearn.workflows.probe_evaluate import check_columns
from cxrlearn.workflows.run_folder import Recorder
from cxrlearn.workflows.shared_images import warn_of_missing_images, warn_of_shared_images
from cxrlearn.workflows.shortcut_floor import floor_columns
from cxrlearn.workflows.targets import resolve_target

if TYPE_CHECKING:
    from pathlib import Path

    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.datasets import ImageSets, LabelledSets
    from cxrlearn.workflows.finetune_config import FinetuneConfig
    from cxrlearn.workflows.targets import Target


@dataclass(frozen=True)
class Prepared:
    """What a run is about."""

    sets: ImageSets
    """Images of every split."""
    labelled: LabelledSets
    """Their labels."""
    target: Target
    """The backbone."""
    below: tuple[str, ...]
    """Columns of the metadata baseline."""
    folder: Path
    """Of the run."""
    warnings: tuple[str, ...]
    """What the user was warned of."""


def prepare(config: FinetuneConfig, reporter: Reporter) -> Prepared:
    """Read the manifests, fix the task, find the backbone, and look at the run's folder.

    Raises:
        UsageError: settings contradict each other, or another run has that name.
        DataError: a fault of a manifest or a label.
        WeightsError: unknown backbone, or its weights are not there.
    """
    recorder = Recorder(reporter)
    if config.tensorboard:
        require_tensorboard()
    sets = load_sets(config, recorder)
    warn_of_missing_images(sets.named().values(), recorder)
    files = {name: manifest.paths for name, manifest in sets.named().items()}
    warn_of_shared_images(shared_files(files), recorder, strict=config.strict)
    sets, labelled = sorted_by_id(sets, load_labels(sets, config, recorder))
    if config.null:
        labelled = permute_labelled(sets, labelled, seed=config.seed)
    tests = list(sets.tests.values())
    check_columns(config, sets.val, tests)
    others = tests if sets.val is None else [sets.val, *tests]
    below = floor_columns(config, sets.train, others)
    _check_labels(labelled)
    if config.model is None:  # the command line has filled it in
        raise UsageError("--model is missing.")
    target = resolve_target(config.model, config, config.features_dir, notify=reporter.notice)
    if config.backbone_from is not None:
        reporter.notice(f"backbone {target.tag}, from {config.backbone_from}.")
    folder = config.output_dir / (config.name or default_name(config, target.tag))
    if not config.resume:  # what is resumed is compared once its checkpoint has been looked at
        refuse_other_settings(folder, config)
    return Prepared(sets, labelled, target, below, folder, tuple(recorder.warnings))


def default_name(config: FinetuneConfig, tag: str) -> str:
    """Return the name of a run that was given none; a control never takes that of a real run."""
    return f"{tag}-finetune{'-null' if config.null else ''}"


def _check_labels(labelled: LabelledSets) -> None:
    counts = labelled.counts["train"]
    if not any(one.positives and one.negatives for one in counts):
        raise DataError("no label of the training set has both classes: there is nothing to learn.")
