"""Scores of new images by a finetuned model: `best.safetensors` with `model.json` beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from cxrlearn.errors import HardwareError, TrainingError
from cxrlearn.runtime.atomic import write_text
from cxrlearn.runtime.memory import out_of_memory
from cxrlearn.workflows.finetune_files import BEST
from cxrlearn.workflows.image_notices import report_images
from cxrlearn.workflows.predict_probe import Scores

if TYPE_CHECKING:
    from pathlib import Path

    from cxrlearn.backbones.trainable import TrainableModel
    from cxrlearn.data.manifest import Manifest
    from cxrlearn.data.training_batches import LabelledImages
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.predict_config import PredictConfig

ACCOUNT = "model.json"
FORMAT = "cxrlearn-model"
VERSION = 1


@dataclass(frozen=True)
class ModelAccount:
    """All it takes to build the network of a checkpoint and to feed it."""

    kind: str
    """binary, multilabel or multiclass."""
    labels: tuple[str, ...]
    """Outputs of the head, in order."""
    backbone: str
    """Its name in the registry."""
    arch: str | None
    """Variant of the architecture."""
    pretrained_on: str | None
    """Variant of the weights that training began with."""
    features: str
    """Which feature the head takes."""
    preprocessing: str
    """Name of the rule."""
    intensity: Literal["percentile", "minmax"]
    """How files of more than 8 bits become grey."""
    precision: Literal["fp32", "bf16"]
    """In which validation, and so the thresholds, was computed."""


def write_account(folder: Path, account: ModelAccount) -> None:
    """Write `model.json`.

    Raises:
        DiskError: it cannot be written.
    """
    content = {"format": FORMAT, "version": VERSION, **asdict(account)}
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    write_text(folder / ACCOUNT, text + "\n", step="model.account")


def read_account(folder: Path) -> ModelAccount:
    """Read `model.json`.

    Raises:
        TrainingError: it is missing, damaged, or of a newer version.
    """
    path = folder / ACCOUNT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}. Finetune again.") from error
    except ValueError as error:
        raise TrainingError(f"{path} is damaged: {error}. Finetune again.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise TrainingError(f"{path} does not describe a model of cxrlearn.")
    if content.get("version") != VERSION:
        raise TrainingError(
            f"{path} has format version {content.get('version')}; this cxrlearn reads {VERSION}. "
            "Update cxrlearn."
        )
    try:
        values = {field.name: content[field.name] for field in fields(ModelAccount)}
        return ModelAccount(**{**values, "labels": tuple(values["labels"])})
    except (KeyError, TypeError) as error:
        raise TrainingError(f"{path} is damaged: {error}. Finetune again.") from error


@dataclass(frozen=True)
class FinetunedModel:
    """A model ready to predict."""

    account: ModelAccount
    """What it is."""
    model: TrainableModel
    """On its device, in evaluation mode."""


def open_finetuned(folder: Path, config: PredictConfig, reporter: Reporter) -> FinetunedModel:
    """Build the network and fill it from the best checkpoint; no pretrained file is needed.

    Raises:
        TrainingError: a file is missing, damaged, or of another model.
        WeightsError: the backbone is unknown here.
        HardwareError: the device is not there.
    """
    from cxrlearn.backbones.registry import resolve
    from cxrlearn.backbones.trainable import empty_trainable
    from cxrlearn.runtime.devices import resolve_device
    from cxrlearn.training.checkpoints import load_checkpoint, restore

    account = read_account(folder)
    checkpoint = load_checkpoint(folder / BEST)
    if checkpoint.identity.classes != account.labels:
        raise TrainingError(
            f"{folder / BEST} was trained on {', '.join(checkpoint.identity.classes)}, "
            f"{ACCOUNT} beside it names {', '.join(account.labels)}: they are of two models."
        )
    resolved = resolve(
        account.backbone,
        arch=account.arch,
        pretrained_on=account.pretrained_on,
        features=account.features,
        preprocessing=account.preprocessing,
        offline=config.offline,
        notify=reporter.notice,
    )
    model = empty_trainable(resolved, len(account.labels))
    restore(checkpoint, model)
    return FinetunedModel(account, model.to(resolve_device(config.device)).eval())


def score_finetuned(
    model: FinetunedModel, manifest: Manifest, config: PredictConfig, reporter: Reporter
) -> Scores:
    """Score every image.

    Raises:
        HardwareError: the device has too little memory, or a decoding process died.
    """
    import torch

    from cxrlearn.data.training_batches import (
        EvaluationBatches,
        LoadingConfig,
        training_deaths_named,
    )
    from cxrlearn.workflows.finetune_task import class_odds

    failed: dict[int, str] = {}
    notices: dict[str, str] = {}

    def note(row: int, notice: str) -> None:
        notices[manifest.image_ids[row]] = notice

    device = model.model.head.weight.device
    loading = LoadingConfig(
        config.workers,
        pin=device.type == "cuda",
        on_failure=failed.__setitem__,
        on_image_notice=note,
    )
    batches = EvaluationBatches(_images(model, manifest), config.batch_size, loading=loading)
    outputs = np.full((len(manifest), len(model.account.labels)), np.nan)
    half = model.account.precision == "bf16"
    with (
        training_deaths_named(),
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=half),
        reporter.progress("predicting", len(manifest)) as progress,
    ):
        for batch in batches:
            try:
                logits = model.model(batch.pixels.to(device, non_blocking=True))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                raise HardwareError(
                    f"{device} has too little memory for batches of {config.batch_size}. Use a "
                    "smaller --batch-size."
                ) from error
            outputs[batch.rows.numpy()] = logits.cpu().double().numpy()
            progress.advance(len(batch))
    report_images((), notices, reporter)
    if model.account.kind == "multiclass":
        outputs = class_odds(outputs)
    return Scores(outputs, failed)


def _images(model: FinetunedModel, manifest: Manifest) -> LabelledImages:
    """Return the images with labels that are all unknown."""
    from cxrlearn.backbones.preprocessing import apply_steps
    from cxrlearn.data.training_batches import LabelledImages

    rule = model.model.record.preprocessing
    shape = (len(manifest), len(model.account.labels))
    return LabelledImages(
        paths=[str(path) for path in manifest.paths],
        values=np.zeros(shape, dtype=np.int8),
        known=np.zeros(shape, dtype=np.bool_),
        rule=partial(apply_steps, preprocessing=rule),
        picture_size=rule.picture_size,
        intensity=model.account.intensity,
    )
