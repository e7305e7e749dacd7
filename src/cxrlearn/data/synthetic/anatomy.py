"""The normal synthetic thorax: its measures, and how much each part weakens the beam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.data.synthetic.canvas import draw_strokes, smooth_noise, soft_ellipse, soft_step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlearn.data.synthetic.canvas import Canvas, Field
    from cxrlearn.data.synthetic.traits import PatientTraits

_EDGE = 0.014
"""Softness of organ borders in body units."""

_VESSEL_LEVELS = (
    (0.22, 0.040, 0.85),
    (0.17, 0.024, 0.60),
    (0.13, 0.015, 0.42),
    (0.10, 0.010, 0.30),
)
"""Length, width (body units) and brightness of a vessel at each level of branching."""


@dataclass(frozen=True)
class Thorax:
    """Measures of one patient's chest in body coordinates (see `Canvas`)."""

    lung_width: float
    """Midline to the lateral chest wall, inside."""
    apex: float
    """y of the lung tops."""
    widest: float
    """y where the chest is widest."""
    domes: tuple[float, float]
    """y of the diaphragm's tops: image left (patient's right), image right."""
    heart_width: float
    """Heart's transverse diameter over the inner chest width (cardiothoracic ratio)."""
    rib_spacing: float
    """Distance of neighbouring ribs along y."""
    rib_start: float
    """y of the first rib at the spine."""
    bone: float
    """Density of bone, 1 is young."""
    wall: float
    """Thickness of the soft tissue outside the ribs."""


@dataclass(frozen=True)
class Chest:
    """One patient's chest laid on one film: what every drawing function needs."""

    canvas: Canvas
    """The film's pixels in body coordinates."""
    thorax: Thorax
    """The patient's measures."""
    edge: Field
    """(H, W) |x| of the inner chest wall at each pixel's height."""
    lungs: tuple[Field, Field]
    """(H, W) 0..1 lung on the image's left and right, the heart not cut out."""


def lay_out(canvas: Canvas, thorax: Thorax) -> Chest:
    """Compute what is shared by all parts of one film."""
    edge = lateral_edge(thorax, canvas.y)
    return Chest(canvas, thorax, edge, _lung_fields(canvas, thorax, edge))


def draw_thorax(rng: np.random.Generator, patient: PatientTraits) -> Thorax:
    """Draw one patient's measures; all random numbers are drawn whatever the traits are."""
    jitter = rng.standard_normal(8).tolist()
    portable = patient.view == "AP"
    dome = 0.40 - (0.10 if portable else 0.0) - 0.06 * max(patient.habitus, 0) + 0.035 * jitter[0]
    ratio = 0.425 + (0.035 if portable else 0) + 0.0004 * (patient.age - 50) + 0.022 * jitter[5]
    return Thorax(
        lung_width=0.70 - (0.03 if patient.sex == "F" else 0.0) + 0.02 * jitter[1],
        apex=-0.74 + 0.03 * jitter[2],
        widest=0.28 + 0.03 * jitter[3],
        domes=(dome - 0.025, dome + 0.02 + 0.012 * jitter[4]),
        heart_width=min(max(ratio, 0.36), 0.50),
        rib_spacing=0.150 + 0.006 * jitter[6],
        rib_start=-0.78 + 0.03 * jitter[7],
        bone=min(max(1.15 - 0.006 * (patient.age - 30), 0.65), 1.2),
        wall=0.10 + 0.05 * (patient.habitus + 1) / 2,
    )


def lateral_edge(thorax: Thorax, y: Field) -> Field:
    """Return |x| of the inner chest wall at height `y`: rounded up to the apex, then straight."""
    climb = np.clip((thorax.widest - y) / (thorax.widest - thorax.apex), 0, 1)
    below = np.clip(y - thorax.widest, 0, 1)
    rounded = np.power(1 - np.power(climb, 2.4), 0.55)
    edge: Field = thorax.lung_width * (rounded - 0.25 * below * below)
    return edge


def diaphragm(thorax: Thorax, side: int, lateral: Field) -> Field:
    """Return y of the diaphragm `lateral` from the midline; `side` -1 is the image's left."""
    top = thorax.domes[0] if side < 0 else thorax.domes[1]
    offset = (lateral - 0.45 * thorax.lung_width) / thorax.lung_width
    outer: Field = np.clip(offset, 0, None)
    return top + 0.28 * offset * offset + 1.1 * outer**3


