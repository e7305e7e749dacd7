"""From the name of a backbone to its weights, fingerprint and feature file, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cxrlearn.backbones.registry import list_specs, plugin_problems, resolve
from cxrlearn.backbones.spec import FileWeights, PackagedFile
from cxrlearn.backbones.weights import content_hash, identity, locate
from cxrlearn.errors import UsageError, WeightsError
from cxrlearn.features.fingerprint import Fingerprint, feature_tag

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cxrlearn.backbones.spec import ResolvedBackbone
    from cxrlearn.workflows.settings import NamedPath


class BackboneSettings(Protocol):
    """The settings that choose a backbone; every config of a command has them."""

    # Properties, because the configs are frozen; `EmbedConfig` says what each means.
    @property
    def arch(self) -> str | None:
        """Variant of the architecture."""

    @property
    def pretrained_on(self) -> str | None:
        """Variant of the weights."""

    @property
    def features(self) -> str | None:
        """Which feature."""

    @property
    def weights(self) -> tuple[NamedPath, ...]:
        """Files, or folders to look in."""

    @property
    def preprocessing(self) -> str | None:
        """Which rule for the pixels."""

    @property
    def random_weights(self) -> int | None:
        """Seed of random weights."""

    @property
    def offline(self) -> bool:
        """Never download."""

    @property
    def intensity(self) -> str:
        """How deep pixels become grey."""

    @property
    def precision(self) -> str:
        """Of the forward pass."""


@dataclass(frozen=True)
class Target:
    """One backbone with the file that its features go to."""

    resolved: ResolvedBackbone
    """The choice."""
    given: Path | None
    """Weight file or folder named by the user."""
    weights: Path | None
    """The weight file, or None where a library keeps the weights."""
    fingerprint: Fingerprint
    """What decides the numbers; its precision may still be `auto`."""
    precision: str
    """As asked for."""
    tag: str
    """Stem of the file."""
    file: Path
    """The feature file."""


def resolve_target(
    name: str,
    settings: BackboneSettings,
    folder: Path,
    *,
    store: str = "float32",
    notify: Callable[[str], None] | None = None,
) -> Target:
    """Find everything out about one backbone.

    Raises:
        WeightsError: unknown backbone or variant, or its weights are not there.
        UsageError: one weight file was given for several backbones.
    """
    resolved = resolve(
        name,
        arch=settings.arch,
        pretrained_on=settings.pretrained_on,
        features=settings.features,
        preprocessing=None if settings.preprocessing == "published" else settings.preprocessing,
        offline=settings.offline,
        notify=notify,
    )
    given = given_weights(resolved, name, settings.weights)
    seed = settings.random_weights
    weights = None if seed is not None else locate(resolved, weights=given)
    named_file = weights is not None and given is not None and not given.is_dir()
    tag = feature_tag(
        resolved,
        precision=settings.precision,
        store=store,
        intensity=settings.intensity,
        weights_sha256=content_hash(weights) if named_file and weights is not None else None,
        random_seed=seed,
    )
    fingerprint = Fingerprint(
        backbone=resolved.name,
        arch=resolved.arch,
        pretrained_on=resolved.pretrained_on,
        weights=identity(resolved, weights, seed)["weights"],
        feature=resolved.feature.id,
        dim=resolved.feature.dim,
        preprocessing=resolved.preprocessing.identity(),
        intensity=settings.intensity,
        precision=settings.precision,
        store=store,
    )
    return Target(
        resolved, given, weights, fingerprint, settings.precision, tag, folder / f"{tag}.h5"
    )


def given_weights(
    resolved: ResolvedBackbone, name: str, weights: tuple[NamedPath, ...]
) -> Path | None:
    """Return the `--weights` that is meant for this backbone, or None.

    Raises:
        UsageError: two are.
    """
    names = {name, resolved.name, *resolved.spec.aliases}
    mine = [entry.path for entry in weights if entry.name in names]
    mine = mine or [entry.path for entry in weights if entry.name is None]
    if len(mine) > 1:
        raise UsageError(
            f"--weights: {len(mine)} files are meant for {name}. Say which: --weights {name}=FILE."
        )
    return mine[0] if mine else None


def expand_models(
    names: tuple[str, ...],
    settings: BackboneSettings,
    notify: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:
    """Replace `all` by every backbone with a file whose weights are there; drop repetitions.

    Args:
        names: as given with --model.
        settings: what else chooses weights.
        notify: told of each plug-in that `all` leaves out because it does not work.

    Raises:
        UsageError: `all` found none.
    """
    if "all" not in names:
        return tuple(dict.fromkeys(names))
    found = [spec.name for spec in list_specs() if _has_weights(spec.name, settings)]
    for problem in plugin_problems():
        notify(problem)
    if not found:
        raise UsageError(
            "--model all: no weights were found. `cxrlearn models list` says what is looked for."
        )
    return tuple(dict.fromkeys([name for name in names if name != "all"] + found))


def _has_weights(name: str, settings: BackboneSettings) -> bool:
    try:
        resolved = resolve(name)
        if not isinstance(resolved.spec.weights, (FileWeights, PackagedFile)):
            return False
        return locate(resolved, weights=given_weights(resolved, name, settings.weights)) is not None
    except WeightsError:
        return False
