"""What every process of a finetuning run does; rank 0 also writes and speaks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from cxrlearn.data.training_batches import training_deaths_named
from cxrlearn.reports.schema import SeedReport
from cxrlearn.reports.writers import write_run
from cxrlearn.runtime.atomic import disk_errors
from cxrlearn.runtime.events import SILENT
from cxrlearn.runtime.folders import carry_over
from cxrlearn.runtime.provenance import provenance
from cxrlearn.runtime.words import counted
from cxrlearn.training.position import Position
from cxrlearn.workflows.evaluate_splits import evaluate_splits
from cxrlearn.workflows.finetune_data import study_images
from cxrlearn.workflows.finetune_features import frozen_features, with_features
from cxrlearn.workflows.finetune_files import LAST
from cxrlearn.workflows.finetune_folder import (
    claim_folder,
    forget_training,
    only_writer,
    trained_files,
    training_folder,
)
from cxrlearn.workflows.finetune_head import start_head_as_probe
from cxrlearn.workflows.finetune_model import arithmetic, build_learner, identity
from cxrlearn.workflows.finetune_pace import memory_named
from cxrlearn.workflows.finetune_report import (
    Finetuned,
    build_report,
    label_accounts,
    taken_epoch,
)
from cxrlearn.workflows.finetune_tensorboard import TensorboardLog
from cxrlearn.workflows.finetune_train import Trainer
from cxrlearn.workflows.image_notices import report_images
from cxrlearn.workflows.near_duplicate_warning import near_duplicate_warnings
from cxrlearn.workflows.predict_finetuned import ModelAccount, write_account
from cxrlearn.workflows.run_folder import (
    Recorder,
    settings_text,
)

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from cxrlearn.reports.predictions import Predictions
    from cxrlearn.reports.schema import RunReport, SetReport
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.runtime.stop_request import StopRequest
    from cxrlearn.training.checkpoints import Identity
    from cxrlearn.training.distributed import ProcessRanks
    from cxrlearn.training.plan import TrainResult
    from cxrlearn.workflows.finetune_config import FinetuneConfig
    from cxrlearn.workflows.finetune_data import StudyImages
    from cxrlearn.workflows.finetune_features import Features
    from cxrlearn.workflows.finetune_model import LearnerAccount
    from cxrlearn.workflows.finetune_prepare import Prepared


@dataclass(frozen=True)
class FinetuneResult:
    """What finetuning came to."""

    report: RunReport
    """Everything, as in report.json."""
    folder: Path
    """`runs/<name>`."""
    failed: dict[str, str]
    """Image id to reason, for images that could not be read."""
    allow_failures: bool
    """Whether failed images are acceptable."""


@dataclass(frozen=True)
class Stage:
    """Where a process trains, and with whom."""

    ranks: ProcessRanks
    device: torch.device
    local_size: int
    """Processes on this machine: they share its cores."""
    stop: StopRequest
    reporter: Reporter


def train_and_report(config: FinetuneConfig, prepared: Prepared, stage: Stage) -> FinetuneResult:
    """Train with every seed, evaluate the best weights once, and write the run.

    Every rank returns the result; rank 0 has written it.

    Raises:
        KeyboardInterrupt: asked to stop, and saved.
        Terminated: the same, by SIGTERM.
        TrainingError: a loss that is not finite, or a checkpoint of another model.
        FeatureFileError: another process is writing this run.
        CxrlearnError: whatever data, weights, device or disk refuse.
    """
    with only_writer(prepared.folder, stage.ranks):
        return _train_and_report(config, prepared, stage)


def _train_and_report(config: FinetuneConfig, prepared: Prepared, stage: Stage) -> FinetuneResult:
    recorder = Recorder(stage.reporter if stage.ranks.rank == 0 else SILENT)
    recorder.warnings += prepared.warnings
    with arithmetic(config, stage.device) as autocast:
        study = study_images(
            config,
            prepared.sets,
            prepared.labelled,
            prepared.target,
            stage.ranks,
            local_size=stage.local_size,
            pin=stage.device.type == "cuda",
            reporter=recorder,
        )
        of = identity(prepared.target, prepared.labelled.task)
        work = stage.ranks.from_first(lambda: training_folder(prepared.folder, config, of))
        run = _Run(config, prepared, replace(stage, reporter=recorder), study, work, autocast)
        with training_deaths_named(), memory_named(config, stage.device):
            result = run.all_seeds()
        report_images((), study.notices, stage.reporter if stage.ranks.rank == 0 else SILENT)
    stage.ranks.together(partial(run.write, result, recorder))
    return FinetuneResult(
        build_report(prepared.folder.name, study, result.finetuned, tuple(recorder.warnings)),
        prepared.folder,
        study.failed_images(),
        config.allow_failures,
    )


@dataclass(frozen=True)
class _Reported:
    """The training that is reported, and its predictions."""

    finetuned: Finetuned
    predictions: dict[str, Predictions]


@dataclass(frozen=True)
class _Trained:
    """One training, over and evaluated."""

    learner: LearnerAccount
    result: TrainResult
    seed: SeedReport
    results: tuple[SetReport, ...]
    predictions: dict[str, Predictions]


@dataclass(frozen=True)
class _Run:
    config: FinetuneConfig
    prepared: Prepared
    stage: Stage
    study: StudyImages
    work: Path
    """Where it is trained, see `training_folder`."""
    autocast: torch.dtype | None

    def all_seeds(self) -> _Reported:
        """Train with each seed; the first training is the one reported."""
        trained = [self._one_seed(number) for number in range(self.config.seeds)]
        first = trained[0]
        target = self.prepared.target
        precision = "fp32" if self.autocast is None else "bf16"
        target = replace(target, fingerprint=replace(target.fingerprint, precision=precision))
        seeds = tuple(one.seed for one in trained)
        finetuned = Finetuned(target, first.learner, first.result, seeds, first.results)
        return _Reported(finetuned, first.predictions)

    def _one_seed(self, number: int) -> _Trained:
        """Train and evaluate; the model is let go, so that the next one has the device."""
        trainer = self._trainer(number)
        result = self._train(trainer, self._begin(trainer, first=number == 0))
        results, predictions = self._evaluate(trainer)
        seed = _seed_report(trainer.seed, result, results)
        return _Trained(trainer.learner.account(), result, seed, results, predictions)

    @property
    def _identity(self) -> Identity:
        return identity(self.prepared.target, self.prepared.labelled.task)

    def _trainer(self, number: int) -> Trainer:
        config, stage, prepared = self.config, self.stage, self.prepared
        seed = config.seed + number
        names = prepared.labelled.task.names
        learner = build_learner(
            config,
            prepared.target,
            len(names),
            seed=seed,
            device=stage.device,
            ranks=stage.ranks.world_size,
            reporter=stage.reporter,
        )
        folder = self.work if number == 0 else self.work / f"seed-{seed}"
        title = "training" if config.seeds == 1 else f"training, seed {seed}"
        return Trainer(
            config=config,
            study=self.study,
            learner=learner,
            ranks=stage.ranks,
            identity=self._identity,
            folder=folder,
            seed=seed,
            autocast=self.autocast,
            reporter=stage.reporter,
            title=title,
            stop_requested=stage.stop,
            log=TensorboardLog(folder) if config.tensorboard and stage.ranks.rank == 0 else None,
        )

    def _begin(self, trainer: Trainer, *, first: bool) -> Position:
        """Go on from a checkpoint, or put the head at its start; once a run compare the splits."""
        study, reporter, model = self.study, self.stage.reporter, trainer.learner.model
        frozen = partial(
            frozen_features,
            model,
            study,
            autocast=self.autocast,
            reporter=reporter,
            between=self._leave_early,
        )
        features: Features = {}
        if first:
            # A pass over all images, about a third of an epoch, and once more when resumed. With
            # the features of the best weights it would cost only a pass over train, but they tell
            # images of one class apart by hardly anything, and all of them would be reported.
            reporter.notice("looking for images that stand in two splits, before training")
            features = frozen(study.images)
            data = partial(with_features, study, features)
            for text in study.ranks.from_first(lambda: near_duplicate_warnings(data())):
                reporter.warning(text)
        start = trainer.resume() if self.config.resume else None
        if first and self.config.resume and start is None:
            reporter.warning(
                f"--resume: there is nothing to resume in {self.prepared.folder}; training starts "
                "at the beginning."
            )
        if start is not None:
            reporter.notice(
                f"{trainer.title}: going on from epoch {start.epoch + 1}, step {start.step + 1}."
            )
        elif self.config.head_init == "probe":
            reporter.notice(f"{trainer.title}: fitting the head on frozen features")
            needed = [name for name in ("train", "val") if name in study.images]
            balanced = self.config.pos_weight == "balanced"
            start_head_as_probe(model, study, features or frozen(needed), balanced=balanced)
        if first:
            folder, sets, config = self.work, self.prepared.sets, self.config
            study.ranks.together(lambda: claim_folder(folder, config, sets, anew=start is None))
        return start or Position()

    def _leave_early(self) -> None:
        """Leave before the first step, if asked to; several ranks do so at the first step."""
        if self.stage.ranks.world_size == 1 and self.stage.stop():
            self.stage.stop.leave("nothing was trained since; the same command begins here again")

    def _train(self, trainer: Trainer, start: Position) -> TrainResult:
        result = trainer.train(start)
        if result.ended == "stopped":
            at = result.position
            self.stage.stop.leave(
                f"saved in {trainer.folder / LAST}, in epoch {at.epoch + 1} after {at.step} of "
                f"{counted(trainer.steps, 'step')}; the same command with --resume goes on"
            )
        if result.position.best_epoch is None:  # no validation: the last weights are taken
            trainer.save("best", result.position)
        trainer.take_best()
        return result

    def _evaluate(self, trainer: Trainer) -> tuple[tuple[SetReport, ...], dict[str, Predictions]]:
        """Score validation and every test set with the best weights, and evaluate as a probe."""
        task = self.prepared.labelled.task
        splits = [name for name in self.study.images if name != "train"]
        scores = {name: trainer.score(name) for name in splits}
        data = {name: self.study.rows(name) for name in self.study.images}
        logits = {name: scores[name].odds(task.kind) for name in splits}
        accounts = label_accounts(self.prepared.labelled.labels["train"], task.names)
        not_scored = {one.name: one.reason for one in accounts if one.reason is not None}
        return evaluate_splits(
            self.config, task, data, logits, not_scored=not_scored, below=self.prepared.below
        )

    def write(self, found: _Reported, recorder: Recorder) -> None:
        """Write the run; the report comes last."""
        folder, prepared = self.prepared.folder, self.prepared
        target, task = found.finetuned.target, prepared.labelled.task
        resolved = target.resolved
        report = build_report(folder.name, self.study, found.finetuned, tuple(recorder.warnings))
        account = ModelAccount(
            kind=task.kind,
            labels=task.names,
            backbone=resolved.name,
            arch=resolved.arch,
            pretrained_on=resolved.pretrained_on,
            features=resolved.feature.id,
            preprocessing=resolved.preprocessing.name,
            intensity=self.config.intensity,
            precision="fp32" if self.autocast is None else "bf16",
        )

        def more(new: Path) -> None:
            with disk_errors(folder, "What was trained is kept: --resume goes on with it."):
                for path in trained_files(self.work):
                    carry_over(path, new / path.name)
            write_account(new, account)

        settings = settings_text("finetune", self.config)
        write_run(folder, report, found.predictions, settings, provenance(), more=more)
        forget_training(self.work, folder)


def _seed_report(seed: int, result: TrainResult, results: tuple[SetReport, ...]) -> SeedReport:
    return SeedReport(
        seed=seed,
        epochs=result.position.epoch,
        best_epoch=taken_epoch(result),
        validation=result.position.best,
        macro=tuple(one.evaluation.macro.value for one in results),
    )
