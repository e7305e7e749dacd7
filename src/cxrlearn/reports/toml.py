"""Settings to TOML: tables of text, true/false, numbers and lists of them, and nothing else."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(document: Mapping[str, object]) -> str:
    """Return `document` as TOML that `tomllib` reads back to the same values.

    Keys keep their order, values before tables. None is left out: TOML has no word for it.

    Args:
        document: str, bool, int, float, lists of these, and mappings (tables), at any depth.

    Raises:
        TypeError: a value is of another type; the message names its key.
    """
    lines: list[str] = []
    _write_table(document, (), lines)
    return "\n".join(lines).strip("\n") + "\n" if lines else ""


def _write_table(table: Mapping[str, object], path: tuple[str, ...], lines: list[str]) -> None:
    values = {k: v for k, v in table.items() if v is not None and not isinstance(v, Mapping)}
    if path and (values or not table):
        lines += ["", f"[{'.'.join(map(_key, path))}]"]
    lines += [f"{_key(key)} = {_value(value, (*path, key))}" for key, value in values.items()]
    for key, value in table.items():
        if isinstance(value, Mapping):
            _write_table(value, (*path, key), lines)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _value(value: object, path: tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _float(float(value))
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return f"[{', '.join(_value(item, path) for item in value)}]"
    raise TypeError(f"{'.'.join(path)} is of type {type(value).__name__}, which TOML cannot hold")


def _float(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")


def _string(text: str) -> str:
    # JSON's escapes are TOML's too; only DEL is allowed bare in the one and not in the other.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
