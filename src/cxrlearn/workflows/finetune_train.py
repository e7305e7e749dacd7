"""One training: the shared loop with a task, validation and checkpoints."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from scipy.special import logsumexp

from cxrlearn.data.training_batches import training_deaths_named
from cxrlearn.errors import HardwareError
from cxrlearn.evaluation.metrics import auroc_score
from cxrlearn.reports.learning_curves import history_csv
from cxrlearn.runtime.atomic import write_text
from cxrlearn.training.checkpoints import Checkpoint, load_checkpoint, restore, save_checkpoint
from cxrlearn.training.loop import train
from cxrlearn.training.losses import LossSum, binary_loss_sum, class_loss_sum
from cxrlearn.training.plan import Hooks, LoopConfig, StepReport, Validated
from cxrlearn.workflows.finetune_files import BEST, HISTORY, LAST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from cxrlearn.data.labels import Labels
    from cxrlearn.data.training_batches import ImageBatch
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.training.checkpoints import Identity
    from cxrlearn.training.distributed import ProcessRanks
    from cxrlearn.training.plan import TrainResult
    from cxrlearn.training.position import Position
    from cxrlearn.workflows.finetune_config import FinetuneConfig
    from cxrlearn.workflows.finetune_data import StudyImages
    from cxrlearn.workflows.finetune_model import Learner

MACRO_AUROC, VALIDATION_LOSS = "validation macro AUROC", "validation loss"


@dataclass(frozen=True)
class ImageTask:
    """Masked cross-entropy of one label or many, or of several classes."""

    model: Callable[[torch.Tensor], torch.Tensor]
    """Called with pictures (n, 1, H, W); shares its gradients."""
    kind: str
    """binary, multilabel or multiclass."""
    learned: torch.Tensor
    """(L,) bool: labels with both classes in train; the others say nothing."""
    weight: torch.Tensor | None
    """(L,) of positives, or of classes."""

    def known(self, batch: ImageBatch, /) -> int:
        """Count the known labels, or the known rows of several classes."""
        if self.kind == "multiclass":
            return int(batch.known.all(dim=1).sum())
        return int((batch.known & self.learned.cpu()).sum())

    def loss(self, batch: ImageBatch, /) -> torch.Tensor:
        """Run the model and return the sum of the loss over the known labels."""
        device = self.learned.device
        logits = self.model(batch.pixels.to(device, non_blocking=True))
        return self.sum_of(logits, batch).total

    def sum_of(self, logits: torch.Tensor, batch: ImageBatch) -> LossSum:
        """Add the loss of logits (n, L)."""
        values = batch.values.to(logits.device, non_blocking=True)
        known = batch.known.to(logits.device, non_blocking=True)
        if self.kind == "multiclass":
            rows = known.all(dim=1)
            return class_loss_sum(logits, values.argmax(dim=1), rows, class_weight=self.weight)
        return binary_loss_sum(logits, values, known & self.learned, pos_weight=self.weight)


def label_weights(labels: Labels, kind: str) -> NDArray[np.float32]:
    """Return negatives / positives of each label; multi-class: N / (K times rows of the class).

    A label without one of its classes gets 1.
    """
    positives = ((labels.values == 1) & labels.known).sum(axis=0)
    known = labels.known.sum(axis=0)
    if kind == "multiclass":
        weight = known / (len(positives) * np.maximum(positives, 1))
    else:
        weight = (known - positives) / np.maximum(positives, 1)
    return np.where((positives > 0) & (weight > 0), weight, 1).astype(np.float32)


def learned_labels(labels: Labels) -> NDArray[np.bool_]:
    """Return (L,) which labels have both classes among their known rows."""
    positives = ((labels.values == 1) & labels.known).sum(axis=0)
    return np.asarray((positives > 0) & (labels.known.sum(axis=0) > positives))


@dataclass(frozen=True)
class Scores:
    """A split, scored on all ranks."""

    outputs: NDArray[np.float64]
    """(N, L) of the head by position in the manifest; NaN where an image cannot be read."""
    loss: float | None
    """Mean over the known labels; None where none is known."""

    def odds(self, kind: str, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return log-odds (n, L) of these rows; of classes, each against the rest."""
        return class_odds(self.outputs[rows]) if kind == "multiclass" else self.outputs[rows]


