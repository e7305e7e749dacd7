"""The label-permutation control: labels permuted by patient, so there is nothing to learn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.data.labels import count_labels
from cxrlearn.workflows.datasets import LabelledSets
from cxrlearn.workflows.probe_data import SplitData

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlearn.workflows.datasets import ImageSets

    Labels = tuple[NDArray[np.int8], NDArray[np.bool_]]


def permute_labels(data: dict[str, SplitData], *, seed: int) -> dict[str, SplitData]:
    """Give every patient of train and validation the labels of another one of that split.

    Images go by the order of their ids; a patient with more images than the other starts over at
    the other's first. A patient who turns up in a later split keeps the labels got in the earlier
    one, so a patient in train and in test can be recognised, and AUROC rises above 0.5. All other
    labels of the test sets stay the true ones: they have nothing to do with the fit any more,
    unless something looks at them. What the control cannot see: one picture under two patient
    ids, for their labels are permuted apart.

    One permutation scatters about 0.5 by more than the interval of a large test set says: the
    direction that the fit takes by chance is one for all rows. Other seeds tell chance from a
    leak: their mean is 0.5 without one.

    Args:
        data: splits by name, train first.
        seed: of the permutation; the order of rows does not matter.
    """
    rng = np.random.default_rng(seed)
    given: dict[str, Labels] = {}
    permuted = {}
    for name, split in data.items():
        groups = _groups(split)
        if name in {"train", "val"}:
            owners = sorted(groups.keys() - given.keys())
            for owner, other in zip(owners, rng.permutation(len(owners)), strict=True):
                rows = groups[owners[int(other)]]
                given[owner] = split.values[rows], split.known[rows]
        permuted[name] = _with_given(split, groups, given)
    return permuted


def permute_labelled(sets: ImageSets, labelled: LabelledSets, *, seed: int) -> LabelledSets:
    """Do the same where there are no features yet, with all images of the manifests.

    Args:
        sets: images of every split.
        labelled: their labels.
        seed: of the permutation.
    """
    data = {
        name: SplitData(
            manifest,
            np.empty((len(manifest), 0), dtype=np.float32),
            labelled.labels[name].values,
            labelled.labels[name].known,
        )
        for name, manifest in sets.named().items()
    }
    labels = {
        name: replace(labelled.labels[name], values=split.values, known=split.known)
        for name, split in permute_labels(data, seed=seed).items()
    }
    counts = {name: count_labels(one, labelled.task.names) for name, one in labels.items()}
    return LabelledSets(labelled.task, labels, counts)


def _groups(split: SplitData) -> dict[str, list[int]]:
    """Return the rows of every patient by image id; an image without one is its own patient."""
    groups: dict[str, list[int]] = {}
    for row in sorted(range(len(split.image_ids)), key=split.image_ids.__getitem__):
        patient = split.patients[row]
        # The mark keeps the id of an image from being taken for the patient of another.
        key = f"image\0{split.image_ids[row]}" if patient is None else patient
        groups.setdefault(key, []).append(row)
    return groups


def _with_given(
    split: SplitData, groups: dict[str, list[int]], given: dict[str, Labels]
) -> SplitData:
    values, known = split.values.copy(), split.known.copy()
    for owner in groups.keys() & given.keys():
        theirs = given[owner]
        for position, row in enumerate(groups[owner]):
            values[row] = theirs[0][position % len(theirs[0])]
            known[row] = theirs[1][position % len(theirs[1])]
    return split.with_labels(values, known)
