"""Small changes to grey radiographs while training, each a pure function of (seed, epoch, sample).

The picture stays the picture of one patient who stood a little differently, taken with a slightly
other exposure. Nothing is mirrored by default: the heart is on the left, and a label may depend
on the side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from cxrlearn.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PURPOSE: Final = 0xA06
"""Keeps these draws apart from others that start from the same seed and epoch."""


@dataclass(frozen=True)
class Augmentation:
    """How far pictures are changed; every amount is drawn evenly from -limit to +limit.

    The defaults lie at or below the smallest that was published for training on radiographs:
    MoCo-CXR rotates by up to 10 degrees (Sowrirajan et al. 2021, arXiv 2010.05352); ConVIRT moves
    by up to 0.1 of a side, scales by 0.95 to 1.05 and changes brightness and contrast by up to 0.4
    (Zhang et al. 2022, arXiv 2010.00747).
    """

    rotation: float = 10.0
    """Degrees around the middle."""
    translation: float = 0.05
    """Share of a side, down and to the right each on its own."""
    scale: float = 0.05
    """Share by which the picture is enlarged or shrunk; enlarging crops."""
    brightness: float = 0.1
    """Share of the range of grey values that is added."""
    contrast: float = 0.1
    """Share by which distances from the picture's mean grow or shrink."""
    flip: float = 0.0
    """Probability of a mirror image; above 0 only where no label knows left from right."""

    def __post_init__(self) -> None:
        """Refuse impossible values, all in one message.

        Raises:
            UsageError: a limit is outside its range.
        """
        most = {
            "rotation": 180.0,
            "translation": 0.5,
            "scale": 0.5,
            "brightness": 1.0,
            "contrast": 1.0,
            "flip": 1.0,
        }
        problems = [
            f"{name} must be from 0 to {limit:g}, got {getattr(self, name)}."
            for name, limit in most.items()
            if not 0 <= getattr(self, name) <= limit
        ]
        if problems:
            raise UsageError("augmentation: " + " ".join(problems))

    def __call__(
        self, pixels: NDArray[np.uint8], *, seed: int, epoch: int, sample: int
    ) -> NDArray[np.uint8]:
        """Return the picture as this epoch shows it; the same bits in any process and order.

        Args:
            pixels: (H, W) uint8, left as it is.
            seed: of the run, 0 or above.
            epoch: from 0.
            sample: number of the image in the training set.

        Returns:
            (H, W) uint8; `pixels` itself where nothing is changed.
        """
        generator = np.random.default_rng((_PURPOSE, seed, epoch, sample))
        # All draws are taken whatever the limits, so that one limit does not shift the others.
        angle, down, right, size, light, contrast = generator.uniform(-1, 1, 6)
        mirrored = generator.random() < self.flip
        moved = _move(
            pixels,
            angle=math.radians(self.rotation * angle),
            shift=(self.translation * down, self.translation * right),
            scale=1 + self.scale * size,
        )
        shown = _expose(moved, 255 * self.brightness * light, 1 + self.contrast * contrast)
        return np.ascontiguousarray(shown[:, ::-1]) if mirrored else shown


NO_AUGMENTATION: Final = Augmentation(0, 0, 0, 0, 0, 0)
"""Shows every picture as it is, to the bit."""


def _move(
    pixels: NDArray[np.uint8], *, angle: float, shift: tuple[float, float], scale: float
) -> NDArray[np.uint8]:
    """Rotate and scale around the middle, then shift by shares of the sides, in one resampling."""
    if angle == 0 and shift == (0.0, 0.0) and scale == 1:
        return pixels
    height, width = pixels.shape
    middle_x, middle_y = width / 2, height / 2
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    to_x, to_y = middle_x + shift[1] * width, middle_y + shift[0] * height
    # Pillow asks where in the old picture a pixel of the new one comes from.
    matrix = (
        cosine,
        sine,
        middle_x - cosine * to_x - sine * to_y,
        -sine,
        cosine,
        middle_y + sine * to_x - cosine * to_y,
    )
    moved = Image.fromarray(pixels).transform(
        (width, height),
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BILINEAR,
        fillcolor=_background(pixels),
    )
    return np.asarray(moved)


def _background(pixels: NDArray[np.uint8]) -> int:
    """Return the median of the outermost pixels, so that no edge appears that was not there.

    That is black for a film with a black surround, and tissue where tissue fills the picture.
    """
    rim = np.concatenate((pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]))
    return int(np.median(rim))


def _expose(pixels: NDArray[np.uint8], light: float, contrast: float) -> NDArray[np.uint8]:
    """Stretch grey values around their mean and add `light`, cut off at 0 and 255."""
    if light == 0 and contrast == 1:
        return pixels
    mean = float(pixels.mean())
    table = np.rint((np.arange(256) - mean) * contrast + mean + light)
    shown: NDArray[np.uint8] = np.clip(table, 0, 255).astype(np.uint8)[pixels]
    return shown