def class_odds(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-odds of each class against the rest, log(p / (1 - p)), of outputs (N, K)."""
    odds = np.empty_like(outputs)
    for place in range(outputs.shape[1]):
        odds[:, place] = outputs[:, place] - logsumexp(np.delete(outputs, place, axis=1), axis=1)
    return odds


class TrainingLog(Protocol):
    """Where numbers go while training runs."""

    def write(self, group: str, numbers: Mapping[str, float | None], at: int) -> None:
        """Take the numbers of a step or an epoch."""


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
    clock: list[float] = field(default_factory=list)
    """When the running epoch began."""

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return math.ceil(len(self.study.training(self.seed)) / self.config.accumulate)

    def train(self, start: Position) -> TrainResult:
        """Train until it is done, or asked to stop, and saved.

        Raises:
            TrainingError: the loss is not finite.
            HardwareError: the device has too little memory, or a decoding process died.
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
            reporter=self.reporter,
            title=self.title,
        )
        self.clock[:] = [time.monotonic()]
        with training_deaths_named(), memory_named(config, self.learner.model.head.weight.device):
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
        """Score a split with the model as it is: every rank its part, all ranks get all of it."""
        model = self.learner.model.eval()
        device = model.head.weight.device
        task = replace(self.task(model), weight=None)
        found: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        loss_sum, known = 0.0, 0.0
        with torch.inference_mode():
            for batch in self.study.evaluation(split):
                with torch.autocast(
                    device.type, dtype=self.autocast, enabled=self.autocast is not None
                ):
                    logits = model(batch.pixels.to(device, non_blocking=True)).float()
                loss = task.sum_of(logits, batch)
                loss_sum, known = loss_sum + float(loss.total), known + float(loss.known)
                found.append((batch.rows.numpy(), logits.double().cpu().numpy()))
        self.study.share_failures()
        shape = self.study.images[split].values.shape
        outputs = np.full(shape, np.nan)
        for rows, values in (pair for own in self.ranks.gather(found) for pair in own):
            outputs[rows] = values
        loss_sum, known = self.ranks.sum([loss_sum, known])
        return Scores(outputs, loss_sum / known if known else None)

    def validate(self, epoch: int) -> Validated:
        """Score validation after an epoch: by macro AUROC, where none is defined by loss."""
        self.ranks.same_buffers(self.learner.model)
        scores = self.score("val")
        columns = judged_columns(self.study)
        aurocs = self._aurocs(scores, columns)
        loss = scores.loss if scores.loss is not None and math.isfinite(scores.loss) else None
        macro = math.fsum(aurocs) / len(aurocs) if aurocs else None
        record = {"val_loss": loss, "val_auroc": macro}
        score = macro if columns else None if loss is None else -loss
        self._say(epoch, record)
        return Validated(score, record)

    def _aurocs(self, scores: Scores, columns: tuple[int, ...]) -> list[float]:
        labels, kind = self.study.labelled.labels["val"], self.study.labelled.task.kind
        read = np.flatnonzero(~np.isnan(scores.outputs).any(axis=1))
        odds = scores.odds(kind, read)
        found = []
        for column in columns:
            known = labels.known[read, column]
            truth = labels.values[read[known], column]
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
        if which == "last" and position.step == 0:
            self._log_epoch(position)

    def _checkpoint(self, which: Literal["best", "last"], position: Position) -> Checkpoint:
        failed = {name: dict(rows) for name, rows in self.study.failed.items()}
        return Checkpoint(
            self.identity,
            self.learner.model.state_dict(),
            self.learner.optimizer.state_dict() if which == "last" else {},
            position,
            {"failed": failed, "world_size": self.ranks.world_size},
        )

    def resume(self) -> Position | None:
        """Put back what `last` holds, on every rank; None: there is nothing to go on from.

        Raises:
            TrainingError: it is of another model, of other classes, or damaged.
        """
        path = self.folder / LAST

        def read() -> Checkpoint | None:
            return load_checkpoint(path, self.identity) if path.is_file() else None

        found = self.ranks.from_first(read)
        if found is None:
            return None
        restore(found, self.learner.model, self.learner.optimizer)
        for split, rows in found.extra["failed"].items():
            self.study.failed.setdefault(split, {}).update(rows)
        return found.position

    def take_best(self) -> None:
        """Put the weights of the best epoch into the model, on every rank.

        Without validation that is the last one, which is saved as the best.
        """
        path = self.folder / BEST

        def read() -> None:
            restore(load_checkpoint(path, self.identity), self.learner.model)

        self.ranks.together(read)
        self.ranks.same_weights(self.learner.model)

    def _log_step(self, report: StepReport) -> None:
        if self.log is not None:
            at = report.position.epoch * self.steps + report.position.step
            measured = {"loss": report.loss, "gradient_norm": report.gradient_norm}
            self.log.write("train", measured | {"rate_factor": report.rate_factor}, at)

    def _log_epoch(self, position: Position) -> None:
        if self.log is not None and position.history:
            row = position.history[-1]
            self.log.write("epoch", {"loss": row.loss, **row.record}, row.epoch + 1)

    def _say(self, epoch: int, record: dict[str, float | None]) -> None:
        now = time.monotonic()
        speed = len(self.study.images["train"]) / max(now - self.clock[0], 1e-9)
        self.clock[:] = [now]
        said = [f"{name.replace('val_', 'validation ')} {value:.4f}"
                for name, value in record.items() if value is not None]  # fmt: skip
        self.reporter.notice(
            f"{self.title}: epoch {epoch + 1} of {self.config.epochs}: {', '.join(said)}, "
            f"{speed:,.0f} images/s"
        )


def judged_columns(study: StudyImages) -> tuple[int, ...]:
    """Return the labels whose validation AUROC counts: learned, and with both classes there."""
    labels = study.labelled.labels
    if "val" not in labels:
        return ()
    both = learned_labels(labels["val"]) & learned_labels(labels["train"])
    return tuple(np.flatnonzero(both).tolist())


class memory_named:  # noqa: N801 - a context manager that reads as a function
    """Turn a device that is full into a sentence for the user."""

    def __init__(self, config: FinetuneConfig, device: torch.device) -> None:
        """Know what was asked of which device."""
        self._config, self._device = config, device

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Look at what came up.

        Raises:
            HardwareError: the device has too little memory.
        """
        if isinstance(error, torch.OutOfMemoryError):
            raise HardwareError(
                f"{self._device} has too little memory for batches of {self._config.batch_size} "
                f"in {self._config.accumulate} parts. Raise --accumulate, or use a smaller "
                "--batch-size; what was saved is kept."
            ) from error
