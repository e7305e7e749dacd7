"""From a name to a frozen network with proved weights."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import nn

from cxrlearn.backbones.backbone import Backbone
from cxrlearn.backbones.checkpoint import read_checkpoint
from cxrlearn.backbones.matching import LoadAccount, fit_state
from cxrlearn.backbones.registry import PREFIXES, resolve
from cxrlearn.backbones.spec import BuilderWeights, LibraryWeights, ResolvedBackbone
from cxrlearn.backbones.weights import (
    file_forms,
    file_sha256,
    load_reference,
    locate,
    looked_in,
    verification,
)
from cxrlearn.errors import WeightsError
from cxrlearn.runtime.strangers import StrangerError, strangers_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LoadOptions:
    """How weights are come by, apart from which."""

    weights: Path | None = None
    """A file or folder given by the user; see `weights.locate`."""
    random_weights: int | None = None
    """Seed of untrained weights, for which no file is needed."""
    offline: bool = False
    """Never download."""
    notify: Callable[[str], None] | None = None
    """Told before anything is downloaded, and what is odd about the weights."""


class Library(Protocol):
    """What a module of `cxrlearn.backbones.libraries` offers for weights in a library's cache."""

    def load(
        self, resolved: ResolvedBackbone, path: Path | None, options: LoadOptions
    ) -> tuple[nn.Module, LoadAccount]:
        """Return the network with its weights."""


def load_backbone(  # noqa: PLR0913 - the public function: one keyword per choice
    name: str,
    *,
    arch: str | None = None,
    pretrained_on: str | None = None,
    weights: str | Path | None = None,
    features: str | None = None,
    device: str | torch.device = "cpu",
    preprocessing: str | None = None,
    random_weights: int | None = None,
    offline: bool = False,
    notify: Callable[[str], None] | None = None,
    read: Callable[[Path], NDArray[np.uint8]] | None = None,
) -> Backbone:
    """Load a backbone by name, ready for inference.

    Args:
        name: a record's name or alias, or `timm:`, `torchvision:`, `hf:` and a model's name.
        arch: variant, such as `resnet18`; None takes the default, as everywhere below.
        pretrained_on: variant, such as `chexpert`.
        weights: the weight file, or a folder that holds it.
        features: which feature, such as `pre_proj`.
        device: where the network computes.
        preprocessing: which rule, such as `original`.
        random_weights: seed of untrained weights in place of a file.
        offline: never download.
        notify: told before anything is downloaded.
        read: turns a path into (H, W) uint8 pixels, for `Backbone.preprocess`.

    Raises:
        WeightsError: unknown name or choice; weights missing, unsafe, damaged or of another model.
    """
    resolved = resolve(
        name,
        arch=arch,
        pretrained_on=pretrained_on,
        features=features,
        preprocessing=preprocessing,
        offline=offline,
        notify=notify,
    )
    options = LoadOptions(
        weights=None if weights is None else Path(weights),
        random_weights=random_weights,
        offline=offline,
        notify=notify,
    )
    return load_resolved(resolved, options, device=device, read=read)


def load_resolved(
    resolved: ResolvedBackbone,
    options: LoadOptions,
    *,
    device: str | torch.device = "cpu",
    read: Callable[[Path], NDArray[np.uint8]] | None = None,
) -> Backbone:
    """Load a choice that `registry.resolve` made; see `load_backbone`."""
    network, account = _network(resolved, options)
    backbone = Backbone(network.to(device), resolved, account, read)
    _prove_dim(backbone, torch.device(device))
    for problem in account.problems:
        (options.notify or _ignore)(f"{resolved.name}: {problem}")
    return backbone


def build_network(resolved: ResolvedBackbone, seed: int = 0) -> nn.Module:
    """Run the record's builder under `seed`, leaving the global random state as it was.

    Raises:
        WeightsError: the builder is missing or returned something else than a module.
    """
    builder = resolved.spec.builder
    build = load_reference(builder) if isinstance(builder, str) else builder
    if not callable(build):
        raise WeightsError(f"{resolved.name}: its builder {builder!r} cannot be called")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach the GPUs' too
        with _own_or_strangers(resolved):
            network = build(resolved)
    if not isinstance(network, nn.Module):
        raise WeightsError(
            f"{resolved.name}: its builder returned a {type(network).__name__}, expected a "
            "torch.nn.Module"
        )
    return network


@contextmanager
def _own_or_strangers(resolved: ResolvedBackbone) -> Iterator[None]:
    """Run the network of a record; what a plug-in's raises becomes an error that names it.

    Raises:
        WeightsError: a plug-in's code failed.
    """
    builder = resolved.spec.builder
    if isinstance(builder, str) and builder.startswith("cxrlearn."):
        yield
        return
    try:
        with strangers_code():
            yield
    except StrangerError as error:
        raise WeightsError(
            f"{resolved.name}: the code of this backbone, a plug-in, failed ({error}). "
            "Report it to the plug-in's authors, or choose another --model."
        ) from error


