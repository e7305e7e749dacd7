"""Pixel values of any depth to 8-bit grey.

A picture is held as an index into a table of its values. Percentiles then need one histogram, and
every formula (rescaling, windows, lookup tables) runs over the few thousand values of the table
instead of the millions of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float = NDArray[np.float64]
    Grey = NDArray[np.uint8]

Intensity = Literal["percentile", "minmax"]
"""How values without a window of their own become grey."""

PERCENTILES = (0.5, 99.5)
"""What becomes black and white; a bright marker takes up less than half a percent."""

_BLOCK = 1 << 22  # pixels counted at once: numpy counts 64-bit copies


@dataclass(frozen=True)
class Radiograph:
    """One decoded picture."""

    pixels: Grey
    """(H, W) uint8 grey, upright, bone bright; read-only."""
    constant: bool
    """All pixels of the file have one value, so `pixels` is all zeros."""
    notices: tuple[str, ...] = ()
    """What was read in another way than the file states, without the name of the file."""


@dataclass(frozen=True)
class Levels:
    """A picture as an index into the table of the values it can hold."""

    index: NDArray[Any]
    """(H, W) unsigned integers below K."""
    values: Float
    """(K,) the value that each index stands for."""
    counts: NDArray[np.int64]
    """(K,) how many pixels hold the value; 0 takes a value out of all statistics."""

    def seen(self) -> NDArray[np.bool_]:
        """Return (K,) which values count."""
        return self.counts > 0


def levels_of(pixels: NDArray[Any]) -> Levels:
    """Count the values of an (H, W) picture of whole numbers of at most 16 bits."""
    lowest = int(pixels.min())
    # The offset keeps the index unsigned and the table short; 16-bit arithmetic wraps to it.
    index = pixels.astype(np.uint16, copy=lowest != 0)
    if lowest != 0:
        index -= np.uint16(lowest % 65536)
    counts = _count(index)
    return Levels(index, np.arange(counts.size, dtype=np.float64) + lowest, counts)


def _count(index: NDArray[np.uint16]) -> NDArray[np.int64]:
    flat = index.ravel()
    size = int(flat.max()) + 1
    total = np.zeros(size, dtype=np.int64)
    for start in range(0, flat.size, _BLOCK):
        total += np.bincount(flat[start : start + _BLOCK], minlength=size)
    return total


def weighted_percentile(values: Float, counts: NDArray[np.int64], percent: float) -> float:
    """Return what `numpy.percentile` (method linear) gives for each value repeated `counts` times.

    Args:
        values: (K,) finite, in any order.
        counts: (K,) how often each occurs, at least one above 0.
        percent: 0 to 100.
    """
    order = np.argsort(values, kind="stable")
    ordered, ends = values[order], np.cumsum(counts[order])
    position = percent / 100 * (int(ends[-1]) - 1)
    below = int(position)
    low, high = ordered[np.searchsorted(ends, [below, min(below + 1, int(ends[-1]) - 1)], "right")]
    return float(low + (high - low) * (position - below))


def stretch(levels: Levels, intensity: Intensity) -> Float:
    """Return (K,) the share of full brightness of each value: 0 at the lower limit, 1 at the upper.

    The limits are the percentiles `PERCENTILES` of the pixels that count, or their smallest and
    largest value under "minmax" and where both percentiles are equal (a nearly empty picture).
    """
    seen = levels.seen()
    values, counts = levels.values[seen], levels.counts[seen]
    limits = float(values.min()), float(values.max())
    if intensity == "percentile":
        inner = [weighted_percentile(values, counts, percent) for percent in PERCENTILES]
        limits = (inner[0], inner[1]) if inner[0] < inner[1] else limits
    return _between(levels.values, *limits)


def _between(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    if low == high:
        return np.zeros(values.shape)
    # Halved, because the distance of two extremes of float would be infinite.
    return np.clip((values / 2 - low / 2) / (high / 2 - low / 2), 0.0, 1.0)


def stretch_numbers(pixels: NDArray[Any], intensity: Intensity) -> Radiograph:
    """Stretch an (H, W) picture of floats or wide integers as `stretch` does.

    NaN becomes black; infinity black or white, by its sign; neither counts in the limits.

    Raises:
        UnreadableImageError: no pixel has a finite value.
    """
    finite = pixels[np.isfinite(pixels)]
    if not finite.size:
        raise UnreadableImageError("no pixel has a finite value")
    limits = float(finite.min()), float(finite.max())
    if limits[0] == limits[1]:
        return Radiograph(_frozen(np.zeros(pixels.shape, dtype=np.uint8)), constant=True)
    if intensity == "percentile":
        # In float64: interpolating between extremes of float32 would overflow.
        inner = np.percentile(finite.astype(np.float64), PERCENTILES)
        limits = (float(inner[0]), float(inner[1])) if inner[0] < inner[1] else limits
    grey = np.empty(pixels.shape, dtype=np.uint8)
    rows = max(1, _BLOCK // pixels.shape[1])  # a whole picture in float64 takes eight times as much
    for start in range(0, len(pixels), rows):
        with np.errstate(invalid="ignore"):  # numpy warns of NaN that are "signalling"
            block = pixels[start : start + rows].astype(np.float64)
        grey[start : start + rows] = to_grey(_between(block, *limits))
    return Radiograph(_frozen(grey), constant=False)


def to_grey(share: Float) -> Grey:
    """Return 0..255 for shares of full brightness, rounded to the nearest; NaN becomes 0."""
    return np.rint(np.nan_to_num(share, nan=0.0) * 255).astype(np.uint8)


def render(levels: Levels, share: Float) -> Radiograph:
    """Put the shares of full brightness (K,) in place of the values; one value only gives zeros."""
    if np.unique(levels.values[levels.seen()]).size <= 1:
        return Radiograph(_frozen(np.zeros(levels.index.shape, dtype=np.uint8)), constant=True)
    return Radiograph(_frozen(np.take(to_grey(share), levels.index)), constant=False)


def as_stored(pixels: Grey) -> Radiograph:
    """Keep an (H, W) 8-bit picture as it is; one value only gives zeros."""
    # One look at two pixels answers for nearly all pictures; black and white ones are rare.
    first = pixels[0, 0]
    if first == pixels[pixels.shape[0] // 2, pixels.shape[1] // 2] and bool(
        (pixels == first).all()
    ):
        return Radiograph(_frozen(np.zeros_like(pixels)), constant=True)
    return Radiograph(_frozen(np.ascontiguousarray(pixels)), constant=False)


def _frozen(pixels: Grey) -> Grey:
    pixels.flags.writeable = False
    return pixels
