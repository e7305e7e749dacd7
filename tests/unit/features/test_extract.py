from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from cxrlearn.backbones.backbone import Backbone
from cxrlearn.backbones.load import LoadOptions, load_resolved
from cxrlearn.backbones.matching import LoadAccount
from cxrlearn.backbones.preprocessing import normalise
from cxrlearn.backbones.spec import ResolvedBackbone
from cxrlearn.errors import FeatureFileError, HardwareError
from cxrlearn.features.extract import (
    Extractor,
    decide_precision,
    exact_float32,
    largest_cosine_distance,
)
from cxrlearn.features.replay import recorded
from tests.support.tiny_backbone import DIM, SIDE, tiny_spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

CPU = torch.device("cpu")


def resolved() -> ResolvedBackbone:
    spec = tiny_spec()
    variant = spec.variants[0]
    return ResolvedBackbone(spec, variant, variant.features[0], spec.preprocessings[0])


def wrapped(network: nn.Module) -> Backbone:
    return Backbone(network, resolved(), LoadAccount("by hand"))


def extractor(**changes: Any) -> Extractor:  # noqa: ANN401 - fields of Extractor
    settings: dict[str, Any] = {
        "load": lambda: load_resolved(resolved(), LoadOptions()),
        "device": CPU,
        "batch_size": 4,
        "precision": "fp32",
        "notify": lambda _message: None,
    }
    return Extractor(**(settings | changes))


def pictures(count: int) -> list[NDArray[np.uint8]]:
    generator = np.random.default_rng(3)
    return [generator.integers(0, 256, (SIDE, SIDE), dtype=np.uint8) for _ in range(count)]


