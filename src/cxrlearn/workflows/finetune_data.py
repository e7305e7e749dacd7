"""The images of every split as the training loop and validation take them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.backbones.preprocessing import apply_steps
from cxrlearn.data.augmentation import NO_AUGMENTATION, Augmentation
from cxrlearn.data.decoded_cache import open_cache
from cxrlearn.data.training_batches import (
    EvaluationBatches,
    ImageBatches,
    LabelledImages,
    LoadingConfig,
    Share,
)
from cxrlearn.errors import DataError
from cxrlearn.features.fingerprint import PIXEL_RULES
from cxrlearn.runtime.words import counted
from cxrlearn.workflows.probe_data import SplitData

if TYPE_CHECKING:
    from cxrlearn.data.decoded_cache import DecodedCache
    from cxrlearn.data.manifest import Manifest
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.training.distributed import ProcessRanks
    from cxrlearn.workflows.datasets import ImageSets, LabelledSets
    from cxrlearn.workflows.finetune_config import FinetuneConfig
    from cxrlearn.workflows.targets import Target

Failures = dict[int, str]
"""Position in a split to reason, of images that cannot be read."""


@dataclass(frozen=True)
class StudyImages:
    """Images and labels of every split, and which of them turned out to be unreadable."""

    config: FinetuneConfig
    sets: ImageSets
    labelled: LabelledSets
    images: dict[str, LabelledImages]
    """By split, in the order of its manifest."""
    ranks: ProcessRanks
    loading: LoadingConfig
    failed: dict[str, Failures] = field(default_factory=dict)
    """By split; what this rank has met, and after `share_failures` what all have."""
    notices: dict[str, str] = field(default_factory=dict)
    """Image id to what is odd about an image that was read, as `failed`."""

    def training(self, seed: int) -> ImageBatches:
        """Return the micro-batches of this rank; `seed` decides order and augmentation."""
        light = self.config.augment == "light"
        return ImageBatches(
            self.images["train"],
            self.config.batch_size,
            seed,
            accumulate=self.config.accumulate,
            share=self._share,
            augmentation=Augmentation() if light else NO_AUGMENTATION,
            loading=self._loading("train"),
        )

    def evaluation(self, split: str) -> EvaluationBatches:
        """Return this rank's part of a split, in order."""
        size = max(1, self.config.batch_size // (self.ranks.world_size * self.config.accumulate))
        return EvaluationBatches(self.images[split], size, self._share, self._loading(split))

    def share_failures(self) -> None:
        """Let every rank know what any has failed to read."""
        for notices in self.ranks.gather(self.notices):
            self.notices.update(notices)
        for own in self.ranks.gather(self.failed):
            for split, found in own.items():
                self.failed.setdefault(split, {}).update(found)

    def rows(self, split: str) -> SplitData:
        """Return the readable rows of a split with their labels.

        Raises:
            DataError: there is none.
        """
        manifest = self.sets.named()[split]
        failed = self.failed.get(split, {})
        kept = np.array([row for row in range(len(manifest)) if row not in failed], dtype=np.intp)
        if len(kept) == 0:
            raise DataError(
                f"none of the {counted(len(manifest), 'image')} of {split} can be used "
                f"({manifest.image_ids[0]}: {failed[0]}). Check --image-root and the paths in the "
                "manifest."
            )
        labels = self.labelled.labels[split]
        return SplitData(
            manifest.select(kept.tolist()),
            np.empty((len(kept), 0), dtype=np.float32),
            labels.values[kept],
            labels.known[kept],
        )

    @cached_property
    def digests(self) -> dict[str, str]:
        """A sha256 of each split's image ids, patients and labels, in order."""
        found = {}
        for name, manifest in self.sets.named().items():
            labels = self.labelled.labels[name]
            names = json.dumps([manifest.image_ids, manifest.patients.tolist()])
            content = (names.encode(), labels.values.tobytes(), labels.known.tobytes())
            found[name] = hashlib.sha256(b"\0".join(content)).hexdigest()
        return found

    def failed_images(self) -> dict[str, str]:
        """Return image id to reason, over all splits."""
        named = self.sets.named()
        return {
            named[split].image_ids[row]: reason
            for split, found in self.failed.items()
            for row, reason in sorted(found.items())
        }

    @property
    def _share(self) -> Share:
        return Share(self.ranks.rank, self.ranks.world_size)

    def _loading(self, split: str) -> LoadingConfig:
        ids = self.sets.named()[split].image_ids

        def note(row: int, notice: str) -> None:
            self.notices[ids[row]] = notice

        return replace(
            self.loading,
            on_failure=self.failed.setdefault(split, {}).__setitem__,
            on_image_notice=note,
        )


def study_images(
    config: FinetuneConfig,
    sets: ImageSets,
    labelled: LabelledSets,
    target: Target,
    ranks: ProcessRanks,
    *,
    local_size: int,
    pin: bool,
    reporter: Reporter,
) -> StudyImages:
    """Put the images of every split together with their labels; nothing is decoded yet.

    Raises:
        DiskError: the cache cannot be written to.
    """
    cache = _cache(config, target)
    images = {
        name: _images(config, manifest, labelled, name, target, cache)
        for name, manifest in sets.named().items()
    }
    loading = LoadingConfig(config.workers // local_size, pin, on_notice=reporter.warning)
    return StudyImages(config, sets, labelled, images, ranks, loading)


def _cache(config: FinetuneConfig, target: Target) -> DecodedCache | None:
    if config.cache_dir is None:
        return None
    steps = target.resolved.preprocessing.identity()["steps"]
    rule = {"steps": steps, "intensity": config.intensity, "pixel_rules": PIXEL_RULES}
    return open_cache(config.cache_dir, rule)


def _images(
    config: FinetuneConfig,
    manifest: Manifest,
    labelled: LabelledSets,
    name: str,
    target: Target,
    cache: DecodedCache | None,
) -> LabelledImages:
    rule = target.resolved.preprocessing
    labels = labelled.labels[name]
    return LabelledImages(
        paths=[str(path) for path in manifest.paths],
        values=labels.values,
        known=labels.known,
        rule=partial(apply_steps, preprocessing=rule),
        picture_size=rule.picture_size,
        intensity=config.intensity,
        cache=cache,
    )
