from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from cxrlearn.backbones.load import LoadOptions
from cxrlearn.backbones.registry import resolve
from cxrlearn.backbones.saliency import saliency_map
from cxrlearn.backbones.trainable import TrainableModel, build_trainable, empty_trainable
from tests.support.tiny_backbone import SIDE, tiny_spec, use_tiny

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlearn.backbones.spec import ResolvedBackbone

HERE = "tests.unit.backbones.test_saliency"


def picture(size: tuple[int, int] = (SIDE, SIDE), seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


class Pooled(nn.Module):
    """Convolutions, rectifier, global average pool: Grad-CAM is CAM here (Zhou et al. 2016)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, dim, 4, stride=2, padding=1)

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(images).relu())  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.maps(images).mean(dim=(2, 3))
        return pooled


class Tokens(nn.Module):
    """A patch embedding, a class token, and blocks that add the mean token to every token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, dim, 6, stride=6)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleList([_Mean(dim), _Mean(dim)])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        first: torch.Tensor = tokens[:, 0]
        return first


class _Mean(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mix = nn.Linear(dim, dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        mean: torch.Tensor = self.mix(tokens).mean(dim=1, keepdim=True)
        return tokens + mean


class Flat(nn.Module):
    """Neither maps nor tokens: one linear layer that sees the upper left quarter only."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * (SIDE // 2) ** 2, dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images[:, :, : SIDE // 2, : SIDE // 2].flatten(1))  # type: ignore[no-any-return]


def build_pooled(resolved: ResolvedBackbone) -> nn.Module:
    return Pooled(resolved.feature.dim)


def build_tokens(resolved: ResolvedBackbone) -> nn.Module:
    return Tokens(resolved.feature.dim)


def build_flat(resolved: ResolvedBackbone) -> nn.Module:
    return Flat(resolved.feature.dim)


def built(monkeypatch: pytest.MonkeyPatch, builder: str) -> TrainableModel:
    use_tiny(monkeypatch, tiny_spec(builder=f"{HERE}:{builder}"))
    return build_trainable(resolve("tiny-test"), 3, LoadOptions())


def resized(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    full = nn.functional.interpolate(
        torch.from_numpy(heat)[None, None], (SIDE, SIDE), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    return full / full.max()  # type: ignore[no-any-return]


@pytest.mark.parametrize("label", [0, 2])
def test_grad_cam_before_a_global_pool_is_the_class_activation_map(
    monkeypatch: pytest.MonkeyPatch, label: int
) -> None:
    model = built(monkeypatch, "build_pooled")
    pixels = picture()
    found = saliency_map(model, pixels, label)
    images = torch.from_numpy((pixels / 255 - 0.5) / 0.25).float().expand(1, 3, -1, -1)
    with torch.no_grad():
        maps = model.network.maps(images)[0].numpy()  # type: ignore[operator]
        weights = model.head.weight[label].numpy()
    expected = np.maximum(np.einsum("c,chw->hw", weights, maps), 0)
    assert found.method == "Grad-CAM"
    np.testing.assert_allclose(found.values, resized(expected), atol=1e-4)


def test_tokens_are_laid_out_as_their_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    model = built(monkeypatch, "build_tokens")
    assert not model.channels_last
    pixels = picture()
    found = saliency_map(model, pixels, 1)
    assert found.method == "Grad-CAM on tokens"
    images = torch.from_numpy((pixels / 255 - 0.5) / 0.25).float().expand(1, 3, -1, -1)
    network, head = model.network, model.head.weight[1].detach()
    with torch.no_grad():
        patches = network.patches(images).flatten(2).transpose(1, 2)  # type: ignore[operator]
        tokens = network.blocks[0](torch.cat([network.cls, patches], dim=1))  # type: ignore[operator, index, list-item]
        # A patch reaches the score through the mean of the last block: all gradients are equal.
        weight = head @ network.blocks[1].mix.weight  # type: ignore[index, union-attr]
    heat = (tokens[0, 1:] @ weight).clamp_min(0).reshape(4, 4).numpy()
    np.testing.assert_allclose(found.values, resized(heat), atol=1e-4)


def test_a_network_of_another_kind_gets_the_gradient_of_its_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = saliency_map(built(monkeypatch, "build_flat"), picture(), 0)
    assert found.method == "input gradient"
    half = SIDE // 2
    assert found.values[: half - 1, : half - 1].min() > 0
    assert not found.values[half + 1 :].any()
    assert not found.values[:, half + 1 :].any()


@pytest.mark.parametrize("builder", ["build_pooled", "build_tokens", "build_flat"])
def test_a_map_is_in_range_and_leaves_the_model_as_it_was(
    monkeypatch: pytest.MonkeyPatch, builder: str
) -> None:
    model = built(monkeypatch, builder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pixels = picture(seed=1)
    found = saliency_map(model, pixels, 0)
    assert found.values.shape == (SIDE, SIDE)
    assert found.values.dtype == np.float32
    assert found.values.min() >= 0
    assert found.values.max() in {0, 1}
    with torch.inference_mode():
        logits = model(torch.from_numpy(pixels)[None, None])
    assert found.logit == pytest.approx(logits[0, 0].item(), abs=1e-6)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules() if module.training)


def test_a_frozen_network_has_a_map_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = built(monkeypatch, "build_pooled")
    learned = saliency_map(model, picture(), 0).values
    model.requires_grad_(requires_grad=False)
    with torch.inference_mode(mode=False):
        assert np.array_equal(saliency_map(model, picture(), 0).values, learned)


def test_the_heat_of_a_bright_spot_lies_on_it() -> None:
    # cxr-tiny, with a head that reads the mean of the last stage: the spot is what stands out.
    model = build_trainable(resolve("cxr-tiny"), 1, LoadOptions())
    side = model.record.preprocessing.picture_size[0]
    spot = np.full((side, side), 30, dtype=np.uint8)
    spot[20:70, 130:190] = 220
    plain = np.full((side, side), 30, dtype=np.uint8)
    with torch.no_grad():
        stacked = torch.from_numpy(np.stack([spot, plain]))[:, None]
        bright, dark = model.eval().features(stacked)
        direction = bright - dark
        direction[:-192] = 0
        model.head.weight.copy_(direction / direction.norm())
    found = saliency_map(model, spot, 0)
    assert found.method == "Grad-CAM"
    row, column = np.unravel_index(found.values.argmax(), found.values.shape)
    assert 0 <= row < 100
    assert 100 < column < 220


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("medaug", "Grad-CAM"),
        ("gloria", "Grad-CAM"),
        ("s2mts2", "Grad-CAM"),
        ("chexzero", "Grad-CAM on tokens"),
        ("refers", "Grad-CAM on tokens"),
        ("torchvision:vit_b_32", "Grad-CAM on tokens"),
        ("timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k", "Grad-CAM on tokens"),
        ("timm:swin_tiny_patch4_window7_224.ms_in1k", "input gradient"),
    ],
)
def test_the_method_fits_the_network(name: str, method: str) -> None:
    model = empty_trainable(resolve(name), 2)
    found = saliency_map(model, picture(model.record.preprocessing.picture_size), 1)
    assert found.method == method
    assert np.isfinite(found.values).all()
