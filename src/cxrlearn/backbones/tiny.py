"""Architecture of cxr-tiny: the early stages of EfficientNet-Lite0, pooled at three depths."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from cxrlearn.backbones.spec import ResolvedBackbone

FEATURE_DIM = 496
"""Mean and spread of 40 channels and of 112 channels, mean of 192 channels."""


class Stage(NamedTuple):
    """Equal blocks in a row; the first of them strides and changes the number of channels."""

    kernel: int
    stride: int
    expand: int
    channels: int
    blocks: int


STEM_CHANNELS = 32
# Tan & Le 2019 (arXiv 1905.11946), table 1, as the Lite0 release has it: no squeeze-and-excitation,
# ReLU6. Of the release's stages the last block of the sixth, the seventh and the head are left out.
STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 3),
)
EARLY_STAGES = 3
"""Stages that training leaves as the teacher has them."""


class CxrTiny(nn.Module):
    """Normalised films (N, 3, H, W), H and W multiples of 32, to features (N, 496) float32.

    The batch normalisation of the release is folded into the convolutions: half the time on a
    CPU, and a feature can never depend on its batch. Features are shifted and scaled to zero mean
    and unit spread over the synthetic films of the training script.
    """

    feature_center: torch.Tensor
    feature_scale: torch.Tensor

    def __init__(self) -> None:
        """Build it with random weights that keep the signal's size from block to block."""
        super().__init__()
        self.stem = _SameConv(3, STEM_CHANNELS, 3, 2)
        self.stages = nn.ModuleList()
        inputs = STEM_CHANNELS
        for stage in STAGES:
            blocks = [_Block(inputs, stage, stage.stride)]
            blocks += [_Block(stage.channels, stage, 1) for _ in range(stage.blocks - 1)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = stage.channels
        self.register_buffer("feature_center", torch.zeros(FEATURE_DIM))
        self.register_buffer("feature_scale", torch.ones(FEATURE_DIM))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(_bias(module))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features (N, 496) of normalised films (N, 3, H, W)."""
        early = self.early(x)
        pooled = torch.cat([mean_and_spread(early), self.late(early)], dim=1)
        return self.calibrate(pooled)

    def early(self, x: torch.Tensor) -> torch.Tensor:
        """Return the map (N, 40, H/8, W/8) of the stages that training leaves alone."""
        x = functional.relu6(self.stem(x.contiguous(memory_format=torch.channels_last)))
        for stage in self.stages[:EARLY_STAGES]:
            x = stage(x)
        return x

    def late(self, early: torch.Tensor) -> torch.Tensor:
        """Return (N, 416) pooled values of the trained stages, from the map of the early ones."""
        middle = self.stages[4](self.stages[3](early))
        deep = self.stages[5](middle)
        return torch.cat([mean_and_spread(middle), deep.mean(dim=(2, 3))], dim=1)

    def calibrate(self, pooled: torch.Tensor) -> torch.Tensor:
        """Shift and scale pooled values (N, 496) to features."""
        return (pooled - self.feature_center) * self.feature_scale


def build(_resolved: ResolvedBackbone) -> CxrTiny:
    """Build the network with random weights."""
    return CxrTiny()


def mean_and_spread(maps: torch.Tensor) -> torch.Tensor:
    """Return (N, 2C): mean and standard deviation over the pixels of maps (N, C, H, W)."""
    mean = maps.mean(dim=(2, 3))
    spread = (maps - mean[:, :, None, None]).square().mean(dim=(2, 3)).sqrt()
    return torch.cat([mean, spread], dim=1)


class _SameConv(nn.Conv2d):
    """Convolution padded like TensorFlow's SAME, for sides that the stride divides."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        low = (kernel - stride) // 2
        high = kernel - stride - low
        self.border = (low, high, low, high)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(functional.pad(x, self.border))


class _Block(nn.Module):
    """Inverted residual: widen by 1x1, filter every channel, narrow by 1x1, add the input."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expand
        self.expand = nn.Conv2d(inputs, wide, 1) if stage.expand != 1 else None
        if stride == 1:
            self.filter = nn.Conv2d(wide, wide, stage.kernel, padding="same", groups=wide)
        else:
            self.filter = _SameConv(wide, wide, stage.kernel, stride, groups=wide)
        self.project = nn.Conv2d(wide, stage.channels, 1)
        self.residual = stride == 1 and inputs == stage.channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x if self.expand is None else functional.relu6(self.expand(x))
        y = self.project(functional.relu6(self.filter(y)))
        return x + y if self.residual else y


def _bias(convolution: nn.Conv2d) -> torch.Tensor:
    if convolution.bias is None:
        raise AssertionError("every convolution of cxr-tiny has a bias")
    return convolution.bias
