"""Where in a picture the score of a label comes from, as far as gradients tell.

A map shows what the score is sensitive to. It is no evidence that the score is right, nor that the
finding lies there: maps of untrained networks can look as plausible (Adebayo et al. 2018, arXiv
1810.03292), and on radiographs they miss the finding often (Saporta et al. 2022,
doi:10.1038/s42256-022-00536-x).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn import functional

from cxrlearn.backbones.layers import last_block
from cxrlearn.backbones.preprocessing import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from cxrlearn.backbones.trainable import TrainableModel

Method = Literal["Grad-CAM", "Grad-CAM on tokens", "input gradient"]

_CELLS = 16
"""Gradients of pixels are averaged over squares of 1/16 of a side: alone they are noise."""


@dataclass(frozen=True)
class Saliency:
    """A map of one picture and label."""

    values: NDArray[np.float32]
    """(h, w) of the picture, from 0 to 1; the largest is 1 unless all are 0."""
    method: Method
    """How it was made."""
    logit: float
    """The label's log-odds, or its output before the softmax for classes."""


def saliency_map(model: TrainableModel, picture: NDArray[np.uint8], label: int) -> Saliency:
    """Map one picture.

    Convolutional networks: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) on the last map
    before pooling: relu of the sum over channels of the map times its mean gradient. Vision
    transformers: the same on the patch tokens that enter the last block; what leaves it reaches the
    score through the class token only. Where neither is found: the absolute gradient of the pixels
    (Simonyan et al. 2014, arXiv 1312.6034), averaged over small squares.

    Args:
        model: put into evaluation mode; no gradient stays in it.
        picture: (h, w) uint8 as preprocessing makes it.
        label: number of the output.
    """
    model.eval()
    device = model.head.weight.device
    record = model.record.preprocessing
    pictures = torch.from_numpy(picture.copy()).unsqueeze(0).to(device)
    with torch.enable_grad(), _watched(model.network) as seen:
        images = normalise(pictures, record).requires_grad_()
        logit = model.head(model.network(images))[0, label]
        heat, method = _heat(model, seen, images, logit)
    full = functional.interpolate(
        heat.detach()[None, None], size=record.picture_size, mode="bilinear", align_corners=False
    )[0, 0]
    values: NDArray[np.float32] = (full / full.max().clamp_min(1e-12)).float().cpu().numpy()
    return Saliency(values, method, float(logit.detach()))


@dataclass
class _Seen:
    """What passed through a network, in order."""

    maps: list[torch.Tensor] = field(default_factory=list)
    """(1, C, h, w) of more than one pixel."""
    grid: tuple[int, int] | None = None
    """(h, w) of what the last convolution gave: of a transformer, its patches."""
    tokens: torch.Tensor | None = None
    """(1, T, C) that entered the last block."""


@contextmanager
def _watched(network: nn.Module) -> Iterator[_Seen]:
    """Note the maps that modules give and the tokens that enter the last block."""
    seen = _Seen()

    def keep_map(module: nn.Module, _args: object, output: Any) -> None:  # noqa: ANN401 - a module's output
        if isinstance(output, torch.Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
            seen.maps.append(output)
            if isinstance(module, nn.Conv2d):
                seen.grid = (output.shape[2], output.shape[3])

    def keep_tokens(_module: nn.Module, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], torch.Tensor) and args[0].ndim == 3:
            seen.tokens = args[0]

    name = last_block(network)
    hooks = [module.register_forward_hook(keep_map) for module in network.modules()]
    if name is not None:
        hooks.append(network.get_submodule(name).register_forward_pre_hook(keep_tokens))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _heat(
    model: TrainableModel, seen: _Seen, images: torch.Tensor, logit: torch.Tensor
) -> tuple[torch.Tensor, Method]:
    """Return the heat at the resolution at which it can be known, not negative."""
    if model.channels_last:
        for one in reversed(seen.maps):
            gradient = _gradient(logit, one)
            if gradient is not None:
                return _weighted(one[0], gradient[0]), "Grad-CAM"
    elif seen.grid is not None and seen.tokens is not None:
        rows, columns = seen.grid
        gradient = _gradient(logit, seen.tokens)
        if gradient is not None and seen.tokens.shape[1] >= rows * columns:
            return _weighted(
                _as_map(seen.tokens, rows, columns), _as_map(gradient, rows, columns)
            ), "Grad-CAM on tokens"
    gradient = _gradient(logit, images)
    if gradient is None:
        return torch.zeros_like(images[0, 0]), "input gradient"
    side = max(1, max(images.shape[-2:]) // _CELLS)
    pixels = gradient.abs().sum(dim=1, keepdim=True)
    return functional.avg_pool2d(pixels, side, ceil_mode=True)[0, 0], "input gradient"


def _gradient(logit: torch.Tensor, at: torch.Tensor) -> torch.Tensor | None:
    if not at.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(logit, at, retain_graph=True, allow_unused=True)
    return gradient


def _weighted(maps: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Return (h, w): relu of the sum over channels of maps (C, h, w) by their mean gradients."""
    weights = gradient.mean(dim=(1, 2), keepdim=True)
    return functional.relu((weights * maps).sum(dim=0))


def _as_map(tokens: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Return (C, rows, columns) of (1, T, C); class and register tokens stand before patches."""
    return tokens[0, -rows * columns :].T.reshape(-1, rows, columns)
