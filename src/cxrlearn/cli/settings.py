"""From what was typed to a validated config; `--show-config` prints it and stops."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from cxrlearn.cli.options import given
from cxrlearn.workflows.settings import HIDDEN, resolve_settings, settings_toml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cxrlearn.cli.console import Terminal


T = TypeVar("T")


def build_config(
    config: type[T],
    section: str,
    context: typer.Context,
    terminal: Terminal,
    environment: Mapping[str, str],
) -> T:
    """Resolve the settings of a command and build its config.

    Raises:
        UsageError: every problem, one a line.
    """
    parameters = dict(context.params)
    switches = {"show_config", "quiet", "debug", "as_json"}
    file = parameters.pop("config")
    show = parameters["show_config"]
    typed = given({key: value for key, value in parameters.items() if key not in switches})
    settings = resolve_settings(
        config, section, typed, file=None if file is None else Path(file), environment=environment
    )
    if show:
        shown = {key: setting for key, setting in settings.items() if key not in HIDDEN}
        terminal.show_text(settings_toml(section, shown, with_origin=True))
        raise typer.Exit
    return config(**{key: setting.value for key, setting in settings.items()})
