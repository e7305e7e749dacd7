"""Loaded backbones are frozen, complete, and what their record says; damaged files are refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cxrlearn.backbones.check import check_weights
from cxrlearn.backbones.load import (
    LoadOptions,
    build_network,
    load_backbone,
    load_resolved,
    without_values,
)
from cxrlearn.backbones.preprocessing import to_input
from cxrlearn.backbones.spec import (
    BackboneSpec,
    FeatureChoice,
    FileWeights,
    PackagedFile,
    ResolvedBackbone,
    Variant,
)
from cxrlearn.errors import DataError, WeightsError
from tests.support.checkpoints import build, read_layout, write
from tests.support.plugins import SIDE, ToyNetwork, toy_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxrlearn.backbones.backbone import Backbone

LAYOUT = read_layout("moco-cxr_resnet18")
MOCO: dict[str, Any] = {"name": "mococxr", "arch": "resnet18"}


def toy(spec: BackboneSpec | None = None) -> ResolvedBackbone:
    """Return the only choice of a toy record."""
    spec = spec or toy_spec()
    return ResolvedBackbone(
        spec, spec.variants[0], spec.variants[0].features[0], spec.preprocessings[0]
    )


@pytest.fixture(scope="module")
def moco_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = write(LAYOUT, tmp_path_factory.mktemp("moco"))
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def moco(moco_file: Path) -> Backbone:
    return load_backbone(weights=moco_file, **MOCO)


def _damaged(tmp_path: Path, how: str) -> Path:
    """Write the MoCo-CXR file with one fault."""
    content = build(LAYOUT)
    state = content["state_dict"]
    victim = "module.encoder_q.layer3.0.conv1.weight"
    if how == "renamed":
        content["state_dict"] = {f"elsewhere.{key}": value for key, value in state.items()}
    elif how == "missing":
        del state[victim]
    elif how == "misshapen":
        state[victim] = torch.zeros(3, 3)
    elif how == "not finite":
        state[victim][0, 0, 0, 0] = float("nan")
    path = tmp_path / "moco.pth.tar"
    torch.save(content, path)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-100_000])
    return path


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("renamed", "nothing in it fits"),
        ("missing", r"missing: layer3\.0\.conv1\.weight"),
        ("misshapen", r"wrong shape, expected \[256, 128, 3, 3\], got \[3, 3\]"),
        ("not finite", "NaN"),
        ("truncated", "cut short or damaged"),
    ],
)
def test_a_faulty_file_is_refused_and_the_fault_is_named(
    tmp_path: Path, how: str, said: str
) -> None:
    """Defect S6: the original loaded with strict=False, whatever the file."""
    path = _damaged(tmp_path, how)
    with pytest.raises(WeightsError, match=said) as caught:
        load_backbone(weights=path, **MOCO)
    path.unlink()
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 4


def test_another_variants_file_is_recognised(moco_file: Path) -> None:
    with pytest.raises(WeightsError, match="It fits --arch resnet18"):
        load_backbone("mococxr", arch="resnet50", weights=moco_file)


def test_a_file_of_another_backbone_is_refused(moco_file: Path) -> None:
    for name in ("convirt", "gloria", "refers"):
        with pytest.raises(WeightsError, match="does not hold the weights of"):
            load_backbone(name, weights=moco_file)


def test_every_key_is_accounted_for(moco: Backbone, moco_file: Path) -> None:
    account = moco.load_account
    keys = [row[0] for group in LAYOUT["groups"] for row in group["tensors"]]
    assert {one.key for one in account.keys} == {*keys, "epoch", "arch", "optimizer"}
    assert len(account.loaded) == 120
    assert account.dropped == {
        "projection head of the contrastive training": 4,
        "momentum copy of the encoder": 124,
        "queue of negatives": 2,
        "state of the training": 3,
    }
    assert account.file == moco_file
    assert account.sha256
    assert account.problems == ()


def test_backbones_are_frozen_and_in_evaluation_mode(moco: Backbone) -> None:
    """Defect S3: features in train mode depend on the batch."""
    assert not any(module.training for module in moco.modules())
    assert not any(parameter.requires_grad for parameter in moco.parameters())
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before = {key: value.clone() for key, value in moco.state_dict().items()}
    together = moco(images)
    alone = torch.cat([moco(image.unsqueeze(0)) for image in images])
    assert torch.allclose(together, alone, atol=1e-5)
    assert all(torch.equal(before[key], value) for key, value in moco.state_dict().items())


def test_features_are_pooled_and_no_head_is_left(moco: Backbone) -> None:
    """Defects S4 and S5: logits of a random or of the ImageNet head instead of features."""
    assert moco.feature_dim == 512
    assert moco(torch.zeros(1, 3, 64, 64)).shape == (1, 512)
    assert not [name for name, _ in moco.named_parameters() if ".fc." in name]


def test_dropout_and_batch_norm_of_a_plugin_are_off() -> None:
    backbone = load_resolved(toy(), LoadOptions())
    images = torch.rand(6, 3, SIDE, SIDE)
    assert torch.equal(backbone(images), backbone(images))


def test_random_weights_are_seeded_and_leave_the_global_state() -> None:
    spec = toy_spec(weights=FileWeights())
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (
        load_resolved(toy(spec), LoadOptions(random_weights=seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(3), expected)
    images = torch.rand(2, 3, SIDE, SIDE)
    assert torch.equal(one(images), two(images))
    assert not torch.equal(one(images), other(images))
    assert one.load_account.form == "random weights, seed 1"


def test_without_weights_there_is_no_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CXRLEARN_WEIGHTS_DIR", raising=False)
    with pytest.raises(WeightsError, match="no weights for refers"):
        load_backbone("refers")


def test_a_plugins_weights_travel_in_its_package(tmp_path: Path) -> None:
    network = ToyNetwork()
    path = tmp_path / "toy.pt"
    torch.save(network.state_dict(), path)
    spec = toy_spec(weights=PackagedFile(locate=lambda: path))
    backbone = load_resolved(toy(spec), LoadOptions())
    images = torch.rand(2, 3, SIDE, SIDE)
    assert torch.equal(backbone(images), network.eval()(images))
    assert backbone.load_account.file == path


def test_random_weights_of_a_builder_that_has_none_are_refused() -> None:
    with pytest.raises(WeightsError, match="no weights that could be random"):
        load_resolved(toy(), LoadOptions(random_weights=0))


def test_a_builder_can_be_named() -> None:
    spec = toy_spec(builder="tests.support.plugins:build_toy")
    assert isinstance(build_network(toy(spec)), ToyNetwork)
    with pytest.raises(WeightsError, match="cannot be called"):
        build_network(toy(toy_spec(builder="tests.support.plugins:SIDE")))
    with pytest.raises(WeightsError, match="returned a int"):
        build_network(toy(toy_spec(builder=lambda _: 3)))


def test_a_declared_width_that_is_not_true_is_refused() -> None:
    wrong = toy_spec(
        builder=lambda _: ToyNetwork(5),
        variants=(Variant(features=(FeatureChoice("mixed", 6, "wrong"),)),),
    )
    with pytest.raises(WeightsError, match=r"should have 6 values.*\[1, 5\]"):
        load_resolved(toy(wrong), LoadOptions())


class _WithConstant(ToyNetwork):
    """Computes a value that no file holds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((1,), 3.0), persistent=False)


