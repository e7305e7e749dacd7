"""A frozen backbone over a stream of decoded images: full batches in, feature rows out."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch

from cxrlearn.backbones.layers import is_convolutional
from cxrlearn.backbones.preprocessing import normalise
from cxrlearn.errors import FeatureFileError, HardwareError
from cxrlearn.features.fingerprint import AUTO
from cxrlearn.features.replay import recorded
from cxrlearn.runtime.memory import out_of_memory

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


class _Running(NamedTuple):
    """A batch on its way."""

    features: torch.Tensor
    """(batch_size, D) float32 on the CPU, there once the event has happened."""
    event: torch.cuda.Event | None
    """None: they are there."""


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
    _forward: Callable[[torch.Tensor], torch.Tensor] | None = None
    """The forward pass, once the first batch has shown in which precision."""
    _running: _Running | None = None
    """The batch that a GPU computes while the next one is collected."""

    @cached_property
    def backbone(self) -> Backbone:
        """The loaded backbone."""
        backbone = self.load()
        if self._channels_last(backbone):
            cast("Any", backbone.network).to(memory_format=torch.channels_last)
        return backbone

    def push(self, picture: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Take one (h, w) picture; return the (batch_size, D) features of a batch that is done.

        On a CPU that is the batch which this picture fills. On a GPU it is the batch before.
        """
        self._pictures.append(picture)
        if len(self._pictures) < self.batch_size:
            return None
        done = self._start()
        return done if self.device.type == "cuda" else self._finished()

    def finish(self) -> NDArray[np.float32]:
        """Return the features (n, D) of all pictures whose features were not returned yet."""
        count = len(self._pictures)
        features = np.empty((0, self.backbone.feature_dim), dtype=np.float32)
        if count:
            # The padded batch takes the same kernels as a full one, so a feature has the same bits.
            self._pictures += [np.zeros_like(self._pictures[0])] * (self.batch_size - count)
            before = self._start()
            features = features if before is None else before
        last = self._finished()
        if last is None:
            return features
        return np.concatenate([features, last[:count] if count else last])

    def _start(self) -> NDArray[np.float32] | None:
        """Give the collected batch to the device; return the features of the one before."""
        cuda = self.device.type == "cuda"
        shape = (self.batch_size, *self._pictures[0].shape)
        stacked = torch.empty(shape, dtype=torch.uint8, pin_memory=cuda)
        np.stack(self._pictures, out=stacked.numpy())
        self._pictures = []
        with self._memory_named(), torch.inference_mode(), exact_float32():
            features = self._features(stacked.to(self.device, non_blocking=cuda))
            host = features.to("cpu", non_blocking=cuda)
            event = torch.cuda.Event() if cuda else None  # type: ignore[no-untyped-call]
            if event is not None:
                event.record()
        before = self._finished()
        self._running = _Running(host, event)
        return before

    def _finished(self) -> NDArray[np.float32] | None:
        """Wait for the batch that is being computed, if any, and return its features."""
        if self._running is None:
            return None
        running, self._running = self._running, None
        with self._memory_named():
            if running.event is not None:
                running.event.synchronize()
        return self._checked(running.features.numpy())

    @contextmanager
    def _memory_named(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise HardwareError(
                f"{self.device} has too little memory for batches of {self.batch_size}. "
                "Use a smaller --batch-size; finished features are kept."
            ) from error

    def _features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Run one batch; the first one decides the precision."""
        if self._forward is not None:
            return self._forward(pictures)
        features = self._exact(pictures) if self.precision == "fp32" else self._first_half(pictures)
        forward = self._exact if self.precision == "fp32" else self._half
        self._forward = recorded(forward, pictures)
        return features

    def _first_half(self, pictures: torch.Tensor) -> torch.Tensor:
        half, exact = self._half(pictures), self._exact(pictures)
        self.cosine_distance = largest_cosine_distance(half.cpu().numpy(), exact.cpu().numpy())
        if self.may_fall_back and not self.cosine_distance <= LARGEST_COSINE_DISTANCE:
            self.notify(
                f"{self.backbone.record.name}: {self.precision} features are "
                f"{self.cosine_distance:.1e} away from float32 (cosine distance; allowed: "
                f"{LARGEST_COSINE_DISTANCE:g}): float32 is used."
            )
            self.precision = "fp32"
            return exact
        return half

    def _half(self, pictures: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device.type, dtype=_HALF[self.precision]):
            return self._exact(pictures)

    def _exact(self, pictures: torch.Tensor) -> torch.Tensor:
        images = normalise(pictures, self.backbone.record.preprocessing)
        if self._channels_last(self.backbone):
            images = images.contiguous(memory_format=torch.channels_last)
        features: torch.Tensor = self.backbone(images)
        return features.float()

    def _channels_last(self, backbone: Backbone) -> bool:
        """Tell whether a GPU convolves faster with channels last; CPUs gain nothing here."""
        return self.device.type == "cuda" and is_convolutional(backbone.network)

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


def largest_cosine_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the largest 1 - cos over the rows of two (N, D) arrays; inf if it is not finite."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity times 0 is what is looked for
        norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        cosines = np.divide((x * y).sum(axis=1), norms, out=np.ones_like(norms), where=norms > 0)
    return float(np.max(1 - cosines)) if np.isfinite(cosines).all() else float("inf")
