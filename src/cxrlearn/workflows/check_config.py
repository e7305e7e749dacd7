"""`models check`: its settings, and the check itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlearn.workflows.setting_values import NamedPath

if TYPE_CHECKING:
    from cxrlearn.backbones.check import CheckReport
    from cxrlearn.runtime.events import Reporter


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Which weights are checked."""

    model: str
    """Backbone."""
    arch: str | None = None
    """Variant of the architecture; None is the record's default."""
    pretrained_on: str | None = None
    """Variant of the weights; None is the record's default."""
    weights: tuple[NamedPath, ...] = ()
    """Weight files or folders to look in."""
    offline: bool = False
    """Never download anything."""


def run_check(config: CheckConfig, reporter: Reporter) -> CheckReport:
    """Find, load and account for the weights.

    Raises:
        WeightsError: they are missing, unsafe, damaged or of another model.
        UsageError: two weight files are meant for the backbone.
    """
    from cxrlearn.backbones.check import check_weights
    from cxrlearn.backbones.registry import resolve
    from cxrlearn.workflows.targets import given_weights

    resolved = resolve(
        config.model,
        arch=config.arch,
        pretrained_on=config.pretrained_on,
        offline=config.offline,
        notify=reporter.notice,
    )
    return check_weights(
        config.model,
        config.arch,
        config.pretrained_on,
        given_weights(resolved, config.model, config.weights),
        offline=config.offline,
        notify=reporter.notice,
    )
