"""torchvision's models become backbones: default weights, no head, torchvision's own pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from cxrlearn.backbones.libraries.torchvision_models import remove_head
from cxrlearn.backbones.load import build_network, load_backbone, without_values
from cxrlearn.backbones.preprocessing import to_input
from cxrlearn.backbones.registry import resolve
from cxrlearn.errors import WeightsError
from tests.support.checkpoints import golden_error, golden_input, read_golden, read_layout, write

if TYPE_CHECKING:
    from pathlib import Path

WIDTHS = {
    "alexnet": 4096,
    "convnext_tiny": 768,
    "densenet121": 1024,
    "efficientnet_b0": 1280,
    "googlenet": 1024,
    "inception_v3": 2048,
    "mobilenet_v3_small": 1024,
    "regnet_y_400mf": 440,
    "resnet18": 512,
    "shufflenet_v2_x1_0": 1024,
    "squeezenet1_1": 512,
    "swin_t": 768,
    "vit_b_16": 768,
}


@pytest.mark.parametrize(("name", "width"), WIDTHS.items())
def test_every_family_gives_what_its_last_layer_got(name: str, width: int) -> None:
    resolved = resolve(f"torchvision:{name}")
    network = without_values(lambda: build_network(resolved)).eval()
    device = next(network.parameters()).device
    images = torch.zeros(2, 3, *resolved.preprocessing.input_size, device=device)
    with torch.inference_mode():
        assert network(images).shape == (2, width)
    assert resolved.feature.dim == width
    assert resolved.tag_base == f"torchvision-{name}"


def test_features_are_the_input_of_the_last_layer() -> None:
    network = torchvision.models.mobilenet_v3_small(weights=None).eval()
    last = network.classifier[3]
    images = torch.randn(2, 3, 64, 64)
    scores = network(images)
    assert remove_head(network) == ("classifier.3", 1024)
    assert torch.allclose(last(network(images)), scores, atol=1e-6)


def test_a_network_without_a_classifier_is_refused() -> None:
    with pytest.raises(WeightsError, match="no classifier"):
        remove_head(torch.nn.Sequential(torch.nn.Linear(2, 2)))


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b1", "swin_t", "vit_b_16"])
def test_pixels_are_torchvisions_own(name: str) -> None:
    record = resolve(f"torchvision:{name}").preprocessing
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    for size in ((300, 411), (97, 60)):
        pixels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        theirs = transform(Image.fromarray(pixels).convert("RGB"))
        assert torch.allclose(to_input(pixels, record), theirs, atol=1e-5)


def test_unknown_models_get_a_suggestion() -> None:
    with pytest.raises(WeightsError, match=r"no classification model 'resnet19'.*Did you mean"):
        resolve("torchvision:resnet19")
    with pytest.raises(WeightsError, match="no classification model"):
        resolve("torchvision:fasterrcnn_resnet50_fpn")


def test_the_cached_file_is_used_and_nothing_else_when_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("CXRLEARN_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    heard: list[str] = []
    for name in ("resnet", "torchvision:resnet18"):
        with pytest.raises(WeightsError, match="--offline forbids the download"):
            load_backbone(name, offline=True)
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    path = write(read_layout("imagenet_resnet50"), cache)
    backbone = load_backbone("resnet", offline=True, notify=heard.append)
    assert backbone.load_account.file == path
    assert "NOT the published file" in heard[0]  # made-up weights under the published name
    row = read_golden("imagenet_resnet50")["features"][0]["rows"][0]
    values = backbone(golden_input()[:1])[0].double().numpy()
    assert golden_error(row, values) < 1e-4
    path.unlink()


def test_a_file_with_another_models_weights_is_refused(tmp_path: Path) -> None:
    path = write(read_layout("imagenet_resnet18"), tmp_path)
    backbone = load_backbone("torchvision:resnet18", weights=path)
    assert backbone.load_account.dropped == {"classifier": 2}
    with pytest.raises(WeightsError, match="does not hold the weights of torchvision:resnet34"):
        load_backbone("torchvision:resnet34", weights=path)
