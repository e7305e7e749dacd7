"""Defects of the original program that live in its models: features and silent loading."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from cxrlearn.backbones.load import load_backbone
from cxrlearn.backbones.registry import resolve
from cxrlearn.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path

WIDTHS = {
    ("convirt", None): 2048,
    ("medaug", "resnet50"): 2048,
    ("medaug", "resnet18"): 512,
    ("mococxr", "resnet50"): 2048,
    ("mococxr", "resnet18"): 512,
    ("gloria", "resnet50"): 2048,
    ("gloria", "resnet18"): 512,
    ("s2mts2", None): 1024,
    ("refers", None): 768,
    ("chexzero", None): 512,
    ("resnet", None): 2048,
}
"""Right penultimate widths; the original gave the 1000 outputs of an ImageNet or random head."""


@pytest.mark.parametrize(("name", "arch"), WIDTHS, ids=str)
def test_original_defect_s5_the_feature_is_the_penultimate_layer(
    name: str, arch: str | None
) -> None:
    assert resolve(name, arch=arch).feature.dim == WIDTHS[name, arch]


def test_original_defect_s5_no_classifier_is_left_on_the_network() -> None:
    backbone = load_backbone("mococxr", arch="resnet18", random_weights=0)
    assert not [key for key in backbone.state_dict() if key.split(".")[-2] == "fc"]
    with torch.inference_mode():
        assert backbone(torch.zeros(1, 3, 64, 64)).shape == (1, 512)


@pytest.mark.parametrize("name", sorted({name for name, _ in WIDTHS}))
def test_original_defect_s6_a_file_that_matches_no_key_is_refused(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": {"somewhere.else.weight": torch.zeros(3, 3)}}, path)
    with pytest.raises(WeightsError, match=r"weights\.pt does not hold the weights of"):
        load_backbone(name, weights=path)
