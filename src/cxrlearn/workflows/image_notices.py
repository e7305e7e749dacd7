"""Naming the images that were read, but not as one would think: constant, or with notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cxrlearn.runtime.events import Reporter

SHOWN = 10
"""Images named; of the others the number is said."""


def report_images(constant: Iterable[str], notices: Mapping[str, str], reporter: Reporter) -> None:
    """Warn of constant images and of what was read in another way than a file states.

    Args:
        constant: ids of images whose pixels all have the same value.
        notices: id to what was done, and why.
        reporter: receives the warnings.
    """
    names = sorted(constant)
    if names:
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        images = "image has" if len(names) == 1 else "images have"
        reporter.warning(
            f"{len(names):,} {images} the same value in every pixel: "
            f"{', '.join(names[:SHOWN])}{more}."
        )
    if notices:
        images = "image was" if len(notices) == 1 else "images were"
        reporter.warning(f"{len(notices):,} {images} not read as the file states:")
        for name in sorted(notices)[:SHOWN]:
            reporter.warning(f"  {name}: {notices[name]}")
        if len(notices) > SHOWN:
            reporter.warning(f"  and {len(notices) - SHOWN:,} more.")
