"""A made-up cohort: patients, their films, what is on each, and the split by patient."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from cxrlearn.data.synthetic.anatomy import draw_thorax
from cxrlearn.data.synthetic.film import make_radiograph
from cxrlearn.data.synthetic.traits import FINDINGS, PatientTraits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cxrlearn.data.synthetic.canvas import Field

_LOG_ODDS = {
    "Cardiomegaly": (-1.5, 0.5),
    "Effusion": (-1.5, 0.6),
    "Opacity": (-1.4, 0.5),
    "Nodule": (-1.5, 0.1),
    "Pneumothorax": (-2.1, 0.3),
    "Device": (-1.5, 1.0),
}
"""Base log-odds of a finding and how much one unit of sickness adds."""
_LASTING = ("Cardiomegaly", "Nodule")
"""Findings that a patient has on all films or on none."""


@dataclass(frozen=True)
class SyntheticFilm:
    """Everything one film is drawn from; equal fields give equal pixels."""

    patient_id: str
    """Such as P00012: text, leading zeros matter."""
    number: int
    """0 for the patient's first film."""
    traits: PatientTraits
    """Who is on it and how it was taken."""
    findings: Mapping[str, float]
    """Severity 0..1 of each finding present."""
    seed: tuple[int, ...] = field(repr=False)
    """Seed of the film's own random numbers."""
    patient_seed: tuple[int, ...] = field(repr=False)
    """Seed of the patient's measures, shared by that patient's films."""

    def labels(self) -> tuple[int, ...]:
        """Return 0 or 1 for each of `FINDINGS`."""
        return tuple(int(name in self.findings) for name in FINDINGS)

    def draw(self, size: tuple[int, int]) -> Field:
        """Return (H, W) float32 pixels in 0..1, bone bright, for `size` (height, width)."""
        thorax = draw_thorax(np.random.default_rng(self.patient_seed), self.traits)
        rng = np.random.default_rng(self.seed)
        return make_radiograph(rng, self.findings, self.traits, size, thorax=thorax)


def draw_cohort(n_images: int, seed: int) -> tuple[SyntheticFilm, ...]:
    """Draw patients with one to four films each until there are `n_images` films.

    Sickness, hidden, raises the odds of most findings, of further films and of the AP view, as in
    hospitals: so age, sex and view predict the findings a little, and a probe has to beat that.

    Args:
        n_images: number of films, at least 1.
        seed: equal seeds give equal cohorts; the first films of a larger cohort are the same.
    """
    films: list[SyntheticFilm] = []
    patient = 0
    while len(films) < n_images:
        films.extend(_draw_patient(patient, seed))
        patient += 1
    return tuple(films[:n_images])


def _draw_patient(index: int, seed: int) -> list[SyntheticFilm]:
    patient_seed = (seed, index)
    rng = np.random.default_rng((*patient_seed, 1))
    sex: Literal["F", "M"] = "F" if rng.random() < 0.46 else "M"
    age = float(np.clip(rng.normal(54, 17), 18, 95).round())
    habitus = float(np.clip(rng.normal(0, 0.5), -1, 1))
    sickness = float(rng.normal(0, 1) + (age - 54) / 40)
    lasting = {name: rng.random() < _chance(name, sickness) for name in _LASTING}
    grades = {name: float(rng.uniform(0.1, 0.9)) for name in _LASTING}
    films = 1 + int(rng.binomial(3, 1 / (1 + np.exp(1.2 - 0.6 * sickness))))
    out = []
    for number in range(films):
        view: Literal["PA", "AP"] = "AP" if rng.random() < _logistic(-0.7 + sickness) else "PA"
        found: dict[str, float] = {}
        for name in FINDINGS:
            chance, grade = rng.random(), float(rng.uniform(0, 1))
            if name in _LASTING and lasting[name]:
                found[name] = float(np.clip(grades[name] + 0.1 * (grade - 0.5), 0, 1))
            elif name not in _LASTING and chance < _chance(name, sickness):
                found[name] = grade
        traits = PatientTraits(sex=sex, age=age, view=view, habitus=habitus)
        out.append(
            SyntheticFilm(
                f"P{index:05d}",
                number,
                traits,
                found,
                (*patient_seed, 2, number),
                (*patient_seed, 0),
            )
        )
    return out


def _chance(name: str, sickness: float) -> float:
    base, slope = _LOG_ODDS[name]
    return _logistic(base + slope * sickness)


def _logistic(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))
