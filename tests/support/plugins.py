"""A backbone as a plug-in would define it: small, and with its weights in the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from cxrlearn.backbones.spec import (
    BackboneSpec,
    BuilderWeights,
    FeatureChoice,
    Preprocessing,
    ResizeExact,
    Variant,
)

if TYPE_CHECKING:
    from cxrlearn.backbones.spec import ResolvedBackbone

SIDE = 4


class ToyNetwork(nn.Module):
    """Flattens one channel and mixes it; dropout and batch norm tell training from evaluation."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.mix = nn.Linear(SIDE * SIDE, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(0.5)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.drop(self.norm(self.mix(images_NCHW[:, 0].flatten(1))))
        return mixed


def build_toy(resolved: ResolvedBackbone) -> nn.Module:
    """Build the network with the width of the chosen feature."""
    return ToyNetwork(resolved.feature.dim)


def toy_spec(name: str = "toy", **changes: object) -> BackboneSpec:
    """Return a record of the toy network; `changes` replace fields."""
    fields: dict[str, Any] = {
        "name": name,
        "title": "toy",
        "builder": build_toy,
        "weights": BuilderWeights("toy 1"),
        "variants": (Variant(features=(FeatureChoice("mixed", 5, "mixed pixels"),)),),
        "preprocessings": (
            Preprocessing("published", (ResizeExact(SIDE, "box"),), (0.5,), (0.5,), "the test"),
        ),
    }
    return BackboneSpec(**{**fields, **changes})
