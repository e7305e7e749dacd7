"""Drawing tools of the synthetic film: coordinates, soft edges, smooth noise, blurred strokes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Field = NDArray[np.floating[Any]]
    """Values per pixel, float32 at run time; a Python number beside it does not widen it."""


@dataclass(frozen=True)
class Canvas:
    """A pixel grid in body coordinates: x to the right, y down, the shorter side spans -1..1."""

    height: int
    """Pixels."""
    width: int
    """Pixels."""
    x: Field
    """(H, W) body x of every pixel."""
    y: Field
    """(H, W) body y of every pixel."""
    pose: tuple[float, float, float, float]
    """Turn (radians), magnification, shift in x and in y of the body on the film."""

    def to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn (N, 2) body coordinates into (N, 2) pixel columns and rows."""
        turn, zoom, shift_x, shift_y = self.pose
        cosine, sine = math.cos(turn), math.sin(turn)
        rotation = np.array([[cosine, sine], [-sine, cosine]])
        film: NDArray[np.float64] = points @ rotation.T * zoom + np.array([shift_x, shift_y])
        half = min(self.height, self.width) / 2
        return film * half + np.array([self.width - 1, self.height - 1]) / 2


def make_canvas(size: tuple[int, int], pose: tuple[float, float, float, float]) -> Canvas:
    """Lay body coordinates over a film of `size` (height, width) pixels."""
    height, width = size
    turn, zoom, shift_x, shift_y = pose
    half = min(size) / 2
    columns = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / half
    rows = (np.arange(height, dtype=np.float32) - (height - 1) / 2) / half
    film_x = (columns - shift_x) / zoom
    film_y = (rows - shift_y) / zoom
    cosine, sine = math.cos(turn), math.sin(turn)
    x = cosine * film_x[None, :] - sine * film_y[:, None]
    y = sine * film_x[None, :] + cosine * film_y[:, None]
    return Canvas(height, width, x, y, pose)


def soft_step(distance: Field, softness: float) -> Field:
    """0 well below zero, 1 well above, a smooth ramp of half-width `softness` between."""
    ramp = distance * (0.5 / softness)
    ramp += 0.5
    np.clip(ramp, 0, 1, out=ramp)
    cubic = 3 - 2 * ramp
    ramp *= ramp
    ramp *= cubic
    return ramp


def soft_ellipse(
    canvas: Canvas,
    centre: tuple[float, float],
    radii: tuple[float, float],
    tilt: float,
    edge: float,
) -> Field:
    """(H, W) 0..1: inside a turned ellipse, with an edge `edge` wide in units of its radius."""
    dx, dy = canvas.x - centre[0], canvas.y - centre[1]
    cosine, sine = math.cos(tilt), math.sin(tilt)
    along = (cosine * dx + sine * dy) / radii[0]
    across = (cosine * dy - sine * dx) / radii[1]
    return soft_step(1 - np.sqrt(along * along + across * across), edge)


def resize_field(field: Field, size: tuple[int, int]) -> Field:
    """Enlarge a small field smoothly (bicubic) to `size` (height, width)."""
    picture = Image.fromarray(field).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(picture, dtype=np.float32)


def smooth_noise(
    rng: np.random.Generator, size: tuple[int, int], cells: Sequence[int], fall: float = 0.6
) -> Field:
    """Cloudy noise of about unit spread: octaves of `cells` blobs across, each weaker by `fall`."""
    half = (max(2, size[0] // 2), max(2, size[1] // 2))
    total = np.zeros(half, dtype=np.float32)
    weights = [fall**octave for octave in range(len(cells))]
    for weight, count in zip(weights, cells, strict=True):
        rows = max(2, round(count * size[0] / min(size)))
        columns = max(2, round(count * size[1] / min(size)))
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        total += weight * resize_field(grid, half)
    total /= math.hypot(*weights) * 0.7
    return resize_field(total, size)


def draw_strokes(
    canvas: Canvas,
    strokes: Sequence[tuple[NDArray[np.float64], float, float]],
    *,
    blur: float,
) -> Field:
    """(H, W) 0..1: polylines given as ((N, 2) body points, width, brightness 0..1), blurred.

    Widths and `blur` are in body units.
    """
    unit = min(canvas.height, canvas.width) / 2 * canvas.pose[1]
    picture = Image.new("L", (canvas.width, canvas.height), 0)
    pen = ImageDraw.Draw(picture)
    ordered = sorted(strokes, key=lambda stroke: stroke[2])
    pixels = canvas.to_pixels(np.concatenate([points for points, _, _ in ordered]))
    start = 0
    for points, thickness, brightness in ordered:
        path = pixels[start : start + len(points)].ravel().tolist()
        start += len(points)
        width = max(1, round(thickness * unit))
        pen.line(
            path, fill=round(255 * brightness), width=width, joint="curve" if width > 2 else None
        )
    softened = picture.filter(ImageFilter.GaussianBlur(max(0.5, blur * unit)))
    return np.asarray(softened, dtype=np.float32) / 255
