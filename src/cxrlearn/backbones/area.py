"""OpenCV's INTER_AREA for one 8-bit channel, written out as two small weight matrices.

Shrinking averages the area that an output pixel covers, fractions of pixels included; where either
side grows, OpenCV interpolates linearly between the pixels that it touches, with weights of its
own. (OpenCV 4 documentation, `InterpolationFlags`; tested against cv2 itself.)
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def resize_area(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize (H, W) uint8 to (height, width) uint8, within 1 grey level of cv2.resize.

    When shrinking, cv2 sums in float32 in another order, so that a mean next to one half can round
    to the other side; when enlarging, it computes in fixed point of 11 bits and truncates.
    """
    if pixels.shape == (height, width):
        return pixels
    weights = _coverage if pixels.shape[0] >= height and pixels.shape[1] >= width else _linear
    rows = weights(pixels.shape[0], height)
    columns = weights(pixels.shape[1], width)
    mean = rows @ pixels.astype(np.float32) @ columns.T
    # OpenCV rounds halves to even, but up where it averages 2 x 2 pixels (its integer path).
    halved = pixels.shape == (2 * height, 2 * width)
    rounded = np.floor(mean + 0.5) if halved else np.rint(mean)
    grey: NDArray[np.uint8] = np.clip(rounded, 0, 255).astype(np.uint8)
    return grey


@lru_cache(maxsize=16)
def _coverage(before: int, after: int) -> NDArray[np.float32]:
    """Return (after, before): the share of each input pixel in each output pixel; rows sum to 1."""
    edges = np.arange(after + 1) * (before / after)
    pixel = np.arange(before)
    # Overlap of [edge i, edge i+1] with [pixel j, pixel j+1].
    low = np.maximum(edges[:-1, None], pixel)
    high = np.minimum(edges[1:, None], pixel + 1)
    overlap = np.clip(high - low, 0, None)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True), dtype=np.float32)


@lru_cache(maxsize=16)
def _linear(before: int, after: int) -> NDArray[np.float32]:
    """Return (after, before): weights of the two neighbours that INTER_AREA uses for enlarging."""
    output = np.arange(after)
    first = np.floor(output * (before / after)).astype(int)
    share = (output + 1) - (first + 1) * (after / before)
    share = np.where(share <= 0, 0, share - np.floor(share))
    weights = np.zeros((after, before), dtype=np.float32)
    np.add.at(weights, (output, np.minimum(first, before - 1)), 1 - share)
    np.add.at(weights, (output, np.minimum(first + 1, before - 1)), share)
    return weights
