"""Says which images of validation and test look just like one of train."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.evaluation.near_duplicates import near_duplicates
from cxrlearn.runtime.words import agreeing, counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cxrlearn.workflows.probe_data import SplitData


def near_duplicate_warnings(data: Mapping[str, SplitData]) -> tuple[str, ...]:
    """Return a sentence for each split with images that look just like one of train.

    Args:
        data: splits by name, with features of the backbone before it learns anything of the task:
            a network that was trained on these labels may map all images of a class to one point.
            Features on disk are not compared.
    """
    train = data["train"]
    if not isinstance(train.features, np.ndarray):
        return ()
    sentences = []
    for name, split in data.items():
        if name == "train" or not isinstance(split.features, np.ndarray):
            continue
        found = near_duplicates(split.features, train.features)
        if len(found.rows):
            row, twin = int(found.rows[0]), int(found.twins[0])
            sentences.append(
                f"{counted(len(found.rows), 'image')} of {name} "
                f"{agreeing(len(found.rows), 'looks', 'look')} nearly the same as one of train to "
                f"this backbone (cosine from {found.similarity.min():.4f}; such as "
                f"{split.image_ids[row]} and {train.image_ids[twin]}): look at them."
            )
    return tuple(sentences)
