"""Other people's backbones: used if they work, named if they do not, never in the way."""

from __future__ import annotations

import sys
import types
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest

from cxrlearn.backbones.plugins import GROUP, load_plugins
from tests.support.plugins import toy_spec

if TYPE_CHECKING:
    from collections.abc import Callable

TAKEN = frozenset({"resnet"})


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, object], EntryPoint]:
    """Return a maker of entry points that lead to any object."""
    module = types.ModuleType("toy_plugin")
    monkeypatch.setitem(sys.modules, "toy_plugin", module)

    def make(name: str, target: object) -> EntryPoint:
        setattr(module, name, target)
        return EntryPoint(name=name, value=f"toy_plugin:{name}", group=GROUP)

    return make


def test_a_record_a_list_and_a_callable_are_taken(
    entry: Callable[[str, object], EntryPoint],
) -> None:
    points = [
        entry("one", toy_spec("one")),
        entry("many", [toy_spec("two"), toy_spec("three")]),
        entry("make", lambda: toy_spec("four")),
        entry("make_many", lambda: (toy_spec("five"),)),
    ]
    plugins = load_plugins(points, TAKEN)
    assert [spec.name for spec in plugins.specs] == ["one", "two", "three", "four", "five"]
    assert plugins.problems == ()


def test_a_plugin_that_fails_is_named_and_the_others_work(
    entry: Callable[[str, object], EntryPoint],
) -> None:
    def fails() -> None:
        message = "no such library\nat all"
        raise ImportError(message)

    points = [
        EntryPoint("gone", "no_such_module_anywhere:SPEC", GROUP),
        entry("fails", fails),
        entry("wrong", 42),
        entry("works", toy_spec("works")),
    ]
    plugins = load_plugins(points, TAKEN)
    assert [spec.name for spec in plugins.specs] == ["works"]
    gone, fails_line, wrong = plugins.problems
    assert "'gone'" in gone
    assert "no_such_module_anywhere" in gone
    assert "ImportError: no such library at all" in fails_line
    assert "expected a BackboneSpec, got int" in wrong


def test_a_plugin_may_not_take_a_name_that_is_taken(
    entry: Callable[[str, object], EntryPoint],
) -> None:
    points = [
        entry("shadow", toy_spec("resnet")),
        entry("alias", toy_spec("mine", aliases=("resnet",))),
        entry("first", toy_spec("same")),
        entry("second", toy_spec("same")),
        entry("prefix", toy_spec("timm:mine")),
    ]
    plugins = load_plugins(points, TAKEN)
    assert [spec.name for spec in plugins.specs] == ["same"]
    assert len(plugins.problems) == 4
    assert "the name 'resnet' is taken" in plugins.problems[0]
    assert "a name holds no colon" in plugins.problems[3]


def test_a_contradictory_record_is_named(entry: Callable[[str, object], EntryPoint]) -> None:
    plugins = load_plugins([entry("bad", lambda: toy_spec("Bad Name"))], TAKEN)
    assert "names are lower case" in plugins.problems[0]
