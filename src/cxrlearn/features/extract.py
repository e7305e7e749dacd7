"""A frozen backbone over a stream of decoded images: full batches in, feature rows out."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from cxrlearn.backbones.preprocessing import normalise
from cxrlearn.errors import FeatureFileError, HardwareError
from cxrlearn.features.fingerprint import AUTO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from cxrlearn.backbones.backbone import Backbone

LARGEST_COSINE_DISTANCE = 1e-3
"""Half-precision features further than this from float32 on the first batch are not used."""
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def exact_float32() -> Iterator[None]:
    """Switch TF32 off for matrix products and convolutions, and cuDNN's choice by timing."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark)
    cuda.allow_tf32 = cudnn.allow_tf32 = cudnn.benchmark = False
    try:
        yield
    finally:
        cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


def decide_precision(wanted: str, device: torch.device) -> str:
    """Return `fp32`, `bf16` or `fp16` for what was asked for.

    Raises:
        HardwareError: the device cannot compute in the precision asked for by name.
    """
    if wanted != AUTO:
        if wanted == "fp16" and device.type == "cpu":
            raise HardwareError("--precision fp16 needs a GPU. Use fp32, or bf16, on a CPU.")
        return wanted
    recent = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return "bf16" if recent else "fp32"


@dataclass
class Extractor:
    """Runs one backbone on batches of exactly `batch_size` pictures; the last one is padded."""

    load: Callable[[], Backbone]
    """Loads the backbone, when the first picture needs it."""
    device: torch.device
    """Where it computes."""
    batch_size: int
    """Rows of every batch."""
    precision: str
    """`fp32`, `bf16` or `fp16`; falls back to `fp32` when half precision strays too far."""
    notify: Callable[[str], None]
    """Told about a fallback."""
    store: str = "float32"
    """What the features must fit into."""
    may_fall_back: bool = True
    """Whether the precision can still change: not when the file holds rows of it already."""
    cosine_distance: float | None = None
    """Largest distance of half precision from float32 over the first batch."""
    _pictures: list[NDArray[np.uint8]] = field(default_factory=list)

    @cached_property
    def backbone(self) -> Backbone:
        """The loaded backbone."""
        return self.load()

    def push(self, picture: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Take one (h, w) picture; return (batch_size, D) features when a batch is full."""
        self._pictures.append(picture)
        return self._run() if len(self._pictures) == self.batch_size else None

    def finish(self) -> NDArray[np.float32]:
        """Return the features of the pictures that are left, (n, D), n below batch_size."""
        count = len(self._pictures)
        if count == 0:
            return np.empty((0, self.backbone.feature_dim), dtype=np.float32)
        # The padded batch takes the same kernels as a full one, so a feature has the same bits.
        self._pictures += [np.zeros_like(self._pictures[0])] * (self.batch_size - count)
        return self._run()[:count]

    def _run(self) -> NDArray[np.float32]:
        stacked = torch.from_numpy(np.stack(self._pictures))
        self._pictures = []
        try:
            with torch.inference_mode(), exact_float32():
                images = normalise(stacked.to(self.device), self.backbone.record.preprocessing)
                features = self._forward(images)
        except torch.OutOfMemoryError as error:
            raise HardwareError(
                f"{self.device} has too little memory for batches of {self.batch_size}. "
                "Use a smaller --batch-size; finished features are kept."
            ) from error
        return self._checked(features)

    def _forward(self, images: torch.Tensor) -> NDArray[np.float32]:
        if self.precision == "fp32":
            return _as_array(self.backbone(images))
        with torch.autocast(self.device.type, dtype=_HALF[self.precision]):
            half = self.backbone(images)
        features = _as_array(half)
        if self.cosine_distance is None:
            exact = _as_array(self.backbone(images))
            self.cosine_distance = largest_cosine_distance(features, exact)
            if self.may_fall_back and not self.cosine_distance <= LARGEST_COSINE_DISTANCE:
                self.notify(
                    f"{self.backbone.record.name}: {self.precision} features are "
                    f"{self.cosine_distance:.1e} away from float32 (cosine distance; allowed: "
                    f"{LARGEST_COSINE_DISTANCE:g}): float32 is used."
                )
                self.precision = "fp32"
                return exact
        return features

    def _checked(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        name = self.backbone.record.name
        if not np.isfinite(features).all():
            raise FeatureFileError(
                f"{name}: features are not finite in {self.precision}. Use --precision fp32; "
                "if they still are not, the weights are damaged."
            )
        if self.store == "float16" and np.abs(features).max(initial=0.0) > np.finfo(np.float16).max:
            raise FeatureFileError(
                f"{name}: a feature of {np.abs(features).max():.3g} does not fit into float16. "
                "Use --store float32."
            )
        return features


def _as_array(features: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = features.float().cpu().numpy()
    return array


def largest_cosine_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the largest 1 - cos over the rows of two (N, D) arrays; inf if it is not finite."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity times 0 is what is looked for
        norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        cosines = np.divide((x * y).sum(axis=1), norms, out=np.ones_like(norms), where=norms > 0)
    return float(np.max(1 - cosines)) if np.isfinite(cosines).all() else float("inf")
