"""A backbone of a few hundred weights, registered like a plug-in, and images for it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
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

    import pytest
    import torch

    from cxrlearn.backbones.spec import ResolvedBackbone

DIM = 12
SIDE = 24
DELAY = "TINY_BACKBONE_DELAY"
"""Environment variable: seconds that each forward pass takes longer."""
DOOMED = "embed-1"
"""The process that `build_deadly` kills."""


def build(resolved: ResolvedBackbone) -> torch.nn.Module:
    """Convolution, batch normalisation with statistics of its own, average pool, linear layer."""
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
    delay = float(os.environ.get(DELAY, "0"))
    network.register_forward_pre_hook(lambda *_: time.sleep(delay))
    return network.train()  # as a careless builder leaves it


def build_deadly(resolved: ResolvedBackbone) -> torch.nn.Module:
    """Return the same network; in the process `DOOMED` its fourth forward pass is the end."""
    calls = [0]

    def die(*_: object) -> None:
        calls[0] += 1
        if calls[0] == 4 and multiprocessing.current_process().name == DOOMED:
            os.kill(os.getpid(), signal.SIGKILL)

    network = build(resolved)
    network.register_forward_pre_hook(die)
    return network


def build_zeros(resolved: ResolvedBackbone) -> torch.nn.Module:
    """Return the same network with a last layer of zeros, as damaged weights may be."""
    import torch

    network = build(resolved)
    with torch.no_grad():
        for parameter in list(network.children())[-1].parameters():
            parameter.zero_()
    return network


def tiny_spec(
    name: str = "tiny-test",
    *,
    dim: int = DIM,
    side: int = SIDE,
    builder: str = "tests.support.tiny_backbone:build",
    identity: str = "1",
) -> BackboneSpec:
    """Return a record."""
    return BackboneSpec(
        name=name,
        title="tests only",
        builder=builder,
        weights=BuilderWeights(identity=f"{name} {identity}"),
        variants=(
            Variant(
                features=(
                    FeatureChoice("pooled", dim, "what the linear layer gives"),
                    FeatureChoice("twice", 2 * dim, "the same, wider"),
                )
            ),
        ),
        preprocessings=(
            Preprocessing("published", (ResizeExact(side, "bilinear"),), (0.5,), (0.25,), "none"),
            Preprocessing("original", (ResizeExact(side, "box"),), (0.4,), (0.3,), "none"),
        ),
    )


SPECS = (tiny_spec(), tiny_spec("tiny-other", dim=5), tiny_spec("tiny-large", dim=7, side=32))


def register(*specs: BackboneSpec) -> None:
    """Make records known to this process, as installed plug-ins are."""
    plugins = Plugins(specs or SPECS, ())
    vars(registry)["installed_plugins"] = lambda _taken: plugins


def use_tiny(monkeypatch: pytest.MonkeyPatch, *specs: BackboneSpec) -> None:
    """Make records known for one test."""
    monkeypatch.setattr(registry, "installed_plugins", lambda _taken: Plugins(specs or SPECS, ()))


def make_image(path: Path, seed: int, *, size: tuple[int, int] = (40, 36)) -> None:
    """Write a noise picture; the suffix says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_folder(folder: Path, count: int, *, start: int = 0) -> list[str]:
    """Write `count` pictures below `folder`; return their ids, sorted."""
    names = [f"s{number % 3}/{number:05d}.png" for number in range(start, start + count)]
    for number, name in enumerate(names, start):
        make_image(folder / name, number)
    return sorted(names)
