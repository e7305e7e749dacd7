"""The overlap audit: what a backbone may have seen of a test set when it was pretrained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.data.origins import related
from cxrlearn.reports.schema import PretrainingReport

if TYPE_CHECKING:
    from cxrlearn.backbones.spec import ResolvedBackbone

NO_PATIENTS = frozenset({"imagenet-1k", "synthetic-thorax"})
"""Datasets that hold photographs or drawings only."""


def audit(
    backbone: ResolvedBackbone, origin: tuple[str, ...], splits: tuple[str, ...]
) -> tuple[PretrainingReport, ...]:
    """Say of every split what the backbone may have seen of it; empty for random weights.

    Args:
        backbone: its record names the datasets it was pretrained on.
        origin: public datasets that the images come from; empty where nobody said.
        splits: names of the test sets.
    """
    seen = backbone.variant.pretraining_data
    shared = related(origin, seen)
    if shared:
        sentence = (
            f"{backbone.name} was pretrained on {_and(shared)}, which these images come from or "
            "share images with: it may have seen them, and results look better than on new ones."
        )
    elif seen and set(seen) <= NO_PATIENTS:
        sentence = (
            f"{backbone.name} was pretrained on {_and(seen)}: no radiographs of patients, so none "
            "of these."
        )
    elif seen and set(origin) == {"own"}:
        sentence = (
            f"{backbone.name} was pretrained on {_and(seen)}; images that were never published are "
            "not among them."
        )
    elif not seen:
        sentence = f"What {backbone.name} was pretrained on is not recorded; overlap is unknown."
    elif not origin:
        sentence = (
            f"{backbone.name} was pretrained on {_and(seen)}. Whether these images are among them "
            "is unknown: name where they come from with --origin."
        )
    else:
        sentence = (
            f"{backbone.name} was pretrained on {_and(seen)}; no overlap with {_and(origin)} is "
            "known."
        )
    return tuple(PretrainingReport(split, shared, sentence) for split in splits)


def _and(names: tuple[str, ...]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
