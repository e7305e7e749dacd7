"""What two splits of a study may not share, and what it means where they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.errors import DataError

if TYPE_CHECKING:
    from cxrlearn.runtime.events import Reporter


def consequence(a: str, b: str) -> str:
    """Say what it means that two splits share patients or images.

    Args:
        a: `train`, `val` or the name of a test set.
        b: another one, later in that order.
    """
    if a == "train" and b == "val":
        return "choices made on val (C, epoch, thresholds) will favour overfitting."
    if a == "train":
        return f"results on {b} will look too good."
    if a == "val":
        return (
            f"C, epoch and thresholds were chosen with data of {b}, so its results are optimistic."
        )
    return f"the difference between {a} and {b} accounts for them."


def tell(message: str, a: str, b: str, reporter: Reporter, *, strict: bool) -> None:
    """Warn that two splits share something; two test sets may, the others not under `--strict`.

    Args:
        message: what they share and what that means.
        a: one split.
        b: the other, later in the order train, val, test sets.
        reporter: hears the warning.
        strict: refuse instead, except between two test sets.

    Raises:
        DataError: under `--strict`.
    """
    if strict and {a, b} & {"train", "val"}:
        raise DataError(f"{message} Without --strict this is a warning.")
    reporter.warning(message)
