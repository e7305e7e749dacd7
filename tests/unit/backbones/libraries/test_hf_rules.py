"""Settings of image processors, translated by hand here, become records."""

from __future__ import annotations

import pytest

from cxrlearn.backbones.libraries.hf_rules import published_rule
from cxrlearn.backbones.spec import CenterCrop, ResizeExact, ResizeShorter, Step
from cxrlearn.errors import WeightsError

PLAIN = {
    "size": {"height": 8, "width": 6},
    "resample": 3,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
}


class Processor:
    """Holds settings as an image processor does."""

    def __init__(self, **changes: object) -> None:
        self.settings = {**PLAIN, **changes}

    def to_dict(self) -> dict[str, object]:
        return self.settings


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({}, (ResizeExact((8, 6), "bicubic"),)),
        (
            {
                "size": 9,
                "resample": 2,
                "do_center_crop": True,
                "crop_size": {"height": 7, "width": 8},
            },
            (ResizeShorter(9, "bilinear"), CenterCrop((7, 8), rounding="floor")),
        ),
        (
            {"size": {"shortest_edge": 224}, "crop_pct": 0.875},
            (ResizeShorter(256, "bicubic"), CenterCrop(224, rounding="floor")),
        ),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, (ResizeExact(384, "bicubic"),)),
    ],
)
def test_sizes_become_steps(changes: dict[str, object], steps: tuple[Step, ...]) -> None:
    assert published_rule("x", Processor(**changes)).steps == steps


def test_mean_and_std_are_for_the_range_that_rescaling_gives() -> None:
    rule = published_rule("x", Processor())
    assert (rule.value_range, rule.mean, rule.std) == ("0..1", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    # (pixel / 127.5 - 0.1) / 0.4 = (pixel - 12.75) / 51
    halves = published_rule("x", Processor(rescale_factor=1 / 127.5))
    assert halves.value_range == "0..255"
    assert halves.mean[0] == pytest.approx(12.75)
    assert halves.std[0] == pytest.approx(51)
    bare = published_rule("x", Processor(do_normalize=False, do_rescale=False))
    assert (bare.value_range, bare.mean, bare.std) == ("0..255", (0.0,), (1.0,))


@pytest.mark.parametrize(
    "changes",
    [{"size": {"longest_edge": 9}}, {"size": {"shortest_edge": 9}}, {"resample": 77}],
)
def test_what_cannot_be_expressed_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(WeightsError, match="hf:x: its image processor cannot be expressed"):
        published_rule("x", Processor(**changes))
