"""Which backbone is meant: one choice, taken whole from one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.workflows.setting_values import convert

if TYPE_CHECKING:
    from collections.abc import Sequence

Layer = dict[str, tuple[object, str]]
"""Keys that one place sets, with their values and origins."""

CHOICE = (
    "model", "arch", "pretrained_on", "features", "weights", "preprocessing", "random_weights",
    "precision", "store",
)  # fmt: skip
"""Settings that together say which features are meant."""


def one_choice(layers: Sequence[Layer], *, lists: bool) -> list[str]:
    """Keep the choice of the highest place that names a model, and drop those below it.

    A place that names no model makes no choice: its values refine the one that is taken. So do
    those of a place that lists several models, for each model of its list.

    Args:
        layers: lowest first; changed in place.
        lists: a list of one model counts as such a list, too.

    Returns:
        What was passed over, in words.
    """
    naming = [layer for layer in layers if "model" in layer]
    if not naming:
        return []
    taken = _names(naming[-1]["model"][0])
    passed = []
    for layer in naming[:-1]:
        there = _names(layer["model"][0])
        listed = set(taken) <= set(there) and (len(there) > 1 or lists)
        keys = ["model"] if listed else [key for key in CHOICE if key in layer]
        if not listed:
            said = ", ".join(f"{key} {_in_words(layer[key][0])}" for key in keys)
            passed.append(f"{said} of {layer['model'][1]}")
        for key in keys:
            del layer[key]
    return passed


def single_model(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Turn a list of one model into its name; take out several of `[embed]`, and return them."""
    for layer in layers:
        if "model" not in layer:
            continue
        raw, origin = layer["model"]
        names = _names(raw)
        if len(names) == 1 and names != ["all"]:
            layer["model"] = names[0], origin
        elif origin.endswith("[embed]"):
            del layer["model"]
            return tuple(names)
    return ()


def _names(raw: object) -> list[str]:
    try:
        found = convert(raw, tuple[str, ...])
    except ValueError:  # told where the value is converted
        return []
    return [str(name) for name in found] if isinstance(found, tuple) else []


def _in_words(raw: object) -> str:
    return ", ".join(map(str, raw)) if isinstance(raw, (list, tuple)) else str(raw)
