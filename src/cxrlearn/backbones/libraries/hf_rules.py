"""Translate a Hugging Face image processor into a preprocessing record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import transformers

from cxrlearn.backbones.spec import CenterCrop, Preprocessing, ResizeExact, ResizeShorter
from cxrlearn.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cxrlearn.backbones.spec import Filter, Step

# Pillow's numbers, which image processors store.
_FILTERS: dict[int, Filter] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}


def published_rule(name: str, processor: Any) -> Preprocessing:  # noqa: ANN401 - any image processor
    """Return the record of what an image processor does to a grey picture.

    Raises:
        WeightsError: it cannot be expressed.
    """
    settings = processor.to_dict()
    try:
        steps = _steps(settings)
        mean, std, in_unit_range = _scale(settings)
        return Preprocessing(
            name="published",
            steps=steps,
            value_range="0..1" if in_unit_range else "0..255",
            mean=mean,
            std=std,
            source=f"{type(processor).__name__} of {name}, transformers {transformers.__version__}",
        )
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"hf:{name}: its image processor cannot be expressed here: {error}"
        ) from error


def _steps(settings: Mapping[str, Any]) -> tuple[Step, ...]:
    steps: list[Step] = []
    if settings.get("do_resize", True):
        steps.extend(_resize(settings))
    if settings.get("do_center_crop"):
        crop = _sides(settings["crop_size"])
        steps.append(CenterCrop((crop["height"], crop["width"]), rounding="floor"))
    return tuple(steps)


def _resize(settings: Mapping[str, Any]) -> list[Step]:
    kind = _FILTERS[int(settings.get("resample", 2))]
    size = _sides(settings["size"])
    if set(size) == {"height", "width"}:
        return [ResizeExact((size["height"], size["width"]), kind)]
    if set(size) != {"shortest_edge"}:
        raise ValueError(f"size {size}")
    shorter = size["shortest_edge"]
    if settings.get("crop_pct") is None:
        return [ResizeShorter(shorter, kind)]
    # ConvNeXt's processor: small inputs are cut out of a larger picture.
    if shorter >= 384:
        return [ResizeExact(shorter, kind)]
    larger = int(shorter / settings["crop_pct"])
    return [ResizeShorter(larger, kind), CenterCrop(shorter, rounding="floor")]


def _sides(size: object) -> dict[str, int]:
    """Return the sides that are given, whatever class holds them."""
    if isinstance(size, int):
        return {"shortest_edge": size}
    given = dict(cast("Mapping[str, int | None]", size))
    return {side: int(value) for side, value in given.items() if value is not None}


def _scale(settings: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """Return mean, std, and whether they are meant for 0..1 (else for 0..255)."""
    factor = settings["rescale_factor"] if settings.get("do_rescale", True) else 1.0
    mean, std = (0.0,), (1.0,)
    if settings.get("do_normalize"):
        mean, std = tuple(settings["image_mean"]), tuple(settings["image_std"])
    if abs(factor * 255 - 1) < 1e-6:
        return mean, std, True
    return tuple(m / factor for m in mean), tuple(s / factor for s in std), False
