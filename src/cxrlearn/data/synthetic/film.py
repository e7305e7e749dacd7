"""One synthetic chest film: anatomy, findings, exposure, collimation and noise put together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.data.synthetic import anatomy, findings
from cxrlearn.data.synthetic.canvas import draw_strokes, make_canvas, resize_field, soft_step
from cxrlearn.data.synthetic.traits import FINDINGS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cxrlearn.data.synthetic.anatomy import Chest, Thorax
    from cxrlearn.data.synthetic.canvas import Canvas, Field
    from cxrlearn.data.synthetic.traits import PatientTraits

_DRAWN_SIDE = 224
"""Pixels of the shorter side on which the chest is drawn; larger films are enlarged, for speed."""


def make_radiograph(
    rng: np.random.Generator,
    present: Mapping[str, float] | Collection[str],
    patient: PatientTraits,
    size: tuple[int, int],
    *,
    thorax: Thorax | None = None,
) -> Field:
    """Draw one frontal film.

    Every finding has its own stream of random numbers, so two calls with equally seeded `rng` and
    different findings show the same chest in the same pose, with and without them.

    Args:
        rng: source of everything random; equal state gives equal pixels on one machine.
        present: names out of `FINDINGS`, or names with a severity 0..1 (a name alone draws it).
        patient: traits that shape the thorax.
        size: (height, width) in pixels, each at least 64.
        thorax: the patient's measures, to draw a further film of the same chest; default: drawn.

    Returns:
        (H, W) float32 in 0..1, bone bright, upright.

    Raises:
        ValueError: an unknown finding, a severity outside 0..1 or a size below 64.
    """
    _check(present, size)
    measures_rng, film_rng, *finding_rngs = rng.spawn(2 + len(FINDINGS))
    if thorax is None:
        thorax = anatomy.draw_thorax(measures_rng, patient)
    grades = dict.fromkeys(FINDINGS, -1.0)
    for name, stream in zip(FINDINGS, finding_rngs, strict=True):
        drawn = float(stream.uniform(0, 1))
        if name in present:
            grades[name] = float(present[name]) if isinstance(present, Mapping) else drawn
    streams = dict(zip(FINDINGS, finding_rngs, strict=True))
    shrink = min(1.0, _DRAWN_SIDE / min(size))
    drawn_size = (round(size[0] * shrink), round(size[1] * shrink))
    chest = anatomy.lay_out(make_canvas(drawn_size, _pose(film_rng)), thorax)
    density = _density(film_rng, streams, grades, chest, patient)
    film = _expose(film_rng, density, chest.canvas)
    if drawn_size != size:
        film = resize_field(film, size)
    return _develop(film_rng, film)


def _check(present: Mapping[str, float] | Collection[str], size: tuple[int, int]) -> None:
    unknown = sorted(set(present) - set(FINDINGS))
    if unknown:
        raise ValueError(f"unknown findings {unknown}; known: {', '.join(FINDINGS)}")
    if isinstance(present, Mapping) and not all(0 <= grade <= 1 for grade in present.values()):
        raise ValueError(f"a severity is a float in the range [0, 1], got {dict(present)}")
    if min(size) < 64:
        raise ValueError(f"a film has at least 64 pixels a side, got {size}")


def _pose(rng: np.random.Generator) -> tuple[float, float, float, float]:
    turn, zoom, shift_x, shift_y = rng.standard_normal(4).tolist()
    size = min(max(1.0 + 0.045 * zoom, 0.88), 1.12)
    return (0.025 * turn, size, 0.03 * shift_x, 0.02 + 0.03 * shift_y)


def _density(
    rng: np.random.Generator,
    streams: Mapping[str, np.random.Generator],
    grades: Mapping[str, float],
    chest: Chest,
    patient: PatientTraits,
) -> Field:
    """(H, W) weakening of the beam, about 0 in air and 1 behind the heart."""
    canvas, thorax = chest.canvas, chest.thorax
    cloud = anatomy.texture(rng, canvas)
    tree = anatomy.vessels(rng, canvas)
    bones = anatomy.shoulders(rng, canvas, patient)
    lungs = chest.lungs[0] + chest.lungs[1]
    trunk = anatomy.body(canvas, thorax)
    ratio = thorax.heart_width
    if grades["Cardiomegaly"] >= 0:
        ratio = findings.heart_ratio(ratio, grades["Cardiomegaly"])
    shadow = anatomy.heart(canvas, thorax, ratio)
    aerated = lungs * (1 - 0.55 * shadow)
    marking = 0.20 * tree * (1 - 0.8 * shadow) + 0.022 * cloud
    air: Field | float = 0.40
    if grades["Pneumothorax"] >= 0:
        collapse = findings.pneumothorax(streams["Pneumothorax"], chest, grades["Pneumothorax"])
        marking = marking * (1 - collapse.air) + 0.07 * collapse.line
        air = air + 0.03 * collapse.air
    density = trunk * 0.62 + trunk * 0.012 * cloud
    density += lungs * marking - aerated * air
    density += anatomy.soft_parts(canvas, thorax, patient) * trunk
    density += (0.17 * thorax.bone) * anatomy.ribs(chest) * trunk
    density += (0.17 * thorax.bone) * bones * trunk
    density += anatomy.spine_and_mediastinum(canvas, thorax, patient) * trunk
    density += 0.12 * shadow
    return density + _added(streams, grades, chest, aerated)


def _added(
    streams: Mapping[str, np.random.Generator],
    grades: Mapping[str, float],
    chest: Chest,
    aerated: Field,
) -> Field:
    """(H, W) density of fluid, consolidation, nodules and devices, where there are any."""
    added = np.zeros_like(aerated)
    grade = grades["Effusion"]
    if grade >= 0:
        added += 0.36 * findings.effusion(streams["Effusion"], chest, grade)
    grade = grades["Opacity"]
    if grade >= 0:
        patch = findings.opacity(streams["Opacity"], chest, grade)
        added += (0.20 + 0.16 * grade) * patch * aerated
    grade = grades["Nodule"]
    if grade >= 0:
        spots = findings.nodule(streams["Nodule"], chest, grade)
        added += (0.11 + 0.09 * grade) * spots * np.clip(aerated * 2, 0, 1)
    grade = grades["Device"]
    if grade >= 0:
        added += 0.42 * findings.device(streams["Device"], chest.canvas, grade)
    return added


def _expose(rng: np.random.Generator, density: Field, canvas: Canvas) -> Field:
    """Turn density into brightness: exposure, contrast, scatter, collimator and side marker."""
    exposure, contrast, drift_x, drift_y = rng.standard_normal(4).tolist()
    edges, marker = rng.uniform(0, 1, 8).tolist(), rng.uniform(0, 1, 3).tolist()
    middle = 0.45 + 0.045 * exposure
    steep = min(max(4.6 + 0.55 * contrast, 3.4), 6.2)
    drift = (0.025 * drift_x) * canvas.x + (0.025 * drift_y) * canvas.y
    film: Field = 1 / (1 + np.exp(-steep * (density + drift * (density > 0) - middle)))
    floor = 1 / (1 + math.exp(steep * middle))
    film = np.clip((film - floor) / (0.97 - floor), 0, 1)
    film = film * _collimator(edges, canvas)
    if marker[0] < 0.7:
        film = np.maximum(film, _side_marker(marker, canvas))
    return film


def _develop(rng: np.random.Generator, film: Field) -> Field:
    """Add the grain, stronger where the film is bright (fewer photons), and keep 0..1."""
    level = 0.012 + 0.004 * abs(float(rng.standard_normal()))
    noise = rng.standard_normal(film.shape, dtype=np.float32)
    film = film + level * noise * np.sqrt(0.15 + np.clip(film, 0, 1))
    developed: Field = np.clip(film, 0, 1, dtype=np.float32)
    return developed


def _collimator(edges: Sequence[float], canvas: Canvas) -> Field:
    """(H, W) 0 behind the lead shutters, which stand in the film on about every third side."""
    rows = np.arange(canvas.height, dtype=np.float32)[:, None] / canvas.height
    columns = np.arange(canvas.width, dtype=np.float32)[None, :] / canvas.width
    depths = [
        0.01 + 0.05 * depth if chance < 0.3 else -1.0
        for chance, depth in zip(edges[:4], edges[4:], strict=True)
    ]
    top, bottom = soft_step(rows - depths[0], 0.004), soft_step(1 - rows - depths[1], 0.004)
    left, right = soft_step(columns - depths[2], 0.004), soft_step(1 - columns - depths[3], 0.004)
    return (top * bottom) * (left * right)


def _side_marker(draw: Sequence[float], canvas: Canvas) -> Field:
    """(H, W) the technician's lead letter: R beside the patient's right shoulder, or L."""
    height = 0.07 + 0.02 * draw[1]
    right = np.array([[0, 1], [0, 0], [0.5, 0], [0.6, 0.25], [0.5, 0.5], [0, 0.5], [0.6, 1]])
    left = np.array([[0, 0], [0, 1], [0.6, 1]])
    letter = (right if draw[2] < 0.6 else left) * height
    corner = np.array([-0.90 if draw[2] < 0.6 else 0.86, -0.86])
    stroke = (letter + corner, 0.016, 0.95)
    return draw_strokes(canvas, [stroke], blur=0.004)