def _lung_fields(canvas: Canvas, thorax: Thorax, edge: Field) -> tuple[Field, Field]:
    medial = 0.085 + 0.05 * soft_step(-canvas.y - 0.35, 0.3)
    masks = []
    for side in (-1, 1):
        lateral = canvas.x * side
        mask = soft_step(edge - lateral, _EDGE) * soft_step(lateral - medial, _EDGE)
        masks.append(mask * soft_step(diaphragm(thorax, side, lateral) - canvas.y, _EDGE))
    return masks[0], masks[1]


def body(canvas: Canvas, thorax: Thorax) -> Field:
    """(H, W) soft tissue along the beam: 0 outside, about 1 in the middle of the trunk."""
    shoulder = soft_step(canvas.y + 0.86, 0.16)
    flank = thorax.lung_width + thorax.wall
    axilla = 0.34 * soft_step(-canvas.y - 0.12, 0.40)
    half = 0.27 + (flank + axilla - 0.27) * shoulder
    chord: Field = np.sqrt(np.clip(1 - np.square(canvas.x / half), 0, 1))
    return chord * soft_step(half - np.abs(canvas.x), _EDGE)


def ribs(chest: Chest) -> Field:
    """(H, W) bone of both rib cages: posterior ribs arched, anterior ribs steep and faint."""
    canvas, thorax, edge = chest.canvas, chest.thorax, chest.edge
    lateral: Field = np.abs(canvas.x)
    relative = lateral / thorax.lung_width
    cage = soft_step(edge + 0.045 - lateral, 0.02) * soft_step(0.66 - canvas.y, 0.25)
    arch = 0.13 * np.sin(2.6 * relative) - 0.26 * relative**4
    posterior = _bands((canvas.y - thorax.rib_start + arch) / thorax.rib_spacing, 0.40)
    slope = 0.62 * (1 - relative) + 0.10 * relative * relative
    anterior = _bands((canvas.y + 0.66 - slope) / (thorax.rib_spacing * 1.06), 0.46)
    anterior *= soft_step(relative - 0.42, 0.12)
    away = soft_step(relative - 0.10, 0.06)
    rim = np.exp(-np.square((lateral - edge) / 0.03))
    bone: Field = away * posterior + 0.55 * anterior + 0.45 * rim * (0.5 + posterior)
    return cage * bone


def _bands(phase: Field, breadth: float) -> Field:
    """Stripes at whole numbers of `phase`, `breadth` of the period wide, brighter at their rims."""
    distance: Field = np.abs(phase - np.rint(phase)) * 2
    inside = soft_step(breadth - distance, 0.10)
    started = soft_step(phase + 0.5, 0.1)
    rims: Field = 0.65 + 0.35 * np.square(distance / breadth)
    return inside * started * rims


def spine_and_mediastinum(canvas: Canvas, thorax: Thorax, patient: PatientTraits) -> Field:
    """(H, W) vertebrae, great vessels with the aortic knob, and trachea (an air column)."""
    x, y = canvas.x, canvas.y
    vertebra = np.cos((y + 0.9) * (2 * np.pi / (thorax.rib_spacing * 0.95)))
    column = soft_step(0.072 - np.abs(x), 0.015) * (0.11 + 0.03 * np.clip(vertebra * 2, -1, 1))
    vessels = 0.115 + 0.02 * soft_step(-y - 0.45, 0.2)
    middle = soft_step(vessels - np.abs(x - 0.01), 0.04) * 0.15
    age = max(patient.age - 40, 0) / 55
    knob = soft_ellipse(canvas, (0.125, -0.30), (0.075 + 0.03 * age, 0.085 + 0.02 * age), 0.0, 0.12)
    airway = soft_step(0.030 - np.abs(x - 0.005), 0.012)
    airway *= soft_step(-0.22 - y, 0.05)
    shadow: Field = column * thorax.bone + middle + (0.15 + 0.10 * age) * knob - 0.14 * airway
    return shadow


