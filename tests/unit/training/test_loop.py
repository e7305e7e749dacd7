"""The loop: accumulation, resuming, stopping, refusing to step into NaN."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from cxrlearn.errors import TrainingError, UsageError
from cxrlearn.training.checkpoints import (
    Checkpoint,
    Identity,
    load_checkpoint,
    restore,
    save_checkpoint,
)
from cxrlearn.training.loop import train
from cxrlearn.training.losses import binary_loss_sum
from cxrlearn.training.optim import OptimizerConfig, build_optimizer, rate_factor
from cxrlearn.training.plan import Hooks, LoopConfig, StepReport, TrainResult, Validated
from tests.support.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Literal

    from cxrlearn.runtime.events import Progress
    from cxrlearn.training.position import Position

ROWS, FEATURES, LABELS = 50, 6, 3
IDENTITY = Identity("tiny", ("a", "b", "c"))


@dataclass
class Study:
    """Rows with labels, some unknown, in batches shuffled by epoch."""

    batch_size: int
    features: torch.Tensor = field(init=False)
    targets: torch.Tensor = field(init=False)
    mask: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.features = torch.randn(ROWS, FEATURES, generator=generator)
        self.targets = (self.features[:, :LABELS] > 0).to(torch.int8)
        self.mask = torch.rand(ROWS, LABELS, generator=generator) < 0.7

    def __len__(self) -> int:
        return math.ceil(ROWS / self.batch_size)

    def epoch(self, epoch: int, first: int) -> Iterator[torch.Tensor]:
        order = torch.from_numpy(np.random.default_rng((7, epoch)).permutation(ROWS))
        yield from torch.split(order, self.batch_size)[first:]


@dataclass
class Run:
    """One model in training, all that a caller of the loop holds."""

    study: Study
    config: LoopConfig
    optimizer_config: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=0.05))
    dropout: float = 0.0
    losses: list[float] = field(default_factory=list)
    saved: list[tuple[str, Position]] = field(default_factory=list)
    folder: Path | None = None

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.head = torch.nn.Linear(8, LABELS)
        self.body = torch.nn.Linear(FEATURES, 8)
        self.model = torch.nn.Sequential(
            self.body, torch.nn.Tanh(), torch.nn.Dropout(self.dropout), self.head
        )
        for parameter in self.model.parameters():
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
        self.optimizer = build_optimizer(self.model.named_parameters(), self.optimizer_config)

    def known(self, rows: torch.Tensor) -> int:
        return int(self.study.mask[rows].sum())

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        logits = self.model(self.study.features[rows])
        return binary_loss_sum(logits, self.study.targets[rows], self.study.mask[rows]).total

    def save(self, which: Literal["best", "last"], position: Position) -> None:
        self.saved.append((which, position))
        if self.folder is not None:
            state = Checkpoint(
                IDENTITY, self.model.state_dict(), self.optimizer.state_dict(), position
            )
            save_checkpoint(self.folder / which, state)

    def note(self, report: StepReport) -> None:
        self.losses.append(report.loss)

    def go(self, hooks: Hooks | None = None, start: Position | None = None) -> TrainResult:
        wanted = replace(hooks or Hooks(), save=self.save, on_step=self.note)
        return train(
            self.model,
            self,
            self.study,
            self.optimizer,
            config=self.config,
            hooks=wanted,
            start=start,
        )

    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])


@dataclass
class StopAt:
    """Asks to stop once it has been asked `count` times."""

    count: int

    def __call__(self) -> bool:
        self.count -= 1
        return self.count < 0


def _full_loss(run: Run) -> float:
    run.model.eval()
    with torch.no_grad():
        rows = torch.arange(ROWS)
        return float(run.loss(rows)) / run.known(rows)


def _validation(run: Run) -> Validated:
    return Validated(score=-_full_loss(run), record={"loss": _full_loss(run)})


def test_training_is_sgd_written_out_by_hand() -> None:
    run = Run(Study(batch_size=8), LoopConfig(epochs=2))
    weight, bias = [p.detach().clone() for p in run.head.parameters()]
    hidden = run.model[:2]
    for parameter in hidden.parameters():
        parameter.requires_grad = False
    run.optimizer = build_optimizer(run.model.named_parameters(), OptimizerConfig(lr=0.05))
    velocity = [torch.zeros_like(weight), torch.zeros_like(bias)]
    step, total = 0, 14
    for epoch in range(2):
        for rows in run.study.epoch(epoch, 0):
            inputs = hidden(run.study.features[rows]).detach()
            known = run.study.mask[rows]
            error = torch.sigmoid(inputs @ weight.T + bias) - run.study.targets[rows]
            error = torch.where(known, error, 0) / known.sum()
            velocity = [
                0.9 * velocity[0] + error.T @ inputs,
                0.9 * velocity[1] + error.sum(0),
            ]
            rate = 0.05 * 0.5 * (1 + math.cos(math.pi * step / total))
            weight, bias = weight - rate * velocity[0], bias - rate * velocity[1]
            step += 1
    result = run.go()
    assert result.ended == "finished"
    torch.testing.assert_close(run.head.weight.detach(), weight, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(run.head.bias.detach(), bias, rtol=1e-5, atol=1e-7)


def test_four_micro_batches_of_8_are_one_batch_of_32() -> None:
    whole = Run(Study(batch_size=32), LoopConfig(epochs=6))
    parts = Run(Study(batch_size=8), LoopConfig(epochs=6, accumulate=4))
    whole.go()
    parts.go()
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-5)
    torch.testing.assert_close(parts.weights(), whole.weights(), rtol=1e-5, atol=1e-7)
    assert len(parts.losses) == 12


@pytest.mark.parametrize("asked", [0, 1, 3, 4, 5, 9, 13, 18])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_run_stopped_anywhere_and_resumed_equals_an_uninterrupted_one_to_the_last_bit(
    tmp_path: Path, asked: int, optimizer: Literal["sgd", "adamw"]
) -> None:
    config = LoopConfig(epochs=4, accumulate=2, warmup_steps=3, clip_norm=0.5, seed=3)
    made = OptimizerConfig(optimizer, lr=0.02, weight_decay=0.01)
    whole = Run(Study(batch_size=8), config, made, dropout=0.3)
    expected = whole.go(Hooks(validate=lambda _: _validation(whole)))

    first = Run(Study(batch_size=8), config, made, dropout=0.3, folder=tmp_path)
    hooks = Hooks(validate=lambda _: _validation(first), stop_requested=StopAt(asked))
    assert first.go(hooks).ended == "stopped"
    torch.manual_seed(12345)  # another process has another generator
    second = Run(Study(batch_size=8), config, made, dropout=0.3)
    loaded = load_checkpoint(tmp_path / "last", IDENTITY)
    restore(loaded, second.model, second.optimizer)
    found = second.go(Hooks(validate=lambda _: _validation(second)), start=loaded.position)

    assert first.losses + second.losses == whole.losses
    assert len(whole.losses) == 16
    assert torch.equal(second.weights(), whole.weights())
    assert found == expected


def test_a_run_killed_between_saves_goes_on_from_the_last_one(tmp_path: Path) -> None:
    config = LoopConfig(epochs=3, save_every=3)
    whole = Run(Study(batch_size=8), config)
    whole.go()
    killed = Run(Study(batch_size=8), config, folder=tmp_path)

    def die_at_step_12() -> bool:
        if len(killed.losses) == 12:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        killed.go(Hooks(stop_requested=die_at_step_12))
    loaded = load_checkpoint(tmp_path / "last", IDENTITY)
    assert (loaded.position.epoch, loaded.position.step) == (1, 3)
    again = Run(Study(batch_size=8), config)
    restore(loaded, again.model, again.optimizer)
    again.go(start=loaded.position)
    assert killed.losses[:10] + again.losses == whole.losses
    assert torch.equal(again.weights(), whole.weights())


def test_a_finished_run_resumed_does_nothing() -> None:
    run = Run(Study(batch_size=8), LoopConfig(epochs=2))
    result = run.go()
    before = run.weights()
    again = run.go(start=result.position)
    assert again == result
    assert torch.equal(run.weights(), before)


def test_the_first_loss_is_the_mean_over_known_labels_before_any_step() -> None:
    run = Run(Study(batch_size=ROWS), LoopConfig(epochs=1))
    expected = _full_loss(run)
    result = run.go()
    assert run.losses[0] == pytest.approx(expected, rel=1e-6)
    assert result.position.history[0].loss == run.losses[0]


def test_history_holds_the_mean_over_the_labels_of_an_epoch() -> None:
    run = Run(Study(batch_size=8), LoopConfig(epochs=1))
    result = run.go()
    counts = [run.known(rows) for rows in run.study.epoch(0, 0)]
    expected = sum(x * n for x, n in zip(run.losses, counts, strict=True)) / sum(counts)
    (row,) = result.position.history
    assert row.loss == pytest.approx(expected, rel=1e-6)
    assert (row.epoch, row.skipped) == (0, 0)
    assert row.rate == pytest.approx(0.05 * rate_factor("cosine", 6, 7))


def test_a_step_without_a_known_label_is_skipped_and_counted() -> None:
    run = Run(Study(batch_size=8), LoopConfig(epochs=1))
    empty = next(run.study.epoch(0, 2))
    run.study.mask[empty] = False
    run.study.features[empty] = math.nan
    result = run.go()
    assert result.position.history[0].skipped == 1
    assert len(run.losses) == 6
    assert bool(run.weights().isfinite().all())


def test_nothing_known_at_all_leaves_the_weights_as_they_are() -> None:
    run = Run(Study(batch_size=8), LoopConfig(epochs=2))
    run.study.mask[:] = False
    before = run.weights()
    result = run.go()
    assert torch.equal(run.weights(), before)
    assert [row.loss for row in result.position.history] == [None, None]


def test_a_masked_micro_batch_adds_nothing_to_its_step() -> None:
    run = Run(Study(batch_size=8), LoopConfig(epochs=1, accumulate=7))
    empty = next(run.study.epoch(0, 2))
    run.study.mask[empty] = False
    run.go()
    without = Run(Study(batch_size=8), LoopConfig(epochs=1, accumulate=7))
    without.study.mask[empty] = False
    without.study.features[empty] = 9.0
    without.go()
    assert torch.equal(run.weights(), without.weights())


def test_a_loss_that_is_not_finite_stops_before_the_step_and_names_it() -> None:
    run = Run(Study(batch_size=8), LoopConfig(epochs=2))
    bad = next(run.study.epoch(1, 2))[0]
    run.study.mask[bad] = True
    state: list[torch.Tensor] = []

    def spoil(epoch: int) -> Validated:
        run.study.features[bad] = math.nan
        return Validated(None)

    def watch() -> bool:
        state.append(run.weights())
        return False

    with pytest.raises(TrainingError, match=r"epoch 2, step 3 of 7: the loss is nan\.") as caught:
        run.go(Hooks(validate=spoil, stop_requested=watch))
    assert "Training stopped before this step changed a weight" in str(caught.value)
    assert torch.equal(run.weights(), state[-1])
    assert [which for which, _ in run.saved] == ["last"]


def test_a_gradient_that_is_not_finite_is_named_by_its_parameter() -> None:
    run = Run(Study(batch_size=8), LoopConfig(epochs=1))
    run.body.weight.register_hook(lambda gradient: gradient * math.inf)  # type: ignore[no-untyped-call]
    before = run.weights()
    message = r"epoch 1, step 1 of 7: the gradient of '0\.weight' is not finite"
    with pytest.raises(TrainingError, match=message):
        run.go()
    assert torch.equal(run.weights(), before)


def test_clipping_limits_the_norm_of_the_gradient() -> None:
    run = Run(
        Study(batch_size=ROWS),
        LoopConfig(epochs=1, clip_norm=1e-3),
        OptimizerConfig(lr=1.0, momentum=0.0),
    )
    before = run.weights()
    run.go()
    assert float((run.weights() - before).norm()) == pytest.approx(1e-3, rel=1e-3)


def _scores(*values: float | None) -> Hooks:
    return Hooks(validate=lambda epoch: Validated(values[epoch]))


def test_the_best_epoch_is_saved_and_patience_ends_the_run() -> None:
    run = Run(Study(batch_size=8), LoopConfig(epochs=9, patience=2))
    result = run.go(_scores(0.5, 0.7, 0.7, 0.6, 0.9))
    assert result.ended == "early"
    assert (result.position.best, result.position.best_epoch) == (0.7, 1)
    kinds = [(which, position.epoch) for which, position in run.saved]
    assert kinds == [("best", 1), ("last", 1), ("best", 2), ("last", 2), ("last", 3), ("last", 4)]
    assert [row.score for row in result.position.history] == [0.5, 0.7, 0.7, 0.6]
    assert run.go(start=result.position).ended == "early"


@pytest.mark.parametrize("undefined", [None, math.nan])
def test_an_undefined_score_is_never_the_best_and_never_ends_a_run(
    undefined: float | None,
) -> None:
    run = Run(Study(batch_size=8), LoopConfig(epochs=5, patience=1))
    result = run.go(_scores(*[undefined] * 5))
    assert result.ended == "finished"
    assert (result.position.best, result.position.best_epoch) == (None, None)
    assert {which for which, _ in run.saved} == {"last"}


def test_validation_may_end_the_run() -> None:
    run = Run(Study(batch_size=8), LoopConfig(epochs=5))
    result = run.go(Hooks(validate=lambda epoch: Validated(float(epoch), stop=epoch == 1)))
    assert (result.ended, result.position.epoch) == ("early", 2)


def test_the_model_trains_in_training_mode_again_after_validation() -> None:
    run = Run(Study(batch_size=ROWS), LoopConfig(epochs=3))
    modes: list[bool] = []
    run.model[2].register_forward_hook(lambda *_: modes.append(run.model.training))
    run.go(Hooks(validate=lambda _: _validation(run)))
    assert modes == [True, False, False] * 3


def test_the_global_generator_is_put_back() -> None:
    run = Run(Study(batch_size=8), LoopConfig(epochs=1), dropout=0.5)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run.go()
    assert torch.equal(torch.rand(3), expected)


def test_another_seed_drops_others() -> None:
    runs = [
        Run(Study(batch_size=8), LoopConfig(epochs=1, seed=seed), dropout=0.5) for seed in (0, 0, 1)
    ]
    for run in runs:
        run.go()
    assert torch.equal(runs[0].weights(), runs[1].weights())
    assert not torch.equal(runs[0].weights(), runs[2].weights())


def test_bfloat16_autocast_trains_float32_weights() -> None:
    plain = Run(Study(batch_size=8), LoopConfig(epochs=2))
    mixed = Run(Study(batch_size=8), LoopConfig(epochs=2, autocast=torch.bfloat16))
    plain.go()
    mixed.go()
    assert {p.dtype for p in mixed.model.parameters()} == {torch.float32}
    assert mixed.losses != plain.losses
    np.testing.assert_allclose(mixed.losses, plain.losses, rtol=0.02)


def test_data_that_holds_fewer_batches_than_it_says_is_an_error() -> None:
    class Short(Study):
        def epoch(self, epoch: int, first: int) -> Iterator[torch.Tensor]:
            yield from list(super().epoch(epoch, first))[:-1]

    with pytest.raises(TrainingError, match="epoch 1 had 6 steps instead of 7"):
        Run(Short(batch_size=8), LoopConfig(epochs=1)).go()


def test_all_impossible_settings_come_in_one_message() -> None:
    with pytest.raises(UsageError) as caught:
        LoopConfig(
            epochs=0,
            accumulate=0,
            warmup_steps=-1,
            clip_norm=0.0,
            patience=0,
            autocast=torch.float16,
            save_every=0,
        )
    for name in ("epochs", "accumulate", "warmup_steps", "clip_norm", "patience", "autocast"):
        assert f"{name} must" in str(caught.value)


def test_epochs_are_shown_below_the_run_and_told_once_each_also_after_a_stop() -> None:
    run = Run(Study(batch_size=8), LoopConfig(epochs=3))
    listener, told = Listener(), []
    steps = len(run.study)

    def epoch_progress(position: Position) -> AbstractContextManager[Progress]:
        return listener.progress(f"epoch {position.epoch}", steps, unit="steps")

    hooks = Hooks(
        on_epoch=lambda position: told.append(position.history[-1].epoch),
        reporter=listener,
        title="run",
        epoch_progress=epoch_progress,
        describe=lambda report: f"step {report.position.step}",
    )
    stopped = run.go(replace(hooks, stop_requested=StopAt(steps + 1 + 1)))
    assert stopped.ended == "stopped"
    run.go(hooks, start=stopped.position)
    assert told == [0, 1, 2]
    seen = [(one.title, one.within, one.done, one.closed) for one in listener.shown]
    assert seen == [
        ("run", 0, steps + 1, True),
        ("epoch 0", 1, steps, True),
        ("epoch 1", 1, 1, True),
        ("run", 0, 3 * steps, True),
        ("epoch 1", 1, steps - 1, True),
        ("epoch 2", 1, steps, True),
    ]
    assert listener.shown[1].said == [f"step {n}" for n in range(1, steps + 1)]
