"""Each record's pixels equal an independent reading of its source, on awkward sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from torchvision import models, transforms
from torchvision.transforms import InterpolationMode

from cxrlearn.backbones.catalog import CATALOG
from cxrlearn.backbones.preprocessing import apply_steps, normalise, to_input
from cxrlearn.backbones.registry import resolve
from cxrlearn.backbones.spec import CenterCrop, Preprocessing, ResizeExact, ResizeShorter
from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Reading = Callable[[NDArray[np.uint8]], torch.Tensor]

# (height, width): smaller and larger than the targets, odd, square, one pixel, very wide and tall.
# 77 is a length x for which int(x * (320 / x)) is 319, not 320.
SIZES = [
    (1, 1), (2, 3), (49, 31), (97, 131), (131, 97), (224, 224), (225, 224), (255, 256), (256, 256),
    (77, 50), (107, 107), (319, 321), (320, 320), (431, 600), (801, 643), (96, 1024), (1024, 96),
]  # fmt: skip
IMAGENET = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture with edges, slopes and noise, and black and white in it."""
    rng = np.random.default_rng(height * 10_000 + width)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = (
        90 * np.sin(rows / 7.0) + 60 * np.cos(columns / 11.0) + 20 * rng.standard_normal(rows.shape)
    )
    blocks = 80 * (((rows // 16) + (columns // 16)) % 2)
    pixels: NDArray[np.uint8] = np.clip(90 + waves + blocks, 0, 255).astype(np.uint8)
    return pixels


def chexzero(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Read from CheXzero's data_process.py (file to 320 x 320) and zero_shot.py (to tensor)."""
    image = Image.fromarray(pixels)
    ratio = float(320) / max(image.size)
    width, height = (max(1, int(side * ratio)) for side in image.size)
    canvas = Image.new("L", (320, 320))
    small = image.resize((width, height), Image.Resampling.LANCZOS)
    canvas.paste(small, ((320 - width) // 2, (320 - height) // 2))
    tensor = torch.from_numpy(np.repeat(np.array(canvas, dtype=np.float32)[None], 3, axis=0))
    tensor = (tensor - 101.48761) / 83.43944
    return functional.interpolate(tensor[None], size=(224, 224), mode="bicubic", antialias=False)[0]


def chexzero_as_cxr_repair(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return (chexzero(pixels) * 83.43944 + 101.48761 - 129.4185) / 73.3378


def convirt(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Zero-pad to a square, 224 bilinear, three equal channels, ImageNet's mean and std."""
    image = Image.fromarray(pixels)
    side = max(image.size)
    square = Image.new("L", (side, side), 0)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    small = square.resize((224, 224), Image.Resampling.BILINEAR).convert("RGB")
    tensor: torch.Tensor = IMAGENET(transforms.functional.to_tensor(small))
    return tensor


def gloria(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Longest side to 256 with OpenCV, padded to 256 by floor and ceil, centre 224, to -1..1."""
    height, width = pixels.shape
    if height >= width:
        size = (256, max(1, int(float(width) * (256 / float(height)))))
    else:
        size = (max(1, int(float(height) * (256 / float(width)))), 256)
    small = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
    rows, columns = 256 - size[0], 256 - size[1]
    square = np.zeros((256, 256), dtype=np.uint8)
    top, left = int(np.floor(rows / 2)), int(np.floor(columns / 2))
    square[top : top + size[0], left : left + size[1]] = small
    image = transforms.CenterCrop(224)(Image.fromarray(square).convert("RGB"))
    tensor: torch.Tensor = (transforms.functional.to_tensor(image) - 0.5) / 0.5
    return tensor


def _shorter_and_crop(pixels: NDArray[np.uint8], side: int) -> torch.Tensor:
    image = Image.fromarray(pixels).convert("RGB")
    steps = transforms.Compose([transforms.Resize(side), transforms.CenterCrop(side)])
    tensor: torch.Tensor = transforms.functional.to_tensor(steps(image))
    return tensor


def moco(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return (_shorter_and_crop(pixels, 320) - 0.5020) / 0.085585


def moco_imagenet(pixels: NDArray[np.uint8]) -> torch.Tensor:
    tensor: torch.Tensor = IMAGENET(_shorter_and_crop(pixels, 320))
    return tensor


def refers(pixels: NDArray[np.uint8]) -> torch.Tensor:
    tensor: torch.Tensor = IMAGENET(_shorter_and_crop(pixels, 224))
    return tensor


def s2mts2(pixels: NDArray[np.uint8]) -> torch.Tensor:
    image = Image.fromarray(pixels).convert("RGB").resize((256, 256), Image.Resampling.BILINEAR)
    tensor: torch.Tensor = IMAGENET(transforms.functional.to_tensor(image))
    return tensor


def imagenet(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """torchvision's own object is the source."""
    rule = models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    tensor: torch.Tensor = rule(Image.fromarray(pixels).convert("RGB"))
    return tensor


def original(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """The original program's prepare_dataset.py: resize, crop, then RGB."""
    steps = transforms.Compose(
        [
            transforms.Resize((224, 224), interpolation=InterpolationMode.BICUBIC),
            transforms.CenterCrop((224, 224)),
            lambda image: image.convert("RGB"),
            transforms.ToTensor(),
            transforms.Normalize(
                (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
            ),
        ]
    )
    tensor: torch.Tensor = steps(Image.fromarray(pixels))
    return tensor


# Tolerances are in grey levels. Normalising in another order differs by float rounding; OpenCV
# accumulates in another precision than numpy, so a value near one half may round the other way.
READINGS: list[tuple[str, str, Reading, float]] = [
    ("chexzero", "published", chexzero, 0.01),
    ("chexzero", "cxr-repair-chexpert", chexzero_as_cxr_repair, 0.01),
    ("convirt", "published", convirt, 0.001),
    ("gloria", "published", gloria, 1.001),
    ("mococxr", "published", moco, 0.001),
    ("medaug", "published", moco, 0.001),
    ("mococxr", "imagenet-norm", moco_imagenet, 0.001),
    ("medaug", "imagenet-norm", moco_imagenet, 0.001),
    ("refers", "published", refers, 0.001),
    ("s2mts2", "published", s2mts2, 0.001),
    ("resnet", "published", imagenet, 0.001),
    *((spec.name, "original", original, 0.001) for spec in CATALOG),
]


@pytest.mark.parametrize(
    ("name", "rule", "reading", "levels"), READINGS, ids=[f"{row[0]}-{row[1]}" for row in READINGS]
)
def test_record_equals_an_independent_reading_of_its_source(
    name: str, rule: str, reading: Reading, levels: float
) -> None:
    record = resolve(name, preprocessing=rule).preprocessing
    scale = 255 if record.value_range == "0..1" else 1
    std = torch.tensor(record.std).view(-1, 1, 1) * scale
    for size in SIZES:
        pixels = picture(*size)
        ours, theirs = to_input(pixels, record), reading(pixels)
        assert ours.shape == theirs.shape == (3, *record.input_size), size
        assert ours.dtype == torch.float32
        assert ((ours - theirs).abs() * std).max() <= levels, size


def test_every_published_rule_has_an_independent_reading() -> None:
    read = {(name, rule) for name, rule, _, _ in READINGS}
    offered = {(spec.name, rule.name) for spec in CATALOG for rule in spec.preprocessings}
    assert offered - read == {("cxr-tiny", "published")}  # its own tests are beside its training


def test_gloria_differs_from_opencv_on_few_pixels_only() -> None:
    """The one grey level allowed above is rounding, not another filter."""
    record = resolve("gloria").preprocessing
    differing = total = 0
    for size in SIZES:
        pixels = picture(*size)
        levels = (to_input(pixels, record) - gloria(pixels)).abs() * 127.5
        differing += int((levels > 0.5).sum())
        total += levels.numel()
    assert differing / total < 0.05


def test_chexzero_keeps_the_sources_truncation_to_319() -> None:
    """int(77 * (320 / 77)) is 319: floating point is part of the published rule."""
    assert int(77 * (320 / 77)) == 319
    white = np.full((77, 77), 255, dtype=np.uint8)
    pixels = apply_steps(white, resolve("chexzero").preprocessing)
    assert pixels.shape == (320, 320)
    assert pixels[:319, :319].min() == 255
    assert pixels[319].max() == pixels[:, 319].max() == 0


@pytest.mark.parametrize("rounding", ["half-even", "floor"])
@pytest.mark.parametrize("size", [(5, 8), (7, 4), (3, 3), (10, 13), (2, 9)])
def test_centre_crop_equals_torchvision_or_the_floor(
    size: tuple[int, int], rounding: Literal["half-even", "floor"]
) -> None:
    pixels = picture(*size)
    record = Preprocessing("x", (CenterCrop(5, rounding=rounding),), (0.0,), (1.0,), "test")
    ours = apply_steps(pixels, record)
    padded = transforms.functional.center_crop(Image.fromarray(pixels), [max(5, n) for n in size])
    theirs = np.asarray(padded)
    spare = [n - 5 for n in theirs.shape]
    top, left = (round(n / 2) if rounding == "half-even" else n // 2 for n in spare)
    assert np.array_equal(ours, theirs[top : top + 5, left : left + 5])


def test_height_and_width_are_not_swapped() -> None:
    record = Preprocessing("x", (ResizeExact((4, 9), "nearest"),), (0.0,), (1.0,), "test")
    assert apply_steps(picture(20, 30), record).shape == (4, 9)
    assert record.input_size == (4, 9)


def test_a_thread_of_pixels_is_refused_and_not_blown_up() -> None:
    record = Preprocessing(
        "x", (ResizeShorter(320, "bilinear"), CenterCrop(320)), (0.0,), (1.0,), "t"
    )
    with pytest.raises(UnreadableImageError, match="too long and thin"):
        apply_steps(np.zeros((1, 20_000), dtype=np.uint8), record)


def test_pictures_are_not_changed_and_may_be_read_only() -> None:
    pixels = picture(224, 224)
    before = pixels.copy()
    pixels.setflags(write=False)
    for spec in CATALOG:
        result = apply_steps(pixels, spec.preprocessings[0])
        assert result.flags.writeable
        assert result.flags.c_contiguous
    assert np.array_equal(pixels, before)


def test_a_picture_does_not_depend_on_its_batch() -> None:
    for spec in CATALOG:
        rule = spec.preprocessings[0]
        batch = torch.from_numpy(
            np.stack([apply_steps(picture(90, n), rule) for n in (70, 80, 95)])
        )
        together = normalise(batch, rule)
        alone = torch.cat([normalise(one.unsqueeze(0), rule) for one in batch])
        assert torch.equal(together, alone), spec.name


def test_constant_pictures_stay_finite() -> None:
    for spec in CATALOG:
        for rule in spec.preprocessings:
            assert torch.isfinite(to_input(np.zeros((30, 40), dtype=np.uint8), rule)).all()


def test_rules_differ_between_models() -> None:
    """Defect S7: one squash to 224 with CLIP's mean and std for every model."""
    published = [str(spec.preprocessings[0].identity()) for spec in CATALOG]
    assert len(set(published)) == len(published) - 1  # only MoCo-CXR and MedAug share theirs
    pixels = picture(400, 200)
    assert to_input(pixels, resolve("chexzero").preprocessing)[0, :, 0].std() < 1e-6  # border
