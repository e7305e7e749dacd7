"""`torchvision:NAME`: its classification models with their default weights, head removed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import torchvision
from torch import nn

from cxrlearn.backbones.libraries.fetch import torch_hub_file
from cxrlearn.backbones.load import load_file, without_values
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
    ResizeShorter,
    ResolvedBackbone,
    Variant,
)
from cxrlearn.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cxrlearn.backbones.load import LoadOptions
    from cxrlearn.backbones.matching import LoadAccount
    from cxrlearn.backbones.spec import Filter

_HEADS = ("fc", "classifier", "heads", "head")
_PUBLISHED_HASH = re.compile(r"-([0-9a-f]{8,})\.")


def has_model(name: str) -> bool:
    """Return whether torchvision has a classification model of this name."""
    return name in torchvision.models.list_models(torchvision.models)


def make_spec(name: str, *, offline: bool, notify: Callable[[str], None]) -> BackboneSpec:  # noqa: ARG001 - the same for all libraries
    """Make the record of a torchvision classification model.

    Raises:
        WeightsError: torchvision has no such model, or none with weights.
    """
    known = list(torchvision.models.list_models(torchvision.models))
    if name not in known:
        raise WeightsError(
            f"torchvision {torchvision.__version__} has no classification model {name!r}."
            f"{suggestion(name, known)}"
        )
    weights = cast("Any", torchvision.models.get_model_weights(name)).DEFAULT
    path, dim = remove_head(without_values(lambda: _bare(name, weights)))
    file_name = str(weights.url).rpartition("/")[2]
    published = _PUBLISHED_HASH.search(file_name)
    return BackboneSpec(
        name=f"torchvision:{name}",
        title=f"torchvision {name}, {weights.name}",
        architecture=name,
        builder=f"{__name__}:build",
        weights=LibraryWeights(
            library="torchvision",
            name=name,
            entry=str(weights),
            forms=(
                FileForm(
                    name="torchvision's state dict",
                    drop=(DropRule(rf"^{re.escape(path)}\.", "classifier"),),
                ),
            ),
        ),
        variants=(
            Variant(
                files=(file_name,),
                features=(FeatureChoice("pooled", dim, "input of the classifier's last layer"),),
                pretraining_data=("imagenet-1k",),
                sha256=published[1] if published else None,
            ),
        ),
        preprocessings=(_rule(weights), ORIGINAL),
        code="https://github.com/pytorch/vision",
        licence="code: BSD-3-Clause; weights: see torchvision's page of the model",
    )


def build(resolved: ResolvedBackbone) -> nn.Module:
    """Build the untrained network without its head."""
    source = cast("LibraryWeights", resolved.spec.weights)
    network = _bare(source.name, torchvision.models.get_weight(source.entry))
    remove_head(network)
    return network


def load(
    resolved: ResolvedBackbone, path: Path | None, options: LoadOptions
) -> tuple[nn.Module, LoadAccount]:
    """Load a given file, or torchvision's own from torch's cache."""
    source = cast("LibraryWeights", resolved.spec.weights)
    if path is None:
        path = torch_hub_file(
            str(torchvision.models.get_weight(source.entry).url),
            sha256=resolved.variant.sha256,
            offline=options.offline,
            notify=options.notify or (lambda _: None),
        )
    return load_file(resolved, path)


def _bare(name: str, weights: Any) -> nn.Module:  # noqa: ANN401 - torchvision types no weights
    """Build a model as torchvision does for `weights`, without loading them."""
    options: dict[str, object] = {}
    if name.startswith("vit_"):
        options["image_size"] = weights.meta["min_size"][0]
    if name in {"googlenet", "inception_v3"}:
        # Their weights were trained on another normalisation, which the model undoes.
        options |= {"transform_input": True, "init_weights": False}
    return cast("nn.Module", torchvision.models.get_model(name, weights=None, **options))


def remove_head(network: nn.Module) -> tuple[str, int]:
    """Replace the layer that gives the class scores by nothing.

    Args:
        network: a classifier whose last layer lies under `fc`, `classifier`, `heads` or `head`.

    Returns:
        The path of the removed layer, and the width of what is left.

    Raises:
        WeightsError: there is no such layer.
    """
    for prefix in _HEADS:
        head = getattr(network, prefix, None)
        if not isinstance(head, nn.Module):
            continue
        for name, layer in reversed(list(head.named_modules(prefix=prefix))):
            width = _input_width(layer)
            if width is not None:
                parent, _, child = name.rpartition(".")
                setattr(network.get_submodule(parent), child, nn.Identity())
                return name, width
    raise WeightsError(f"{type(network).__name__} has no classifier that could be removed")


def _input_width(layer: nn.Module) -> int | None:
    if isinstance(layer, nn.Linear):
        return layer.in_features
    return layer.in_channels if isinstance(layer, nn.Conv2d) else None


def _rule(weights: Any) -> Preprocessing:  # noqa: ANN401 - torchvision types no transforms
    rule = weights.transforms()
    return Preprocessing(
        name="published",
        steps=(
            ResizeShorter(rule.resize_size[0], cast("Filter", rule.interpolation.value)),
            CenterCrop(rule.crop_size[0]),
        ),
        mean=tuple(rule.mean),
        std=tuple(rule.std),
        source=f"torchvision {torchvision.__version__}, {weights}.transforms()",
    )
