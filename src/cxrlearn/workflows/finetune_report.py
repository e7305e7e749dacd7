"""From a finished training to its report and to what `predict` needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from cxrlearn.data.splits import patient_overlap
from cxrlearn.probes.model import why_not_fitted
from cxrlearn.reports.schema import (
    EpochReport,
    FinetuneReport,
    OverlapReport,
    ProbeLabelReport,
    ProbeReport,
    RunReport,
    SeedReport,
    SplitReport,
)
from cxrlearn.workflows.finetune_train import MACRO_AUROC, VALIDATION_LOSS, judged_columns
from cxrlearn.workflows.pretraining import audit
from cxrlearn.workflows.probe_report import backbone_report, count_used, task_report

if TYPE_CHECKING:
    from cxrlearn.data.labels import Labels
    from cxrlearn.reports.schema import SetReport
    from cxrlearn.training.plan import TrainResult
    from cxrlearn.workflows.finetune_data import StudyImages
    from cxrlearn.workflows.finetune_model import LearnerAccount
    from cxrlearn.workflows.targets import Target


@dataclass(frozen=True)
class Finetuned:
    """What all trainings of a run came to."""

    target: Target
    """The backbone; its fingerprint names the precision."""
    learner: LearnerAccount
    """Of the training that is reported."""
    result: TrainResult
    """Of the same."""
    seeds: tuple[SeedReport, ...]
    """Every training."""
    results: tuple[SetReport, ...]
    """Of the training that is reported."""


def build_report(
    name: str, study: StudyImages, found: Finetuned, warnings: tuple[str, ...]
) -> RunReport:
    """Put a run's report together."""
    config, sets, task = study.config, study.sets, study.labelled.task
    target = found.target
    return RunReport(
        command="finetune",
        name=name,
        task=task_report(task),
        backbone=backbone_report(target, target.fingerprint, config.random_weights),
        split_origin=sets.origin,
        splits=tuple(_split(split, study) for split in sets.named()),
        overlaps=tuple(
            OverlapReport(one.a, one.b, one.patients, one.examples)
            for one in patient_overlap(sets.named())
        ),
        probe=_fit_report(study, found),
        results=found.results,
        warnings=warnings,
        pretraining=()
        if config.random_weights is not None
        else audit(target.resolved, config.origin, tuple(sets.tests)),
        finetune=_finetune_report(study, found),
        null_control=config.null,
    )


def label_accounts(labels: Labels, names: tuple[str, ...]) -> tuple[ProbeLabelReport, ...]:
    """Account for each label as train has it; a label of one class is not learned."""
    counted = count_used(labels.values == 1, labels.known, names)
    return tuple(
        ProbeLabelReport(
            name=one.name,
            C=None,
            c_from=None,
            strength=None,
            at_limit=False,
            iterations=None,
            converged=None,
            positives=one.positives,
            negatives=one.negatives,
            reason=why_not_fitted(one.positives, one.negatives),
            notes=(),
        )
        for one in counted
    )


def _fit_report(study: StudyImages, found: Finetuned) -> ProbeReport:
    config, labelled = study.config, study.labelled
    accounts = label_accounts(labelled.labels["train"], labelled.task.names)
    steps = found.result.position.epoch
    weighted = ", both classes of a label weighing alike" if config.pos_weight != "none" else ""
    loss = "cross-entropy" if labelled.task.kind == "multiclass" else "binary cross-entropy"
    return ProbeReport(
        kind="finetune",
        solver=f"{_OPTIMIZERS[config.optimizer]}, {config.schedule} schedule",
        objective=f"mean {loss} of known labels{weighted}",
        max_iter=config.epochs,
        tolerance=None,
        seed=config.seed,
        labels=tuple(replace(one, iterations=None if one.reason else steps) for one in accounts),
        path=(),
    )


_OPTIMIZERS = {"sgd": "stochastic gradient descent with momentum", "adamw": "AdamW"}


def _finetune_report(study: StudyImages, found: Finetuned) -> FinetuneReport:
    config, position = study.config, found.result.position
    columns = judged_columns(study)
    frozen = "all of the backbone" if config.freeze_backbone else config.freeze_to
    criterion = MACRO_AUROC if columns else VALIDATION_LOSS
    return FinetuneReport(
        optimizer=config.optimizer,
        learning_rate=config.learning_rate,
        momentum=config.momentum if config.optimizer == "sgd" else None,
        weight_decay=config.weight_decay,
        layer_decay=config.layer_decay,
        schedule=config.schedule,
        warmup_epochs=config.warmup_epochs,
        clip_norm=config.clip_norm,
        batch_size=config.batch_size,
        accumulate=config.accumulate,
        ranks=study.ranks.world_size,
        pos_weight=config.pos_weight,
        head_init=config.head_init,
        augment=config.augment,
        batch_norm=found.learner.batch_norm,
        frozen=frozen,
        learned=found.learner.learned,
        parameters=found.learner.parameters,
        criterion=criterion if "val" in study.images else None,
        judged_by=tuple(study.labelled.task.names[column] for column in columns),
        patience=config.patience,
        ended=found.result.ended,
        epochs=position.epoch,
        best_epoch=taken_epoch(found.result),
        history=tuple(
            EpochReport(
                epoch=row.epoch,
                loss=row.loss,
                rate=row.rate,
                skipped=row.skipped,
                validation_loss=row.record.get("val_loss"),
                validation_auroc=row.record.get("val_auroc"),
            )
            for row in position.history
        ),
        seeds=found.seeds,
    )


def taken_epoch(result: TrainResult) -> int:
    """Return the epoch of the weights, from 0: the best on validation, else the last."""
    best = result.position.best_epoch
    return result.position.epoch - 1 if best is None else best


def _split(name: str, study: StudyImages) -> SplitReport:
    manifest, data = study.sets.named()[name], study.rows(name)
    patients = {patient for patient in data.patients if patient is not None}
    roles: dict[str, Literal["train", "validation"]] = {"train": "train", "val": "validation"}
    return SplitReport(
        name=name,
        role=roles.get(name, "test"),
        source=manifest.file.name if manifest.file is not None else "",
        rows=len(manifest),
        used=len(data.manifest),
        failed=len(manifest) - len(data.manifest),
        without_features=0,
        patients=None if manifest.columns.patient is None else len(patients),
        labels=count_used(data.values == 1, data.known, study.labelled.task.names),
    )
