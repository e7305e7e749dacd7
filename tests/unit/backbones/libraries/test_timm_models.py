"""timm's models become backbones: their weights proved, no head, timm's own pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import timm
import timm.data
import timm.models
import torch
from PIL import Image
from safetensors.torch import save_file

from cxrlearn.backbones.libraries import timm_models
from cxrlearn.backbones.load import load_backbone
from cxrlearn.backbones.preprocessing import to_input
from cxrlearn.backbones.registry import resolve
from cxrlearn.backbones.weights import identity
from cxrlearn.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

CONFIGS = cast("Any", timm.models)
NAME = "test_resnet.r160_in1k"  # timm's own 0.5 million parameter test network


@pytest.fixture
def teacher() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(NAME, pretrained=False).eval()


@pytest.fixture
def published(teacher: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pretend that timm's file is in the cache."""
    path = tmp_path / "model.safetensors"
    save_file(teacher.state_dict(), path)
    monkeypatch.setattr(timm_models, "hub_file", lambda *_args, **_options: path)
    return path


def _features(teacher: nn.Module, images: torch.Tensor) -> torch.Tensor:
    bare = timm.create_model(NAME, pretrained=False, num_classes=0).eval()
    bare.load_state_dict(teacher.state_dict(), strict=False)
    features: torch.Tensor = bare(images)
    return features


def test_published_weights_are_loaded_and_the_head_is_gone(
    teacher: nn.Module, published: Path
) -> None:
    backbone = load_backbone(f"timm:{NAME}")
    images = torch.randn(2, 3, 160, 160)
    with torch.inference_mode():
        assert torch.allclose(backbone(images), _features(teacher, images), atol=1e-6)
    assert backbone.load_account.file == published
    assert "strict" in backbone.load_account.form
    assert not any(name.startswith("network.fc") for name, _ in backbone.named_parameters())


def test_published_weights_that_lack_a_tensor_are_refused(
    teacher: nn.Module, published: Path
) -> None:
    state = teacher.state_dict()
    del state["layer2.0.conv1.weight"]
    save_file(state, published)
    with pytest.raises(WeightsError, match=r"layer2\.0\.conv1\.weight"):
        load_backbone(f"timm:{NAME}")


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_a_given_file_is_proved_like_any_other(
    teacher: nn.Module, tmp_path: Path, wrapper: str | None
) -> None:
    state = dict(teacher.state_dict())
    path = tmp_path / "mine.pth"
    torch.save({wrapper: state} if wrapper else state, path)
    backbone = load_backbone(f"timm:{NAME}", weights=path)
    images = torch.randn(1, 3, 160, 160)
    with torch.inference_mode():
        assert torch.allclose(backbone(images), _features(teacher, images), atol=1e-6)
    assert backbone.load_account.dropped == {"classifier": 2}
    del state[next(iter(state))]
    torch.save(state, path)
    with pytest.raises(WeightsError, match="missing"):
        load_backbone(f"timm:{NAME}", weights=path)


# One of each way to cut: part of the middle, everything squeezed.
@pytest.mark.parametrize("name", [NAME, "resnet50.a1_in1k", "vit_base_patch16_siglip_224"])
def test_pixels_are_timms_own(name: str) -> None:
    record = resolve(f"timm:{name}").preprocessing
    data = cast("Any", timm.data)
    settings = data.resolve_data_config(pretrained_cfg=CONFIGS.get_pretrained_cfg(name).to_dict())
    transform = data.create_transform(**settings)
    for size in ((300, 411), (97, 60)):
        pixels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        theirs = transform(Image.fromarray(pixels).convert("RGB"))
        assert torch.allclose(to_input(pixels, record), theirs, atol=1e-5)


def test_preprocessing_that_cannot_be_expressed_is_refused() -> None:
    settings = CONFIGS.get_pretrained_cfg("resnet18").to_dict()
    for change in ({"crop_mode": "border"}, {"input_size": (1, 224, 224)}, {"interpolation": "x"}):
        config = CONFIGS.PretrainedCfg(**{**settings, **change})
        with pytest.raises(WeightsError, match="cannot be carried out"):
            timm_models._rule("resnet18", config)


def test_unknown_names_and_tags_are_explained() -> None:
    with pytest.raises(WeightsError, match=r"no model 'resnet19'.*Did you mean 'resnet"):
        resolve("timm:resnet19")
    with pytest.raises(WeightsError, match=r"Its weights: resnet18\."):
        resolve("timm:resnet18.no_such_tag")


def test_identity_names_the_set_of_weights() -> None:
    assert identity(resolve("timm:resnet18.a1_in1k"), None) == {
        "weights": "timm:resnet18.a1_in1k:timm/resnet18.a1_in1k"
    }


def test_offline_refuses_what_is_not_cached() -> None:
    with pytest.raises(WeightsError, match="--offline forbids the download"):
        load_backbone("timm:resnet18.a1_in1k", offline=True)


def test_random_weights_need_no_file() -> None:
    backbone = load_backbone(f"timm:{NAME}", random_weights=3, offline=True)
    assert backbone.feature_dim == backbone(torch.zeros(1, 3, 160, 160)).shape[1]
