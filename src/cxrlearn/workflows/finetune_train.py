"""One training: the shared loop with a task, validation and checkpoints."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch

from cxrlearn.errors import TrainingError
from cxrlearn.evaluation.metrics import auroc_score
from cxrlearn.reports.learning_curves import history_csv
from cxrlearn.runtime.atomic import disk_errors, write_text
from cxrlearn.training.checkpoints import Checkpoint, load_checkpoint, restore, save_checkpoint
from cxrlearn.training.loop import train
from cxrlearn.training.plan import Hooks, LoopConfig, StepReport, Validated
from cxrlearn.workflows.finetune_circumstances import circumstances, compare_circumstances
from cxrlearn.workflows.finetune_files import BEST, HISTORY, LAST
from cxrlearn.workflows.finetune_pace import Pace
from cxrlearn.workflows.finetune_task import ImageTask, Scores, label_weights, learned_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from cxrlearn.runtime.events import Progress, Reporter
    from cxrlearn.training.checkpoints import Identity
    from cxrlearn.training.distributed import ProcessRanks
    from cxrlearn.training.plan import TrainResult
    from cxrlearn.training.position import Position
    from cxrlearn.workflows.finetune_config import FinetuneConfig
    from cxrlearn.workflows.finetune_data import StudyImages
    from cxrlearn.workflows.finetune_model import Learner

MACRO_AUROC, VALIDATION_LOSS = "validation macro AUROC", "validation loss"


class TrainingLog(Protocol):
    """Where numbers go while training runs."""

    def begin(self, step: int) -> None:
        """Open it before this step."""

    def write(self, group: str, numbers: Mapping[str, float | None], at: int) -> None:
        """Take the numbers of a step or an epoch."""

    def end(self) -> None:
        """Close it."""


@dataclass(frozen=True)
class Trainer:
    """All that one training needs."""

    config: FinetuneConfig
    study: StudyImages
    learner: Learner
    ranks: ProcessRanks
    identity: Identity
    folder: Path
    """Where its checkpoints and its history go."""
    seed: int
    autocast: torch.dtype | None
    reporter: Reporter
    title: str
    stop_requested: Callable[[], bool]
    log: TrainingLog | None = None
    """Told of every step and epoch."""
    pace: Pace = field(default_factory=Pace)
    """Of the running epoch."""

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return math.ceil(len(self.study.training(self.seed)) / self.config.accumulate)

    def train(self, start: Position) -> TrainResult:
        """Train until it is done, or asked to stop, and saved.

        Raises:
            TrainingError: the loss is not finite.
            DiskError: a checkpoint cannot be written.
        """
        config, batches = self.config, self.study.training(self.seed)
        shared = self.ranks.share(self.learner.model)
        loop = LoopConfig(
            epochs=config.epochs,
            accumulate=config.accumulate,
            schedule=config.schedule,
            warmup_steps=round(config.warmup_epochs * self.steps),
            clip_norm=config.clip_norm,
            patience=config.patience or None,
            autocast=self.autocast,
            save_every=config.save_every,
            seed=self.seed,
        )
        hooks = Hooks(
            validate=self.validate if "val" in self.study.images else None,
            save=self.save,
            stop_requested=self.stop_requested,
            on_step=self._log_step,
            on_epoch=self._tell_epoch,
            reporter=self.reporter,
            title=self.title,
            epoch_progress=self._epoch_progress,
            describe=self._describe,
        )
        with self._logging(start):
            return train(
                self.learner.model,
                self.task(shared),
                batches,
                self.learner.optimizer,
                config=loop,
                hooks=hooks,
                start=start,
                ranks=self.ranks,
            )

    def task(self, model: Callable[[torch.Tensor], torch.Tensor]) -> ImageTask:
        """Return what is learned, by a model that may share its gradients."""
        device = self.learner.model.head.weight.device
        labels, kind = self.study.labelled.labels["train"], self.study.labelled.task.kind
        weight = None
        if self.config.pos_weight == "balanced":
            weight = torch.from_numpy(label_weights(labels, kind)).to(device)
        learned = torch.from_numpy(learned_labels(labels)).to(device)
        return ImageTask(model, kind, learned, weight)

    def score(self, split: str) -> Scores:
        """Score a split with the model as it is: every rank its part, all ranks get all of it.

        Raises:
            TrainingError: an output is not finite.
        """
        model = self.learner.model.eval()
        device = model.head.weight.device
        task = replace(self.task(model), weight=None)
        found: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        loss_sum, known = 0.0, 0.0
        batches = self.study.evaluation(split)
        with (
            torch.inference_mode(),
            self.reporter.progress(f"scoring {split}", len(batches), unit="batches") as progress,
        ):
            for batch in batches:
                with torch.autocast(
                    device.type, dtype=self.autocast, enabled=self.autocast is not None
                ):
                    logits = model(batch.pixels.to(device, non_blocking=True)).float()
                loss = task.sum_of(logits, batch)
                loss_sum, known = loss_sum + float(loss.total), known + float(loss.known)
                found.append((batch.rows.numpy(), logits.cpu().double().numpy()))
                progress.advance()
        self.study.share_failures()
        shape = self.study.images[split].values.shape
        outputs = np.full(shape, np.nan)
        read = np.zeros(shape[0], dtype=np.bool_)
        for rows, values in (pair for own in self.ranks.gather(found) for pair in own):
            outputs[rows], read[rows] = values, True
        if not np.isfinite(outputs[read]).all():
            raise TrainingError(
                f"the network's outputs for {split} are not finite: training has diverged. What "
                "was saved is intact. Lower the learning rate, warm it up, or clip the gradients."
            )
        loss_sum, known = self.ranks.sum([loss_sum, known])
        return Scores(outputs, np.flatnonzero(read), loss_sum / known if known else None)

    def validate(self, epoch: int) -> Validated:  # noqa: ARG002 - the loop's
        """Score validation after an epoch: by macro AUROC, where none is defined by loss."""
        self.ranks.same_buffers(self.learner.model)
        scores = self.score("val")
        columns = judged_columns(self.study)
        aurocs = self._aurocs(scores, columns)
        loss = scores.loss if scores.loss is not None and math.isfinite(scores.loss) else None
        macro = math.fsum(aurocs) / len(aurocs) if aurocs else None
        score = macro if columns else None if loss is None else -loss
        return Validated(score, {"val_loss": loss, "val_auroc": macro})

    def _aurocs(self, scores: Scores, columns: tuple[int, ...]) -> list[float]:
        labels, kind = self.study.labelled.labels["val"], self.study.labelled.task.kind
        odds = scores.odds(kind)
        found = []
        for column in columns:
            known = labels.known[scores.read, column]
            truth = labels.values[scores.read[known], column]
            found.append(auroc_score(truth, odds[known, column]))
        return [value for value in found if math.isfinite(value)]

    def save(self, which: Literal["best", "last"], position: Position) -> None:
        """Save on rank 0; all ranks learn whether that went well.

        Raises:
            DiskError: it cannot be written; the checkpoint before stays.
        """
        self.ranks.same_buffers(self.learner.model)
        self.study.share_failures()

        def write() -> None:
            name = BEST if which == "best" else LAST
            save_checkpoint(self.folder / name, self._checkpoint(which, position))
            if which == "last":
                write_text(self.folder / HISTORY, history_csv(position.history), step="history")

        self.ranks.together(write)

    def _checkpoint(self, which: Literal["best", "last"], position: Position) -> Checkpoint:
        failed = {name: dict(rows) for name, rows in self.study.failed.items()}
        return Checkpoint(
            self.identity,
            self.learner.model.state_dict(),
            self.learner.optimizer.state_dict() if which == "last" else {},
            position,
            {"failed": failed, "circumstances": self._circumstances},
        )

    @property
    def _circumstances(self) -> dict[str, str]:
        ranks, norm = self.ranks.world_size, self.learner.batch_norm
        return circumstances(self.study, self.autocast, norm, ranks)

    def resume(self) -> Position | None:
        """Put back what `last` holds, on every rank; None: there is nothing to go on from.

        Raises:
            TrainingError: it is of another model, of other classes or data, or damaged.
        """
        path = self.folder / LAST

        def read() -> tuple[Checkpoint, str | None] | None:
            if not path.is_file():
                return None
            found = load_checkpoint(path, self.identity)
            return found, None if found.position.best_epoch is None else self._set_best_aside()

        there = self.ranks.from_first(read)
        if there is None:
            return None
        found, lost = there
        notice = compare_circumstances(path, found.extra["circumstances"], self._circumstances)
        if notice is not None:
            self.reporter.notice(f"{self.title}: {notice}")
        restore(found, self.learner.model, self.learner.optimizer)
        for split, rows in found.extra["failed"].items():
            self.study.failed.setdefault(split, {}).update(rows)
        if lost is None:
            return found.position
        self.reporter.warning(
            f"{self.title}: {lost} The best of the epochs from here on is taken; if there is none "
            "left, the last."
        )
        return replace(found.position, best=None, best_epoch=None)

    def _set_best_aside(self) -> str | None:
        """Rename the weights of the best epoch if they are damaged, and say so."""
        best = self.folder / BEST
        try:
            load_checkpoint(best, self.identity)
        except TrainingError as error:
            if not best.is_file():
                return f"{best}, the weights of the best epoch, is missing."
            aside = best.with_name("best.damaged.safetensors")
            with disk_errors(aside, "Nothing was changed."):
                best.replace(aside)
            return f"the weights of the best epoch were set aside as {aside} ({error})"
        return None

    def take_best(self) -> None:
        """Put the weights of the best epoch into the model, on every rank.

        Without validation that is the last one, which is saved as the best.
        """
        path = self.folder / BEST

        def read() -> None:
            restore(load_checkpoint(path, self.identity), self.learner.model)

        self.ranks.together(read)
        self.ranks.same_weights(self.learner.model)

    @contextmanager
    def _logging(self, start: Position) -> Iterator[None]:
        if self.log is None:
            yield
            return
        self.log.begin(start.epoch * self.steps + start.step)
        yield
        self.log.end()

    def _log_step(self, report: StepReport) -> None:
        if self.log is not None:
            at = report.position.epoch * self.steps + report.position.step
            measured = {"loss": report.loss, "gradient_norm": report.gradient_norm}
            self.log.write("train", measured | {"rate_factor": report.rate_factor}, at)

    def _tell_epoch(self, position: Position) -> None:
        """Say how the epoch went, and whether it is the best so far."""
        row = position.history[-1]
        if self.log is not None:
            self.log.write("epoch", {"loss": row.loss, **row.record}, position.epoch)
        numbers = {"loss": row.loss} | {
            name.replace("_", " ").replace("auroc", "AUROC"): value
            for name, value in row.record.items()
        }
        said = [f"{name} {value:.3f}" for name, value in numbers.items() if value is not None]
        if row.epoch == position.best_epoch:
            said[-1] += " (best)"
        run = "" if self.config.seeds == 1 else f"{self.title}: "
        self.reporter.notice(
            f"{run}epoch {position.epoch} of {self.config.epochs}: {', '.join(said)}, "
            f"{self.pace.images_per_second:,.0f} images/s"
        )

    @contextmanager
    def _epoch_progress(self, position: Position) -> Iterator[Progress]:
        title = f"epoch {position.epoch + 1} of {self.config.epochs}"
        self.pace.begin(position.step)
        with self.reporter.progress(title, self.steps, unit="steps") as progress:
            progress.advance(position.step)
            yield progress

    def _describe(self, report: StepReport) -> str:
        images, size = len(self.study.images["train"]), self.config.batch_size
        done = min(report.position.step * size, images) - self.pace.first_step * size
        self.pace.measure(done)
        rate = self.config.learning_rate * report.rate_factor
        return (
            f"loss {report.loss:.4f}, rate {rate:.1e}, {self.pace.images_per_second:,.1f} images/s"
        )


def judged_columns(study: StudyImages) -> tuple[int, ...]:
    """Return the labels whose validation AUROC counts: learned, and with both classes there."""
    labels = study.labelled.labels
    if "val" not in labels:
        return ()
    both = learned_labels(labels["val"]) & learned_labels(labels["train"])
    return tuple(np.flatnonzero(both).tolist())
