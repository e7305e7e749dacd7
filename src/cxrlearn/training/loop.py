"""The one training loop: the linear probe and finetuning both run it.

It knows no data, no metric, no file and no screen: those are callables. What makes it resumable is
that everything it does follows from (config, position): the rate is a function of the step, the
order of the data of (seed, epoch), and whatever draws from torch's generator (dropout) is seeded
anew at every step.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import torch

from cxrlearn.errors import TrainingError
from cxrlearn.training.optim import rate_factor, set_rates
from cxrlearn.training.plan import (
    Batches,
    Hooks,
    LoopConfig,
    StepReport,
    Task,
    TrainResult,
    Validated,
)
from cxrlearn.training.position import EpochRow, Position
from cxrlearn.training.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from collections.abc import Iterator

Batch = TypeVar("Batch")


def train(
    model: torch.nn.Module,
    task: Task[Batch],
    batches: Batches[Batch],
    optimizer: torch.optim.Optimizer,
    *,
    config: LoopConfig,
    hooks: Hooks | None = None,
    start: Position | None = None,
    ranks: Ranks = ALONE,
) -> TrainResult:
    """Train `model` in place.

    A step divides its summed loss by the number of known labels in all its micro-batches on all
    ranks. A step without any is skipped and counted. On one rank, a run that was stopped and goes
    on from its saved `start` equals an uninterrupted one to the last digit.

    Args:
        model: for its mode, its gradients and their names; `task` calls it.
        task: what is learned.
        batches: from what.
        optimizer: of `build_optimizer`, or one whose groups hold `base_lr`.
        config: how long.
        hooks: validation, saving, progress.
        start: where to go on; the caller has put back the tensors of model and optimiser.
        ranks: the processes that train together.

    Raises:
        TrainingError: a loss or gradient is not finite; the step that met it changed nothing.
    """
    device = next(model.parameters()).device
    loop = _Loop(model, task, batches, optimizer, config, hooks or Hooks(), ranks, device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        return loop.run(start or Position())


@dataclass(frozen=True)
class _Loop(Generic[Batch]):
    """What `train` was called with."""

    model: torch.nn.Module
    task: Task[Batch]
    batches: Batches[Batch]
    optimizer: torch.optim.Optimizer
    config: LoopConfig
    hooks: Hooks
    ranks: Ranks
    device: torch.device

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return math.ceil(len(self.batches) / self.config.accumulate)

    def run(self, position: Position) -> TrainResult:
        """Take every step that is left."""
        total = self.steps * self.config.epochs
        with self.hooks.reporter.progress(self.hooks.title, total, unit="steps") as progress:
            progress.advance(self._number(position))
            while position.epoch < self.config.epochs and not position.done:
                self.model.train()
                with self.hooks.epoch_progress(position) as epoch_progress:
                    for chunk in self._chunks(position):
                        if self._asked_to_stop():
                            return self._leave(position)
                        position, report = self._step(chunk, position)
                        progress.advance()
                        epoch_progress.advance()
                        if report is not None:
                            self.hooks.on_step(report)
                            epoch_progress.describe(self.hooks.describe(report))
                        self._save_within(position)
                if self._asked_to_stop():  # before validation, which may take long
                    return self._leave(position)
                position = self._close_epoch(position)
                self.hooks.on_epoch(position)
        return TrainResult("early" if position.done else "finished", position)

    def _step(self, chunk: list[Batch], position: Position) -> tuple[Position, StepReport | None]:
        """Set the rate, gather gradients, look at them, and only then change the weights.

        A step without a known label is skipped, and has nothing to report.
        """
        factor = self._rate_factor(self._number(position))
        set_rates(self.optimizer, factor)
        self._seed_draws(position)
        (known,) = self.ranks.sum([sum(self.task.known(batch) for batch in chunk)])
        after = replace(position, step=position.step + 1, known=position.known + known)
        if known == 0:
            return replace(after, skipped=position.skipped + 1), None
        self.optimizer.zero_grad()
        loss = self._accumulate(chunk, known)
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        loss_sum, norm_value = self._checked(loss, norm, position)
        if self.config.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(
                self.model.parameters(), self.config.clip_norm, norm
            )
        self.optimizer.step()
        after = replace(after, loss_sum=position.loss_sum + loss_sum)
        return after, StepReport(after, loss_sum / known, int(known), norm_value, factor)

    def _accumulate(self, chunk: list[Batch], known: float) -> torch.Tensor:
        """Add the gradients of all micro-batches; return this rank's sum of losses."""
        losses = []
        for number, batch in enumerate(chunk, start=1):
            last = number == len(chunk)  # ranks share their gradients once a step
            with nullcontext() if last else self.ranks.hold_gradients(self.model):
                with torch.autocast(
                    self.device.type,
                    dtype=self.config.autocast,
                    enabled=self.config.autocast is not None,
                ):
                    loss = self.task.loss(batch)
                # DDP averages over ranks: times world_size, that is the sum over them.
                (loss * (self.ranks.world_size / known)).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _checked(
        self, loss: torch.Tensor, norm: torch.Tensor, position: Position
    ) -> tuple[float, float]:
        """Return the loss of all ranks and the norm; on any rank's fault all of them stop."""
        own_loss, own_norm = torch.stack([loss, norm.to(loss)]).tolist()  # waits for the device
        loss_sum, bad = self.ranks.sum([own_loss, float(not math.isfinite(own_norm))])
        if math.isfinite(loss_sum) and not bad:
            return loss_sum, own_norm
        what = f"the loss is {loss_sum}"
        if math.isfinite(loss_sum):
            what = f"the gradient of {_not_finite(self.model)} is not finite"
        raise TrainingError(
            f"epoch {position.epoch + 1}, step {position.step + 1} of {self.steps}: {what}. "
            "Training stopped before this step changed a weight, and what was saved is intact. "
            "Lower the learning rate, warm it up, or clip the gradients."
        )

    def _close_epoch(self, position: Position) -> Position:
        """Validate, keep the best, and decide whether to go on."""
        if position.step != self.steps:
            raise TrainingError(
                f"epoch {position.epoch + 1} had {position.step} steps instead of {self.steps}: "
                "the data does not hold as many batches as it says."
            )
        validate = self.hooks.validate
        validated = Validated(None) if validate is None else validate(position.epoch)
        better = _is_better(validated.score, position.best)
        closed = Position(
            epoch=position.epoch + 1,
            best=validated.score if better else position.best,
            best_epoch=position.epoch if better else position.best_epoch,
            history=(*position.history, self._row(position, validated)),
        )
        closed = replace(closed, done=validated.stop or self._out_of_patience(closed))
        if better:
            self.hooks.save("best", closed)
        self.hooks.save("last", closed)
        return closed

    def _row(self, position: Position, validated: Validated) -> EpochRow:
        base = max(group["base_lr"] for group in self.optimizer.param_groups)
        return EpochRow(
            epoch=position.epoch,
            loss=position.loss_sum / position.known if position.known else None,
            rate=base * self._rate_factor(self._number(position) - 1),
            skipped=position.skipped,
            score=validated.score,
            record=dict(validated.record),
        )

    def _out_of_patience(self, closed: Position) -> bool:
        patience, best = self.config.patience, closed.best_epoch
        return patience is not None and best is not None and closed.epoch - 1 - best >= patience

    def _chunks(self, position: Position) -> Iterator[list[Batch]]:
        """Yield the micro-batches of each step that is left of the epoch."""
        size = self.config.accumulate
        rest = iter(self.batches.epoch(position.epoch, position.step * size))
        while chunk := list(islice(rest, size)):
            yield chunk

    def _number(self, position: Position) -> int:
        """Return the number of the next step, over all epochs, from 0."""
        return position.epoch * self.steps + position.step

    def _rate_factor(self, number: int) -> float:
        total = self.steps * self.config.epochs
        return rate_factor(self.config.schedule, number, total, self.config.warmup_steps)

    def _seed_draws(self, position: Position) -> None:
        """Seed the generators that dropout draws from, by step: nothing of them needs saving."""
        entropy = (self.config.seed, self._number(position), self.ranks.rank)
        seed = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
        # torch.manual_seed would queue a call for every kind of device that never comes to life.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    def _asked_to_stop(self) -> bool:
        """Ask here and on the other ranks: all leave at the same step."""
        (asked,) = self.ranks.sum([float(self.hooks.stop_requested())])
        return asked > 0

    def _leave(self, position: Position) -> TrainResult:
        self.hooks.save("last", position)
        return TrainResult("stopped", position)

    def _save_within(self, position: Position) -> None:
        every = self.config.save_every
        if every is not None and position.step % every == 0:
            self.hooks.save("last", position)


def _is_better(score: float | None, best: float | None) -> bool:
    if score is None or not math.isfinite(score):
        return False
    return best is None or score > best


def _not_finite(model: torch.nn.Module) -> str:
    """Return the name of the first parameter whose gradient is not finite."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            return repr(name)
    return "all parameters together"
