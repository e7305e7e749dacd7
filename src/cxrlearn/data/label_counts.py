"""How many positives, negatives and masked rows each label has, and what to do about one class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cxrlearn.data.labels import Labels
    from cxrlearn.data.tasks import LabelPolicy


@dataclass(frozen=True)
class LabelCounts:
    """Rows of one label in one set."""

    name: str
    """The label or class."""
    positives: int
    """Known, and 1."""
    negatives: int
    """Known, and 0."""
    masked: int
    """Not known."""
    masked_blank: int = 0
    """Those of `masked` whose cell is empty; the others are -1."""


def count_labels(labels: Labels, names: Sequence[str]) -> tuple[LabelCounts, ...]:
    """Count each of the L labels."""
    counts = []
    for at, name in enumerate(names):
        known, positive = labels.known[:, at], labels.values[:, at] == 1
        counts.append(
            LabelCounts(
                name=name,
                positives=int((known & positive).sum()),
                negatives=int((known & ~positive).sum()),
                masked=int((~known).sum()),
                masked_blank=int((~known & labels.blank[:, at]).sum()),
            )
        )
    return tuple(counts)


def one_class_labels(counts: Iterable[LabelCounts], policy: LabelPolicy) -> tuple[str, ...]:
    """Return a sentence for each label with one class left, with the option that mends it."""
    return tuple(
        _sentence(label, policy) for label in counts if not (label.positives and label.negatives)
    )


def _sentence(label: LabelCounts, policy: LabelPolicy) -> str:
    start = (
        f"label {label.name!r} has {counted(label.positives, 'positive')}, "
        f"{counted(label.negatives, 'negative')} and {counted(label.masked, 'masked row')}"
    )
    masked_uncertain = label.masked - label.masked_blank
    if not label.negatives and label.masked_blank and policy.blank == "mask":
        return (
            f"{start}, so there is nothing to tell apart; if a blank means no finding, as in "
            "CheXpert and MIMIC-CXR, say --blank zeros."
        )
    if masked_uncertain and policy.uncertain == "mask":
        other = "zeros" if not label.negatives else "ones"
        return f"{start}, so there is nothing to tell apart; --uncertain {other} would use the -1s."
    return (
        f"{start}, so there is nothing to tell apart: leave it out of --class-columns, or add rows."
    )
