"""REFERS, a vision transformer trained with radiology reports."""

from __future__ import annotations

from cxrlearn.backbones.records.rules import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ORIGINAL,
    ORIGINAL_ZIP,
)
from cxrlearn.backbones.spec import (
    BackboneSpec,
    CenterCrop,
    Concat,
    DropRule,
    FeatureChoice,
    FileForm,
    FileWeights,
    Preprocessing,
    ResizeShorter,
    Variant,
)

_RENAME = (
    (r"^transformer\.embeddings\.cls_token$", "cls_token"),
    (r"^transformer\.embeddings\.position_embeddings$", "pos_embed"),
    (r"^transformer\.embeddings\.patch_embeddings\.", "patch_embed.proj."),
    (r"^transformer\.encoder\.encoder_norm\.", "norm."),
    (r"^transformer\.encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"\.attention_norm\.", ".norm1."),
    (r"\.ffn_norm\.", ".norm2."),
    (r"\.ffn\.", ".mlp."),
    (r"\.attn\.out\.", ".attn.proj."),
)
_FUSE = (Concat((".attn.query.", ".attn.key.", ".attn.value."), ".attn.qkv."),)

REFERS = BackboneSpec(
    name="refers",
    title="REFERS: cross-supervision by MIMIC-CXR reports",
    architecture="ViT-B/16",
    builder="cxrlearn.backbones.builders:vit",
    weights=FileWeights(
        forms=(
            FileForm(
                name="bare transformer keys",
                select=r"^transformer\.",
                rename=_RENAME,
                concat=_FUSE,
                drop=(DropRule(r"^head\.", "classifier of a task"),),
                certainty="likely: the only form that the authors' fine-tuning code could load",
            ),
            FileForm(
                name="pre-training checkpoint",
                group=("model",),
                select=r"^visual\.vit\.transformer\.",
                rename=((r"^visual\.vit\.", ""), *_RENAME),
                concat=_FUSE,
                drop=(
                    DropRule(r"^(fusion|contrastive_bert|textual)\.", "learning from reports"),
                    DropRule(r"^visual\.vit\.head\.", "classifier of a task"),
                    DropRule(r"^(optimizer|scheduler|iteration)$", "state of the training"),
                ),
                certainty="unlikely: what the pre-training script writes",
            ),
        ),
        where=(
            "its authors link it in the README of https://github.com/funnyzhou/REFERS; "
            + ORIGINAL_ZIP.format(file="refers_checkpoint.pth")
        ),
    ),
    variants=(
        Variant(
            arch="vit-b16",
            files=("refers_checkpoint.pth",),
            features=(FeatureChoice("cls", 768, "class token after the last norm"),),
            pretraining_data=("mimic-cxr",),
        ),
    ),
    preprocessings=(
        Preprocessing(
            name="published",
            steps=(ResizeShorter(224, "bilinear"), CenterCrop(224)),
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            source=(
                "funnyzhou/REFERS df7e83e, Fine-tune/*/utils/data_utils.py: shorter side 224 "
                "(Pillow, bilinear), centre crop 224, 0..1, ImageNet mean and std. Its "
                "pre-training images were first shrunk to shorter side 320; that is not repeated."
            ),
        ),
        ORIGINAL,
    ),
    paper="Zhou et al. 2022, doi:10.1038/s42256-021-00425-9",
    code="https://github.com/funnyzhou/REFERS df7e83e",
    licence="code: MIT; weights: no terms of their own found",
)
