"""The loader hook for the checkpoint kit's `check.py --loader tests.support.check_hook:load`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.backbones.load import load_backbone

if TYPE_CHECKING:
    from torch import nn


def load(model_name: str, checkpoint_path: str, options: dict[str, str]) -> nn.Module:
    """Load a published-looking file with cxrlearn; `options` may hold arch and pretrained_on."""
    return load_backbone(model_name, weights=checkpoint_path, **options)  # type: ignore[arg-type]
