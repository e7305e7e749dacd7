"""What kind of network it is, and how deep in it each parameter lies.

The depth of a parameter follows from its name: 0 at the image, largest at the end.
Layers between the image and the first block count as one, each block as one, and everything after
the last block as one more (Bao et al. 2022, BEiT, arXiv 2106.08254, appendix, for vision
transformers; the same is done here for the residual blocks of other networks).
"""

from __future__ import annotations

import re
from typing import Final

from torch import nn

_BLOCK: Final = re.compile(
    r"""(?:^|\.)(?:
      layer\d+\.\d+                                             # ResNet: torchvision, timm
    | denseblock\d+                                            # DenseNet, whose layers are too many
    | encoder_layer_\d+                                         # ViT of torchvision
    | (?:stages|features|layers|blocks)\.\d+\.(?:(?:blocks|layers)\.)?\d+  # stages of blocks
    | (?:blocks|resblocks|layers|layer|features)\.\d+           # ViT of timm, CLIP, transformers
    )\.""",
    re.VERBOSE,
)
_LAST: Final = re.compile(r"(?:^|\.)proj$")
"""A bare matrix that CLIP registers first and applies last."""


def ordered_names(network: nn.Module) -> list[str]:
    """Return the names of all parameters from the image on, as far as registration tells."""
    names = [name for name, _ in network.named_parameters()]
    return sorted(names, key=lambda name: _LAST.search(name) is not None)


def network_depths(network: nn.Module) -> dict[str, int]:
    """Return the depth of every parameter of a network, from 0.

    A network without blocks of a known kind is taken apart into the children of its first module
    that has several, in order of registration.
    """
    names = ordered_names(network)
    blocks = [_block(name) for name in names]
    found = [at for at, block in enumerate(blocks) if block is not None]
    if not found:
        return _depths_by_child(network, names)
    depths: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for at, (name, block) in enumerate(zip(names, blocks, strict=True)):
        if block is not None:
            depths[name] = numbers.setdefault(block, len(numbers) + 1)
        else:  # before the first block 0, between two blocks that of the first of them
            depths[name] = len(numbers) + (at > found[-1])
    return depths


def last_block(network: nn.Module) -> str | None:
    """Return the name of the last block, or None where blocks are of no known kind."""
    blocks = [block for name in ordered_names(network) if (block := _block(name)) is not None]
    return blocks[-1].removesuffix(".") if blocks else None


def _block(name: str) -> str | None:
    match = _BLOCK.search(name)
    return None if match is None else name[: match.end()]


def _depths_by_child(network: nn.Module, names: list[str]) -> dict[str, int]:
    """Number the children that hold parameters; the parameters of `network` itself have depth 0."""
    prefix, module = "", network
    while len(list(module.children())) == 1 and not list(module.parameters(recurse=False)):
        ((name, module),) = module.named_children()
        prefix += f"{name}."
    children: dict[str, int] = {}
    depths = {}
    for name in names:
        child, dot, _ = name.removeprefix(prefix).partition(".")
        depths[name] = children.setdefault(child, len(children)) if dot else 0
    return depths


def is_convolutional(network: nn.Module) -> bool:
    """Tell convolutional networks from transformers, whose only wide kernels cut out patches."""
    wide = [
        module
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1
    ]
    overlapping = [one for one in wide if one.stride != one.kernel_size]
    return len(overlapping) > 1