def heart(canvas: Canvas, thorax: Thorax, ratio: float) -> Field:
    """(H, W) 0..1 the heart's shadow for a cardiothoracic `ratio`, resting on the diaphragm."""
    width = ratio * thorax.lung_width
    bottom = (thorax.domes[0] + thorax.domes[1]) / 2 + 0.10
    height = 0.29 + 0.32 * (ratio - 0.42)
    left = soft_ellipse(canvas, (0.30 * width, bottom - height), (width * 1.0, height), 0.55, 0.10)
    right = soft_ellipse(
        canvas, (-0.14 * width, bottom - height * 0.95), (width * 0.52, height * 0.85), 0.0, 0.10
    )
    outflow = soft_ellipse(canvas, (0.10, bottom - 1.85 * height), (0.12, 0.20), 0.2, 0.15)
    shadow: Field = np.maximum(np.maximum(left, right), 0.75 * outflow)
    return shadow


def vessels(rng: np.random.Generator, canvas: Canvas) -> Field:
    """(H, W) 0..1 pulmonary vessels: branching strokes that thin out from the hila."""
    side = np.repeat([-1.0, 1.0], 9)
    start = np.column_stack([side * 0.13, np.repeat([0.0, -0.05], 9)])
    direction = np.tile(np.linspace(-1.25, 1.30, 9), 2) + 0.12 * rng.standard_normal(18)
    strokes: list[tuple[NDArray[np.float64], float, float]] = []
    along = np.linspace(0, 1, 5)
    for length, width, brightness in _VESSEL_LEVELS:
        count = len(side)
        reach = length * rng.uniform(0.75, 1.25, count)
        bend = 0.25 * rng.standard_normal(count)
        angle = direction[:, None] + bend[:, None] * along
        radius = reach[:, None] * along
        path = np.stack([side[:, None] * radius * np.cos(angle), radius * np.sin(angle)], axis=2)
        path += start[:, None, :]
        strokes += [(points, width, brightness) for points in path]
        fork = np.array([-0.38, 0.38]) * rng.uniform(0.6, 1.4, (count, 2))
        direction = ((direction + bend)[:, None] + fork).ravel()
        start, side = np.repeat(path[:, -1], 2, axis=0), np.repeat(side, 2)
    return draw_strokes(canvas, strokes, blur=0.007)


def shoulders(rng: np.random.Generator, canvas: Canvas, patient: PatientTraits) -> Field:
    """(H, W) collar bones and shoulder blades, which an AP film throws over the lungs."""
    lift = 0.06 if patient.view == "AP" else 0.0
    inset = 0.10 if patient.view == "AP" else 0.0
    along = np.linspace(0, 1, 12)
    strokes: list[tuple[NDArray[np.float64], float, float]] = []
    for side in (-1, 1):
        tilt = 0.03 * rng.standard_normal()
        rise = -0.56 - lift - (0.13 + tilt) * along + 0.05 * np.sin(np.pi * 2 * along)
        strokes.append((np.column_stack([side * (0.09 + 0.70 * along), rise]), 0.062, 0.95))
        blade = np.column_stack(
            [side * (0.86 - inset - 0.24 * np.sin(along * 2.2)), -0.62 + 0.78 * along]
        )
        strokes.append((blade, 0.045, 0.35))
    return draw_strokes(canvas, strokes, blur=0.009)


def soft_parts(canvas: Canvas, thorax: Thorax, patient: PatientTraits) -> Field:
    """(H, W) breast shadows of women, and the air in the stomach under the left dome."""
    bubble = soft_ellipse(canvas, (0.34, thorax.domes[1] + 0.13), (0.15, 0.075), -0.1, 0.25) * (
        -0.14
    )
    if patient.sex == "M":
        return bubble
    size = 0.27 + 0.06 * patient.habitus
    shadow = np.zeros_like(canvas.x)
    for side in (-1, 1):
        shadow += soft_ellipse(canvas, (side * 0.43, 0.27), (size, size * 0.85), 0.0, 0.22)
    return bubble + 0.10 * shadow


def texture(rng: np.random.Generator, canvas: Canvas) -> Field:
    """(H, W) cloudy unevenness of tissue, about unit spread."""
    return smooth_noise(rng, (canvas.height, canvas.width), (7, 15, 32, 64), 0.75)
