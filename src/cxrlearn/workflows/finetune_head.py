"""A head that starts as the probe: logistic regression on the features of the frozen backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from cxrlearn.probes.batched import BatchedLogistic
from cxrlearn.probes.grid import Validation
from cxrlearn.probes.selection import choose_c
from cxrlearn.workflows.probe_fit import default_c

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from cxrlearn.backbones.trainable import TrainableModel
    from cxrlearn.probes.model import LogisticFit
    from cxrlearn.workflows.finetune_data import StudyImages


def start_head_as_probe(
    model: TrainableModel,
    study: StudyImages,
    features: Mapping[str, NDArray[np.float32]],
    *,
    balanced: bool,
) -> None:
    """Fit the head on the features of train as they are, C chosen on validation as in `probe`.

    A random head sends gradients through the network that say nothing about the task yet, and
    spoil what it has learned before (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained
    Features and Underperform Out-of-Distribution"). Labels without both classes in train keep
    their random head. Rank 0 fits.

    Args:
        model: its head is changed in place.
        study: images and labels.
        features: (N, D) of train, and of validation if there is one, by position.
        balanced: both classes of a label weigh alike.

    Raises:
        DataError: no image of train can be read.
    """
    used = {split: features[split] for split in ("train", "val") if split in features}
    fit = study.ranks.from_first(lambda: _fit(study, used, balanced=balanced))
    fitted = torch.from_numpy(~np.isnan(fit.intercept))
    with torch.no_grad():
        head = model.head
        head.weight[fitted] = torch.from_numpy(fit.weights).to(head.weight)[fitted]
        head.bias[fitted] = torch.from_numpy(fit.intercept).to(head.bias)[fitted]


def _fit(
    study: StudyImages, features: dict[str, NDArray[np.float32]], *, balanced: bool
) -> LogisticFit:
    task = study.labelled.task
    rows = {split: study.rows(split) for split in features}  # what can be read, in order
    readable = {split: one[~np.isnan(one).any(axis=1)] for split, one in features.items()}
    train = rows["train"]
    solver = BatchedLogistic(
        readable["train"], train.values, train.known, task.kind, task.names, balanced=balanced
    )
    if "val" not in rows:
        return solver.fit(default_c(task))
    held_out = Validation(readable["val"], rows["val"].values, rows["val"].known)
    choice = choose_c(
        solver,
        readable["train"],
        held_out,
        names=task.names,
        kind=task.kind,
        default_c=default_c(task),
    )
    return solver.fit(choice.values)
