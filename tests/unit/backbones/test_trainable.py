from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from cxrlearn.backbones.load import LoadOptions, load_resolved
from cxrlearn.backbones.preprocessing import to_input
from cxrlearn.backbones.registry import list_specs, resolve
from cxrlearn.backbones.trainable import (
    TrainableModel,
    build_trainable,
    empty_trainable,
    freeze,
    has_batch_norm,
    layer_depths,
    set_batch_norm,
)
from cxrlearn.errors import UsageError
from tests.support.tiny_backbone import SIDE, tiny_spec, use_tiny

if TYPE_CHECKING:
    from cxrlearn.backbones.spec import ResolvedBackbone

RANDOM = LoadOptions(random_weights=0)
LABELS = 3


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> ResolvedBackbone:
    use_tiny(monkeypatch)
    return resolve("tiny-test")


def grey(size: tuple[int, int], count: int = 4, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, *size), generator=generator, dtype=torch.uint8)


def empty(name: str, arch: str | None = None, features: str | None = None) -> TrainableModel:
    return empty_trainable(resolve(name, arch=arch, features=features), LABELS)


def step(model: TrainableModel, pictures: torch.Tensor, rate: float = 0.1) -> float:
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=rate)
    logits = model(pictures)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


def snapshot(model: TrainableModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(before: dict[str, torch.Tensor], model: TrainableModel) -> set[str]:
    after = model.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def test_logits_are_a_linear_head_on_what_the_frozen_backbone_gives(tiny: ResolvedBackbone) -> None:
    backbone = load_resolved(tiny, LoadOptions())
    model = build_trainable(tiny, LABELS, LoadOptions(), seed=1).eval()
    pictures = grey((SIDE, SIDE))
    inputs = torch.stack([to_input(one[0].numpy(), tiny.preprocessing) for one in pictures])
    with torch.inference_mode():
        expected = backbone(inputs) @ model.head.weight.T + model.head.bias
        logits = model(pictures)
    assert logits.shape == (4, LABELS)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    assert model.load_account == backbone.load_account


def test_the_head_is_small_seeded_and_leaves_the_global_generator(tiny: ResolvedBackbone) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    one, same, other = (build_trainable(tiny, 40, LoadOptions(), seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(one.head.weight, same.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)
    assert one.head.weight.std().item() == pytest.approx(0.01, rel=0.2)
    assert not one.head.bias.any()


def test_a_step_changes_every_parameter_and_the_loss_falls(tiny: ResolvedBackbone) -> None:
    model = build_trainable(tiny, LABELS, LoadOptions())
    before = snapshot(model)
    losses = [step(model, grey((SIDE, SIDE), 16)) for _ in range(8)]
    assert losses[-1] < losses[0]
    names = {name for name, _ in model.named_parameters()}
    # A bias before batch normalisation is subtracted again, so that only rounding could move it.
    assert names - changed(before, model) <= {"network.0.bias"}


def test_batch_norm_modes(tiny: ResolvedBackbone) -> None:
    pictures = grey((SIDE, SIDE), 16)
    statistics = {f"network.1.{what}" for what in ("running_mean", "running_var")}
    counter = {"network.1.num_batches_tracked"}

    local = build_trainable(tiny, LABELS, LoadOptions())
    assert has_batch_norm(local)
    set_batch_norm(local, "local")
    before = snapshot(local)
    step(local, pictures)
    assert statistics | counter <= changed(before, local)

    frozen = build_trainable(tiny, LABELS, LoadOptions())
    set_batch_norm(frozen, "frozen")
    before = snapshot(frozen)
    with torch.no_grad():
        in_training = frozen.train()(pictures)
        torch.testing.assert_close(in_training, frozen.eval()(pictures))
    step(frozen, pictures)
    moved = changed(before, frozen)
    assert not moved & (statistics | counter)
    assert {"network.1.weight", "network.1.bias"} <= moved  # scale and shift still learn

    with pytest.raises(UsageError, match=r"--batch-norm sync works on GPUs only.*frozen"):
        set_batch_norm(local, "sync")


@pytest.mark.parametrize("mode", ["local", "frozen"])
def test_frozen_batch_norm_makes_a_row_independent_of_its_batch(
    tiny: ResolvedBackbone, mode: str
) -> None:
    model = build_trainable(tiny, LABELS, LoadOptions())
    set_batch_norm(model, mode)  # type: ignore[arg-type]
    model.train()
    pictures = grey((SIDE, SIDE), 8)
    with torch.no_grad():
        together, alone = model(pictures)[:2], model(pictures[:2])
    assert torch.allclose(together, alone, atol=1e-6) == (mode == "frozen")


def test_a_frozen_backbone_stays_to_the_bit_and_the_head_learns(tiny: ResolvedBackbone) -> None:
    model = build_trainable(tiny, LABELS, LoadOptions())
    freeze(model, backbone=True)
    before = snapshot(model)
    step(model, grey((SIDE, SIDE), 8))
    assert changed(before, model) == {"head.weight", "head.bias"}
    assert not model.network.training
    assert model.training


def test_freezing_up_to_a_module_freezes_what_comes_before_and_its_statistics() -> None:
    model = empty("medaug", arch="resnet18")
    freeze(model, freeze_to="layer3")
    learning = {name for name, one in model.named_parameters() if one.requires_grad}
    assert {name.split(".")[1] for name in learning if name.startswith("network")} == {"layer4"}
    before = snapshot(model)
    step(model, grey((64, 64), 2))
    moved = changed(before, model)
    assert {".".join(name.split(".")[:2]) for name in moved} == {
        "network.layer4",
        "head.weight",
        "head.bias",
    }
    assert "network.layer4.0.bn1.running_mean" in moved


def test_the_beginning_of_a_name_may_be_left_out_and_projections_come_last() -> None:
    model = empty("chexzero", features="proj")
    freeze(model, freeze_to="blocks.5")
    fixed = {name for name, one in model.named_parameters() if not one.requires_grad}
    assert "network.vit.cls_token" in fixed
    assert "network.vit.blocks.5.mlp.fc2.bias" in fixed
    assert not any(".blocks.6." in name or ".blocks.11." in name for name in fixed)
    assert "network.vit.norm.weight" not in fixed
    assert "network.proj" not in fixed


def test_an_unknown_module_lists_those_there_are() -> None:
    model = empty("medaug", arch="resnet18")
    with pytest.raises(UsageError, match=r"'layer9': medaug has none .*conv1.*layer3, layer3\.0"):
        freeze(model, freeze_to="layer9")
    with pytest.raises(UsageError, match=r"several: layer1\.0\.conv2, .*It has conv1, bn1, layer1"):
        freeze(model, freeze_to="conv2")
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "choices", "expected"),
    [
        (
            "medaug",
            {"arch": "resnet18"},
            {
                "network.conv1.weight": 0,
                "network.bn1.bias": 0,
                "network.layer1.0.conv1.weight": 1,
                "network.layer1.1.bn2.weight": 2,
                "network.layer2.0.downsample.0.weight": 3,
                "network.layer4.1.conv2.weight": 8,
                "head.weight": 9,
            },
        ),
        (
            "gloria",
            {"arch": "resnet18"},
            {"network.resnet.conv1.weight": 0, "network.resnet.layer4.1.conv2.weight": 8},
        ),
        (
            "chexzero",
            {"features": "proj"},
            {
                "network.vit.cls_token": 0,
                "network.vit.pos_embed": 0,
                "network.vit.patch_embed.proj.weight": 0,
                "network.vit.norm_pre.weight": 0,
                "network.vit.blocks.0.attn.qkv.weight": 1,
                "network.vit.blocks.10.attn.proj.weight": 11,
                "network.vit.norm.weight": 13,
                "network.proj": 13,
                "head.bias": 14,
            },
        ),
        (
            "torchvision:vit_b_32",
            {},
            {
                "network.class_token": 0,
                "network.conv_proj.weight": 0,
                "network.encoder.pos_embedding": 0,
                "network.encoder.layers.encoder_layer_0.ln_1.weight": 1,
                "network.encoder.layers.encoder_layer_11.mlp.0.weight": 12,
                "network.encoder.ln.weight": 13,
            },
        ),
        (
            "s2mts2",
            {},
            {
                "network.features.conv0.weight": 0,
                "network.features.denseblock1.denselayer6.conv2.weight": 1,
                "network.features.transition1.conv.weight": 1,
                "network.features.denseblock4.denselayer1.norm1.weight": 4,
                "network.features.norm5.weight": 5,
            },
        ),
        (
            "cxr-tiny",
            {},
            {"network.stem.weight": 0, "network.stages.0.0.filter.weight": 1, "head.weight": 15},
        ),
    ],
)
def test_depths_of_known_families(
    name: str, choices: dict[str, str], expected: dict[str, int]
) -> None:
    model = empty(name, **choices)
    depths = layer_depths(model)
    assert set(depths) == {name for name, _ in model.named_parameters()}
    assert {name: depths[name] for name in expected} == expected
    assert set(depths.values()) == set(range(max(depths.values()) + 1))


def test_depths_of_other_networks_follow_registration(tiny: ResolvedBackbone) -> None:
    depths = layer_depths(empty_trainable(tiny, LABELS))
    assert depths == {
        "network.0.weight": 0,
        "network.0.bias": 0,
        "network.1.weight": 1,
        "network.1.bias": 1,
        "network.5.weight": 2,
        "network.5.bias": 2,
        "head.weight": 3,
        "head.bias": 3,
    }


def test_parameters_without_influence_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tiny_spec(builder="tests.unit.backbones.test_trainable:build_with_spare")
    use_tiny(monkeypatch, spec)
    model = build_trainable(resolve("tiny-test"), LABELS, LoadOptions())
    fixed = {name for name, one in model.named_parameters() if not one.requires_grad}
    assert fixed == {"network.spare.weight", "network.spare.bias"}
    assert all(parameter.grad is None for parameter in model.parameters())


class WithSpare(nn.Sequential):
    """A network with a layer that it never uses."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for name, module in self.named_children():
            if name != "spare":
                images = module(images)
        return images


def build_with_spare(resolved: ResolvedBackbone) -> nn.Module:
    network = WithSpare(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, resolved.feature.dim))
    network.add_module("spare", nn.Linear(2, 2))
    return network


def test_convolutional_networks_compute_channels_last_and_transformers_do_not() -> None:
    resnet = empty("medaug", arch="resnet18")
    assert resnet.channels_last
    weight = resnet.network.get_parameter("layer1.0.conv1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not empty_trainable(resolve("refers"), LABELS).channels_last


def test_a_model_can_be_rebuilt_from_its_state_alone(tiny: ResolvedBackbone) -> None:
    model = build_trainable(tiny, LABELS, LoadOptions())
    step(model, grey((SIDE, SIDE), 8))
    again = empty_trainable(tiny, LABELS)
    again.load_state_dict(model.state_dict())
    pictures = grey((SIDE, SIDE), 2, seed=1)
    with torch.inference_mode():
        assert torch.equal(again(pictures), model.eval()(pictures))


def test_pictures_as_floats_are_the_same_as_bytes(tiny: ResolvedBackbone) -> None:
    model = build_trainable(tiny, LABELS, LoadOptions()).eval()
    pictures = grey((SIDE, SIDE))
    with torch.inference_mode():
        assert torch.equal(model(pictures), model(pictures.float()))


def test_a_constant_picture_has_a_finite_gradient() -> None:
    model = build_trainable(resolve("cxr-tiny"), LABELS, LoadOptions())
    black = torch.zeros(2, 1, *model.record.preprocessing.picture_size, dtype=torch.uint8)
    model(black).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


SWEEP = [
    *(
        pytest.param(spec.name, variant.arch, feature.id, marks=pytest.mark.slow)
        for spec in list_specs()
        for variant in {one.arch: one for one in spec.variants}.values()
        for feature in variant.features
    ),
    pytest.param(
        "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k", None, None, marks=pytest.mark.slow
    ),
    pytest.param("timm:resnet10t.c3_in1k", None, None, marks=pytest.mark.slow),
    pytest.param("torchvision:mobilenet_v3_small", None, None, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "arch", "features"), SWEEP)
def test_every_registered_backbone_takes_a_step(
    name: str, arch: str | None, features: str | None
) -> None:
    resolved = resolve(name, arch=arch, features=features)
    model = build_trainable(resolved, LABELS, RANDOM)
    before = snapshot(model)
    set_batch_norm(model, "local")  # random weights need it: they have no statistics to freeze
    loss = step(model, grey(resolved.preprocessing.picture_size, 2), rate=1e-3)
    assert np.isfinite(loss)
    assert all(torch.isfinite(one).all() for one in model.state_dict().values())
    assert len(changed(before, model)) > 0.5 * len(list(model.parameters()))
    assert max(layer_depths(model).values()) >= 3


def test_under_autocast_logits_keep_the_digits_of_float32(tiny: ResolvedBackbone) -> None:
    model = build_trainable(tiny, LABELS, LoadOptions()).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = model.features(grey((SIDE, SIDE)))
        logits = model(grey((SIDE, SIDE)))
    assert half.dtype == torch.bfloat16
    assert logits.dtype == torch.float32
    assert (logits.bfloat16().float() != logits).float().mean() > 0.5
    torch.testing.assert_close(logits, model.head(half.float()))
