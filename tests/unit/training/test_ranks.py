"""Two ranks, here two threads that average gradients as DDP does, take the steps of one process."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from cxrlearn.errors import TrainingError
from cxrlearn.training.loop import train
from cxrlearn.training.losses import binary_loss_sum
from cxrlearn.training.optim import OptimizerConfig, build_optimizer
from cxrlearn.training.plan import Hooks, LoopConfig, StepReport, TrainResult
from cxrlearn.training.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROWS, GLOBAL_BATCH, EPOCHS = 48, 16, 3


class Meeting:
    """Where two threads exchange what they hold; a rank that fails frees the other."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=120)
        self.slots: list[object] = [None, None]

    def exchange(self, rank: int, mine: object) -> list[object]:
        self.slots[rank] = mine
        self.barrier.wait()
        both = list(self.slots)
        self.barrier.wait()
        return both


@dataclass
class ThreadRanks:
    """One of two ranks."""

    rank: int
    meeting: Meeting
    world_size: int = 2
    held: bool = False

    def sum(self, values: Sequence[float]) -> list[float]:
        both = self.meeting.exchange(self.rank, list(values))
        return np.sum(np.array(both, dtype=np.float64), axis=0).tolist()  # type: ignore[no-any-return]

    @contextmanager
    def hold_gradients(self, model: torch.nn.Module) -> Iterator[None]:
        self.held = True
        yield
        self.held = False

    def share(self, parameter: torch.Tensor) -> None:
        """Average a gradient over the ranks once it is complete, as DDP's hooks do."""
        if not self.held and parameter.grad is not None:
            first, second = self.meeting.exchange(self.rank, parameter.grad.clone())
            assert isinstance(first, torch.Tensor)
            assert isinstance(second, torch.Tensor)
            parameter.grad.copy_((first + second) / 2)


@dataclass
class Member:
    """The data and model of one rank: every `world`-th row of each global batch."""

    ranks: Ranks
    micro: int
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.features = torch.randn(ROWS, 5, generator=generator)
        self.targets = (self.features[:, :2] > 0).to(torch.int8)
        self.mask = torch.rand(ROWS, 2, generator=generator) < 0.5
        self.mask[: ROWS // 2 : 2] = False  # rank 0 knows less
        self.model = torch.nn.Linear(5, 2)
        with torch.no_grad():
            self.model.weight.zero_()
            self.model.bias.zero_()

    def __len__(self) -> int:
        return ROWS // (self.ranks.world_size * self.micro)

    def epoch(self, epoch: int, first: int) -> Iterator[torch.Tensor]:
        rows = torch.arange(ROWS)[self.ranks.rank :: self.ranks.world_size]
        yield from torch.split(rows, self.micro)[first:]

    def known(self, rows: torch.Tensor) -> int:
        return int(self.mask[rows].sum())

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        logits = self.model(self.features[rows])
        return binary_loss_sum(logits, self.targets[rows], self.mask[rows]).total

    def note(self, report: StepReport) -> None:
        self.losses.append(report.loss)

    def go(self, stop_requested: Callable[[], bool] = bool) -> TrainResult:
        if isinstance(self.ranks, ThreadRanks):
            for parameter in self.model.parameters():
                share = self.ranks.share
                parameter.register_post_accumulate_grad_hook(share)  # type: ignore[no-untyped-call]
        return train(
            self.model,
            self,
            self,
            build_optimizer(self.model.named_parameters(), OptimizerConfig(lr=0.1)),
            config=LoopConfig(
                epochs=EPOCHS,
                accumulate=GLOBAL_BATCH // (self.micro * self.ranks.world_size),
                clip_norm=0.3,
            ),
            hooks=Hooks(on_step=self.note, stop_requested=stop_requested),
            ranks=self.ranks,
        )


def _pair(micro: int) -> list[Member]:
    meeting = Meeting()
    return [Member(ThreadRanks(rank, meeting), micro) for rank in range(2)]


def _together(works: Sequence[Callable[[], TrainResult]]) -> list[TrainResult | BaseException]:
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(work) for work in works]
        return [future.exception(30) or future.result() for future in futures]


@pytest.mark.parametrize("micro", [8, 4])
def test_two_ranks_with_unequal_masks_are_one_process_at_the_same_global_batch(
    micro: int,
) -> None:
    alone = Member(ALONE, GLOBAL_BATCH)
    alone.go()
    members = _pair(micro)
    results = _together([member.go for member in members])
    assert results[0] == results[1]
    for member in members:
        np.testing.assert_allclose(member.losses, alone.losses, rtol=1e-5)
        torch.testing.assert_close(member.model.weight, alone.model.weight, rtol=1e-5, atol=1e-7)
    assert torch.equal(members[0].model.weight, members[1].model.weight)
    assert len(alone.losses) == EPOCHS * 3


def test_a_stop_asked_of_one_rank_stops_both_at_the_same_step() -> None:
    members = _pair(8)
    asked = iter([False, False, False, False, True])
    results = _together([members[0].go, lambda: members[1].go(lambda: next(asked))])
    assert results[0] == results[1]
    assert isinstance(results[0], TrainResult)
    assert results[0].ended == "stopped"
    assert (results[0].position.epoch, results[0].position.step) == (1, 0)


def test_a_loss_that_is_not_finite_on_one_rank_stops_both_before_the_step() -> None:
    members = _pair(8)
    members[1].features[17] = math.nan
    members[1].mask[17] = True
    results = _together([member.go for member in members])
    for member, result in zip(members, results, strict=True):
        assert isinstance(result, TrainingError)
        assert "epoch 1, step 2 of 3: the loss is nan" in str(result)
        assert len(member.losses) == 1
    assert torch.equal(members[0].model.weight, members[1].model.weight)
