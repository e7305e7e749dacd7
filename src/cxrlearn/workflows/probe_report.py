"""From the parts of a finished probe to its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cxrlearn.backbones.spec import LibraryWeights
from cxrlearn.backbones.weights import verification
from cxrlearn.data.splits import patient_overlap
from cxrlearn.reports.schema import (
    BackboneReport,
    LabelCount,
    OverlapReport,
    RunReport,
    SplitReport,
    TaskReport,
)
from cxrlearn.workflows.pretraining import audit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cxrlearn.data.labels import Task
    from cxrlearn.features.fingerprint import Fingerprint
    from cxrlearn.reports.schema import CurvePointReport, ProbeReport, SetReport
    from cxrlearn.workflows.datasets import ImageSets, LabelledSets
    from cxrlearn.workflows.probe_config import ProbeConfig
    from cxrlearn.workflows.probe_features import ProbeFeatures
    from cxrlearn.workflows.study_settings import StudySettings
    from cxrlearn.workflows.targets import Target


def build_report(  # noqa: PLR0913, PLR0917 - every part of a run, in the order of its story
    name: str,
    config: ProbeConfig,
    sets: ImageSets,
    labelled: LabelledSets,
    features: ProbeFeatures,
    probe: ProbeReport,
    results: tuple[SetReport, ...],
    curve: tuple[CurvePointReport, ...],
    warnings: tuple[str, ...],
) -> RunReport:
    """Put a run's report together."""
    return RunReport(
        command="probe",
        name=name,
        task=task_report(labelled.task),
        backbone=backbone_report(features.target, features.info.fingerprint, config.random_weights),
        split_origin=sets.origin,
        splits=tuple(_split(split, sets, labelled, features) for split in sets.named()),
        overlaps=tuple(
            OverlapReport(found.a, found.b, found.patients, found.examples)
            for found in patient_overlap(sets.named())
        ),
        probe=probe,
        results=results,
        warnings=warnings,
        pretraining=()
        if config.random_weights is not None
        else audit(features.target.resolved, config.origin, tuple(sets.tests)),
        curve=curve,
        aggregation=aggregation(config),
        null_control=config.null,
    )


def aggregation(config: StudySettings) -> str | None:
    """Say what became one row; None where rows are images."""
    if config.aggregate_by is None:
        return None
    how = "mean of the probabilities" if config.aggregate == "mean" else "highest probability"
    return f"{config.aggregate_by}, {how}"


def task_report(task: Task) -> TaskReport:
    """Say what was predicted."""
    policy = task.policy
    return TaskReport(
        task.kind, task.names, task.columns, policy.uncertain, policy.blank, policy.positive
    )


def backbone_report(
    target: Target, found: Fingerprint, random_weights: int | None
) -> BackboneReport:
    """Say which network it is, down to the bytes of its weights."""
    resolved = target.resolved
    kind, _, value = found.weights.partition(":")
    sha256 = value if kind == "sha256" else None
    source = resolved.spec.weights
    named = found.weights if isinstance(source, LibraryWeights) and sha256 is None else None
    published = resolved.variant.sha256
    return BackboneReport(
        tag=target.tag,
        name=resolved.name,
        arch=resolved.arch,
        pretrained_on=resolved.pretrained_on,
        features=found.feature,
        feature_dim=found.dim,
        preprocessing=resolved.preprocessing.name,
        precision=found.precision,
        weights=named if target.weights is None else target.weights.name,
        weights_sha256=sha256,
        verified=bool(published and sha256 and sha256.startswith(published)),
        verification=verification(published, sha256),
        random_weights=random_weights,
        fingerprint=found.digest,
    )


def _split(
    name: str, sets: ImageSets, labelled: LabelledSets, features: ProbeFeatures
) -> SplitReport:
    manifest, split, labels = sets.named()[name], features.splits[name], labelled.labels[name]
    patients = {patient for patient in manifest.patients[split.kept] if patient is not None}
    roles: dict[str, Literal["train", "validation"]] = {"train": "train", "val": "validation"}
    return SplitReport(
        name=name,
        role=roles.get(name, "test"),
        source=manifest.file.name if manifest.file is not None else "",
        rows=len(manifest),
        used=len(split.kept),
        failed=len(split.failed),
        without_features=split.missing,
        patients=None if manifest.columns.patient is None else len(patients),
        labels=count_used(
            labels.values[split.kept] == 1, labels.known[split.kept], labelled.task.names
        ),
    )


def count_used(
    positive: NDArray[np.bool_], known: NDArray[np.bool_], names: tuple[str, ...]
) -> tuple[LabelCount, ...]:
    """Count each label of positive (N, L) and known (N, L)."""
    return tuple(
        LabelCount(
            name,
            positives=int((positive[:, i] & known[:, i]).sum()),
            negatives=int((~positive[:, i] & known[:, i]).sum()),
            masked=int((~known[:, i]).sum()),
        )
        for i, name in enumerate(names)
    )
