"""The places that settings come from: the file and the environment."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlearn.errors import UsageError
from cxrlearn.workflows.backbone_choice import CHOICE
from cxrlearn.workflows.setting_values import anchor

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from cxrlearn.workflows.backbone_choice import Layer

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


def file_layers(
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
    # The settings.toml of a run says where its backbone was from, and may be a settings file.
    return (set(own) if own is not None else _keys_of(section)) - HIDDEN | {"backbone_from"}


def _keys_of(section: str) -> set[str]:
    module, _, name = CONFIGS[section].partition(":")
    return {one.name for one in fields(getattr(import_module(module), name))}


def environment_layer(environment: Mapping[str, str], hints: Mapping[str, object]) -> Layer:
    """Return what variables say of the settings; an empty variable counts as not set."""
    names = {PREFIX + key.upper(): key for key in set(hints) - HIDDEN}
    return {key: (environment[name], name) for name, key in names.items() if environment.get(name)}


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable of cxrlearn that is no setting of any command."""
    set_here = {name for name, value in environment.items() if name.startswith(PREFIX) and value}
    odd = set_here - OTHER_VARIABLES - TEST_VARIABLES
    folder = environment.get("CXRLEARN_WEIGHTS_DIR")
    missing = (
        [f"the environment variable CXRLEARN_WEIGHTS_DIR has no effect: {folder} is no folder."]
        if folder and not Path(folder).is_dir()
        else []
    )
    if not odd:
        return missing
    keys = set().union(*map(_keys_of, CONFIGS)) - HIDDEN
    known = {PREFIX + key.upper() for key in keys} | OTHER_VARIABLES
    return missing + [
        f"the environment variable {name} has no effect: no setting has that name"
        f"{_meant(name, known)}"
        for name in sorted(odd - known)
    ]


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f": did you mean {close[0]!r}?" if close else "."