@pytest.mark.parametrize("own", [True, False], ids=["cxrlearn's builder", "a plug-in's"])
def test_values_that_a_builder_computes_and_never_saves_survive(
    tmp_path: Path,
    own: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """cxrlearn's own networks are built without values first, which must not lose any."""
    network = _WithConstant()
    path = tmp_path / "toy.pt"
    torch.save(network.state_dict(), path)
    monkeypatch.setattr("cxrlearn.backbones.builders.vit", lambda _: _WithConstant())
    spec = toy_spec(
        builder="cxrlearn.backbones.builders:vit" if own else lambda _: _WithConstant(),
        weights=PackagedFile(lambda: path),
    )
    backbone = load_resolved(toy(spec), LoadOptions())
    assert float(dict(backbone.named_buffers())["network.scale"]) == 3
    images = torch.rand(2, 3, SIDE, SIDE)
    assert torch.equal(backbone(images), network.eval()(images))


def test_a_network_that_looks_at_values_while_built_is_built_ordinarily() -> None:
    def build() -> nn.Module:
        return nn.Linear(2, int(torch.ones(3).sum()))

    network = without_values(build)
    assert network.weight.shape == (3, 2)
    assert without_values(lambda: nn.Linear(2, 3)).weight.is_meta


def test_preprocess_takes_paths_and_8_bit_images(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20), dtype=np.uint8)
    asked: list[Path] = []

    def read(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
        asked.append(path)
        return pixels

    backbone = load_resolved(toy(), LoadOptions(), read=read)
    expected = to_input(pixels, backbone.record.preprocessing)
    assert torch.equal(backbone.preprocess("x.png"), expected)
    assert torch.equal(backbone.preprocess(Path("x.png")), expected)
    assert asked == [Path("x.png")] * 2
    assert torch.equal(backbone.preprocess(Image.fromarray(pixels)), expected)
    assert torch.equal(backbone.preprocess(Image.fromarray(pixels).convert("RGB")), expected)
    assert expected.shape == (3, SIDE, SIDE)


def test_preprocess_turns_images_upright() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20), dtype=np.uint8)
    turned = Image.fromarray(np.rot90(pixels).copy())
    turned.getexif()[0x0112] = 6  # "turn right to view"
    backbone = load_resolved(toy(), LoadOptions())
    expected = to_input(pixels, backbone.record.preprocessing)
    assert torch.equal(backbone.preprocess(turned), expected)


