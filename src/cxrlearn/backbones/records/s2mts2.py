"""S2MTS2, a DenseNet with leaky rectifiers."""

from __future__ import annotations

from cxrlearn.backbones.records.rules import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ORIGINAL,
    ORIGINAL_ZIP,
)
from cxrlearn.backbones.spec import (
    BackboneSpec,
    DropRule,
    FeatureChoice,
    FileForm,
    FileWeights,
    Preprocessing,
    ResizeExact,
    Variant,
)


def _form(prefix: str, name: str) -> FileForm:
    """Return the file's form with the query encoder under `prefix` (a regular expression)."""
    return FileForm(
        name=name,
        group=("state_dict",),
        select=rf"^{prefix}encoder_q\.(features|classifier)\.",
        rename=((rf"^{prefix}encoder_q\.", ""),),
        drop=(
            DropRule(rf"^{prefix}encoder_q\.classifier\.", "needed only by --features classifier"),
            DropRule(rf"^{prefix}encoder_q\.classifier_group\.", "contrastive head"),
            DropRule(rf"^{prefix}encoder_k\.", "momentum teacher"),
            DropRule(rf"^{prefix}queue", "queue of negatives"),
            DropRule(r"^(epoch|arch|optimizer)$", "state of the training"),
        ),
        certainty="this form or the other; the authors' and the benchmark's code differ",
    )


S2MTS2 = BackboneSpec(
    name="s2mts2",
    title="S2MTS2: semi-supervised mean teacher, self-supervised on CheXpert",
    architecture="DenseNet-121 with LeakyReLU(0.1)",
    builder="cxrlearn.backbones.builders:leaky_densenet",
    weights=FileWeights(
        forms=(
            _form("", "query encoder, encoder_q"),
            _form(r"module\.", "query encoder, module.encoder_q"),
        ),
        where=(
            "its authors' code is https://github.com/FBLADL/semi-chest; "
            + ORIGINAL_ZIP.format(file="s2mts2-chexpert.pth.tar")
        ),
    ),
    variants=(
        Variant(
            arch="densenet121",
            files=("s2mts2-chexpert.pth.tar",),
            features=(
                FeatureChoice("avgpool", 1024, "leaky rectifier, then global average pool"),
                FeatureChoice(
                    "classifier",
                    1024,
                    "classifier applied twice, then ReLU, as the authors' forward does",
                ),
            ),
            pretraining_data=("chexpert",),
        ),
    ),
    preprocessings=(
        Preprocessing(
            name="published",
            steps=(ResizeExact(256, "bilinear"),),
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            source=(
                "FBLADL/semi-chest ebe6f60, utils/dataloaders/dataloader_xpert.py: CheXpert images "
                "to S x S (Pillow, bilinear; proportions are lost), 0..1, ImageNet mean and std. "
                "Decided here: S = 256, the size of the pre-training crops. (Its NIH fine-tuning "
                "uses shorter side 576, mean 0.508135, std 0.252920: dataloader_semi.py.)"
            ),
        ),
        ORIGINAL,
    ),
    paper="Liu et al. 2021, arXiv:2103.03629",
    code="https://github.com/FBLADL/semi-chest ebe6f60",
    licence="code: none stated; weights: no terms of their own found",
)
