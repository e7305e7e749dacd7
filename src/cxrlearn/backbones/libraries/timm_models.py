"""`timm:NAME`: timm's models with their published weights, head removed."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, cast

import timm
import timm.data
import timm.models

from cxrlearn.backbones.checkpoint import read_checkpoint
from cxrlearn.backbones.libraries.fetch import hub_file, torch_hub_file
from cxrlearn.backbones.load import load_file, without_values
from cxrlearn.backbones.matching import LoadAccount
from cxrlearn.backbones.records.rules import ORIGINAL
from cxrlearn.backbones.registry import suggestion
from cxrlearn.backbones.spec import (
    BackboneSpec,
    CenterCrop,
    DropRule,
    FeatureChoice,
    FileForm,
    LibraryWeights,
    Preprocessing,
    ResizeExact,
    ResizeShorter,
    ResolvedBackbone,
    Variant,
)
from cxrlearn.backbones.weights import file_sha256
from cxrlearn.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from cxrlearn.backbones.load import LoadOptions
    from cxrlearn.backbones.spec import Filter, Step

_FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")


def has_model(name: str) -> bool:
    """Return whether timm knows an architecture of this name."""
    return bool(timm.is_model(name))


def make_spec(name: str, *, offline: bool, notify: Callable[[str], None]) -> BackboneSpec:  # noqa: ARG001 - the same for all libraries
    """Make the record of a timm model.

    Raises:
        WeightsError: timm has no such model or weights, or a preprocessing that cannot be
            expressed here.
    """
    config = _config(name)
    dropped = (
        config.classifier if isinstance(config.classifier, tuple | list) else (config.classifier,)
    )
    drop = tuple(DropRule(rf"^{re.escape(one)}\.", "classifier") for one in dropped if one)
    return BackboneSpec(
        name=f"timm:{name}",
        title=f"timm {name}",
        architecture=str(config.architecture or name),
        builder=f"{__name__}:build",
        weights=LibraryWeights(
            library="timm",
            name=name,
            entry=f"{config.hf_hub_id or config.url or 'no weights'}",
            forms=tuple(
                FileForm(name=label, group=group, drop=drop)
                for label, group in (
                    ("timm's state dict", ()),
                    ("training checkpoint, state_dict", ("state_dict",)),
                    ("training checkpoint, model", ("model",)),
                )
            ),
        ),
        variants=(
            Variant(features=(FeatureChoice("pooled", _width(name), "input of the classifier"),)),
        ),
        preprocessings=(_rule(name, config), ORIGINAL),
        paper=str(config.paper_ids or ""),
        code="https://github.com/huggingface/pytorch-image-models",
        licence=f"code: Apache-2.0; weights: {config.license or 'see the model card'}",
    )


def build(resolved: ResolvedBackbone) -> nn.Module:
    """Build the untrained network without its head."""
    source = cast("LibraryWeights", resolved.spec.weights)
    return timm.create_model(source.name, pretrained=False, num_classes=0)


def load(
    resolved: ResolvedBackbone, path: Path | None, options: LoadOptions
) -> tuple[nn.Module, LoadAccount]:
    """Load a given file, or timm's own weights from its cache.

    timm's own are first loaded with their head, which timm does strictly, so that no tensor can be
    missing; then the head is removed.
    """
    if path is not None:
        return load_file(resolved, path)
    name = cast("LibraryWeights", resolved.spec.weights).name
    file = _published_file(name, options)
    content = read_checkpoint(file)
    try:
        network: Any = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay={"state_dict": content}
        )
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{file} does not hold the weights of timm:{name}: {reason}") from error
    network.pretrained_cfg["state_dict"] = None  # it would keep a second copy of the weights
    network.reset_classifier(0)
    form = f"timm {timm.__version__}'s own loader, strict, head removed"
    return network, LoadAccount(form, file=file, sha256=file_sha256(file))


def _config(name: str) -> Any:  # noqa: ANN401 - timm's PretrainedCfg, whose module has moved
    base = name.partition(".")[0]
    try:
        config = timm.models.get_pretrained_cfg(name) if timm.is_model(base) else None
    except RuntimeError:  # timm's word for an unknown tag
        config = None
    if config is None:
        known = timm.list_models()
        tags = timm.list_pretrained(f"{base}.*")
        there = f" Its weights: {', '.join(tags[:8])}." if tags else suggestion(base, known)
        raise WeightsError(f"timm {timm.__version__} has no model {name!r}.{there}")
    return config


def _width(name: str) -> int:
    network: Any = without_values(lambda: timm.create_model(name, pretrained=False, num_classes=0))
    return int(network.head_hidden_size)


def _published_file(name: str, options: LoadOptions) -> Path:
    """Return timm's weight file, downloaded into its cache if it is not there."""
    config = _config(name)
    notify = options.notify or (lambda _: None)
    if config.hf_hub_id:
        default = "pytorch_model.bin"
        given = config.hf_hub_filename or default
        safe = given.removesuffix(".bin").replace("pytorch_model", "model") + ".safetensors"
        return hub_file(
            config.hf_hub_id,
            list(dict.fromkeys((safe, given))),
            offline=options.offline,
            notify=notify,
        )
    if config.url:
        return torch_hub_file(config.url, sha256=None, offline=options.offline, notify=notify)
    raise WeightsError(
        f"timm publishes no weights for {name!r}. With weights: {_with_weights(name)}. "
        "Or pass a file with --weights."
    )


def _with_weights(name: str) -> str:
    there = timm.list_pretrained(f"{name.partition('.')[0]}.*")
    return ", ".join(there[:8]) or "none of this architecture"


def _rule(name: str, config: Any) -> Preprocessing:  # noqa: ANN401 - see _config
    """Translate timm's data configuration, as timm.data.create_transform would carry it out."""
    settings = cast("Any", timm.data).resolve_data_config(pretrained_cfg=config.to_dict())
    channels, height, width = settings["input_size"]
    kind = settings["interpolation"]
    mode = settings["crop_mode"] or "center"
    if channels != 3 or kind not in _FILTERS or (height != width and mode == "center"):
        raise WeightsError(_inexpressible(name, settings))
    scaled = [math.floor(side / settings["crop_pct"]) for side in (height, width)]
    resize: Step
    if mode == "squash":
        resize = ResizeExact((scaled[0], scaled[1]), cast("Filter", kind))
    elif mode == "center":
        resize = ResizeShorter(scaled[0], cast("Filter", kind))
    else:
        raise WeightsError(_inexpressible(name, settings))
    return Preprocessing(
        name="published",
        steps=(resize, CenterCrop((height, width))),
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        source=f"timm {timm.__version__}, resolve_data_config of {name}",
    )


def _inexpressible(name: str, settings: object) -> str:
    return f"timm:{name}: its preprocessing cannot be carried out here: {settings}"