def load_file(resolved: ResolvedBackbone, path: Path) -> tuple[nn.Module, LoadAccount]:
    """Fill the network from a weight file, completely or not at all.

    Raises:
        WeightsError: the file is unsafe, damaged or of another model.
    """
    content = read_checkpoint(path)
    network = _skeleton(resolved)
    try:
        state, account = fit_state(
            content,
            file_forms(resolved),
            network.state_dict(),
            what=f"{path} does not hold the weights of {_choice(resolved)}",
            advice="Check --model, --arch and --weights.",
        )
    except WeightsError as error:
        raise WeightsError(f"{error}{_other_variant(resolved, content)}") from error
    sha256 = file_sha256(path)
    problems = (*account.problems, *_hash_problem(resolved, sha256))
    return _fill(resolved, network, state), replace(
        account, file=path, sha256=sha256, problems=problems
    )


def _skeleton(resolved: ResolvedBackbone) -> nn.Module:
    """Build the network to be filled: cxrlearn's own without values, which saves seconds.

    A stranger's builder may compute with the values it makes, so it runs as it was written.
    """
    builder = resolved.spec.builder
    if isinstance(builder, str) and builder.startswith("cxrlearn."):
        return without_values(lambda: build_network(resolved))
    return build_network(resolved)


def without_values(build: Callable[[], nn.Module]) -> nn.Module:
    """Run `build` with tensors that have shapes only, or ordinarily if it looks at values."""
    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError):
        return build()


def _fill(
    resolved: ResolvedBackbone, network: nn.Module, state: dict[str, torch.Tensor]
) -> nn.Module:
    """Put a complete state into the network; nothing may be left without a value."""
    network.load_state_dict(state, assign=True)
    left = [one for one in (*network.parameters(), *network.buffers()) if one.is_meta]
    if left:  # values that are computed by the builder and never saved
        network = build_network(resolved)
        network.load_state_dict(state)
    return network


def _network(resolved: ResolvedBackbone, options: LoadOptions) -> tuple[nn.Module, LoadAccount]:
    source = resolved.spec.weights
    seed = options.random_weights
    if isinstance(source, BuilderWeights):
        if seed is not None:
            raise WeightsError(f"{resolved.name} has no weights that could be random")
        locate(resolved, weights=options.weights)  # refuses a file that would not be used
        return build_network(resolved), LoadAccount(f"brought by its builder: {source.identity}")
    if seed is not None:
        return build_network(resolved, seed), LoadAccount(f"random weights, seed {seed}")
    path = locate(resolved, weights=options.weights)
    if isinstance(source, LibraryWeights):
        library = cast("Library", import_module(PREFIXES[source.library]))
        try:
            return library.load(resolved, path, options)
        except WeightsError as error:
            if path is not None or not resolved.variant.files:
                raise
            elsewhere = looked_in(resolved, options.weights)
            raise WeightsError(f"{error} Before, cxrlearn {elsewhere}.") from error
    if path is None:
        raise WeightsError(f"{resolved.name}: no weight file was found")
    return load_file(resolved, path)


def _other_variant(resolved: ResolvedBackbone, content: object) -> str:
    """Return the advice that the file is another variant's, if it fits one of another arch."""
    for variant in resolved.spec.variants:
        if variant.arch == resolved.arch:
            continue
        other = replace(resolved, variant=variant, feature=variant.features[0])
        expected = _skeleton(other).state_dict()
        try:
            fit_state(content, file_forms(other), expected, what="", advice="")
        except WeightsError:
            continue
        return f" It fits --arch {variant.arch}."
    return ""


def _hash_problem(resolved: ResolvedBackbone, sha256: str) -> tuple[str, ...]:
    published = resolved.variant.sha256
    if published is None or sha256.startswith(published):
        return ()
    return (verification(published, sha256),)


def _choice(resolved: ResolvedBackbone) -> str:
    variant = ", ".join(filter(None, (resolved.arch, resolved.pretrained_on)))
    return f"{resolved.name} ({variant})" if variant else resolved.name


def _prove_dim(backbone: Backbone, device: torch.device) -> None:
    """Run one black image through the network: features must have the width declared."""
    black = torch.zeros(1, 3, *backbone.record.preprocessing.input_size, device=device)
    with torch.inference_mode(), _own_or_strangers(backbone.record):
        features = backbone(black)
    if features.shape != (1, backbone.feature_dim):
        raise WeightsError(
            f"{backbone.record.name}: feature {backbone.record.feature.id!r} should have "
            f"{backbone.feature_dim} values, as declared; the network gives {list(features.shape)}"
        )


def _ignore(message: str) -> None:
    """Drop a notice."""
