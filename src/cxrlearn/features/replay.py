"""A forward pass recorded as a CUDA graph, so that a batch costs one call instead of hundreds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def recorded(
    forward: Callable[[torch.Tensor], torch.Tensor], example: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return `forward` as a CUDA graph, or itself where that is not possible.

    For small batches a GPU is faster than the CPU can tell it what to do. The graph takes tensors
    of the shape of `example` and overwrites its output at the next call. It is used only if it
    gives the bits that `forward` gives: what stopped and resumed runs computed has to be equal.

    Args:
        forward: takes and returns one tensor; must have run once before.
        example: a tensor on the device.
    """
    if example.device.type != "cuda":
        return forward
    inputs, graph = example.clone(), torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            output = forward(inputs)
        graph.replay()
        same = torch.equal(output, forward(example))
    except RuntimeError:  # a network that asks the device for a value cannot be recorded
        return forward

    def replay(batch: torch.Tensor) -> torch.Tensor:
        inputs.copy_(batch, non_blocking=True)
        graph.replay()
        return output

    return replay if same else forward
