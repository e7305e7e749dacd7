"""Hugging Face models in folders become backbones: weights complete, pixels their own."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from cxrlearn.backbones.load import LoadOptions, load_backbone, load_resolved
from cxrlearn.backbones.registry import resolve
from cxrlearn.backbones.weights import identity, locate
from cxrlearn.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

pytestmark = pytest.mark.slow  # transformers takes seconds to import

TF = cast("Any", transformers)
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def _save(folder: Path, model: nn.Module, processor: object) -> nn.Module:
    TF.utils.logging.disable_progress_bar()
    for part in (model.eval(), processor):
        cast("Any", part).save_pretrained(folder)
    return model


@pytest.fixture
def dinov2(tmp_path: Path) -> nn.Module:
    torch.manual_seed(0)
    model = TF.Dinov2Model(TF.Dinov2Config(**SMALL, image_size=28, patch_size=14))
    size = {"size": {"shortest_edge": 33}, "crop_size": {"height": 28, "width": 28}}
    return _save(tmp_path, model, TF.BitImageProcessor(**size))


def test_dinov2_gives_the_normalised_class_token(dinov2: nn.Module, tmp_path: Path) -> None:
    backbone = load_backbone(f"hf:{tmp_path}", offline=True)
    images = torch.randn(2, 3, 28, 28)
    with torch.inference_mode():
        expected = dinov2(images).last_hidden_state[:, 0]
        assert torch.allclose(backbone(images), expected, atol=1e-6)
    assert backbone.record.feature.id == "pooler"
    assert backbone.record.tag_base == f"hf-{tmp_path.name}"


def test_pixels_are_the_processors_within_resampling(dinov2: nn.Module, tmp_path: Path) -> None:
    """torchvision and Pillow resample alike to 2 grey levels."""
    record = resolve(f"hf:{tmp_path}").preprocessing
    processor = TF.AutoImageProcessor.from_pretrained(tmp_path)
    backbone = load_backbone(f"hf:{tmp_path}")
    pixels = np.random.default_rng(0).integers(0, 256, (61, 90), dtype=np.uint8)
    from PIL import Image

    ours = backbone.preprocess(Image.fromarray(pixels))
    theirs = processor(np.stack([pixels] * 3, axis=-1), return_tensors="pt")["pixel_values"][0]
    assert (ours - theirs).abs().max() * min(record.std) * 255 <= 2.5


def test_a_plain_vit_gives_its_class_token_and_can_lack_the_pooler(tmp_path: Path) -> None:
    model = TF.ViTModel(TF.ViTConfig(**SMALL, image_size=32, patch_size=8))
    _save(tmp_path, model, TF.ViTImageProcessor(size={"height": 32, "width": 32}))
    path = tmp_path / "model.safetensors"
    state = {key: value for key, value in load_file(path).items() if "pooler" not in key}
    save_file(state, path, metadata={"format": "pt"})
    backbone = load_backbone(f"hf:{tmp_path}")
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(backbone(images), model(images).last_hidden_state[:, 0], atol=1e-6)
    with pytest.raises(WeightsError, match=r"pooler.*features would be random"):
        load_backbone(f"hf:{tmp_path}", features="pooler")


def test_clip_gives_the_images_embedding(tmp_path: Path) -> None:
    text = {**SMALL, "vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2}
    config = TF.CLIPConfig(
        text_config=text,
        vision_config={**SMALL, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    model: Any = _save(tmp_path, TF.CLIPModel(config), TF.CLIPImageProcessor(**size))
    backbone = load_backbone(f"hf:{tmp_path}")
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = model.visual_projection(model.vision_model(images).pooler_output)
        assert torch.allclose(backbone(images), expected, atol=1e-6)
    assert (backbone.record.feature.id, backbone.feature_dim) == ("image_embeds", 16)


def test_convnext_gives_its_pooled_output(tmp_path: Path) -> None:
    config = TF.ConvNextConfig(hidden_sizes=[8, 8, 16, 24], depths=[1, 1, 1, 1])
    processor = TF.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.875)
    model = _save(tmp_path, TF.ConvNextModel(config), processor)
    backbone = load_backbone(f"hf:{tmp_path}")
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(backbone(images), model(images).pooler_output, atol=1e-6)
    assert backbone.record.preprocessing.input_size == (64, 64)


def test_one_missing_tensor_is_refused(dinov2: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    del state["encoder.layer.1.norm1.weight"]
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="features would be random"):
        load_backbone(f"hf:{tmp_path}")


def test_identity_is_the_folders_content(dinov2: nn.Module, tmp_path: Path) -> None:
    resolved = resolve(f"hf:{tmp_path}")
    first = identity(resolved, locate(resolved))
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    state["layernorm.bias"] += 1
    save_file(state, path, metadata={"format": "pt"})
    assert identity(resolved, locate(resolved)) != first
    assert load_backbone(f"hf:{tmp_path}").load_account.sha256


def test_a_processor_that_cannot_be_expressed_is_refused(dinov2: nn.Module, tmp_path: Path) -> None:
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    for change, said in (
        ({"size": {"longest_edge": 40}}, "size"),
        ({"image_processor_type": "NoSuchProcessor"}, "hf:"),
    ):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({**settings, **change}))
        with pytest.raises(WeightsError, match=said):
            resolve(f"hf:{tmp_path}")


def test_folders_that_are_no_models_are_refused(tmp_path: Path, dinov2: nn.Module) -> None:
    with pytest.raises(WeightsError, match="there is no such folder"):
        resolve("hf:./nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(WeightsError, match="hf:"):
        resolve(f"hf:{empty}")
    with pytest.raises(WeightsError, match="is no model folder"):
        load_backbone(f"hf:{tmp_path}", weights=empty)


def test_offline_refuses_what_is_not_cached() -> None:
    with pytest.raises(WeightsError, match="--offline forbids the download"):
        load_backbone("hf:someone/no-such-model", offline=True)


def test_random_weights_use_the_architecture_only(dinov2: nn.Module, tmp_path: Path) -> None:
    backbone = load_backbone(f"hf:{tmp_path}", random_weights=1)
    assert backbone(torch.zeros(1, 3, 28, 28)).shape == (1, 32)
    assert backbone.load_account.form == "random weights, seed 1"


_EVIL = "from pathlib import Path\nPath(__file__).with_name('executed').touch()\n"


def _change_json(path: Path, **entries: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("file", "entry"),
    [
        ("config.json", {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}),
        ("config.json", {"AutoModel": "someone/elsewhere--evil.Model"}),
        ("preprocessor_config.json", {"AutoImageProcessor": "evil.Processor"}),
        ("preprocessor_config.json", {"AutoImageProcessor": [None, "evil.Fast"]}),
    ],
)
def test_a_repositorys_code_is_never_asked_about_and_never_runs(
    dinov2: nn.Module,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    known: bool,
    file: str,
    entry: dict[str, object],
) -> None:
    """Whoever would be asked says yes: without the explicit refusal the code runs."""
    (tmp_path / "evil.py").write_text(_EVIL)
    _change_json(tmp_path / file, auto_map=entry)
    if not known:
        _change_json(tmp_path / "config.json", model_type="nobody-knows-this")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    with pytest.raises(
        WeightsError, match=r"code of its own \(.*evil\..*Nothing was run"
    ) as caught:
        load_backbone(f"hf:{tmp_path}", offline=True)
    assert caught.value.exit_code == 4
    assert "plug-in" in str(caught.value)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_a_kernel_of_the_hub_is_code_too(dinov2: nn.Module, tmp_path: Path, key: str) -> None:
    _change_json(tmp_path / "config.json", **{key: "someone/kernel"})
    with pytest.raises(WeightsError, match=r"code of its own \(someone/kernel\)"):
        load_backbone(f"hf:{tmp_path}", offline=True)


def test_a_folder_given_as_weights_brings_no_code_either(dinov2: nn.Module, tmp_path: Path) -> None:
    record = resolve(f"hf:{tmp_path}")
    (tmp_path / "evil.py").write_text(_EVIL)
    _change_json(tmp_path / "config.json", auto_map={"AutoModel": "evil.Model"})
    with pytest.raises(WeightsError, match="code of its own"):
        load_resolved(record, LoadOptions(weights=tmp_path, offline=True))
    assert not (tmp_path / "executed").exists()


def test_a_zip_bomb_in_a_model_folder_is_refused(dinov2: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").unlink()
    torch.save(dinov2.state_dict(), tmp_path / "honest")
    path = tmp_path / "pytorch_model.bin"
    with (
        zipfile.ZipFile(tmp_path / "honest") as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin is refused.*compressed"):
        load_backbone(f"hf:{tmp_path}", offline=True)
    (tmp_path / "honest").replace(path)
    assert load_backbone(f"hf:{tmp_path}", offline=True).feature_dim == 32
