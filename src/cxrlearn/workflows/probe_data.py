"""Features and labels of the same rows, put together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.probes.model import check_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlearn.data.manifest import Manifest
    from cxrlearn.features.stored_rows import StoredRows
    from cxrlearn.workflows.datasets import ImageSets, LabelledSets
    from cxrlearn.workflows.probe_features import ProbeFeatures


@dataclass(frozen=True)
class SplitData:
    """The rows of one split that have both features and labels."""

    manifest: Manifest
    """These rows of its manifest."""
    features: NDArray[np.float32] | StoredRows
    """(N, D); an array, or rows that stay on disk."""
    values: NDArray[np.int8]
    """(N, L) of 0 and 1; multi-class: one-hot."""
    known: NDArray[np.bool_]
    """(N, L)."""

    @property
    def image_ids(self) -> tuple[str, ...]:
        """N ids."""
        return self.manifest.image_ids

    @cached_property
    def patients(self) -> tuple[str | None, ...]:
        """N patients."""
        return tuple(self.manifest.patients)

    def select(self, rows: NDArray[np.intp]) -> SplitData:
        """Return these rows; features on disk stay there."""
        there = self.features
        features = there[rows] if isinstance(there, np.ndarray) else there.take(rows)
        return SplitData(
            self.manifest.select(rows.tolist()), features, self.values[rows], self.known[rows]
        )

    def with_labels(self, values: NDArray[np.int8], known: NDArray[np.bool_]) -> SplitData:
        """Return the same images with other labels."""
        return replace(self, values=values, known=known)


def join_splits(
    sets: ImageSets, labelled: LabelledSets, features: ProbeFeatures
) -> dict[str, SplitData]:
    """Put labels and features of every split together, by position in its manifest.

    Raises:
        DataError: a feature is NaN or infinite; the message names its image.
    """
    data = {}
    for name, manifest in sets.named().items():
        split, labels = features.splits[name], labelled.labels[name]
        rows = manifest.select(split.kept.tolist())
        if isinstance(split.features, np.ndarray):
            # Names the image, before a solver meets its NaN.
            check_features(split.features, rows.image_ids)
        data[name] = SplitData(
            rows, split.features, labels.values[split.kept], labels.known[split.kept]
        )
    return data
