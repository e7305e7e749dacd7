"""Scores of new images by a probe: their features are embedded as those it was fitted on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.backbones.registry import resolve
from cxrlearn.errors import FeatureFileError, UsageError, WeightsError
from cxrlearn.features.fingerprint import AUTO
from cxrlearn.features.store import read_info, read_rows
from cxrlearn.probes.model import LogisticFit
from cxrlearn.probes.saved import SavedProbe, load_probe
from cxrlearn.workflows.cached_rows import cached_rows
from cxrlearn.workflows.embed import images_of
from cxrlearn.workflows.embed_config import EmbedConfig
from cxrlearn.workflows.targets import Target, resolve_target

if TYPE_CHECKING:
    from typing import Literal

    from numpy.typing import NDArray

    from cxrlearn.backbones.trainable import TrainableModel
    from cxrlearn.data.manifest import Manifest
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.predict_config import PredictConfig
    from cxrlearn.workflows.predict_run import FinishedRun

_ROWS_AT_ONCE = 8192
_NOT_EMBEDDED = "it has no features"


@dataclass(frozen=True)
class Scores:
    """What a model says of the images of a manifest, in its order."""

    logits: NDArray[np.float64]
    """(N, L) log-odds; NaN for images that failed and labels that were not fitted."""
    failed: dict[int, str]
    """Row to reason, for images that could not be read."""


@dataclass(frozen=True)
class ProbeModel:
    """A probe with the backbone whose features it takes."""

    probe: SavedProbe
    """The probe."""
    target: Target
    """The backbone and its feature file."""
    embedding: EmbedConfig
    """How features are made that equal those it was fitted on."""


def open_probe(run: FinishedRun, config: PredictConfig, reporter: Reporter) -> ProbeModel:
    """Load a probe and find the way to its features.

    Raises:
        TrainingError: the probe is missing or damaged.
        WeightsError: the weights of the backbone are not here.
        FeatureFileError: the weights or rules here would make other features.
    """
    probe = load_probe(run.folder)
    embedding = EmbedConfig(
        model=(str(run.backbone["name"]),),
        arch=run.backbone["arch"],
        pretrained_on=run.backbone["pretrained_on"],
        features=run.backbone["features"],
        preprocessing=run.backbone["preprocessing"],
        random_weights=run.backbone["random_weights"],
        weights=config.weights or run.weights,
        offline=config.offline,
        csv=config.csv,
        images=config.images,
        intensity=run.settings.get("intensity", "percentile"),
        device=config.device,
        batch_size=config.batch_size,
        workers=config.workers,
        precision=run.settings.get("precision", AUTO),
        output_dir=config.features_dir,
    )
    try:
        model = ProbeModel(probe, *_same_features(run, probe, embedding, reporter))
    except WeightsError:
        target = None if config.weights else _cached_features(run, probe, embedding)
        if target is None:
            raise
        reporter.notice(
            f"the weights of {embedding.model[0]} are not here; only images whose features are in "
            f"{target.file} can be scored."
        )
        return ProbeModel(probe, target, embedding)
    return _same_precision(run, model, reporter)


def score_with_probe(model: ProbeModel, manifest: Manifest, reporter: Reporter) -> Scores:
    """Embed what has no features yet, and score every image.

    Raises:
        FeatureFileError: the features came out otherwise than those the probe was fitted on.
        CxrlearnError: whatever `run_embed` raises.
    """
    images, file = images_of(manifest), model.target.file
    (rows,), reasons = cached_rows(file, [images], model.embedding, reporter)
    if (rows >= 0).any():
        _check_file(model)
    labels = len(model.probe.fit.labels)
    logits = np.full((len(images), labels), np.nan)
    found = np.flatnonzero(rows >= 0)
    for start in range(0, len(found), _ROWS_AT_ONCE):
        part = found[start : start + _ROWS_AT_ONCE]
        names = [manifest.image_ids[row] for row in part]
        logits[part] = model.probe.fit.decision(read_rows(file, rows[part]), ids=names)
    failed = {
        int(row): reasons.get(manifest.image_ids[row], _NOT_EMBEDDED)
        for row in np.flatnonzero(rows < 0)
    }
    return Scores(logits, failed)


def check_explainable(model: ProbeModel, label: str | None) -> None:
    """Refuse overlays of a probe that has no gradient.

    Raises:
        UsageError: it asks neighbours, or has no fit of the label.
    """
    fit = model.probe.fit
    if not isinstance(fit, LogisticFit):
        raise UsageError(
            "--saliency follows the gradient of a score, and nearest neighbours have none: use a "
            "run of --use-logreg or --linear."
        )
    if label in fit.not_fitted:
        raise UsageError(f"--saliency-label {label!r} has no score: {fit.not_fitted[label]}.")


def network_of(model: ProbeModel, reporter: Reporter) -> TrainableModel:
    """Return backbone and probe as one network, from pictures to what the probe calls logits.

    Raises:
        UsageError: the probe has no weights.
    """
    import torch

    from cxrlearn.backbones.load import LoadOptions, load_resolved
    from cxrlearn.backbones.trainable import TrainableModel
    from cxrlearn.runtime.devices import resolve_device

    fit = model.probe.fit
    if not isinstance(fit, LogisticFit):  # `check_explainable` has refused it
        raise UsageError("nearest neighbours have no gradient.")
    options = LoadOptions(
        weights=model.target.given,
        random_weights=model.embedding.random_weights,
        offline=model.embedding.offline,
        notify=reporter.notice,
    )
    device = resolve_device(model.embedding.device)
    backbone = load_resolved(model.target.resolved, options, device=device)
    whole = TrainableModel(backbone.network, model.target.resolved, len(fit.labels)).to(device)
    with torch.no_grad():
        whole.head.weight.copy_(torch.from_numpy(fit.weights))
        whole.head.bias.copy_(torch.from_numpy(fit.intercept))
    return whole.eval()


def _same_features(
    run: FinishedRun, probe: SavedProbe, embedding: EmbedConfig, reporter: Reporter
) -> tuple[Target, EmbedConfig]:
    """Find the type on disk with which the fingerprint is that of the run."""
    stores: tuple[Literal["float32", "float16"], ...] = ("float32", "float16")
    name = embedding.model[0]
    found = ""
    for store in stores:
        target = resolve_target(
            name, embedding, embedding.output_dir, store=store, notify=reporter.notice
        )
        made = replace(target.fingerprint, precision=run.backbone["precision"])
        if made.digest == probe.meta.fingerprint:
            return target, replace(embedding, store=store)
        found = made.weights
    raise FeatureFileError(_other_features(run, found))


def _cached_features(run: FinishedRun, probe: SavedProbe, embedding: EmbedConfig) -> Target | None:
    """Return the feature file that the probe was fitted on, if it is here."""
    file = embedding.output_dir / f"{run.backbone['tag']}.h5"
    if not file.is_file():
        return None
    found = read_info(file).fingerprint
    if found.digest != probe.meta.fingerprint:
        return None
    resolved = resolve(
        embedding.model[0],
        arch=embedding.arch,
        pretrained_on=embedding.pretrained_on,
        features=embedding.features,
        preprocessing=embedding.preprocessing,
        offline=True,
    )
    return Target(resolved, None, None, found, embedding.precision, file.stem, file)


def _other_features(run: FinishedRun, found: str) -> str:
    fitted = run.backbone["weights_sha256"]
    here = found.removeprefix("sha256:")
    start = f"the probe in {run.folder} was fitted on other features than can be made here"
    if fitted is not None and fitted != here:
        return (
            f"{start}: its weights were {run.backbone['weights']} (sha256 {fitted[:12]}), those "
            f"here are {here[:12]}. Pass the right file with --weights, or run the probe again."
        )
    return (
        f"{start}: this version of cxrlearn reads or preprocesses images differently. Use the "
        "version that provenance.json names, or run the probe again."
    )


def _same_precision(run: FinishedRun, model: ProbeModel, reporter: Reporter) -> ProbeModel:
    """Ask for the run's precision by name where there is no file that would keep it.

    Raises:
        FeatureFileError: the feature file is not that of the run.
    """
    file, wanted = model.target.file, run.backbone["precision"]
    if file.is_file() and read_info(file).rows:
        _check_file(model)
        return model
    if model.embedding.precision != AUTO:
        return model
    from cxrlearn.features.extract import decide_precision
    from cxrlearn.runtime.devices import resolve_device

    if decide_precision(AUTO, resolve_device(model.embedding.device)) == wanted:
        return model
    embedding = replace(model.embedding, precision=wanted)
    target = resolve_target(
        embedding.model[0],
        embedding,
        embedding.output_dir,
        store=embedding.store,
        notify=reporter.notice,
    )
    return ProbeModel(model.probe, target, embedding)


def _check_file(model: ProbeModel) -> None:
    file = model.target.file
    if read_info(file).fingerprint.digest != model.probe.meta.fingerprint:
        raise FeatureFileError(
            f"{file} holds other features than those the probe was fitted on. Give another "
            "--features-dir, in which they are made anew, or run the probe again."
        )