def run(one: Extractor, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    batches = [features for image in images if (features := one.push(image)) is not None]
    return np.concatenate([*batches, one.finish()])


def test_every_picture_gives_one_row_in_order() -> None:
    images = pictures(10)
    features = run(extractor(), images)
    assert features.shape == (10, DIM)
    assert features.dtype == np.float32
    backbone = load_resolved(resolved(), LoadOptions())
    for image, row in zip(images, features, strict=True):
        inputs = normalise(torch.from_numpy(image).unsqueeze(0), resolved().preprocessing)
        assert np.allclose(row, backbone(inputs)[0].numpy(), rtol=1e-5, atol=1e-6)


def test_original_defect_s3_a_feature_does_not_depend_on_what_shares_its_batch() -> None:
    # The original never left training mode: batch normalisation mixed the images of a batch. The
    # builder of this network hands it over in training mode.
    images = pictures(9)
    alone = [run(extractor(), [image])[0] for image in images]
    assert run(extractor(), images).tobytes() == np.stack(alone).tobytes()
    backwards = run(extractor(), images[::-1])[::-1]
    assert backwards.tobytes() == np.stack(alone).tobytes()


def test_original_defect_s3_running_statistics_do_not_drift() -> None:
    one = extractor()
    before = {name: value.clone() for name, value in one.backbone.state_dict().items()}
    run(one, pictures(8))
    assert not one.backbone.training
    for name, value in one.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_all_batches_have_the_same_size() -> None:
    sizes = []

    class Spy(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            assert torch.is_inference_mode_enabled()
            return images.mean(dim=(2, 3))[:, :1].expand(-1, DIM)

    run(extractor(load=lambda: wrapped(Spy())), pictures(10))
    assert sizes == [4, 4, 4]


def test_without_pictures_there_are_no_features() -> None:
    assert run(extractor(), []).shape == (0, DIM)


class Constant(nn.Module):
    """Gives one value, in the type of the autocast region."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.layer = nn.Linear(1, DIM)
        nn.init.constant_(self.layer.weight, value)
        nn.init.zeros_(self.layer.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.layer(torch.ones(len(images), 1))
        return features


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(value: float) -> None:
    one = extractor(load=lambda: wrapped(Constant(value)))
    with pytest.raises(FeatureFileError, match=r"tiny-test: features are not finite in fp32"):
        run(one, pictures(1))


def test_what_does_not_fit_into_float16_is_refused_never_infinity() -> None:
    one = extractor(load=lambda: wrapped(Constant(70_000.0)), store="float16")
    with pytest.raises(
        FeatureFileError, match=r"7e\+04 does not fit into float16.*--store float32"
    ):
        run(one, pictures(1))
    assert np.isfinite(run(extractor(load=lambda: wrapped(Constant(70_000.0))), pictures(1))).all()


def test_half_precision_writes_down_how_far_it_is_from_float32() -> None:
    one = extractor(precision="bf16")
    half, exact = run(one, pictures(6)), run(extractor(), pictures(6))
    assert one.cosine_distance is not None
    assert 0 < one.cosine_distance < 1e-3
    assert one.precision == "bf16"
    assert not np.array_equal(half, exact)
    assert one.cosine_distance == pytest.approx(largest_cosine_distance(half[:4], exact[:4]))


class Cancelling(nn.Module):
    """A small difference of large numbers: what bf16 cannot do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(SIDE * SIDE * 3, DIM)
        nn.init.constant_(self.layer.weight, 1.0)
        nn.init.zeros_(self.layer.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        high: torch.Tensor = self.layer(images.flatten(1) + 1000)
        return (high - 1000 * SIDE * SIDE * 3) + torch.arange(DIM)


def test_half_precision_that_strays_too_far_falls_back_with_a_notice() -> None:
    notices: list[str] = []
    one = extractor(load=lambda: wrapped(Cancelling()), precision="bf16", notify=notices.append)
    features = run(one, pictures(6))
    assert one.precision == "fp32"
    assert one.cosine_distance is not None
    assert one.cosine_distance > 1e-3
    (notice,) = notices
    assert "bf16 features are" in notice
    assert "float32 is used" in notice
    exact = run(extractor(load=lambda: wrapped(Cancelling())), pictures(6))
    assert features.tobytes() == exact.tobytes()


def test_a_file_of_half_precision_keeps_it() -> None:
    one = extractor(load=lambda: wrapped(Cancelling()), precision="bf16", may_fall_back=False)
    run(one, pictures(1))
    assert one.precision == "bf16"


def test_memory_that_is_too_small_is_a_hardware_error() -> None:
    class Greedy(nn.Module):
        def forward(self, _images: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(HardwareError, match=r"batches of 4\. Use a smaller --batch-size") as caught:
        run(extractor(load=lambda: wrapped(Greedy())), pictures(1))
    assert caught.value.exit_code == 7


def test_the_precision_of_a_cpu_is_float32() -> None:
    assert decide_precision("auto", CPU) == "fp32"
    assert decide_precision("bf16", CPU) == "bf16"
    with pytest.raises(HardwareError, match="fp16 needs a GPU"):
        decide_precision("fp16", CPU)


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp32"), ((8, 0), "bf16")])
def test_the_precision_of_a_gpu_depends_on_its_generation(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert decide_precision("auto", torch.device("cuda", 0)) == precision


def test_tf32_is_off_for_products_and_convolutions_and_restored() -> None:
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark)
    with exact_float32():
        assert (cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == (False, False, False)
    assert (cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == before


def test_cosine_distance_against_hand_made_angles() -> None:
    a = np.array([[1, 0], [1, 0], [0, 0]], dtype=np.float32)
    b = np.array([[2, 0], [1, 1], [0, 0]], dtype=np.float32)
    assert largest_cosine_distance(a[:1], b[:1]) == pytest.approx(0)
    assert largest_cosine_distance(a, b) == pytest.approx(1 - 2**-0.5)
    overflown = np.array([[np.inf, 0], [1, 0], [0, 0]], dtype=np.float32)
    assert largest_cosine_distance(a, overflown) == float("inf")


@pytest.mark.gpu
def test_padding_and_position_do_not_change_a_feature_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    device = torch.device("cuda", 0)
    images = pictures(6)

    def on_gpu() -> Extractor:
        return extractor(
            device=device, load=lambda: load_resolved(resolved(), LoadOptions(), device=device)
        )

    alone = np.stack([run(on_gpu(), [image])[0] for image in images])
    assert run(on_gpu(), images[::-1])[::-1].tobytes() == alone.tobytes()


@pytest.mark.gpu
@pytest.mark.parametrize("count", [3, 8, 10])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_gives_the_rows_of_the_cpu_in_order(count: int, precision: str) -> None:
    # A GPU computes one batch while the next is collected, and from the second on replays a graph.
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    device = torch.device("cuda", 0)
    there = extractor(
        device=device,
        precision=precision,
        load=lambda: load_resolved(resolved(), LoadOptions(), device=device),
    )
    found, here = run(there, pictures(count)), run(extractor(), pictures(count))
    assert found.shape == here.shape
    tolerance = 1e-5 if precision == "fp32" else 2e-2
    np.testing.assert_allclose(found, here, rtol=tolerance, atol=tolerance * np.abs(here).max())


def test_on_a_cpu_nothing_is_recorded() -> None:
    def double(values: torch.Tensor) -> torch.Tensor:
        return 2 * values

    assert recorded(double, torch.ones(2)) is double


@pytest.mark.gpu
def test_what_cannot_be_recorded_runs_as_it_is() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")

    def asks(values: torch.Tensor) -> torch.Tensor:
        return values / float(values.max())

    one = torch.rand(8, device="cuda") + 1
    assert recorded(asks, one) is asks
    torch.testing.assert_close(asks(one).cpu(), one.cpu() / float(one.max()))  # it still computes
    replay = recorded(torch.sin, one)
    assert replay is not torch.sin
    for values in (one, one + 1):
        assert torch.equal(replay(values), torch.sin(values))
