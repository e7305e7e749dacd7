"""Features of every split as the backbone makes them before it learns, gathered from all ranks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from cxrlearn.backbones.trainable import TrainableModel
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.finetune_data import StudyImages
    from cxrlearn.workflows.probe_data import SplitData

    Features = dict[str, NDArray[np.float32]]


def frozen_features(
    model: TrainableModel,
    study: StudyImages,
    splits: Iterable[str],
    *,
    autocast: torch.dtype | None,
    reporter: Reporter,
    between: Callable[[], None],
) -> Features:
    """Return the features (N, D) of splits by position on rank 0, and (0, D) on the others.

    Every rank takes its part of the images. Rows of images that cannot be read are NaN. The mode
    of the model is as before, and no random number is drawn.

    Args:
        model: as it is; it stays so.
        study: images.
        splits: names.
        autocast: precision; None is float32.
        reporter: shows progress.
        between: called after every batch; may raise, to leave.
    """
    mode = model.training
    model.eval()
    features = {
        split: _features(model, study, split, autocast, reporter, between) for split in splits
    }
    model.train(mode)
    return features


def _features(
    model: TrainableModel,
    study: StudyImages,
    split: str,
    autocast: torch.dtype | None,
    reporter: Reporter,
    between: Callable[[], None],
) -> NDArray[np.float32]:
    device = model.head.weight.device
    own: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    batches = study.evaluation(split)
    with (
        torch.inference_mode(),
        reporter.progress(f"features of {split}", len(batches), unit="batches") as progress,
    ):
        for batch in batches:
            with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
                found = model.features(batch.pixels.to(device, non_blocking=True))
            own.append((batch.rows.numpy(), found.float().cpu().numpy()))
            progress.advance()
            between()
    study.share_failures()
    gathered = study.ranks.gather_to_first(own)  # they are large, and only rank 0 needs them
    count = len(study.images[split].values) if gathered else 0
    features = np.full((count, model.head.in_features), np.nan, dtype=np.float32)
    for rows, values in (pair for part in gathered for pair in part):
        features[rows] = values
    return features


def with_features(
    study: StudyImages, features: Mapping[str, NDArray[np.float32]]
) -> dict[str, SplitData]:
    """Return the readable rows of splits with labels and features; rows that are not finite go.

    Raises:
        DataError: no image of a split can be read.
    """
    found = {}
    for split, values in features.items():
        failed = study.failed.get(split, {})
        kept = np.array([row for row in range(len(values)) if row not in failed], dtype=np.intp)
        data = replace(study.rows(split), features=values[kept])
        finite = np.flatnonzero(np.isfinite(values[kept]).all(axis=1))
        found[split] = data if len(finite) == len(kept) else data.select(finite)
    return found
