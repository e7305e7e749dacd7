"""Backbones of other packages, found through the entry point group `cxrlearn.backbones`.

An entry point leads to a `BackboneSpec`, to a list of them, or to a callable that returns either.
Whatever a plug-in raises, and where it asks to exit, is kept as a message; it never stops cxrlearn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from cxrlearn.backbones.spec import BackboneSpec
from cxrlearn.errors import CxrlearnError
from cxrlearn.runtime.strangers import StrangerError, strangers_code

if TYPE_CHECKING:
    from collections.abc import Iterable

GROUP = "cxrlearn.backbones"


@dataclass(frozen=True)
class Plugins:
    """What the installed plug-ins offer."""

    specs: tuple[BackboneSpec, ...]
    """Their records, in order of the entry points' names."""
    problems: tuple[str, ...]
    """One line for each plug-in, or record, that had to be left out."""


@cache
def installed_plugins(taken: frozenset[str]) -> Plugins:
    """Load every plug-in once.

    Args:
        taken: names and aliases that a plug-in may not use.

    Returns:
        The usable records, and a message for each of the others.
    """
    points = sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    return load_plugins(points, taken)


def load_plugins(points: Iterable[EntryPoint], taken: frozenset[str]) -> Plugins:
    """Load the given entry points; see `installed_plugins`."""
    specs: list[BackboneSpec] = []
    problems: list[str] = []
    used = set(taken)
    for point in points:
        try:
            with strangers_code():
                found = _specs_of(point.load())
        except (StrangerError, CxrlearnError) as error:
            problems.append(_problem(point, str(error)))
            continue
        for spec in found:
            clash = sorted(used & {spec.name, *spec.aliases})
            if ":" in spec.name or clash:
                reason = f"the name {clash[0]!r} is taken" if clash else "a name holds no colon"
                problems.append(_problem(point, f"backbone {spec.name!r} is left out: {reason}"))
                continue
            used |= {spec.name, *spec.aliases}
            specs.append(spec)
    return Plugins(tuple(specs), tuple(problems))


def _specs_of(loaded: object) -> list[BackboneSpec]:
    """Return the records that an entry point led to."""
    if callable(loaded) and not isinstance(loaded, BackboneSpec):
        loaded = loaded()
    specs: list[BackboneSpec] = []
    for spec in loaded if isinstance(loaded, list | tuple) else [loaded]:
        if type(spec) is not BackboneSpec:  # a subclass could compute what is read later
            raise TypeError(f"expected a BackboneSpec, got {type(spec).__name__}")
        specs.append(spec)
    return specs


def _problem(point: EntryPoint, what: str) -> str:
    package = f" of package {point.dist.name}" if point.dist else ""
    line = " ".join(what.split())
    return f"backbone plug-in {point.name!r} ({point.value}{package}) is not used: {line}"
