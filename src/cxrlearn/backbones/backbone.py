"""A loaded backbone: features of images, and images as it wants them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn

from cxrlearn.backbones.preprocessing import to_input
from cxrlearn.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cxrlearn.backbones.matching import LoadAccount
    from cxrlearn.backbones.spec import ResolvedBackbone

_EIGHT_BIT = {"1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}


class Backbone(nn.Module):
    """A frozen network: normalised images (N, 3, H, W) float32 to features (N, D) float32."""

    def __init__(
        self,
        network: nn.Module,
        record: ResolvedBackbone,
        load_account: LoadAccount,
        read: Callable[[Path], NDArray[np.uint8]] | None = None,
    ) -> None:
        """Wrap a network; it is set to evaluation mode and its parameters are frozen."""
        super().__init__()
        self.network = network
        self.record = record
        self.load_account = load_account
        self.feature_dim = record.feature.dim
        self._read = read
        self.eval()
        self.requires_grad_(requires_grad=False)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the features (N, D) of normalised images."""
        features: torch.Tensor = self.network(images_NCHW)
        return features

    def preprocess(self, image: str | Path | Image.Image) -> torch.Tensor:
        """Turn a radiograph into this network's input, as its authors did.

        Args:
            image: a file's path, or an 8-bit Pillow image with bone bright.

        Returns:
            (3, H, W) float32, on the CPU.

        Raises:
            DataError: the image cannot be read, or is a Pillow image of more than 8 bits.
        """
        if isinstance(image, Image.Image):
            return to_input(_grey(image), self.record.preprocessing)
        if self._read is None:
            raise DataError(
                "this backbone was loaded without an image reader: use cxrlearn.load_backbone, or "
                "pass a Pillow image"
            )
        return to_input(self._read(Path(image)), self.record.preprocessing)


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode not in _EIGHT_BIT:
        raise DataError(
            f"a Pillow image of mode {image.mode!r} has more than 8 bits a pixel: pass the file's "
            "path, whose intensities are then scaled, or an 8-bit image"
        )
    upright = ImageOps.exif_transpose(image)
    return np.asarray(upright.convert("L"))
