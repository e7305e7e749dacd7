"""`embed`: a frozen backbone over every image, features into HDF5, stoppable at any moment."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from cxrlearn.data.columns import OFF
from cxrlearn.data.manifest import read_manifest, scan_folder
from cxrlearn.data.missing_images import missing_images_hint
from cxrlearn.features.fingerprint import AUTO
from cxrlearn.features.lock import writer_lock
from cxrlearn.features.merging import merge
from cxrlearn.features.parts import remove_leftovers
from cxrlearn.features.plan import (
    Catalogue,
    Image,
    image_at,
    images_to_embed,
    unique_images,
    without_unreadable,
)
from cxrlearn.features.rows import empty_index
from cxrlearn.features.store import read_failed, read_index
from cxrlearn.runtime.events import SILENT
from cxrlearn.runtime.provenance import provenance
from cxrlearn.runtime.words import counted
from cxrlearn.workflows.datasets import joined_notices
from cxrlearn.workflows.embed_recover import adopt, recover
from cxrlearn.workflows.image_notices import report_images
from cxrlearn.workflows.targets import expand_models, resolve_target

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cxrlearn.data.manifest import Manifest
    from cxrlearn.features.rows import Index
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.embed_config import EmbedConfig
    from cxrlearn.workflows.probe_config import ProbeConfig
    from cxrlearn.workflows.targets import Target

BIG_DISK_BYTES = 100 * 1024 * 1024
"""Above this size of new features the disk they will take is announced."""


@dataclass(frozen=True)
class FileResult:
    """What happened to one feature file."""

    tag: str
    """Stem of the file."""
    file: Path
    """The feature file."""
    dim: int
    """Width of a feature."""
    rows: int
    """Rows in the file now, of all datasets ever embedded."""
    unchanged: int
    """Images of this run whose features were there."""
    computed: int
    """Images that went through the backbone."""
    copied: int
    """Images whose content had features under another name or time."""
    failed: dict[str, str]
    """Image id to reason, for images of this run that could not be read."""
    constant: tuple[str, ...] = ()
    """Ids of images decoded in this run in which every pixel has the same value."""
    notices: dict[str, str] = field(default_factory=dict)
    """Image id to what was read in another way than the file states, of images decoded."""


@dataclass(frozen=True)
class EmbedResult:
    """What `embed` did."""

    files: tuple[FileResult, ...]
    """One for each backbone."""
    images: int
    """Distinct images asked for."""
    seconds: float
    """Time taken."""
    allow_failures: bool = False
    """Whether failed images are acceptable."""

    @property
    def failed(self) -> dict[str, str]:
        """Image id to reason, over all files."""
        return {name: reason for file in self.files for name, reason in file.failed.items()}


@dataclass
class Outcome:
    """What computing came to, for one feature file; sums over ranks."""

    computed: int = 0
    copied: int = 0
    constant: list[str] = field(default_factory=list)
    computed_constant: int = 0
    """How many of these went through the backbone; the others were copied."""
    notices: dict[str, str] = field(default_factory=dict)
    alike: int = 0
    """Images computed where all features of a process came out equal."""
    failed: dict[str, str] = field(default_factory=dict)
    precision: str | None = None
    cosine_distance: float | None = None

    def add(self, other: Outcome) -> None:
        """Add what another rank came to."""
        self.computed += other.computed
        self.copied += other.copied
        self.constant += other.constant
        self.computed_constant += other.computed_constant
        self.alike += other.alike
        self.notices |= other.notices
        self.failed |= other.failed
        self.precision = self.precision or other.precision
        self.cosine_distance = self.cosine_distance or other.cosine_distance


@dataclass
class Work:
    """One feature file with what is known and what has to be done."""

    target: Target
    """Backbone and file; the fingerprint's precision is decided once something is computed."""
    index: Index
    """Rows there."""
    todo: list[Image]
    """Images without features, sorted by id."""
    old_failed: dict[str, str]
    """Failures of earlier runs."""
    other_failed: dict[str, str]
    """Those of images that are not in this run."""
    unchanged: int = 0
    """Images whose features were there."""
    done: Outcome = field(default_factory=Outcome)


