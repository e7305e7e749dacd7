"""A backbone of a few hundred weights, registered like a plug-in, and images for it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cxrlearn.backbones import registry
from cxrlearn.backbones.plugins import Plugins
from cxrlearn.backbones.spec import (
    BackboneSpec,
    BuilderWeights,
    FeatureChoice,
    Preprocessing,
    ResizeExact,
    Variant,
)

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from cxrlearn.backbones.spec import ResolvedBackbone

DIM = 12
SIDE = 24


def build(resolved: ResolvedBackbone) -> torch.nn.Module:
    """Convolution, batch normalisation with statistics of its own, average pool, a linear layer."""
    import torch
    from torch import nn

    norm = nn.BatchNorm2d(6)
    norm.running_mean = torch.randn(6)
    norm.running_var = torch.rand(6) + 0.5
    network = nn.Sequential(
        nn.Conv2d(3, 6, 5, stride=2),
        norm,
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, resolved.feature.dim),
    )
    return network.train()  # as a careless builder leaves it


def tiny_spec(name: str = "tiny-test", *, dim: int = DIM, side: int = SIDE) -> BackboneSpec:
    """Return the record; each name has weights of its own (the builder's seed is the same)."""
    return BackboneSpec(
        name=name,
        title="tests only",
        builder="tests.support.tiny_backbone:build",
        weights=BuilderWeights(identity=f"{name} 1"),
        variants=(Variant(features=(FeatureChoice("pooled", dim, "all there is"),)),),
        preprocessings=(
            Preprocessing("published", (ResizeExact(side, "bilinear"),), (0.5,), (0.25,), "none"),
        ),
    )


SPECS = (
    tiny_spec(),
    tiny_spec("tiny-other", dim=5),
    tiny_spec("tiny-large", dim=7, side=32),
)


def register(*specs: BackboneSpec) -> None:
    """Make the records known to this process, as installed plug-ins are."""
    plugins = Plugins(specs or SPECS, ())
    registry.installed_plugins = lambda taken: plugins  # type: ignore[assignment]


def make_image(path: Path, seed: int, *, size: tuple[int, int] = (40, 36)) -> None:
    """Write a noise picture; the suffix says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_folder(folder: Path, count: int, *, start: int = 0) -> list[str]:
    """Write `count` pictures as `<folder>/sub/00000.png` and so on; return their ids, sorted."""
    names = [f"s{number % 3}/{number:05d}.png" for number in range(start, start + count)]
    for number, name in enumerate(names, start):
        make_image(folder / name, number)
    return sorted(names)


def sha256(path: Path) -> str:
    """Return the hash of a file, the way anybody would."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
