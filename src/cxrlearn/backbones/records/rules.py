"""Preprocessing constants and rules that several records share."""

from __future__ import annotations

from cxrlearn.backbones.spec import Preprocessing, ResizeExact

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

ORIGINAL = Preprocessing(
    name="original",
    steps=(ResizeExact(224, "bicubic"),),
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    source=(
        "GulatiAditya/cxrlearn 09675d3, datasets/prepare_dataset.py: the original benchmark's one "
        "rule for all models. Both sides to 224 (Pillow, bicubic; proportions are lost), 0..1, "
        "CLIP mean and std. Its CenterCrop(224) after that changes nothing."
    ),
)
"""The original benchmark's uniform rule, offered by every record."""

ORIGINAL_ZIP = (
    "the original benchmark hands it on as {file} in its pretrained.zip (README of "
    "https://github.com/GulatiAditya/cxrlearn)"
)
"""Where all seven files were collected; to be formatted with the file's name."""
