"""`hf:REPOSITORY[@REVISION]` or `hf:FOLDER`: image models of transformers, without their heads.

Which feature is the default follows what the models' authors use: CLIP-like models give the
image's embedding in the joint space; models whose pooling has no trained layer of its own (DINOv2:
the normalised class token; Swin, ConvNeXt, ResNet: the average pool) give the pooled output; plain
ViTs, whose pooler is a layer that many published files lack, give the class token.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import transformers
from torch import nn

from cxrlearn.backbones.libraries.fetch import hub_file
from cxrlearn.backbones.libraries.hf_rules import published_rule
from cxrlearn.backbones.libraries.hf_safety import NO_CODE, refuse_bad_files, refuse_own_code
from cxrlearn.backbones.matching import LoadAccount
from cxrlearn.backbones.preprocessing import to_input
from cxrlearn.backbones.records.rules import ORIGINAL
from cxrlearn.backbones.spec import (
    BackboneSpec,
    FeatureChoice,
    LibraryWeights,
    Preprocessing,
    ResolvedBackbone,
    Variant,
)
from cxrlearn.backbones.weights import content_hash
from cxrlearn.errors import WeightsError
from cxrlearn.runtime.memory import out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cxrlearn.backbones.load import LoadOptions

# Much of transformers is untyped.
_LIBRARY = cast("Any", transformers)

_DESCRIPTIONS = {
    "image_embeds": "image's embedding in the joint space with text, not scaled",
    "pooler": "the model's own pooled output",
    "cls": "class token of the last layer",
}
_FAULTS = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError,
           RuntimeError, TypeError, ValueError)  # fmt: skip
_WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                 "pytorch_model.bin.index.json")  # fmt: skip
"""In the order in which transformers looks for them."""


def make_spec(name: str, *, offline: bool, notify: Callable[[str], None]) -> BackboneSpec:
    """Make the record of an image model of the Hugging Face hub, or of a folder.

    Raises:
        WeightsError: no such model, no access, no network, not an image model, or a preprocessing
            that cannot be expressed here.
    """
    repository, _, revision = name.partition("@") if not Path(name).is_dir() else (name, "", "")
    folder = _files(repository, revision or None, offline=offline, notify=notify)
    refuse_own_code(name, Path(folder))
    try:
        config = _LIBRARY.AutoConfig.from_pretrained(folder, **NO_CODE)
        processor = _LIBRARY.AutoImageProcessor.from_pretrained(folder, **NO_CODE)
        with torch.device("meta"):
            network = _LIBRARY.AutoModel.from_config(config, **NO_CODE)
    except _FAULTS as error:
        raise WeightsError(f"hf:{name}: {_one_line(error)}") from error
    rule = published_rule(name, processor)
    _prove_rule(name, rule, processor)
    # The name of the hub's cache folder is the commit.
    commit = "" if Path(repository).is_dir() else Path(folder).name
    return BackboneSpec(
        name=f"hf:{name}",
        label=_label(repository),
        title=f"Hugging Face {name}",
        architecture=str(config.model_type),
        builder=f"{__name__}:build",
        weights=LibraryWeights(library="hf", name=repository, entry=commit),
        variants=(Variant(features=_features(name, network, rule)),),
        preprocessings=(rule, ORIGINAL),
        code="https://github.com/huggingface/transformers",
        licence="see the model card",
    )


def build(resolved: ResolvedBackbone) -> nn.Module:
    """Build the untrained network."""
    source = cast("LibraryWeights", resolved.spec.weights)
    folder = _files(source.name, source.entry or None, offline=True, notify=_ignore)
    config = _LIBRARY.AutoConfig.from_pretrained(folder, **NO_CODE)
    return _HfNetwork(_LIBRARY.AutoModel.from_config(config, **NO_CODE), resolved.feature.id)


def load(
    resolved: ResolvedBackbone, path: Path | None, options: LoadOptions
) -> tuple[nn.Module, LoadAccount]:
    """Load from a folder, or from the hub's cache."""
    source = cast("LibraryWeights", resolved.spec.weights)
    file = path or hub_file(
        source.name,
        _WEIGHT_FILES,
        revision=source.entry or None,
        offline=options.offline,
        notify=options.notify or _ignore,
    )
    refuse_bad_files(source, file, options)
    refuse_own_code(source.name, file if file.is_dir() else file.parent)
    try:
        with _quiet():
            network, report = _LIBRARY.AutoModel.from_pretrained(
                str(path or source.name),
                revision=source.entry if path is None and source.entry else "main",
                local_files_only=options.offline or path is not None,
                output_loading_info=True,
                dtype=torch.float32,
                **NO_CODE,
            )
    except _FAULTS as error:
        if out_of_memory(error):
            raise
        raise WeightsError(f"{resolved.name}: {_one_line(error)}") from error
    _refuse_incomplete(resolved, report)
    form = f"transformers {transformers.__version__}'s own loader"
    account = LoadAccount(form, file=file, sha256=content_hash(file))
    return _HfNetwork(network, resolved.feature.id), account


