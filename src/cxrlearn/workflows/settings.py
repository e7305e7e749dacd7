"""Settings from four places, lowest to highest: defaults, cxrlearn.toml, environment, command line.

The fields of a config dataclass are the settings: their names are the keys of the file, the
environment variables (`CXRLEARN_` and the name in capitals) and, with dashes, the options. A value
is converted to its field's type here; whether values make sense together the config decides.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import MISSING, dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from cxrlearn.errors import UsageError
from cxrlearn.reports.toml import toml_text
from cxrlearn.workflows.backbone_choice import CHOICE, one_choice, single_model
from cxrlearn.workflows.setting_values import NamedPath, anchor, convert

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from cxrlearn.workflows.backbone_choice import Layer

__all__ = ["NamedPath", "convert"]  # from `setting_values`, where most readers look for them

T = TypeVar("T")

FILE_NAME = "cxrlearn.toml"
CONFIGS = {
    "embed": "cxrlearn.workflows.embed_config:EmbedConfig",
    "probe": "cxrlearn.workflows.probe_config:ProbeConfig",
    "finetune": "cxrlearn.workflows.finetune_config:FinetuneConfig",
    "predict": "cxrlearn.workflows.predict_config:PredictConfig",
    "compare": "cxrlearn.workflows.compare:CompareConfig",
}
"""Whose fields are the keys of a section; imported when a file has it."""
SECTIONS = ("data", *CONFIGS)
PREFIX = "CXRLEARN_"
OTHER_VARIABLES = frozenset({"CXRLEARN_WEIGHTS_DIR"})
"""Variables that are no settings of a command."""
TEST_VARIABLES = frozenset(
    {"CXRLEARN_REQUIRE_SHARED", "CXRLEARN_CRASH_KILLS", "CXRLEARN_REPORTS", "CXRLEARN_SCREENSHOTS"}
)
"""Variables of the tests, which run commands in their own environment."""

HIDDEN = frozenset({"part_rows", "part_seconds", "backbone_from"})
"""Fields that are no settings: for tests of the library, or filled in here."""

DATA_KEYS = frozenset(
    {
        "csv", "train_csv", "val_csv", "test_csv", "images", "image_root", "path_column",
        "path_prefix", "path_suffix",
        "split_column", "split_by_image", "class_columns", "positive", "label_separator", "task",
        "num_classes", "blank", "uncertain", "patient_column", "intensity", "strict", "subgroup",
        "floor_columns", "origin",
    }
)  # fmt: skip
"""What `[data]` may hold: it says what the data are, for every command."""


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
        *_file_layers(file, section, hints, resolved.problems),
        _environment_layer(environment, hints),
        {key: (value, "command line") for key, value in given.items() if value is not None},
    ]
    resolved.warnings = _unknown_variables(environment)
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


def find_file(file: Path | None) -> Path | None:
    """Return the settings file in force, or None.

    Raises:
        UsageError: `file` is given and not there.
    """
    if file is not None:
        if not file.is_file():
            raise UsageError(f"--config: no file {file}. `cxrlearn init` writes one.")
        return file
    default = Path(FILE_NAME)
    return default if default.is_file() else None


def read_sections(file: Path | None) -> dict[str, dict[str, object]]:
    """Return the sections of the settings file in force; unknown sections are refused.

    Raises:
        UsageError: the file is not TOML, or has a section cxrlearn does not know.
    """
    path = find_file(file)
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not valid TOML: it is not UTF-8 text ({error}). Save it as UTF-8."
        ) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(*_broken(path, text, error)) from error
    problems = [
        f"{path}: {_unknown(name, content[name])} "
        f"Sections: {', '.join(f'[{known}]' for known in SECTIONS)}."
        for name in content
        if name not in SECTIONS or not isinstance(content[name], dict)
    ]
    if problems:
        raise UsageError(*problems)
    return content


def _unknown(name: str, value: object) -> str:
    if name in SECTIONS:
        return f"{name!r} has to be a section, [{name}]."
    kind = "section" if isinstance(value, dict) else "key outside a section:"
    return f"unknown {kind} {name!r}{_meant(name, SECTIONS)}"


def _broken(path: Path, text: str, error: tomllib.TOMLDecodeError) -> tuple[str, ...]:
    """Say where TOML is broken, what stands there, and what is usually meant."""
    place = re.search(r"at line (\d+)", str(error))
    lines = text.splitlines()
    number = int(place[1]) if place else len(lines)
    found = f" That line is: {lines[number - 1].strip()}" if 0 < number <= len(lines) else ""
    return (
        f"{path} is not valid TOML: {error}.{found}",
        'Write text as key = "text", several values as key = ["a", "b"], a section as [probe], and '
        "each key once.",
    )


def _file_layers(
    file: Path | None, section: str, hints: Mapping[str, object], problems: list[str]
) -> list[Layer]:
    """Return what the file says, lowest first: of the backbone in `[embed]`, `[data]`, its own.

    Unknown keys are problems in every section, also in those of other commands.
    """
    path = find_file(file)
    sections = read_sections(file)
    own = "embed" if section == "models" else section
    read = [(name, set(hints) - HIDDEN) for name in ("data", own)]
    if own in {"probe", "finetune"}:
        read.insert(0, ("embed", set(hints) & {*CHOICE, "intensity"}))
    layers: list[Layer] = [
        {
            key: (anchor(value, hints[key], path), f"{path} [{name}]")
            for key, value in sections.get(name, {}).items()
            if key in keys
        }
        for name, keys in read
    ]
    for name, values in sections.items():
        allowed = _allowed(name, set(hints) if name == section else None)
        problems += [
            f"{path}: unknown key {key!r} in [{name}]{_meant(key, allowed)}"
            for key in values
            if key not in allowed
        ]
    return layers


def _allowed(section: str, own: Collection[str] | None) -> Collection[str]:
    if section == "data":
        return DATA_KEYS
    return (set(own) if own is not None else _keys_of(section)) - HIDDEN


def _keys_of(section: str) -> set[str]:
    module, _, name = CONFIGS[section].partition(":")
    return {one.name for one in fields(getattr(import_module(module), name))}


def _environment_layer(environment: Mapping[str, str], hints: Mapping[str, object]) -> Layer:
    names = {PREFIX + key.upper(): key for key in set(hints) - HIDDEN}
    return {key: (environment[name], name) for name, key in names.items() if environment.get(name)}


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    set_here = {name for name, value in environment.items() if name.startswith(PREFIX) and value}
    odd = set_here - OTHER_VARIABLES - TEST_VARIABLES
    if not odd:
        return []
    keys = set().union(*map(_keys_of, CONFIGS)) - HIDDEN
    known = {PREFIX + key.upper() for key in keys} | OTHER_VARIABLES
    return [
        f"the environment variable {name} has no effect: no setting has that name"
        f"{_meant(name, known)}"
        for name in sorted(odd - known)
    ]


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f": did you mean {close[0]!r}?" if close else "."


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
