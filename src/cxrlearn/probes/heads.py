"""Linear layers trained side by side on the same batches, one for each learning rate."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from cxrlearn.training.losses import LossSum, binary_loss_sum, class_loss_sum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxrlearn.probes.labelled import Labelled
    from cxrlearn.probes.model import FloatArray

LARGEST_LOGIT = 1e30
"""A head with a larger one has diverged; below it the loss of a batch is finite in float32."""
BLOCK_ROWS = 4096
"""Rows scored or scaled at once."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread of the CPU while the block runs.

    The steps of heads are small: more threads would mostly wait for one another, for ages on a
    machine that others use too, and the bits would depend on how many they are.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Scaling:
    """Features about their mean, in one unit common to all of them.

    A learning rate means something only in a known unit: features a thousand times larger would
    want a rate a million times smaller. One unit for all features keeps their relative sizes,
    as training on raw features does.
    """

    mean: FloatArray
    """(D,) mean over the train rows."""
    unit: float
    """Root of the mean variance over the features; 1 where none varies."""

    @classmethod
    def of(cls, matrix: npt.NDArray[np.floating]) -> Scaling:
        """Measure (N, D) train rows, N ≥ 1, in float64."""
        mean = matrix.mean(axis=0, dtype=np.float64)
        total = sum(float(np.square(matrix[rows] - mean).sum()) for rows in _blocks(len(matrix)))
        variance = total / matrix.size
        # A variance at the level of rounding is that of a constant.
        size = float(np.abs(mean).max(initial=0.0))
        return cls(mean, float(np.sqrt(variance)) if variance > (1e-15 * size) ** 2 else 1.0)

    def apply(self, matrix: npt.NDArray[np.floating], device: torch.device) -> torch.Tensor:
        """Return (raw - mean) / unit as float32 on the device."""
        scaled = torch.empty(matrix.shape, dtype=torch.float32, device=device)
        for rows in _blocks(len(matrix)):
            block = (matrix[rows].astype(np.float64) - self.mean) / self.unit
            scaled[rows] = torch.from_numpy(block.astype(np.float32)).to(device)
        return scaled

    def fold(self, weights: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return weights (L, D) and bias (L,) that give the same logits on raw features."""
        raw = weights / self.unit
        return raw, bias - raw @ self.mean


@dataclass(frozen=True)
class LabelledRows:
    """Scaled features and labels of one split, on the device."""

    features: torch.Tensor
    """(N, D) float32."""
    targets: torch.Tensor
    """(N, L) float32 of 0 and 1; of several classes: (N,) class numbers."""
    known: torch.Tensor
    """(N, L) bool; of several classes: (N,)."""
    weight: torch.Tensor | None = None
    """(L,) multiplies the loss of positives; of several classes: of rows, by class."""

    def loss(self, logits: torch.Tensor, rows: torch.Tensor | slice) -> LossSum:
        """Add the loss of logits (R, n, L) of these rows, for each of the R heads."""
        targets, known = self.targets[rows], self.known[rows]
        if self.targets.ndim == 1:
            return class_loss_sum(logits, targets, known, class_weight=self.weight)
        return binary_loss_sum(logits, targets, known, pos_weight=self.weight)


class Heads(torch.nn.Module):
    """R linear layers of one shape, whose logits one matrix product gives.

    A head is open until it has diverged or is out of patience. A head that is not open neither
    loses nor learns: its logits are 0 in training, and its gradients exactly 0.
    """

    def __init__(self, count: int, start: torch.Tensor, dim: int) -> None:
        """Start every head at weights 0 and the bias `start` (L,)."""
        super().__init__()
        zeros = [torch.zeros(len(start), dim, device=start.device) for _ in range(count)]
        self.weights = torch.nn.ParameterList(zeros)
        self.biases = torch.nn.ParameterList(start.clone() for _ in range(count))
        self.open = torch.ones(count, dtype=torch.bool, device=start.device)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (R, n, L) of features (n, D)."""
        weight, bias = torch.cat(list(self.weights)), torch.cat(list(self.biases))
        logits = torch.nn.functional.linear(features, weight, bias)
        return logits.view(len(features), len(self.weights), -1).movedim(1, 0)

    def training_logits(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits as `forward`, and close every head that has diverged."""
        logits = self(features)
        # Not a number compares as false. On the device: asking would wait for it at every step.
        self.open = self.open & (logits.detach().abs().amax(dim=(1, 2)) < LARGEST_LOGIT)
        return torch.where(self.open[:, None, None], logits, 0.0)

    @torch.no_grad()
    def scores(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (R, N, L) of any number of rows."""
        return torch.cat([self(features[rows]) for rows in _blocks(len(features))], dim=1)

    def head(self, number: int) -> tuple[FloatArray, FloatArray]:
        """Return a copy of the weights (L, D) and the bias (L,) of one head as float64."""
        weight, bias = self.weights[number].detach(), self.biases[number].detach()
        return weight.cpu().double().numpy(), bias.cpu().double().numpy()


@dataclass(frozen=True)
class RowBatch:
    """Rows of one step."""

    rows: torch.Tensor
    """(n,) positions, on the device of the features."""
    known: int
    """Known labels among them."""


@dataclass(frozen=True)
class RowBatches:
    """Every row once an epoch, in an order of its own that seed and epoch decide."""

    known: npt.NDArray[np.int64]
    """(N,) known labels of each row."""
    size: int
    """Rows a batch; the last has what is left."""
    seed: int
    """Decides all orders."""
    device: torch.device
    """Where the positions are wanted."""

    def __len__(self) -> int:
        """Batches of an epoch."""
        return math.ceil(len(self.known) / self.size)

    def epoch(self, epoch: int, first: int) -> Iterator[RowBatch]:
        """Yield the batches of an epoch from number `first` on."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.known))
        counts = np.add.reduceat(self.known[order], np.arange(0, len(order), self.size))
        rows = torch.from_numpy(order).to(self.device)
        for number in range(first, len(self)):
            part = rows[number * self.size : (number + 1) * self.size]
            yield RowBatch(part, int(counts[number]))


@dataclass(frozen=True)
class HeadTask:
    """What the loop trains: the sum over the heads of the loss of each."""

    heads: Heads
    """Their parameters are apart, so the gradient of the sum is that of each."""
    data: LabelledRows
    """Train rows."""

    def known(self, batch: RowBatch) -> int:
        """Return the known labels of the batch."""
        return batch.known

    def loss(self, batch: RowBatch) -> torch.Tensor:
        """Add the losses of all open heads; a closed one adds a constant."""
        logits = self.heads.training_logits(self.data.features[batch.rows])
        return self.data.loss(logits, batch.rows).total.sum()


def labelled_rows(
    data: Labelled, kind: str, scaling: Scaling, device: torch.device
) -> LabelledRows:
    """Scale the features and put one split on the device, unweighted."""
    features = scaling.apply(data.features, device)
    if kind != "multiclass":
        targets = torch.from_numpy(data.positive.astype(np.float32))
        return LabelledRows(features, targets.to(device), torch.from_numpy(data.known).to(device))
    classes = torch.from_numpy(data.positive.argmax(axis=1))
    # Rows of a class that train does not have say nothing about the others.
    known = torch.from_numpy(data.positive.any(axis=1))
    return LabelledRows(features, classes.to(device), known.to(device))


def balancing_weight(data: Labelled, kind: str) -> torch.Tensor:
    """Return negatives / positives of each label; multi-class: N / (K · rows of the class)."""
    counts = data.counts()
    weight = counts.negative / counts.positive
    if kind == "multiclass":
        weight = counts.positive.sum() / (len(counts.positive) * counts.positive)
    return torch.from_numpy(weight.astype(np.float32))


def starting_bias(data: Labelled, kind: str, weight: torch.Tensor | None) -> torch.Tensor:
    """Return the bias that is best at weights 0: the log-odds, or logs of shares, in train."""
    counts = data.counts()
    odds = counts.positive / (1 if kind == "multiclass" else counts.negative)
    if kind == "multiclass":
        odds = odds / odds.sum()
    bias = torch.from_numpy(np.log(odds).astype(np.float32))
    return bias if weight is None else bias + weight.log().cpu()


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + BLOCK_ROWS) for start in range(0, max(count, 1), BLOCK_ROWS)]
