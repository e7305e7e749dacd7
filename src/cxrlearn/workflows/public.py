"""The Python functions that the package offers besides its commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.backbones import load
from cxrlearn.data.images import read_radiograph
from cxrlearn.runtime.devices import resolve_device

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from cxrlearn.backbones.backbone import Backbone


def load_backbone(
    name: str,
    *,
    arch: str | None = None,
    pretrained_on: str | None = None,
    weights: str | Path | None = None,
    features: str | None = None,
    device: str = "cpu",
) -> Backbone:
    """Load a backbone with its pretrained weights, ready for inference.

    Args:
        name: as `cxrlearn models list` names it, or `timm:…`, `torchvision:…`, `hf:…`.
        arch: variant of the architecture, such as `resnet18`; None is the default.
        pretrained_on: variant of the weights, such as `chexpert`; None is the default.
        weights: weight file, or a folder that holds it; None looks in `$CXRLEARN_WEIGHTS_DIR` and
            `./pretrained`.
        features: which feature, such as `pre_proj`; None is what its authors transfer.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Returns:
        A module in eval mode without gradients. Called on normalised images (N, 3, H, W) float32
        it returns features (N, D) float32. `.preprocess(path or PIL image)` gives one (3, H, W)
        input, `.record` the backbone's record, `.load_account` what became of every key of the
        file.

    Raises:
        WeightsError: unknown name; weights missing, unsafe, damaged or of another model.
        HardwareError: the device is not there.
    """
    return load.load_backbone(
        name,
        arch=arch,
        pretrained_on=pretrained_on,
        weights=weights,
        features=features,
        device=resolve_device(device),
        read=_read,
    )


def _read(path: Path) -> NDArray[np.uint8]:
    return read_radiograph(path).pixels
