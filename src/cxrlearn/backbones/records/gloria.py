"""GLoRIA, a ResNet that upsamples its input."""

from __future__ import annotations

from cxrlearn.backbones.records.rules import ORIGINAL, ORIGINAL_ZIP
from cxrlearn.backbones.spec import (
    BackboneSpec,
    CenterCrop,
    DropRule,
    FeatureChoice,
    FileForm,
    FileWeights,
    PadSquare,
    Preprocessing,
    ResizeLonger,
    Variant,
)


def _features(width: int) -> tuple[FeatureChoice, ...]:
    return (
        FeatureChoice("global", width, "global average pool of the image encoder"),
        FeatureChoice("global_emb", 768, "global feature in the joint space with text, not scaled"),
    )


GLORIA = BackboneSpec(
    name="gloria",
    title="GLoRIA: global and local alignment of CheXpert radiographs and reports",
    architecture="ResNet-50 or ResNet-18 on input upsampled to 299 x 299",
    builder="cxrlearn.backbones.builders:gloria",
    weights=FileWeights(
        forms=(
            FileForm(
                name="Lightning checkpoint",
                group=("state_dict",),
                select=r"^gloria\.img_encoder\.(model|global_embedder)\.",
                rename=(
                    (r"^gloria\.img_encoder\.model\.", "resnet."),
                    (r"^gloria\.img_encoder\.", ""),
                ),
                drop=(
                    DropRule(r"^gloria\.text_encoder\.", "text tower (Bio_ClinicalBERT)"),
                    DropRule(
                        r"^gloria\.img_encoder\.local_embedder\.",
                        "embedding of image regions, for matching with words",
                    ),
                    DropRule(
                        r"^gloria\.img_encoder\.global_embedder\.",
                        "embedding of the whole image, needed only by --features global_emb",
                    ),
                    DropRule(r"^gloria\.img_encoder\.model\.fc\.", "classifier after the pool"),
                    DropRule(
                        r"^(epoch|global_step|pytorch-lightning_version|callbacks|optimizer_states"
                        r"|lr_schedulers|native_amp_scaling_state|hparams_name|hyper_parameters"
                        r"|hparams_type)$",
                        "state and settings of the training",
                    ),
                ),
                certainty="certain for the image encoder of resnet50, likely for resnet18",
            ),
        ),
        where=(
            "its authors link chexpert_resnet50.ckpt and chexpert_resnet18.ckpt in the README of "
            "https://github.com/marshuang80/gloria; "
            + ORIGINAL_ZIP.format(file="gloria_chexpert_resnet{18,50}.ckpt")
        ),
    ),
    variants=tuple(
        Variant(
            arch=arch,
            files=(f"gloria_chexpert_{arch}.ckpt", f"chexpert_{arch}.ckpt"),
            features=_features(width),
            pretraining_data=("chexpert", "imagenet-1k"),
        )
        for arch, width in (("resnet50", 2048), ("resnet18", 512))
    ),
    preprocessings=(
        Preprocessing(
            name="published",
            steps=(ResizeLonger(256, "area"), PadSquare(256), CenterCrop(224)),
            mean=(0.5,),
            std=(0.5,),
            source=(
                "marshuang80/gloria 416466a, gloria_model.py, builder.py and "
                "configs/chexpert_pretrain_config.yaml: longest side to 256 (OpenCV INTER_AREA), "
                "zero-padded to 256 centred, centre crop 224, 0..1, mean and std 0.5."
            ),
        ),
        ORIGINAL,
    ),
    paper="Huang et al. 2021, ICCV, doi:10.1109/ICCV48922.2021.00391",
    code="https://github.com/marshuang80/gloria 416466a",
    licence="code: Apache-2.0; weights: no terms of their own found",
)
