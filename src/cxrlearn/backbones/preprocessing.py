"""Carry out a preprocessing record: steps on the CPU, normalisation where the tensor is."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from cxrlearn.backbones.area import resize_area
from cxrlearn.backbones.pixelsteps import (
    CenterCrop,
    PadSquare,
    ResizeExact,
    ResizeLonger,
    ResizeShorter,
    size_pair,
)
from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlearn.backbones.pixelsteps import Filter, Step
    from cxrlearn.backbones.spec import Preprocessing

MOST_PIXELS = 1_000_000_000
"""A step that would make a larger picture, of a very long and thin one, is refused."""

_PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def apply_steps(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Bring one grey picture to the size that the record wants.

    Args:
        pixels: (H, W) uint8, bone bright, upright.
        preprocessing: the record.

    Returns:
        (h, w) uint8 with (h, w) = `preprocessing.picture_size`.

    Raises:
        UnreadableImageError: the picture is so long and thin that a step would need more than a
            thousand megapixels.
    """
    for step in preprocessing.steps:
        pixels = _apply(step, pixels)
    return np.require(pixels, requirements=["C", "W"])


def normalise(pictures: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Turn pictures into the network's input, on the device they are on.

    Args:
        pictures: (N, h, w) uint8, as `apply_steps` gives them.
        preprocessing: the record.

    Returns:
        (N, 3, H, W) float32 with (H, W) = `preprocessing.input_size`.
    """
    images = pictures.unsqueeze(1).to(torch.float32)
    if preprocessing.value_range == "0..1":
        images = images / 255
    mean, std = (_channels(one, images.device) for one in (preprocessing.mean, preprocessing.std))
    images = (images - mean) / std
    if preprocessing.tensor_size is not None:
        images = functional.interpolate(
            images, size=preprocessing.input_size, mode="bicubic", align_corners=False
        )
    return images.expand(-1, 3, -1, -1).contiguous()


def to_input(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> torch.Tensor:
    """Turn one (H, W) uint8 picture into one (3, H, W) float32 input."""
    picture = torch.from_numpy(apply_steps(pixels, preprocessing))
    return normalise(picture.unsqueeze(0), preprocessing)[0]


@cache
def _channels(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Return values as (1, C, 1, 1), kept: making them anew would wait for the device each time."""
    with torch.inference_mode(mode=False):  # training may be the next to use them
        return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)


def _apply(step: Step, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape
    match step:
        case ResizeExact():
            return _resize(pixels, size_pair(step.size), step.filter)
        case ResizeShorter():
            return _resize(pixels, _shorter(height, width, step.size), step.filter)
        case ResizeLonger():
            return _resize(pixels, _longer(height, width, step), step.filter)
        case PadSquare():
            side = step.size or max(height, width)
            return _pad(pixels, side, side)
        case CenterCrop():
            return _crop(pixels, step)


def _shorter(height: int, width: int, size: int) -> tuple[int, int]:
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def _longer(height: int, width: int, step: ResizeLonger) -> tuple[int, int]:
    # The order of the float operations is part of the rule: it decides the truncation.
    ratio = step.size / max(height, width)
    sides = [max(1, int(height * ratio)), max(1, int(width * ratio))]
    if step.longer == "exact":
        sides[0 if height >= width else 1] = step.size
    return sides[0], sides[1]


def _resize(
    pixels: NDArray[np.uint8], size: tuple[int, int], filter_name: Filter
) -> NDArray[np.uint8]:
    _refuse_huge(pixels, *size)
    if filter_name == "area":
        return resize_area(pixels, *size)
    picture = Image.fromarray(pixels).resize((size[1], size[0]), _PILLOW[filter_name])
    return np.array(picture)


def _pad(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Add black borders up to at least (height, width), the odd pixel right and below."""
    rows = max(0, height - pixels.shape[0])
    columns = max(0, width - pixels.shape[1])
    if not rows and not columns:
        return pixels
    _refuse_huge(pixels, pixels.shape[0] + rows, pixels.shape[1] + columns)
    borders = ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
    return np.pad(pixels, borders)


def _crop(pixels: NDArray[np.uint8], step: CenterCrop) -> NDArray[np.uint8]:
    height, width = size_pair(step.size)
    pixels = _pad(pixels, height, width)
    spare = (pixels.shape[0] - height, pixels.shape[1] - width)
    if step.rounding == "half-even":
        top, left = round(spare[0] / 2), round(spare[1] / 2)
    else:
        top, left = spare[0] // 2, spare[1] // 2
    return pixels[top : top + height, left : left + width]


def _refuse_huge(pixels: NDArray[np.uint8], height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        shape = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise UnreadableImageError(
            f"{shape} pixels are too long and thin: preprocessing would make {width} x {height}"
        )
