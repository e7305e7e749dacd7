"""A backbone that learns: its network, a linear head, and what of them is held fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cxrlearn.backbones.layers import is_convolutional, network_depths, ordered_names
from cxrlearn.backbones.load import LoadOptions, build_network, load_resolved
from cxrlearn.backbones.preprocessing import normalise
from cxrlearn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cxrlearn.backbones.matching import LoadAccount
    from cxrlearn.backbones.spec import ResolvedBackbone

BatchNormMode = Literal["sync", "local", "frozen"]

HEAD_SPREAD = 0.01
"""Standard deviation of the head's first weights: all probabilities start near one half."""


class TrainableModel(nn.Module):
    """Grey pictures (N, 1, H, W) to logits (N, L): normalisation, backbone, linear head.

    In training mode, whatever has no parameter left to learn stays in evaluation mode: statistics
    of frozen layers do not move, and nothing is dropped in them.
    """

    def __init__(
        self, network: nn.Module, record: ResolvedBackbone, labels: int, *, seed: int = 0
    ) -> None:
        """Put a new head on a network, and let all of it learn.

        Args:
            network: normalised images (N, 3, H, W) to features (N, D).
            record: which backbone it is.
            labels: L.
            seed: of the head's weights.
        """
        super().__init__()
        self.network = network.requires_grad_(requires_grad=True)
        self.record = record
        self.load_account: LoadAccount | None = None
        self.head = _new_head(record.feature.dim, labels, seed)
        self.batch_norm: BatchNormMode = "local"
        self.channels_last = is_convolutional(network)
        if self.channels_last:
            cast("Any", self.network).to(memory_format=torch.channels_last)

    def features(self, grey: torch.Tensor) -> torch.Tensor:
        """Return the features (N, D) of pictures (N, 1, H, W), uint8 or float of 0 to 255."""
        images = normalise(grey[:, 0], self.record.preprocessing)
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        features: torch.Tensor = self.network(images)
        return features

    def forward(self, grey: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, L) of pictures (N, 1, H, W), uint8 or float of 0 to 255.

        The head computes in float32 also under autocast: logits of bfloat16 have 8 digits (binary)
        and would tie where images have to be ranked.
        """
        features = self.features(grey)
        with torch.autocast(features.device.type, enabled=False):
            logits: torch.Tensor = self.head(features.float())
        return logits

    def train(self, mode: bool = True) -> TrainableModel:  # noqa: FBT001, FBT002 - torch's signature
        """Set training mode, except for what is frozen."""
        super().train(mode)
        if mode:
            _rest(self.network)
            if self.batch_norm == "frozen":
                for norm in _batch_norms(self.network):
                    norm.eval()
        return self


def build_trainable(
    resolved: ResolvedBackbone,
    labels: int,
    options: LoadOptions,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> TrainableModel:
    """Load a backbone with its weights and put a new head on it.

    Parameters that the chosen feature does not depend on are frozen, since no gradient would ever
    reach them, and ranks wait for every gradient.

    Args:
        resolved: what `registry.resolve` made of a name.
        labels: L, outputs of the head.
        options: where the weights come from.
        seed: of the head.
        device: where the model computes.

    Raises:
        WeightsError: weights missing, unsafe, damaged or of another model.
    """
    backbone = load_resolved(resolved, options, device=device)
    model = TrainableModel(backbone.network, resolved, labels, seed=seed).to(device)
    model.load_account = backbone.load_account
    _freeze_unused(model)
    return model.train()


def empty_trainable(
    resolved: ResolvedBackbone, labels: int, *, device: str | torch.device = "cpu"
) -> TrainableModel:
    """Build the same model without looking for weights, to be filled from a checkpoint.

    It is in evaluation mode.

    Raises:
        WeightsError: the builder is missing.
    """
    return TrainableModel(build_network(resolved), resolved, labels).to(device).eval()


def freeze(model: TrainableModel, *, freeze_to: str | None = None, backbone: bool = False) -> None:
    """Hold parameters of the network fixed; the head always learns.

    Args:
        model: changed in place, its mode too.
        freeze_to: name of a module of the network, such as `layer3` or `blocks.5`; it and all
            that comes before it are frozen. The beginning of a name may be left out.
        backbone: freeze the whole network.

    Raises:
        UsageError: no module has that name, or several have; the message lists names.
    """
    named = dict(model.network.named_parameters())
    fixed: Iterable[str] = ()
    if backbone:
        fixed = named
    elif freeze_to is not None:
        fixed = _up_to(model.network, _full_name(model, freeze_to))
    for name in fixed:
        named[name].requires_grad = False
    model.train(model.training)


def layer_depths(model: TrainableModel) -> Mapping[str, int]:
    """Return the depth of every parameter of the model by name, for layer-wise decay.

    0 at the image; the head is one deeper than the deepest of the network (`backbones.layers`).
    """
    depths = {f"network.{name}": depth for name, depth in network_depths(model.network).items()}
    head = max(depths.values(), default=-1) + 1
    return depths | {f"head.{name}": head for name, _ in model.head.named_parameters()}


def set_batch_norm(model: TrainableModel, mode: BatchNormMode) -> None:
    """Choose what batch normalisation does in training.

    Args:
        model: changed in place. Before it is given to DDP and to the optimiser.
        mode: `local`: statistics of each rank's own micro-batch. `sync`: of all ranks together.
            `frozen`: the running statistics are used and stay as they are; scale and shift learn.

    Raises:
        UsageError: `sync` of a model that is not on a GPU.
    """
    if mode == "sync":
        if next(model.parameters()).device.type != "cuda":
            raise UsageError(
                "--batch-norm sync works on GPUs only. On CPUs: --batch-norm frozen or local."
            )
        # timm's keeps the activations that its norms hold; torch's would drop them.
        model.network = cast("Any", convert_sync_batchnorm)(model.network)
    model.batch_norm = mode
    model.train(model.training)


def has_batch_norm(model: TrainableModel) -> bool:
    """Tell whether the network normalises by batches, so that the mode makes a difference."""
    return any(True for _ in _batch_norms(model.network))


def _new_head(features: int, labels: int, seed: int) -> nn.Linear:
    skip_init = cast("Any", torch.nn.utils.skip_init)  # draws from nobody's generator
    head: nn.Linear = skip_init(nn.Linear, features, labels)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.copy_(torch.randn(labels, features, generator=generator) * HEAD_SPREAD)
        head.bias.zero_()
    return head


def _freeze_unused(model: TrainableModel) -> None:
    """Freeze the parameters that no gradient reaches, found with one picture."""
    model.eval()
    height, width = model.record.preprocessing.picture_size
    ramp = torch.arange(height * width, device=model.head.weight.device) % 251
    model(ramp.to(torch.uint8).view(1, 1, height, width)).sum().backward()
    for parameter in model.parameters():
        parameter.requires_grad = parameter.grad is not None
        parameter.grad = None


def _rest(module: nn.Module) -> None:
    """Put the parts into evaluation mode all of whose parameters are frozen."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
        return
    for child in module.children():
        _rest(child)


