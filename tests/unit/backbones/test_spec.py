"""Records refuse contradictions, all at once, and say what decides the pixels."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cxrlearn.backbones.pixelsteps import Step, final_size
from cxrlearn.backbones.registry import resolve
from cxrlearn.backbones.spec import (
    CenterCrop,
    PadSquare,
    Preprocessing,
    ResizeExact,
    ResizeLonger,
    ResizeShorter,
    Variant,
)
from tests.support.plugins import toy_spec


@pytest.mark.parametrize(
    ("steps", "size"),
    [
        ((ResizeExact(9, "box"),), (9, 9)),
        ((ResizeExact((3, 4), "box"),), (3, 4)),
        ((ResizeShorter(9, "box"),), None),
        ((ResizeLonger(9, "area"), PadSquare(12)), (12, 12)),
        ((ResizeExact((3, 4), "box"), PadSquare()), (4, 4)),
        ((PadSquare(),), None),
        ((PadSquare(), ResizeExact(5, "box")), (5, 5)),
        ((ResizeShorter(9, "box"), CenterCrop((8, 7))), (8, 7)),
        ((), None),
    ],
)
def test_final_size_is_known_when_the_steps_fix_it(
    steps: tuple[Step, ...], size: tuple[int, int] | None
) -> None:
    assert final_size(steps) == size


def test_a_preprocessing_that_cannot_be_carried_out_is_refused_with_all_reasons() -> None:
    with pytest.raises(ValueError, match=r"one size; mean and std need.*; std must be above 0"):
        Preprocessing("x", (ResizeShorter(9, "box"),), (0.5, 0.5), (1.0, 0.0), "test")


def test_identity_holds_what_decides_the_pixels_and_no_prose() -> None:
    rule = resolve("gloria").preprocessing
    identity = rule.identity()
    assert json.loads(json.dumps(identity)) == identity
    assert identity["steps"] == [
        {"step": "ResizeLonger", "size": 256, "filter": "area", "longer": "exact"},
        {"step": "PadSquare", "size": 256},
        {"step": "CenterCrop", "size": 224, "rounding": "half-even"},
    ]
    assert replace(rule, name="other", source="other words").identity() == identity
    assert replace(rule, mean=(0.4,)).identity() != identity


def test_input_size_is_what_the_network_gets() -> None:
    chexzero = resolve("chexzero").preprocessing
    assert chexzero.picture_size == (320, 320)
    assert chexzero.input_size == (224, 224)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "My Net"}, "lower case"),
        ({"aliases": ("Bad",)}, "lower case"),
        ({"preprocessings": ()}, "at least one preprocessing"),
        ({"variants": ()}, "at least one variant"),
        ({"variants": (Variant(features=()),)}, "each at least one feature"),
        ({"variants": toy_spec().variants * 2}, "cannot be told apart"),
        ({"preprocessings": toy_spec().preprocessings * 2}, "the same name"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(toy_spec(), **changes)  # type: ignore[arg-type]
