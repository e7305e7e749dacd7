"""From what was typed to a validated config; `--show-config` prints it and stops."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from cxrlearn.cli.options import given
from cxrlearn.errors import UsageError
from cxrlearn.workflows.settings import (
    HIDDEN,
    Setting,
    convert,
    make_config,
    read_sections,
    resolve_settings,
    settings_toml,
)

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
    switches = {"show_config", "quiet", "verbose", "debug", "as_json"}
    file = parameters.pop("config")
    show = parameters["show_config"]
    typed = given({key: value for key, value in parameters.items() if key not in switches})
    settings = resolve_settings(
        config, section, typed, file=None if file is None else Path(file), environment=environment
    )
    if "model" in settings and settings["model"].value is None:
        settings |= _other_model(settings, file)
    if show:
        shown = {key: setting for key, setting in settings.items() if key not in HIDDEN}
        terminal.show_text(settings_toml(section, shown, with_origin=True))
        raise typer.Exit
    return make_config(config, settings)


def _other_model(settings: Mapping[str, Setting], file: str | Path | None) -> dict[str, Setting]:
    """Take the backbone from `[embed]`, or from the only feature file there is.

    Raises:
        UsageError: neither names exactly one.
    """
    section = read_sections(None if file is None else Path(file)).get("embed", {})
    if "model" in section:
        names = convert(section["model"], tuple[str, ...])
        if not isinstance(names, tuple) or len(names) != 1:
            listed = ", ".join(str(name) for name in names) if isinstance(names, tuple) else ""
            raise UsageError(
                f"--model is missing: [embed] names several ({listed}). Say which one to probe."
            )
        return {"model": Setting(names[0], "cxrlearn.toml [embed]")}
    from cxrlearn.workflows.probe_features import only_feature_file

    folder = settings["features_dir"].value
    found = only_feature_file(Path(str(folder)))
    return {key: Setting(value, f"the only file in {folder}") for key, value in found.items()}
