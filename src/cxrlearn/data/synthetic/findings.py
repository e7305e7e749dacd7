"""What disease and devices add to a synthetic thorax, each graded by a severity from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.data.synthetic.anatomy import lateral_edge
from cxrlearn.data.synthetic.canvas import draw_strokes, smooth_noise, soft_ellipse, soft_step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlearn.data.synthetic.anatomy import Chest, Thorax
    from cxrlearn.data.synthetic.canvas import Canvas, Field


@dataclass(frozen=True)
class Pneumothorax:
    """A collapsed lung: where the lung has gone, and the thin line of its pleura."""

    air: Field
    """(H, W) 0..1: pleural space without vessels, darker than lung."""
    line: Field
    """(H, W) 0..1: the visceral pleura."""


def heart_ratio(usual: float, severity: float) -> float:
    """Cardiothoracic ratio of an enlarged heart: 0.11 to 0.22 above the patient's usual one."""
    return usual + 0.11 + 0.11 * severity


def effusion(rng: np.random.Generator, chest: Chest, severity: float) -> Field:
    """(H, W) fluid above the diaphragm, its upper border a meniscus that rises to the chest wall.

    A small one only blunts the costophrenic angle; a third of them lie on both sides.
    """
    canvas, thorax = chest.canvas, chest.thorax
    side = -1 if rng.random() < 0.5 else 1
    both, share, tilt = rng.random() < 0.33, rng.uniform(0.4, 0.9), rng.uniform(0.8, 1.3)
    fluid = np.zeros_like(canvas.x)
    for where, level in ((side, severity), (-side, severity * share if both else None)):
        if level is None:
            continue
        lateral = canvas.x * where
        relative = np.clip(lateral / thorax.lung_width, 0, 1)
        top = thorax.domes[0 if where < 0 else 1] + 0.16 - 0.42 * level
        surface = top + 0.16 - (0.30 * tilt) * relative**3
        depth = canvas.y - surface
        # Where the fluid thins out towards its upper border it lets the beam through.
        wedge = soft_step(depth, 0.03) * np.clip(0.55 + depth * 2, 0, 1)
        fluid += wedge * chest.lungs[0 if where < 0 else 1]
    return fluid


def opacity(rng: np.random.Generator, chest: Chest, severity: float) -> Field:
    """(H, W) one to three cloudy patches in the lungs with ragged borders."""
    canvas, thorax = chest.canvas, chest.thorax
    cloud = smooth_noise(rng, (canvas.height, canvas.width), (9, 18, 36), 0.8)
    places = _places(rng, thorax, 3)
    shapes = rng.uniform(0.75, 1.3, (3, 2)).tolist()
    count = 1 + int(rng.random() < 0.35) + int(rng.random() < 0.25 * severity)
    patch = np.zeros_like(canvas.x)
    for (x, y), (wide, tall) in zip(places[:count], shapes[:count], strict=True):
        radius = 0.13 + 0.12 * severity
        distance = np.square((canvas.x - x) / (radius * wide))
        distance += np.square((canvas.y - y) / (radius * tall))
        bump = np.exp(-1.2 * distance)
        patch = np.maximum(patch, bump * np.clip(0.75 + 0.42 * cloud, 0, 1.4))
    return patch


def nodule(rng: np.random.Generator, chest: Chest, severity: float) -> Field:
    """(H, W) one to three round spots, 6 to 14 mm on an average chest."""
    canvas = chest.canvas
    places = _places(rng, chest.thorax, 3)
    shapes = rng.uniform(0.8, 1.2, (3, 2)).tolist()
    count = 1 + int(rng.random() < 0.3) + int(rng.random() < 0.2)
    spots = np.zeros_like(canvas.x)
    for (x, y), (wide, tall) in zip(places[:count], shapes[:count], strict=True):
        radius = 0.030 + 0.035 * severity
        spots += soft_ellipse(canvas, (x, y), (radius * wide, radius * tall), 0.3, 0.45)
    return np.minimum(spots, 1)


def _places(rng: np.random.Generator, thorax: Thorax, count: int) -> list[tuple[float, float]]:
    """Points in the lungs, away from their borders and from the heart."""
    places = []
    for _ in range(count):
        side = -1 if rng.random() < 0.5 else 1
        y = rng.uniform(-0.50, thorax.domes[0] - 0.12)
        reach = float(lateral_edge(thorax, np.array([y], dtype=np.float32))[0])
        inner = 0.24 if side < 0 or y < -0.05 else 0.42
        places.append((side * rng.uniform(inner, max(inner + 0.02, reach - 0.09)), y))
    return places


def pneumothorax(rng: np.random.Generator, chest: Chest, severity: float) -> Pneumothorax:
    """Take the outer and upper part of one lung away, 0.045 to 0.175 body units deep."""
    canvas, thorax = chest.canvas, chest.thorax
    side = -1 if rng.random() < 0.5 else 1
    wave = rng.uniform(-0.02, 0.02)
    lateral = canvas.x * side
    gap = 0.045 + 0.13 * severity
    # Upright air gathers at the apex: the gap narrows downwards and closes at the costal angle.
    shape = np.clip(0.85 - 0.75 * (canvas.y + 0.2), 0.1, 1.35)
    shape += wave * np.sin(canvas.y * 7)
    pleura = lateral_edge(thorax, canvas.y + gap * 0.9) - gap * shape
    beyond = lateral - pleura
    inside = chest.lungs[0 if side < 0 else 1]
    line = np.exp(-np.square(beyond / 0.008))
    reach = soft_step(canvas.y - thorax.apex, 0.02)
    return Pneumothorax(air=soft_step(beyond, 0.012) * inside, line=line * inside * reach)


def device(rng: np.random.Generator, canvas: Canvas, severity: float) -> Field:
    """(H, W) a central line, a tracheal tube or a pacemaker, as bright as metal is."""
    kind = rng.choice(3, p=(0.5, 0.25, 0.25))
    side = -1 if rng.random() < 0.6 else 1
    wobble = 0.02 * rng.standard_normal(4)
    brightness = 0.55 + 0.45 * severity
    along = np.linspace(0, 1, 16)
    if kind == 1:
        tube = np.column_stack(
            [0.008 + 0.02 * np.sin(2 * along), -1.05 + (0.78 + wobble[0]) * along]
        )
        return draw_strokes(canvas, [(tube, 0.020, brightness)], blur=0.004)
    start = np.array([side * (0.62 + wobble[1]), -0.50 + wobble[0]])
    line = _bow(start, np.array([-0.055, -0.42]), np.array([-0.065, -0.02 + wobble[2]]), along)
    strokes = [(line, 0.014, brightness)]
    if kind == 2:
        lead = _bow(start, np.array([-0.10, -0.45]), np.array([0.16, 0.34 + wobble[3]]), along)
        case = start + 0.075 * np.column_stack([np.cos(along * 6.3), 0.8 * np.sin(along * 6.3)])
        strokes = [(lead, 0.014, brightness), (case, 0.10, min(1.0, brightness + 0.1))]
    return draw_strokes(canvas, strokes, blur=0.004)


def _bow(
    start: NDArray[np.float64],
    middle: NDArray[np.float64],
    end: NDArray[np.float64],
    along: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Quadratic Bezier curve that passes near `middle`."""
    t = along[:, None]
    control = 2 * middle - (start + end) / 2
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
