"""Look a backbone up by name, and settle what exactly is meant.

Names with a prefix (`timm:`, `torchvision:`, `hf:`) become records on the fly, which imports that
library; all other names are settled without importing anything heavy.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING

from cxrlearn.backbones.catalog import CATALOG
from cxrlearn.backbones.plugins import Plugins, installed_plugins
from cxrlearn.backbones.spec import ResolvedBackbone
from cxrlearn.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cxrlearn.backbones.spec import BackboneSpec, FeatureChoice, Preprocessing, Variant

PREFIXES = {
    "timm": "cxrlearn.backbones.libraries.timm_models",
    "torchvision": "cxrlearn.backbones.libraries.torchvision_models",
    "hf": "cxrlearn.backbones.libraries.hf_models",
}
"""Which module makes the records of names with a prefix; each has a `make_spec`."""


def list_specs() -> tuple[BackboneSpec, ...]:
    """Return all records: those that ship with cxrlearn, then those of plug-ins."""
    return (*CATALOG, *_plugins().specs)


def plugin_problems() -> tuple[str, ...]:
    """Return a line for each plug-in that could not be used, to be shown as a warning."""
    return _plugins().problems


def get_spec(
    name: str, *, offline: bool = False, notify: Callable[[str], None] | None = None
) -> BackboneSpec:
    """Return the record of a name or alias.

    Args:
        name: such as `chexzero`, `cxr-repair`, `timm:resnet50.a1_in1k`, `hf:microsoft/rad-dino`.
        offline: never ask the network about an `hf:` name.
        notify: told before anything is downloaded.

    Raises:
        WeightsError: nothing has that name; the message suggests and lists what there is.
    """
    prefix, colon, rest = name.partition(":")
    if colon:
        return _library_spec(prefix, rest, offline=offline, notify=notify or _ignore)
    for spec in CATALOG:
        if name == spec.name or name in spec.aliases:
            return spec
    for spec in _plugins().specs:
        if name == spec.name or name in spec.aliases:
            return spec
    raise WeightsError(_unknown_name(name))


def resolve(
    name: str,
    *,
    arch: str | None = None,
    pretrained_on: str | None = None,
    features: str | None = None,
    preprocessing: str | None = None,
    offline: bool = False,
    notify: Callable[[str], None] | None = None,
) -> ResolvedBackbone:
    """Settle one concrete choice; None takes the record's default.

    Args:
        name: as for `get_spec`.
        arch: such as `resnet18`.
        pretrained_on: such as `chexpert`.
        features: id of a feature, such as `pre_proj`.
        preprocessing: name of a rule, such as `original`.
        offline: never ask the network about an `hf:` name.
        notify: told before anything is downloaded.

    Raises:
        WeightsError: the name, or a choice that the record does not offer.
    """
    spec = get_spec(name, offline=offline, notify=notify)
    variant = _pick_variant(spec, arch, pretrained_on)
    return ResolvedBackbone(
        spec=spec,
        variant=variant,
        feature=_pick_feature(spec, variant, features),
        preprocessing=_pick_preprocessing(spec, preprocessing),
    )


def _plugins() -> Plugins:
    taken = {name for spec in CATALOG for name in (spec.name, *spec.aliases)}
    return installed_plugins(frozenset(taken))


def _ignore(message: str) -> None:
    """Drop a notice."""


def _library_spec(
    prefix: str, rest: str, *, offline: bool, notify: Callable[[str], None]
) -> BackboneSpec:
    if prefix not in PREFIXES:
        known = ", ".join(f"{known}:" for known in PREFIXES)
        raise WeightsError(
            f"unknown backbone {prefix + ':' + rest!r}: {prefix + ':'!r} is no library known here; "
            f"expected one of {known} or a plain name (see `cxrlearn models list`)"
        )
    if not rest.strip():
        raise WeightsError(f"{prefix}: needs the name of a model after the colon")
    spec: BackboneSpec = import_module(PREFIXES[prefix]).make_spec(
        rest.strip(), offline=offline, notify=notify
    )
    return spec


def _unknown_name(name: str) -> str:
    names = [spec.name for spec in list_specs()]
    aliases = [alias for spec in list_specs() for alias in spec.aliases]
    meant = _architecture(name.lower()) or suggestion(name.lower(), [*names, *aliases])
    parts = [f"unknown backbone {name!r}.{meant}"]
    parts.append(f"Available: {', '.join(names)}, and timm:NAME, torchvision:NAME, hf:REPOSITORY.")
    parts.extend(f"{problem.rstrip('.')}." for problem in plugin_problems())
    return " ".join(parts)


def _architecture(name: str) -> str:
    """Say how to ask for an architecture, where its name was given as a backbone's."""
    ways = [f"{spec.name} --arch {name}" for spec in list_specs() if name in spec.archs]
    if ways or any(sign.isdigit() for sign in name):
        ways = [*_in_libraries(name), *ways]
    if not ways:
        return ""
    return f" That is an architecture. With weights: {'; '.join(f'--model {way}' for way in ways)}."


def _in_libraries(name: str) -> list[str]:
    """Return the names under which libraries have this very architecture."""
    found = []
    for prefix in ("torchvision", "timm"):
        try:
            known = import_module(PREFIXES[prefix]).has_model(name)
        except ImportError:
            known = False
        found += [f"{prefix}:{name}"] if known else []
    return found


def suggestion(word: str, choices: Sequence[str]) -> str:
    """Return ` Did you mean 'x'?` for the choice most like `word`, or nothing."""
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def _pick_variant(spec: BackboneSpec, arch: str | None, pretrained_on: str | None) -> Variant:
    _require(spec, "arch", arch, spec.archs)
    _require(spec, "pretrained_on", pretrained_on, spec.pretrained_ons)
    for variant in spec.variants:
        if arch in {None, variant.arch} and pretrained_on in {None, variant.pretrained_on}:
            return variant
    there = ", ".join(f"{one.arch} on {one.pretrained_on}" for one in spec.variants)
    raise WeightsError(f"{spec.name} has no {arch} trained on {pretrained_on}, only {there}")


def _require(spec: BackboneSpec, what: str, value: str | None, offered: Iterable[str]) -> None:
    choices = list(offered)
    if value is None or value in choices:
        return
    there = f"it has {', '.join(choices)}" if choices else "it has no such choice"
    option = f"--{what.replace('_', '-')}"
    raise WeightsError(
        f"{spec.name} has no {option} {value!r}: {there}.{suggestion(value, choices)}"
    )


def _pick_feature(spec: BackboneSpec, variant: Variant, wanted: str | None) -> FeatureChoice:
    _require(spec, "features", wanted, (feature.id for feature in variant.features))
    return next(one for one in variant.features if wanted in {None, one.id})


def _pick_preprocessing(spec: BackboneSpec, wanted: str | None) -> Preprocessing:
    _require(spec, "preprocessing", wanted, (rule.name for rule in spec.preprocessings))
    return next(one for one in spec.preprocessings if wanted in {None, one.name})
