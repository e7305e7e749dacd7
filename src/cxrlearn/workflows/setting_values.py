"""Values of settings: from text, TOML or the command line to the type of a field."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Literal, Union, get_args, get_origin

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


def anchor(value: object, hint: object, path: Path | None) -> object:
    """Make the paths of a settings file relative to that file, not to the working directory."""
    if path is None or not _is_path(hint):
        return value
    if isinstance(value, str):
        match = _NAMED.fullmatch(value) if _is_named_path(hint) else None
        if match is not None:
            return f"{match['name']}={path.parent / Path(match['path']).expanduser()}"
        return str(path.parent / Path(value).expanduser())
    if isinstance(value, list):
        return [anchor(item, hint, path) for item in value]
    return value


def _is_path(hint: object) -> bool:
    return hint in (Path, NamedPath) or any(_is_path(part) for part in get_args(hint))


def _is_named_path(hint: object) -> bool:
    return hint is NamedPath or any(_is_named_path(part) for part in get_args(hint))
