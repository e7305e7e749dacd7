"""What a run of the loop is given, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import torch

from cxrlearn.errors import UsageError
from cxrlearn.runtime.events import SILENT, Reporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

    from cxrlearn.runtime.events import Progress
    from cxrlearn.training.position import Position

Given_contra = TypeVar("Given_contra", contravariant=True)
Yielded_co = TypeVar("Yielded_co", covariant=True)


class Task(Protocol[Given_contra]):
    """What is learned from a micro-batch."""

    def known(self, batch: Given_contra, /) -> int:
        """Count the known labels; asked for all micro-batches of a step before any `loss`."""

    def loss(self, batch: Given_contra, /) -> torch.Tensor:
        """Run the model and return the SUM of the loss over the known labels."""


class Batches(Protocol[Yielded_co]):
    """The micro-batches of this rank."""

    def __len__(self) -> int:
        """How many an epoch has: the same for all epochs and ranks."""

    def epoch(self, epoch: int, first: int, /) -> Iterable[Yielded_co]:
        """Yield those of an epoch from number `first` on; their order depends on `epoch` only."""


@dataclass(frozen=True)
class Validated:
    """What validation says after an epoch."""

    score: float | None
    """Higher is better; None or not finite: undefined, and never the best."""
    record: Mapping[str, float | None] = field(default_factory=dict)
    """Goes into the history."""
    stop: bool = False
    """No further epoch is wanted, whatever the patience."""


@dataclass(frozen=True)
class StepReport:
    """What one step did."""

    position: Position
    """After the step."""
    loss: float
    """Mean over the known labels of the step, on all ranks."""
    known: int
    """Known labels of the step, on all ranks."""
    gradient_norm: float
    """Before clipping."""
    rate_factor: float
    """Of the schedule, in (0, 1]."""


@dataclass(frozen=True)
class LoopConfig:
    """How long, and how carefully."""

    epochs: int = 100
    """Most epochs."""
    accumulate: int = 1
    """Micro-batches a step; the last step of an epoch may have fewer."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Half a cosine over all steps of all epochs, or the same rate throughout."""
    warmup_steps: int = 0
    """Steps of a linear rise at the start."""
    clip_norm: float | None = None
    """Gradients are scaled down to this norm."""
    patience: int | None = 15
    """Epochs without a better score after which the run ends; None: never."""
    autocast: torch.dtype | None = None
    """bfloat16 for the forward pass; None: as the model is."""
    save_every: int | None = None
    """Save `last` also within an epoch, each time after this many steps of it."""
    seed: int = 0
    """Of whatever draws from torch's global generator, which is put back in the end."""

    def __post_init__(self) -> None:
        """Refuse impossible values, all in one message."""
        positive = {
            "epochs": self.epochs,
            "accumulate": self.accumulate,
            "clip_norm": self.clip_norm,
            "patience": self.patience,
            "save_every": self.save_every,
        }
        problems = [
            f"{name} must be positive, got {value}."
            for name, value in positive.items()
            if value is not None and not value > 0
        ]
        if self.warmup_steps < 0:
            problems.append(f"warmup_steps must not be negative, got {self.warmup_steps}.")
        if self.schedule not in {"cosine", "constant"}:
            problems.append(f"schedule must be cosine or constant, got {self.schedule!r}.")
        if self.autocast not in {None, torch.bfloat16}:  # float16 would need its losses scaled
            problems.append(f"autocast must be bfloat16 or None, got {self.autocast}.")
        if problems:
            raise UsageError(" ".join(problems))


def _save_nothing(which: Literal["best", "last"], position: Position, /) -> None: ...


def _ignore(report: StepReport, /) -> None: ...


def _epoch_ignored(position: Position, /) -> None: ...


def _unseen(position: Position, /) -> AbstractContextManager[Progress]:  # noqa: ARG001
    return SILENT.progress("", 0)


def _nothing_to_say(report: StepReport, /) -> str:  # noqa: ARG001
    return ""


@dataclass(frozen=True)
class Hooks:
    """Everything the loop lets others do."""

    validate: Callable[[int], Validated] | None = None
    """Called with the epoch after each; it puts the model in evaluation mode itself."""
    save: Callable[[Literal["best", "last"], Position], None] = _save_nothing
    """Called with the position to go on from."""
    stop_requested: Callable[[], bool] = bool
    """Asked before every step: SIGTERM has come. The run saves and leaves."""
    on_step: Callable[[StepReport], None] = _ignore
    """Told of every step taken."""
    on_epoch: Callable[[Position], None] = _epoch_ignored
    """Told of every epoch that is over and saved; its row is the last of the history."""
    reporter: Reporter = SILENT
    """Shows progress."""
    title: str = "training"
    """Of the progress over all steps."""
    epoch_progress: Callable[[Position], AbstractContextManager[Progress]] = _unseen
    """Opens a progress of the steps that are left of an epoch, at the position before them."""
    describe: Callable[[StepReport], str] = _nothing_to_say
    """What stands beside the progress of the epoch after a step."""


@dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    ended: Literal["finished", "early", "stopped"]
    """All epochs, ended by validation, or asked to stop (and saved, to be resumed)."""
    position: Position
    """Where it is, with the history and the best epoch."""