def run_embed(
    config: EmbedConfig,
    reporter: Reporter = SILENT,
    *,
    images: Sequence[Image] | None = None,
    record_failures: bool = True,
) -> EmbedResult:
    """Bring the feature file of every backbone up to date with the images.

    Whether there is work is decided before torch is imported. What was finished stays finished,
    whatever stops the run; the next one goes on from there. `images`, if given, are embedded
    instead of those of the config's manifests. With `record_failures=False` no image is added to
    `/failed`.

    Raises:
        DataError: a fault of a manifest.
        WeightsError: a backbone is unknown, or its weights are missing or wrong.
        FeatureFileError: a file is damaged, in use, or was made with other settings.
        HardwareError: a device is not there, too small, or a process died.
        DiskError: the disk is full; finished parts are kept.
    """
    started = time.monotonic()
    if images is None:
        images = _load_images(config, reporter)
    found = (
        resolve_target(name, config, config.output_dir, store=config.store, notify=reporter.notice)
        for name in expand_models(config.model, config, reporter.warning)
    )
    targets = list({target.file: target for target in found}.values())  # an alias is no second one
    with ExitStack() as locks:
        for target in targets:
            locks.enter_context(writer_lock(target.file))
        works = [_prepare(target, images, config, reporter) for target in targets]
        count, images = len(images), ()
        if any(work.todo for work in works):
            _announce(works, reporter)
            _compute(works, config, reporter)
        if count and not any(work.done.computed for work in works):
            name_idle_options(config, reporter, "device")
        for work in works:
            _warn_if_alike(work, reporter)
            work.todo = []  # very many names need not be kept until the end
        files = tuple(_finish(work, record_failures=record_failures) for work in works)
    report_images(
        {name for file in files for name in file.constant},
        {name: notice for file in files for name, notice in file.notices.items()},
        reporter,
    )
    return EmbedResult(files, count, time.monotonic() - started, config.allow_failures)


def name_idle_options(config: EmbedConfig | ProbeConfig, reporter: Reporter, *also: str) -> None:
    """Say which settings off their default have no effect, because nothing has to be computed."""
    idle = [
        f"--{one.name.replace('_', '-')}"
        for one in fields(config)
        if one.name in {"gpus", "batch_size", *also} and getattr(config, one.name) != one.default
    ]
    if idle:
        reporter.warning(
            f"{' and '.join(idle)}: no effect in this run, all images have features already."
        )


def manifests_of(config: EmbedConfig) -> list[Manifest]:
    """Read every manifest of a config, or scan its folder."""
    if config.images is not None:
        return [scan_folder(config.images, limit=config.limit)]
    paths = [config.csv, config.train_csv, config.val_csv, *(file.path for file in config.test_csv)]
    return [
        read_manifest(
            path,
            name=path.stem,
            image_root=config.image_root,
            path_column=config.path_column,
            path_prefix=config.path_prefix,
            path_suffix=config.path_suffix,
            patient_column=OFF,
            limit=config.limit,
        )
        for path in paths
        if path is not None
    ]


def images_of(manifest: Manifest) -> list[Image]:
    """Return the images of a manifest, in its order."""
    root = str(manifest.image_root)
    return [
        image_at(name, root, str(path))
        for name, path in zip(manifest.image_ids, manifest.paths, strict=True)
    ]


def _load_images(config: EmbedConfig, reporter: Reporter) -> list[Image]:
    manifests = manifests_of(config)
    for notice in joined_notices(manifests):
        reporter.notice(notice)
    for manifest in manifests:
        hint = missing_images_hint(manifest)
        if hint is not None:
            reporter.warning(hint)
    return unique_images(image for manifest in manifests for image in images_of(manifest))


