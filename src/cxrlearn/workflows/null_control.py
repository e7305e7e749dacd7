"""The null control: labels permuted by patient, so that there is nothing left to learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cxrlearn.workflows.probe_data import SplitData


def permute_by_patient(data: SplitData, rng: np.random.Generator) -> SplitData:
    """Give every patient the labels of another one, image after image.

    A patient with more images than the other starts over at the other's first image. Whatever
    AUROC above 0.5 is left comes from a leak, or from chance.
    """
    groups: dict[str, list[int]] = {}
    for row, (patient, image) in enumerate(zip(data.patients, data.image_ids, strict=True)):
        # The mark keeps the id of an image from being taken for the patient of another.
        groups.setdefault(f"image\0{image}" if patient is None else patient, []).append(row)
    owners = sorted(groups)
    source = np.empty(len(data.image_ids), dtype=np.intp)
    for owner, other in zip(owners, rng.permutation(len(owners)), strict=True):
        theirs = groups[owners[int(other)]]
        for position, row in enumerate(groups[owner]):
            source[row] = theirs[position % len(theirs)]
    return data.with_labels(data.values[source], data.known[source])
