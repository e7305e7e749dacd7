"""The rows of images in a feature file; images that have none yet are embedded first."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from cxrlearn.features.plan import Catalogue, unique_images, without_unreadable
from cxrlearn.features.rows import empty_index
from cxrlearn.features.store import read_failed, read_index
from cxrlearn.workflows.embed import name_idle_options, run_embed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from cxrlearn.features.plan import Image
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.embed_config import EmbedConfig


class CachedRows(NamedTuple):
    """Where the features of images are."""

    rows: list[NDArray[np.intp]]
    """For each group of images, their rows in the file; -1 where there is none."""
    failed: dict[str, str]
    """Image id to reason, for images without features that cannot be read."""


def cached_rows(
    file: Path, groups: Sequence[Sequence[Image]], embedding: EmbedConfig, reporter: Reporter
) -> CachedRows:
    """Find the rows of several groups of images, embedding those that are readable and have none.

    Where all images of a group are missing on disk, or one is missing where it was embedded, its
    row is taken by its id, and a notice says so. The file is not written unless an image is
    embedded; images that cannot be read are not recorded in it.

    Args:
        file: the feature file; it may be missing.
        groups: images of one manifest each.
        embedding: how images are embedded into `file`.
        reporter: told what is done.

    Raises:
        CxrlearnError: whatever `run_embed` raises.
    """
    rows = _find(file, groups, reporter)
    without = unique_images(
        image
        for group, found in zip(groups, rows, strict=True)
        for image, row in zip(group, found, strict=True)
        if row < 0
    )
    if not without:
        name_idle_options(embedding, reporter)
        return CachedRows(rows, {})
    failed_before = read_failed(file) if file.is_file() else {}
    new, failed = without_unreadable(without, failed_before, embedding.intensity)
    if new:
        reporter.notice(
            f"{len(new):,} images have no {file.stem} features yet: embedding them first."
        )
        failed |= run_embed(embedding, reporter, images=new, record_failures=False).failed
        rows = _find(file, groups, None)
    return CachedRows(rows, failed)


def _find(
    file: Path, groups: Sequence[Sequence[Image]], reporter: Reporter | None
) -> list[NDArray[np.intp]]:
    catalogue = Catalogue(read_index(file) if file.is_file() else empty_index())
    rows = [catalogue.rows(group) for group in groups]
    if catalogue.not_on_disk and reporter is not None:
        total = len(set(chain.from_iterable(groups)))
        reporter.notice(
            f"{len(catalogue.not_on_disk):,} of {total:,} images are not on disk "
            f"({min(catalogue.not_on_disk)}, for example): their features in {file} are used, and "
            "that they belong to these images cannot be verified."
        )
    return rows
