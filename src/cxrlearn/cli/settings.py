"""From what was typed to a validated config; `--show-config` prints it and stops."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeVar

import typer

from cxrlearn.cli.options import given
from cxrlearn.errors import UsageError
from cxrlearn.workflows.backbone_choice import CHOICE
from cxrlearn.workflows.effects import unused_weights, without_effect
from cxrlearn.workflows.preflight import other_problems
from cxrlearn.workflows.settings import (
    HIDDEN,
    PREFIX,
    Resolved,
    Setting,
    lay_out,
    make_config,
    option_name,
    settings_toml,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cxrlearn.cli.console import Terminal


T = TypeVar("T")
SWITCHES = frozenset({"show_config", "quiet", "verbose", "debug", "as_json"})


def build_config(
    config: type[T],
    section: str,
    context: typer.Context,
    terminal: Terminal,
    environment: Mapping[str, str],
) -> T:
    """Resolve the settings of a command and build its config.

    Raises:
        UsageError: every problem, of settings, manifests and weights, one a line.
    """
    parameters = dict(context.params)
    file = parameters.pop("config")
    typed = given({key: value for key, value in parameters.items() if key not in SWITCHES})
    if section == "models":
        typed["model"] = typed.pop("name")
    resolved = lay_out(
        config, section, typed, file=None if file is None else Path(file), environment=environment
    )
    if section in {"probe", "finetune"}:
        _complete_choice(section, resolved)
    if parameters["show_config"] and not resolved.problems:
        shown = {key: one for key, one in resolved.settings.items() if key not in HIDDEN}
        terminal.show_text(settings_toml(section, shown, with_origin=True))
        raise typer.Exit
    _check_effects(section, resolved)
    built = _build(config, section, resolved)
    if section in {"embed", "models"} and resolved.passed_over:
        terminal.notice(f"passed over: {'; '.join(resolved.passed_over)}.")
    for line in resolved.warnings:
        terminal.warning(line)
    return built


def _build(config: type[T], section: str, resolved: Resolved) -> T:
    problems = list(resolved.problems)
    try:
        built = make_config(config, resolved.settings)
    except UsageError as error:
        problems += str(error).splitlines()
    else:
        if not problems:
            return built
    values = {key: one.value for key, one in resolved.settings.items()}
    problems += other_problems(section, config, values)
    raise UsageError(*dict.fromkeys(problems))


def _complete_choice(section: str, resolved: Resolved) -> None:
    """Take the backbone of the only feature file where nothing names one; say what was taken."""
    settings = resolved.settings
    if resolved.several:
        resolved.problems.append(
            f"--model is missing: [embed] names several ({', '.join(resolved.several)}). Say which "
            "one to take."
        )
        return
    if settings["model"].value is None:
        from cxrlearn.workflows.probe_features import only_feature_file

        folder = Path(str(settings["features_dir"].value))
        try:
            found = only_feature_file(
                folder,
                offline=bool(settings["offline"].value),
                other_weights=settings["weights"].origin != "default",
            )
        except UsageError as error:
            if not resolved.problems:  # else it is told why nothing names one
                resolved.problems.append(str(error))
            return
        for key, value in found.items():
            if key not in settings or (section == "finetune" and value == "fp16"):
                continue
            if settings[key].origin == "default" or settings[key].origin.endswith("[embed]"):
                settings[key] = Setting(value, f"the only file in {folder}")
    origin = _place(settings["model"].origin)
    refined = [
        f"{option_name(key)} of {_place(settings[key].origin)}"
        for key in CHOICE
        if key in settings and _place(settings[key].origin) not in {"default", origin}
    ]
    said = f"{origin}{', with ' if refined else ''}{', '.join(refined)}"
    passed = f"; passed over: {'; '.join(resolved.passed_over)}" if resolved.passed_over else ""
    settings["backbone_from"] = Setting(said + passed, "default")


def _place(origin: str) -> str:
    """Return the place of an origin; all variables are one place."""
    return "the environment" if origin.startswith(PREFIX) else origin


def _check_effects(section: str, resolved: Resolved) -> None:
    """Refuse what was typed and does nothing; name, and drop, what a file or variable says so."""
    settings = resolved.settings
    values = SimpleNamespace(**{key: one.value for key, one in settings.items()})
    for key, why in without_effect(section, values).items():
        origin = settings[key].origin
        if origin == "command line":
            resolved.problems.append(f"{option_name(key)} {why}")
        elif origin != "default":
            resolved.warnings.append(f"{key} of {origin} has no effect here: {why}")
            settings[key] = Setting(resolved.defaults[key], "default")
    if "model" not in settings or settings["weights"].origin == "default":
        return
    model = settings["model"].value
    models = model if isinstance(model, tuple) else (str(model),)
    unused = list(unused_weights(values.weights, models)) if model else []
    if settings["weights"].origin == "command line":
        resolved.problems += unused
    else:
        resolved.warnings += [f"{line[:-1]}, so it has no effect here." for line in unused]
