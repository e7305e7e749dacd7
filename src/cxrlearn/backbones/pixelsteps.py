"""What may be done to a grey 8-bit picture before a network sees it, as plain data.

Each step is one dataclass; `cxrlearn.backbones.preprocessing` carries it out. A step says in its
docstring which rounding it uses, because sources differ by one pixel there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

Filter: TypeAlias = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos", "area"]
"""`area` is OpenCV's INTER_AREA; all others are Pillow's, which antialias when shrinking."""

Size: TypeAlias = int | tuple[int, int]
"""One number for a square, or (height, width)."""


@dataclass(frozen=True)
class ResizeExact:
    """Both sides to `size`, whatever the picture's proportions were."""

    size: Size
    """Side, or (height, width), in pixels."""
    filter: Filter


@dataclass(frozen=True)
class ResizeShorter:
    """The shorter side to `size`, the other in proportion: int(size * longer / shorter).

    That truncation is torchvision's `Resize(int)`; Hugging Face's "shortest_edge" does the same.
    """

    size: int
    """Length of the shorter side in pixels."""
    filter: Filter


@dataclass(frozen=True)
class ResizeLonger:
    """The longer side to `size`, the other in proportion and truncated, at least 1 pixel."""

    size: int
    """Length of the longer side in pixels."""
    filter: Filter
    longer: Literal["exact", "by-ratio"] = "exact"
    """`exact`: the longer side is `size`, the other int(side * (size / longer)) (GLoRIA).
    `by-ratio`: both are int(side * (size / longer)), so that floating point makes the longer side
    size - 1 for some lengths (CheXzero)."""


@dataclass(frozen=True)
class PadSquare:
    """Black borders to a square, the picture in the middle, the odd pixel right and below."""

    size: int | None = None
    """Side in pixels; None: the picture's longer side."""


@dataclass(frozen=True)
class CenterCrop:
    """Cut `size` out of the middle; a side that is shorter is padded with black first."""

    size: Size
    """Side, or (height, width), in pixels."""
    rounding: Literal["half-even", "floor"] = "half-even"
    """First row kept: round((height - size) / 2) to even (torchvision), or the floor of it."""


Step: TypeAlias = ResizeExact | ResizeShorter | ResizeLonger | PadSquare | CenterCrop


def size_pair(size: Size) -> tuple[int, int]:
    """Return `size` as (height, width)."""
    return (size, size) if isinstance(size, int) else size


def step_as_dict(step: Step) -> dict[str, object]:
    """Return the step's name and parameters as JSON-ready data."""
    return {"step": type(step).__name__, **asdict(step)}


def step_in_words(step: Step) -> str:
    """Return what the step does, for people."""
    match step:
        case ResizeExact():
            return f"both sides to {_in_words(step.size)} ({step.filter})"
        case ResizeShorter():
            return f"shorter side to {step.size} ({step.filter})"
        case ResizeLonger():
            rounding = ", both sides truncated" if step.longer == "by-ratio" else ""
            return f"longer side to {step.size} ({step.filter}{rounding})"
        case PadSquare():
            return "black borders to a square" + (f" of {step.size}" if step.size else "")
        case CenterCrop():
            return f"centre crop {_in_words(step.size)}"


def _in_words(size: Size) -> str:
    height, width = size_pair(size)
    return str(height) if height == width else f"{height} x {width}"


def final_size(steps: tuple[Step, ...]) -> tuple[int, int] | None:
    """Return the (height, width) that the steps give every picture, or None if it varies."""
    size: tuple[int, int] | None = None
    for step in steps:
        match step:
            case ResizeExact() | CenterCrop():
                size = size_pair(step.size)
            case PadSquare():
                size = _padded(size, step.size)
            case _:
                size = None
    return size


def _padded(size: tuple[int, int] | None, side: int | None) -> tuple[int, int] | None:
    """Return what a PadSquare makes of `size`: the step before it never exceeds its `size`."""
    if side is not None:
        return side, side
    return None if size is None else (max(size), max(size))