class _HfNetwork(nn.Module):
    """A transformers model that returns one tensor."""

    def __init__(self, model: nn.Module, feature: str) -> None:
        super().__init__()
        self.model = model
        self.feature = feature

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return features_of(self.model, images_NCHW)[self.feature]


def features_of(model: Any, images_NCHW: torch.Tensor) -> dict[str, torch.Tensor]:  # noqa: ANN401 - any transformers model
    """Return every feature (N, D) that a model offers, the default first."""
    if hasattr(model, "get_image_features"):
        output = model.get_image_features(pixel_values=images_NCHW)
        embeds = output if isinstance(output, torch.Tensor) else output.pooler_output
        return {"image_embeds": embeds}
    output = model(pixel_values=images_NCHW)
    names = [name for name, _ in model.named_parameters()]
    found: dict[str, torch.Tensor] = {}
    pooled = getattr(output, "pooler_output", None)
    if pooled is not None:
        found["pooler"] = pooled.flatten(1)
    if any(name.endswith(("cls_token", "class_embedding")) for name in names):
        found["cls"] = output.last_hidden_state[:, 0]
    if any("pooler.dense" in name for name in names) and "cls" in found:
        found = {"cls": found["cls"], **found}
    return found


def _features(name: str, network: nn.Module, rule: Preprocessing) -> tuple[FeatureChoice, ...]:
    """Find the features and their widths by a run without values."""
    empty = torch.zeros(1, 3, *rule.input_size, device="meta")
    try:
        with torch.inference_mode():
            found = features_of(network.eval(), empty)
    except _FAULTS as error:
        raise WeightsError(
            f"hf:{name} is no image model that can be used: {_one_line(error)}"
        ) from error
    if not found:
        raise WeightsError(
            f"hf:{name} ({type(network).__name__}) gives neither a pooled output nor a class token"
        )
    return tuple(
        FeatureChoice(one, value.shape[1], _DESCRIPTIONS[one]) for one, value in found.items()
    )


def _files(
    repository: str, revision: str | None, *, offline: bool, notify: Callable[[str], None]
) -> str:
    """Return the folder that holds a model's configuration."""
    if Path(repository).is_dir():
        return repository
    if repository.startswith((".", "/", "~")):
        raise WeightsError(f"hf:{repository}: there is no such folder")
    options = {"revision": revision, "offline": offline, "notify": notify}
    config = hub_file(repository, ["config.json"], **options)  # type: ignore[arg-type]
    hub_file(repository, ["preprocessor_config.json", "processor_config.json"], **options)  # type: ignore[arg-type]
    return str(config.parent)


def _prove_rule(name: str, rule: Preprocessing, processor: Any) -> None:  # noqa: ANN401 - any image processor
    """Refuse a translation that does not give what the model's own image processor gives.

    Resizing by torchvision and by Pillow differs by up to 2 grey levels on noise.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (397, 601), dtype=np.uint8)
    try:
        theirs = processor(
            np.stack([pixels] * 3, axis=-1), input_data_format="channels_last", return_tensors="pt"
        )["pixel_values"]
    except _FAULTS as error:
        raise WeightsError(f"hf:{name}: its image processor fails: {_one_line(error)}") from error
    ours = to_input(pixels, rule)
    level = (1 / 255 if rule.value_range == "0..1" else 1) / min(rule.std)
    if theirs.shape[1:] != ours.shape or (theirs[0] - ours).abs().max() > 2.5 * level:
        raise WeightsError(
            f"hf:{name}: its image processor ({type(processor).__name__}) does something that "
            "cannot be expressed as a preprocessing record here"
        )


def _refuse_incomplete(resolved: ResolvedBackbone, report: dict[str, Any]) -> None:
    """Refuse weights that leave a tensor of the chosen feature at random values."""
    unused = "pooler." if resolved.feature.id == "cls" else None
    missing = [key for key in report["missing_keys"] if not (unused and key.startswith(unused))]
    wrong = [str(key) for key in report.get("mismatched_keys", ())]
    if missing or wrong:
        faults = ", ".join(sorted(str(key) for key in (*missing, *wrong))[:5])
        raise WeightsError(
            f"{resolved.name}: its weights do not fill {len(missing) + len(wrong)} tensors of the "
            f"model ({faults}); features would be random"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars and advice off the terminal for a while."""
    logging = _LIBRARY.utils.logging
    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _label(repository: str) -> str:
    plain = Path(repository).resolve().name if Path(repository).is_dir() else repository
    return "hf-" + re.sub(r"[^\w.-]", "-", plain)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _ignore(message: str) -> None:
    """Drop a notice."""
