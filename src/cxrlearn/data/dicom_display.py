"""Which of a DICOM file's display settings is used: the first that leaves a picture.

Windows and tables are often wrong: made for 8 bits beside 12, or for another picture. Obeyed, they
leave a dozen grey values or a white sheet. So each is compared with the picture's own range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.data.dicom_luts import display_settings
from cxrlearn.data.intensity import stretch, to_grey, weighted_percentile

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from cxrlearn.data.intensity import Intensity, Levels

    Float = NDArray[np.float64]

FEW_LEVELS = 100
"""Fewer grey values are few, if the picture's own range would give half as many again."""
NARROW = 128
"""Grey values between the 1st and 99th percentile, likewise."""
SATURATED = 0.75
"""A larger share of the pixels in black or white is nearly all; a third of it is much."""
ALIKE, UNLIKE = 0.93, 0.5
"""Correlation with the picture in its own range: below the first, much saturation is too much;
below the second, the setting shows something else than the picture."""


def display_share(
    dataset: Dataset, levels: Levels, intensity: Intensity
) -> tuple[Float, tuple[str, ...]]:
    """Return (K,) the share of full brightness of each value, and notices.

    The first of the file's settings that is whole and leaves a picture is used, else the picture's
    own range (`stretch`); what was passed over is named.

    Args:
        dataset: the DICOM header.
        levels: the output of the modality LUT.
        intensity: how values become grey where no setting is used.
    """
    own = stretch(levels, intensity)
    if np.unique(levels.values[levels.seen()]).size <= 1:
        return own, ()
    passed_over: list[str] = []
    for name, share in display_settings(dataset, levels.values):
        fault = share if isinstance(share, str) else _fault(share, own, levels)
        if fault is None and not isinstance(share, str):
            return share, _notices(passed_over, f"{name} is used")
        passed_over.append(f"{name} {fault}")
    return own, _notices(passed_over, "the picture's own range is used")


def _notices(passed_over: list[str], instead: str) -> tuple[str, ...]:
    return (f"{'; '.join(passed_over)}: {instead}",) if passed_over else ()


def _fault(share: Float, own: Float, levels: Levels) -> str | None:
    """Say why a setting is useless for this picture, None if it is not."""
    seen = levels.seen()
    values, counts = levels.values[seen], levels.counts[seen]
    grey, best = (to_grey(one[seen]).astype(np.float64) for one in (share, own))
    kept, possible = np.unique(grey).size, np.unique(best).size
    if kept < FEW_LEVELS and 1.5 * kept < possible:
        return f"leaves {kept} grey value{'s' if kept > 1 else ''}"
    width, possible_width = (_width(one, counts) for one in (grey, best))
    if width < NARROW and 1.5 * width < possible_width:
        return f"leaves {width:.0f} of 255 grey values for 98 % of the picture"
    # Collimators and burnt-in marks lie at the ends of the values, and may be black or white.
    inner = counts * ((values > values.min()) & (values < values.max()))
    saturated = float((inner * ((grey == 0) | (grey == 255))).sum() / max(1, inner.sum()))
    alike = _correlation(grey, best, counts)
    if saturated > SATURATED or (saturated > SATURATED / 3 and alike < ALIKE):
        return f"makes {saturated:.0%} of the picture black or white"
    return "shows another picture than the stored values" if abs(alike) < UNLIKE else None


def _width(grey: Float, counts: NDArray[np.int64]) -> float:
    return weighted_percentile(grey, counts, 99) - weighted_percentile(grey, counts, 1)


def _correlation(one: Float, other: Float, counts: NDArray[np.int64]) -> float:
    """Return Pearson's correlation of the pixels; 0 where one of them is constant."""
    first, second = (values - np.average(values, weights=counts) for values in (one, other))
    scale = np.sqrt((counts * first**2).sum() * (counts * second**2).sum())
    return float((counts * first * second).sum() / scale) if scale > 0 else 0.0
