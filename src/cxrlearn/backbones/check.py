"""Does a backbone's weight file exist, is it the right one, and what becomes of every key in it?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cxrlearn.backbones.load import LoadOptions, load_resolved
from cxrlearn.backbones.registry import resolve
from cxrlearn.backbones.weights import verification
from cxrlearn.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cxrlearn.backbones.matching import LoadAccount
    from cxrlearn.backbones.spec import FeatureChoice, ResolvedBackbone


@dataclass(frozen=True)
class FeatureCheck:
    """Whether one feature can be had from the file."""

    feature: FeatureChoice
    """The feature."""
    problem: str | None
    """None: it can; else why not."""


@dataclass(frozen=True)
class CheckReport:
    """What `models check` shows of weights that load."""

    resolved: ResolvedBackbone
    """Which backbone and variant."""
    path: Path | None
    """The file; None where a library or a builder brings the weights."""
    sha256: str | None
    """The file's hash."""
    verification: str
    """What the hash proves, in words."""
    account: LoadAccount
    """Which form the file has, and what became of every key."""
    parameters: int
    """How many numbers the network learned."""
    features: tuple[FeatureCheck, ...]
    """Every feature of the record, the default first."""


def check_weights(
    name: str,
    arch: str | None = None,
    pretrained_on: str | None = None,
    weights: Path | None = None,
    *,
    offline: bool = False,
    notify: Callable[[str], None] | None = None,
) -> CheckReport:
    """Find, load and account for the weights of one variant.

    Args:
        name: as for `registry.resolve`.
        arch: variant; None takes the default.
        pretrained_on: variant; None takes the default.
        weights: a file, or a folder that holds it.
        offline: never download.
        notify: told before anything is downloaded.

    Raises:
        WeightsError: the weights are missing, unsafe, damaged or of another model.
    """
    resolved = resolve(name, arch=arch, pretrained_on=pretrained_on, offline=offline, notify=notify)
    options = LoadOptions(weights=weights, offline=offline, notify=notify)
    backbone = load_resolved(resolved, options)
    account = backbone.load_account
    others = (
        FeatureCheck(feature, _problem(replace(resolved, feature=feature), options))
        for feature in resolved.variant.features[1:]
    )
    return CheckReport(
        resolved=resolved,
        path=account.file,
        sha256=account.sha256,
        verification=verification(resolved.variant.sha256, account.sha256),
        account=account,
        parameters=sum(one.numel() for one in backbone.parameters()),
        features=(FeatureCheck(resolved.feature, None), *others),
    )


def _problem(resolved: ResolvedBackbone, options: LoadOptions) -> str | None:
    try:
        load_resolved(resolved, replace(options, notify=None))
    except WeightsError as error:
        return str(error)
    return None
