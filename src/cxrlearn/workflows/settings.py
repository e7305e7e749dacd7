"""Settings from four places, lowest to highest: defaults, cxrlearn.toml, environment, command line.

The fields of a config dataclass are the settings: their names are the keys of the file, the
environment variables (`CXRLEARN_` and the name in capitals) and, with dashes, the options. A value
is converted to its field's type here; whether values make sense together the config decides.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import types
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from cxrlearn.errors import UsageError
from cxrlearn.reports.toml import toml_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

T = TypeVar("T")

FILE_NAME = "cxrlearn.toml"
SECTIONS = ("data", "embed", "probe", "finetune", "predict")
PREFIX = "CXRLEARN_"

HIDDEN = frozenset({"part_rows", "part_seconds"})
"""Fields that exist for tests of the library and are no settings."""

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
    hints = get_type_hints(config)
    problems: list[str] = []
    layers = [_file_layer(file, section, hints, problems), _environment_layer(environment, hints)]
    layers.append(
        {key: (value, "command line") for key, value in given.items() if value is not None}
    )
    resolved: dict[str, Setting] = {}
    for field in fields(config):
        if field.default is not MISSING:
            resolved[field.name] = Setting(field.default, "default")
        elif field.default_factory is not MISSING:
            resolved[field.name] = Setting(field.default_factory(), "default")
    for layer in layers:
        _displace(resolved, layer, config)
        for key, (raw, origin) in layer.items():
            try:
                resolved[key] = Setting(convert(raw, hints[key]), origin)
            except ValueError as error:
                problems.append(f"{option_name(key)} ({origin}): {error}")
    if problems:
        raise UsageError("\n".join(problems))
    return resolved


def _displace(resolved: dict[str, Setting], layer: Mapping[str, object], config: type) -> None:
    """Drop sources of images that a higher layer replaces by sources of another kind.

    So `--images DIR` works in a folder whose settings file names CSV files.
    """
    named = [sources for sources in SOURCES if sources & layer.keys()]
    if len(named) != 1:  # none, or a contradiction within the layer, for the config to refuse
        return
    for field in fields(config):
        if any(field.name in sources for sources in SOURCES if sources is not named[0]):
            resolved[field.name] = Setting(field.default, "default")


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
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    problems = [
        f"{path}: {_unknown(name, content[name])} "
        f"Sections: {', '.join(f'[{known}]' for known in SECTIONS)}."
        for name in content
        if name not in SECTIONS or not isinstance(content[name], dict)
    ]
    if problems:
        raise UsageError("\n".join(problems))
    return content


def _unknown(name: str, value: object) -> str:
    if name in SECTIONS:
        return f"{name!r} has to be a section, [{name}]."
    kind = "section" if isinstance(value, dict) else "key outside a section:"
    return f"unknown {kind} {name!r}{_meant(name, SECTIONS)}"


def _file_layer(
    file: Path | None, section: str, hints: Mapping[str, object], problems: list[str]
) -> dict[str, tuple[object, str]]:
    path = find_file(file)
    layer: dict[str, tuple[object, str]] = {}
    sections = read_sections(file)
    for name in ("data", section):  # what a command's own section says comes last, and wins
        values = sections.get(name, {})
        allowed = DATA_KEYS if name == "data" else set(hints) - HIDDEN
        for key, value in values.items():
            if key not in allowed:
                problems.append(f"{path}: unknown key {key!r} in [{name}]{_meant(key, allowed)}")
            elif key in hints:
                layer[key] = (_anchor(value, hints[key], path), f"{path} [{name}]")
    return layer


def _environment_layer(
    environment: Mapping[str, str], hints: Mapping[str, object]
) -> dict[str, tuple[object, str]]:
    names = {PREFIX + key.upper(): key for key in set(hints) - HIDDEN}
    return {key: (environment[name], name) for name, key in names.items() if environment.get(name)}


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f": did you mean {close[0]!r}?" if close else "."


def _anchor(value: object, hint: object, path: Path | None) -> object:
    """Make the paths of a settings file relative to that file, not to the working directory."""
    if path is None or not _is_path(hint):
        return value
    if isinstance(value, str):
        match = _NAMED.fullmatch(value) if _is_named_path(hint) else None
        if match is not None:
            return f"{match['name']}={path.parent / Path(match['path']).expanduser()}"
        return str(path.parent / Path(value).expanduser())
    if isinstance(value, list):
        return [_anchor(item, hint, path) for item in value]
    return value


_NAMED = re.compile(r"(?P<name>[^/\\=]+)=(?P<path>.+)", re.DOTALL)
"""A name holds no separator, so that a folder such as `site=3` in a path is no name."""


class NamedPath(str):
    """A path with an optional name before it: `FILE` or `NAME=FILE`."""

    __slots__ = ()

    @property
    def name(self) -> str | None:
        """The part before `=`, or None."""
        match = _NAMED.fullmatch(self)
        return None if match is None else match["name"]

    @property
    def path(self) -> Path:
        """The part after `=`, or the whole."""
        match = _NAMED.fullmatch(self)
        return Path(self if match is None else match["path"]).expanduser()


def _is_path(hint: object) -> bool:
    return hint in (Path, NamedPath) or any(_is_path(part) for part in get_args(hint))


def _is_named_path(hint: object) -> bool:
    return hint is NamedPath or any(_is_named_path(part) for part in get_args(hint))


def convert(raw: object, hint: object) -> object:
    """Convert a value of the file, the environment or the command line to the type `hint`.

    Lists may be written as such, repeated (a tuple, from the command line), or as one string with
    commas. Several values are never split, so a name that holds a comma can be given beside others.

    Raises:
        ValueError: with what was expected and found.
    """
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(raw, get_args(hint))
    if origin is tuple:
        return _convert_list(raw, get_args(hint)[0])
    if origin is Literal:
        choices = [str(choice) for choice in get_args(hint)]
        if str(raw) not in choices:
            one_of = "one of " if len(choices) > 1 else ""
            raise ValueError(f"expected {one_of}{', '.join(choices)}, got {raw!r}")
        return str(raw)
    return _convert_scalar(raw, hint)


def _convert_union(raw: object, options: tuple[object, ...]) -> object:
    if raw is None:
        return None
    wanted = []
    for option in options:
        if option is types.NoneType:
            continue
        try:
            return convert(raw, option)
        except ValueError as error:
            wanted.append(str(error).removeprefix("expected ").removesuffix(f", got {raw!r}"))
    raise ValueError(f"expected {' or '.join(wanted)}, got {raw!r}")


def _convert_list(raw: object, item: object) -> tuple[object, ...]:
    values = list(raw) if isinstance(raw, (list, tuple)) else [raw]
    # One value may hold several, separated by commas; several values are taken as they are, so
    # that a name with a comma can be given by repeating the option.
    if len(values) == 1 and isinstance(values[0], str) and not isinstance(raw, list):
        values = [part.strip() for part in values[0].split(",")]
    return tuple(convert(value, item) for value in values if value != "")


def _convert_scalar(raw: object, hint: object) -> object:
    if hint is bool:
        return _convert_bool(raw)
    if hint is Path:
        if not isinstance(raw, (str, Path)):
            raise ValueError(f"expected one path, got {raw!r}")
        return Path(raw).expanduser()
    if hint in (str, NamedPath):
        if isinstance(raw, (dict, list)):
            raise ValueError(f"expected one text, got {raw!r}")
        return hint(raw)
    if hint in (int, float):
        return _convert_number(raw, hint)
    raise TypeError(f"no conversion to {hint!r}")


def _convert_bool(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    word = str(raw).strip().lower()
    if word not in words:
        raise ValueError(f"expected true or false, got {raw!r}")
    return words[word]


def _convert_number(raw: object, hint: object) -> int | float:
    name = "a whole number" if hint is int else "a number"
    if isinstance(raw, bool) or (hint is int and isinstance(raw, float) and not raw.is_integer()):
        raise ValueError(f"expected {name}, got {raw!r}")
    try:
        return int(raw if isinstance(raw, float) else str(raw)) if hint is int else float(str(raw))
    except ValueError:
        raise ValueError(f"expected {name}, got {raw!r}") from None


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
