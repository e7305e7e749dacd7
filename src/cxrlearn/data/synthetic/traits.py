"""Who is on a synthetic film: a patient's lasting traits and the circumstances of one exposure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FINDINGS = ("Cardiomegaly", "Effusion", "Opacity", "Nodule", "Pneumothorax", "Device")
"""Labels a synthetic film can carry; Device and Cardiomegaly are easy, Effusion and Opacity medium,
Nodule and Pneumothorax hard."""

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other pixels or labels."""


@dataclass(frozen=True)
class PatientTraits:
    """What shapes the thorax before any finding is drawn."""

    sex: Literal["F", "M"] = "M"
    """Women get a narrower thorax and breast shadows."""
    age: float = 50.0
    """Years, 18 to 95: older bone is fainter, the aorta wider and calcified."""
    view: Literal["PA", "AP"] = "PA"
    """AP: heart magnified, shallower breath, shoulder blades over the lungs."""
    habitus: float = 0.0
    """Slim (-1) to stout (+1)."""

    def __post_init__(self) -> None:
        """Refuse values that no thorax is drawn for."""
        if self.sex not in {"F", "M"} or self.view not in {"PA", "AP"}:
            raise ValueError(f"sex is F or M and view PA or AP, got {self.sex!r}, {self.view!r}")
        if not (18 <= self.age <= 95 and -1 <= self.habitus <= 1):
            raise ValueError(
                f"age is 18..95 and habitus -1..1, got {self.age!r} and {self.habitus!r}"
            )
