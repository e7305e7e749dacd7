"""The networks of the records: `build(resolved)` gives an untrained module.

Each forward maps normalised images (N, 3, H, W) float32 to features (N, D) float32, and each
state_dict names exactly what the chosen feature needs, so that filling it completely is the proof
that the weights are right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from cxrlearn.backbones.spec import ResolvedBackbone


def resnet(resolved: ResolvedBackbone) -> nn.Module:
    """Build a torchvision ResNet up to its global average pool."""
    return _pooled_resnet(resolved.arch or "resnet50")


def _pooled_resnet(arch: str) -> nn.Module:
    network = cast("nn.Module", torchvision.models.get_model(arch, weights=None))
    network.fc = nn.Identity()
    return network


def gloria(resolved: ResolvedBackbone) -> nn.Module:
    """Build GLoRIA's image encoder."""
    return _Gloria(
        _pooled_resnet(resolved.arch or "resnet50"),
        width=resolved.variant.features[0].dim,
        embedded=resolved.feature.dim if resolved.feature.id == "global_emb" else None,
    )


class _Gloria(nn.Module):
    """A ResNet on input upsampled to 299, optionally embedded in the joint space."""

    def __init__(self, network: nn.Module, *, width: int, embedded: int | None) -> None:
        super().__init__()
        self.resnet = network
        self.global_embedder = nn.Linear(width, embedded) if embedded else None

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        # The upsampling is part of GLoRIA's image encoder, whatever size comes in.
        images = functional.interpolate(
            images_NCHW, size=(299, 299), mode="bilinear", align_corners=True
        )
        features: torch.Tensor = self.resnet(images)
        return features if self.global_embedder is None else self.global_embedder(features)


def clip_vit(resolved: ResolvedBackbone) -> nn.Module:
    """Build the image tower of OpenAI's CLIP, ViT-B/32."""
    vit = timm.create_model("vit_base_patch32_clip_quickgelu_224", pretrained=False, num_classes=0)
    projected = resolved.feature.dim if resolved.feature.id == "proj" else None
    return _ClipVit(vit, width=768, projected=projected)


class _ClipVit(nn.Module):
    """A vision transformer's class token, optionally projected (CLIP has no bias there)."""

    def __init__(self, vit: nn.Module, *, width: int, projected: int | None) -> None:
        super().__init__()
        self.vit = vit
        self.proj: nn.Parameter | None = None
        if projected:
            self.proj = nn.Parameter(width**-0.5 * torch.randn(width, projected))

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        token: torch.Tensor = self.vit(images_NCHW)
        return token if self.proj is None else token @ self.proj


def vit(_resolved: ResolvedBackbone) -> nn.Module:
    """Build a ViT-B/16 whose output is the class token after the last norm (eps 1e-6)."""
    return timm.create_model("vit_base_patch16_224", pretrained=False, num_classes=0)


def leaky_densenet(resolved: ResolvedBackbone) -> nn.Module:
    """Build S2MTS2's DenseNet-121, in which every ReLU is LeakyReLU(0.1)."""
    return _LeakyDenseNet(classify=resolved.feature.id == "classifier")


class _LeakyDenseNet(nn.Module):
    """DenseNet-121 with leaky rectifiers, optionally with the authors' doubled classifier."""

    SLOPE = 0.1

    def __init__(self, *, classify: bool) -> None:
        super().__init__()
        self.features = cast("nn.Module", torchvision.models.densenet121(weights=None).features)
        for module in list(self.features.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.ReLU):
                    setattr(module, name, nn.LeakyReLU(self.SLOPE, inplace=True))
        self.classifier = nn.Linear(1024, 1024) if classify else None

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        maps = functional.leaky_relu(self.features(images_NCHW), self.SLOPE)
        pooled = maps.mean(dim=(2, 3))
        if self.classifier is None:
            return pooled
        # The published forward applies the classifier twice before its ReLU.
        return functional.relu(self.classifier(self.classifier(pooled)))