def _prepare(
    target: Target, images: Sequence[Image], config: EmbedConfig, reporter: Reporter
) -> Work:
    """Check what is there, save what an interrupted run left, and list what is missing."""
    remove_leftovers(target.file)
    target = adopt(target, reporter)
    file = target.file
    target = recover(target, reporter)
    index = read_index(file) if file.is_file() else empty_index()
    old_failed = read_failed(file) if file.is_file() else {}
    new = images_to_embed(images, Catalogue(index), verify_content=config.verify_content)
    todo, failed = without_unreadable(new, old_failed, config.intensity)
    other_failed = dict(old_failed)
    for image in images if old_failed else ():
        other_failed.pop(image.image_id, None)
    unchanged, done = len(images) - len(new), Outcome(failed=failed)
    return Work(target, index, todo, old_failed, other_failed, unchanged, done)


def _announce(works: Sequence[Work], reporter: Reporter) -> None:
    for work in works:
        fingerprint = work.target.fingerprint
        width = 2 if fingerprint.store == "float16" else 4
        # Parts and the merged file exist side by side for a moment, and the old file until then.
        needed = (
            len(work.todo) * fingerprint.dim * width * 2 + len(work.index) * fingerprint.dim * width
        )
        folder = work.target.file.parent
        if needed <= BIG_DISK_BYTES:
            continue
        free = shutil.disk_usage(folder).free
        line = (
            f"{work.target.tag}: {counted(len(work.todo), 'image')}, up to {needed / 1e9:.1f} GB "
            "of disk while it runs"
        )
        if free < needed:
            reporter.warning(f"{line}; only {free / 1e9:.1f} GB are free in {folder}.")
        else:
            reporter.notice(f"{line}.")


def _compute(works: list[Work], config: EmbedConfig, reporter: Reporter) -> None:
    if config.gpus:
        from cxrlearn.workflows.embed_ranks import compute_on_ranks

        compute_on_ranks(works, config, reporter)
    else:
        from cxrlearn.runtime.devices import resolve_device
        from cxrlearn.workflows.embed_compute import compute

        compute(works, config, reporter, device=resolve_device(config.device))


def _warn_if_alike(work: Work, reporter: Reporter) -> None:
    done = work.done
    if done.alike == done.computed and done.computed - done.computed_constant > 1:
        reporter.warning(
            f"{work.target.tag}: all {done.computed:,} images computed in this run have the same "
            "features, so they tell nothing apart. Check the weights and the preprocessing."
        )


def _finish(work: Work, *, record_failures: bool) -> FileResult:
    target, done = work.target, work.done
    recorded = {
        name: why for name, why in done.failed.items() if record_failures or name in work.old_failed
    }
    failed = work.other_failed | recorded
    fingerprint = target.fingerprint
    if done.precision is not None:
        fingerprint = replace(fingerprint, precision=done.precision)
    rows = len(work.index)
    if done.computed or done.copied or failed != work.old_failed:
        if fingerprint.precision == AUTO:  # every image failed: nothing was computed at all
            fingerprint = replace(fingerprint, precision="fp32")
        rows = merge(target.file, fingerprint, made_by(work), failed=failed)
    return FileResult(
        tag=target.tag,
        file=target.file,
        dim=fingerprint.dim,
        rows=rows,
        unchanged=work.unchanged,
        computed=done.computed,
        copied=done.copied,
        failed=done.failed,
        constant=tuple(done.constant),
        notices=done.notices,
    )


def made_by(work: Work) -> dict[str, object]:
    """Return the provenance of the features that this run adds."""
    given = work.target.given
    return provenance() | {
        "precision_requested": work.target.precision,
        "weights_given": None if given is None else str(given.absolute()),
        "cosine_distance_to_float32": work.done.cosine_distance,
    }