def test_preprocess_refuses_deep_images_and_a_missing_reader() -> None:
    backbone = load_resolved(toy(), LoadOptions())
    with pytest.raises(DataError, match="more than 8 bits"):
        backbone.preprocess(Image.fromarray(np.zeros((4, 4), dtype=np.uint16)))
    with pytest.raises(DataError, match=r"cxrlearn\.load_backbone"):
        backbone.preprocess("x.png")


def test_check_tells_file_hash_parameters_and_features(moco_file: Path) -> None:
    report = check_weights("mococxr", "resnet18", None, moco_file)
    assert report.path == moco_file
    assert report.verification == "not verified: no published hash"
    assert report.parameters == 11_176_512
    assert [(one.feature.id, one.problem) for one in report.features] == [("avgpool", None)]


def test_check_names_a_feature_that_the_file_cannot_give(tmp_path: Path) -> None:
    content = build(read_layout("s2mts2-chexpert"))
    for key in [one for one in content["state_dict"] if ".classifier." in one]:
        del content["state_dict"][key]
    path = tmp_path / "s2mts2.pth.tar"
    torch.save(content, path)
    report = check_weights("s2mts2", weights=path)
    path.unlink()
    assert [one.feature.id for one in report.features] == ["avgpool", "classifier"]
    assert report.features[0].problem is None
    assert "missing: classifier.weight, classifier.bias" in str(report.features[1].problem)


def test_a_file_under_a_published_name_with_another_hash_is_said(tmp_path: Path) -> None:
    layout = read_layout("imagenet_resnet50")
    path = write(layout, tmp_path)
    heard: list[str] = []
    backbone = load_backbone("resnet", weights=path, notify=heard.append)
    path.unlink()
    assert "NOT the published file" in heard[0]
    assert backbone.load_account.problems
    assert backbone.load_account.dropped == {"ImageNet classifier": 2}