def _batch_norms(network: nn.Module) -> Iterable[nn.Module]:
    return (module for module in network.modules() if isinstance(module, _BatchNorm))


def _up_to(network: nn.Module, module: str) -> list[str]:
    """Return the parameters of a module and of everything before it."""
    names = ordered_names(network)
    depths = network_depths(network)
    place = {name: (depths[name], at) for at, name in enumerate(names)}
    last = max(place[name] for name in names if name.startswith(f"{module}."))
    return [name for name in names if place[name] <= last]


def _full_name(model: TrainableModel, wanted: str) -> str:
    """Return the name of the outermost module of the network that `wanted` names or ends."""
    modules: list[str] = [
        name
        for name, module in model.network.named_modules()
        if name and next(module.parameters(), None) is not None
    ]
    fitting = [name for name in modules if f".{name}".endswith(f".{wanted}")]
    depth = min((name.count(".") for name in fitting), default=0)
    outermost = [name for name in fitting if name.count(".") == depth]
    if wanted and len(outermost) == 1:
        return outermost[0]
    found = f"several: {', '.join(outermost)}" if outermost else "none"
    raise UsageError(
        f"--freeze-to {wanted!r}: {model.record.name} has {found} of that name. "
        f"It has {', '.join(_worth_naming(model.network, modules))}."
    )


def _worth_naming(network: nn.Module, modules: list[str]) -> list[str]:
    """Return the outer modules down to blocks, without the inside of blocks."""
    depths = network_depths(network)

    def spans_layers(name: str) -> bool:
        inside = {depth for one, depth in depths.items() if one.startswith(f"{name}.")}
        return len(inside) > 1

    opened = {name for name in modules if spans_layers(name)}
    return [name for name in modules if "." not in name or name.rpartition(".")[0] in opened]
