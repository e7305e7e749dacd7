"""Other people's backbones: used if they work, named if they do not, never in the way."""

from __future__ import annotations

import signal
import sys
import types
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest
from torch import nn

from cxrlearn.backbones.load import LoadOptions, load_resolved
from cxrlearn.backbones.plugins import GROUP, load_plugins
from cxrlearn.backbones.spec import PackagedFile, ResolvedBackbone
from cxrlearn.backbones.weights import locate
from cxrlearn.errors import WeightsError
from tests.support.plugins import toy_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

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


class _Rude(BaseException):
    """An error that no `except Exception` catches."""


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), _Rude("ha"), StopIteration(1), EOFError(),
     BufferError("no"), ExceptionGroup("two", [ValueError(), OSError()])],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_plugin_that_raises_anything_disables_itself_alone(
    entry: Callable[[str, object], EntryPoint], error: BaseException
) -> None:
    def rude() -> None:
        raise error

    points = [entry("rude", rude), entry("works", toy_spec("works"))]
    plugins = load_plugins(points, TAKEN)
    assert [spec.name for spec in plugins.specs] == ["works"]
    (problem,) = plugins.problems
    assert "'rude'" in problem
    assert type(error).__name__ in problem


@pytest.mark.parametrize("ending", ["import sys; sys.exit(4)", "raise KeyboardInterrupt", "exit()"])
def test_a_plugin_that_exits_when_imported_disables_itself_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ending: str,
) -> None:
    (tmp_path / "rude_module.py").write_text(f"print('hello from a plug-in')\n{ending}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "rude_module", raising=False)
    plugins = load_plugins([EntryPoint("rude", "rude_module:SPEC", GROUP)], TAKEN)
    assert plugins.specs == ()
    assert "'rude' (rude_module:SPEC) is not used" in plugins.problems[0]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello" in captured.err


def test_the_users_own_ctrl_c_is_no_fault_of_a_plugin(
    entry: Callable[[str, object], EntryPoint],
) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_plugins([entry("slow", lambda: signal.raise_signal(signal.SIGINT))], TAKEN)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _exits(_resolved: object) -> None:
    raise SystemExit(5)


class _ExitingNetwork(nn.Module):
    def forward(self, _images: torch.Tensor) -> torch.Tensor:
        sys.exit("enough")


def test_a_builder_or_network_that_exits_is_a_weights_error_with_its_name() -> None:
    for builder in (_exits, lambda _resolved: _ExitingNetwork()):
        record = ResolvedBackbone(
            spec := toy_spec("toy", builder=builder),
            spec.variants[0],
            spec.variants[0].features[0],
            spec.preprocessings[0],
        )
        with pytest.raises(WeightsError, match=r"toy: the code of this backbone.*SystemExit"):
            load_resolved(record, LoadOptions())


def test_a_package_that_exits_instead_of_naming_its_file_is_a_weights_error() -> None:
    spec = toy_spec("toy", weights=PackagedFile(locate=lambda: sys.exit(2), forms=()))
    record = ResolvedBackbone(
        spec, spec.variants[0], spec.variants[0].features[0], spec.preprocessings[0]
    )
    with pytest.raises(WeightsError, match=r"toy: its package cannot say.*SystemExit: 2"):
        locate(record)
