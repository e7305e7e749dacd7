"""Settings from four places, lowest to highest: defaults, cxrlearn.toml, environment, command line.

The fields of a config dataclass are the settings: their names are the keys of the file, the
environment variables (`CXRLEARN_` and the name in capitals) and, with dashes, the options. A value
is converted to its field's type here; whether values make sense together the config decides.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from cxrlearn.errors import UsageError
from cxrlearn.reports.toml import toml_text
from cxrlearn.workflows.backbone_choice import one_choice, single_model
from cxrlearn.workflows.setting_places import (
    DATA_KEYS,
    FILE_NAME,
    HIDDEN,
    PREFIX,
    SECTIONS,
    environment_layer,
    file_layers,
    unknown_variables,
)
from cxrlearn.workflows.setting_values import NamedPath, convert

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["DATA_KEYS", "FILE_NAME", "HIDDEN", "PREFIX", "SECTIONS", "NamedPath", "convert"]

T = TypeVar("T")

SOURCES = (
    frozenset({"csv"}),
    frozenset({"images"}),
    frozenset({"train_csv", "val_csv", "test_csv"}),
)
"""Kinds of sources of images; a command takes one kind."""


@dataclass(frozen=True)
class Setting:
    """One resolved value and where it came from."""

    value: object
    """The converted value."""
    origin: str
    """'default', the file, the environment variable or 'command line'."""


@dataclass
class Resolved:
    """Settings from all places, and what was found while they were put together."""

    settings: dict[str, Setting]
    """By key; one that could not be read has its default."""
    defaults: dict[str, object]
    """Of every setting."""
    passed_over: list[str] = field(default_factory=list)
    """Choices of a backbone that a higher place replaces."""
    several: tuple[str, ...] = ()
    """Models of `[embed]`, where they are several and nothing else names one."""
    problems: list[str] = field(default_factory=list)
    """What is wrong, a line each."""
    warnings: list[str] = field(default_factory=list)
    """What has no effect."""


def resolve_settings(
    config: type,
    section: str,
    given: Mapping[str, object],
    *,
    file: Path | None,
    environment: Mapping[str, str],
) -> dict[str, Setting]:
    """Lay the four layers over each other for the fields of `config`.

    Args:
        config: a dataclass whose fields are the settings.
        section: the command's section in the file.
        given: options of the command line; None means not given.
        file: `--config`; None looks for `cxrlearn.toml` in the working directory.
        environment: usually `os.environ`.

    Raises:
        UsageError: all problems of all layers, one a line.
    """
    resolved = lay_out(config, section, given, file=file, environment=environment)
    if resolved.problems:
        raise UsageError(*resolved.problems)
    return resolved.settings


def lay_out(
    config: type,
    section: str,
    given: Mapping[str, object],
    *,
    file: Path | None,
    environment: Mapping[str, str],
) -> Resolved:
    """Do what `resolve_settings` does, and keep the problems for more to be added.

    Raises:
        UsageError: the file cannot be read at all.
    """
    hints = get_type_hints(config)
    defaults = _defaults(config)
    resolved = Resolved(defaults, {key: one.value for key, one in defaults.items()})
    layers = [
        *file_layers(file, section, hints, resolved.problems),
        environment_layer(environment, hints),
        {key: (value, "command line") for key, value in given.items() if value is not None},
    ]
    resolved.warnings = unknown_variables(environment)
    resolved.passed_over = one_choice(layers, lists=section in {"embed", "models"})
    if section not in {"embed", "models"}:
        resolved.several = single_model(layers)
    for layer in layers:
        _displace(resolved.settings, layer, config)
        for key, (raw, origin) in layer.items():
            try:
                resolved.settings[key] = Setting(convert(raw, hints[key]), origin)
            except ValueError as error:
                if section == "finetune" and key == "precision" and origin.endswith("[embed]"):
                    resolved.warnings.append(f"precision of {origin} has no effect here: {error}.")
                    continue
                resolved.problems.append(_wrong_value(key, origin, hints[key], error))
    return resolved


def _defaults(config: type) -> dict[str, Setting]:
    defaults: dict[str, Setting] = {}
    for one in fields(config):
        if one.default is not MISSING:
            defaults[one.name] = Setting(one.default, "default")
        elif one.default_factory is not MISSING:
            defaults[one.name] = Setting(one.default_factory(), "default")
    return defaults


def _wrong_value(key: str, origin: str, hint: object, error: ValueError) -> str:
    if origin == "command line" and hint in {int, float, int | None, float | None}:
        return f"Invalid value for {option_name(key)!r}: {error}."
    return f"{option_name(key)} ({origin}): {error}"


def _displace(resolved: dict[str, Setting], layer: Mapping[str, object], config: type) -> None:
    """Drop sources of images that a higher layer replaces by sources of another kind.

    So `--images DIR` works in a folder whose settings file names CSV files.
    """
    named = [sources for sources in SOURCES if sources & layer.keys()]
    if len(named) != 1:  # none, or a contradiction within the layer, for the config to refuse
        return
    for one in fields(config):
        if any(one.name in sources for sources in SOURCES if sources is not named[0]):
            resolved[one.name] = Setting(one.default, "default")


def make_config(config: type[T], settings: Mapping[str, Setting]) -> T:
    """Build a config from resolved settings, whose types `resolve_settings` has seen to.

    Raises:
        UsageError: values that do not go together, all problems in one message.
    """
    values: dict[str, Any] = {key: setting.value for key, setting in settings.items()}
    return config(**values)


def option_name(key: str) -> str:
    """Return the option of a setting, as typed on the command line."""
    return "--" + key.replace("_", "-")


def settings_toml(
    section: str, settings: Mapping[str, Setting], *, with_origin: bool = False
) -> str:
    """Write settings as a section of `cxrlearn.toml`; what is None stands in a comment.

    Args:
        section: its name.
        settings: by key.
        with_origin: say in a comment where each value comes from.
    """
    lines = [f"[{section}]"]
    for key, setting in settings.items():
        origin = f"  # {setting.origin}" if with_origin else ""
        if setting.value is None:
            lines.append(f"# {key} is not set")
        else:
            lines.append(toml_text({key: plain(setting.value)}).rstrip("\n") + origin)
    return "\n".join(lines) + "\n"


def plain(value: object) -> object:
    """Return a setting with paths as text, as TOML holds them."""
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value if isinstance(value, (bool, int, float)) or value is None else str(value)
