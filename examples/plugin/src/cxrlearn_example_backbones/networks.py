"""The modules that the records name as builders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import timm
import torch
from torch import nn

if TYPE_CHECKING:
    from cxrlearn.backbones.spec import ResolvedBackbone


def efficientnet_lite0(_resolved: ResolvedBackbone) -> nn.Module:
    """Build the network; without classifier it ends in the pooled 1280 values."""
    return timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)


def pixels(_resolved: ResolvedBackbone) -> nn.Module:
    """Build the module that hands the pixels on."""
    return _Pixels()


class _Pixels(nn.Module):
    """Films (N, 3, H, W) with three equal channels to their pixels (N, H * W)."""

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return images_NCHW[:, 0].flatten(1)
