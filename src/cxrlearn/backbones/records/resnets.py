"""Plain ResNets: ConVIRT, MoCo-CXR, MedAug and the ImageNet baseline."""

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
    DropRule,
    FeatureChoice,
    FileForm,
    FileWeights,
    LibraryWeights,
    PadSquare,
    Preprocessing,
    ResizeExact,
    ResizeShorter,
    Variant,
)

_RESNET = "cxrlearn.backbones.builders:resnet"
_AVGPOOL = {
    "resnet18": (FeatureChoice("avgpool", 512, "global average pool, before any classifier"),),
    "resnet50": (FeatureChoice("avgpool", 2048, "global average pool, before any classifier"),),
}
_CLASSIFIER = DropRule(r"(^|\.)fc\.", "classifier or projection after the pool")

_CONVIRT_PARTS = (
    DropRule(r"^text_encoder", "text tower"),
    DropRule(r"^(image|text)_proj", "projection head of the contrastive training"),
    DropRule(r"^config$", "settings of the training"),
    _CLASSIFIER,
)
_CONVIRT_FORMS = (
    FileForm(
        name="bare ResNet keys",
        select=r"^(?!fc\.)",
        drop=(_CLASSIFIER,),
        certainty="likely: the only form that the original benchmark's code could have used",
    ),
    FileForm(
        name="trainer's dict, image_encoder",
        group=("image_encoder",),
        select=r"^(?!fc\.)",
        drop=_CONVIRT_PARTS,
        certainty="possible: what the pre-training script of ConVIRT's code saves",
    ),
    FileForm(
        name="whole model, with prefixes",
        select=r"^(?:(?:module|model|encoder|backbone|resnet|image_encoder)\.)+(?!fc\.)",
        rename=((r"^(?:(?:module|model|encoder|backbone|resnet|image_encoder)\.)+", ""),),
        drop=(
            DropRule(r"(^|\.)text_encoder\.", "text tower"),
            DropRule(r"(^|\.)(image|text)_proj\.", "projection head of the contrastive training"),
            _CLASSIFIER,
        ),
        certainty="unlikely",
    ),
)

CONVIRT = BackboneSpec(
    name="convirt",
    title="ConVIRT: contrastive learning on MIMIC-CXR radiographs and reports",
    architecture="ResNet-50",
    builder=_RESNET,
    weights=FileWeights(
        forms=_CONVIRT_FORMS,
        where="its authors publish none; " + ORIGINAL_ZIP.format(file="convirt_chest_mimic.pt"),
    ),
    variants=(
        Variant(
            arch="resnet50",
            files=("convirt_chest_mimic.pt",),
            features=_AVGPOOL["resnet50"],
            pretraining_data=("mimic-cxr", "imagenet-1k"),
        ),
    ),
    preprocessings=(
        Preprocessing(
            name="published",
            steps=(PadSquare(), ResizeExact(224, "bilinear")),
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            source=(
                "ConVIRT's code as copied into GulatiAditya/cxrlearn 09675d3, "
                "models/convirt/utils/preprocess.py and data/pretrain_loader.py: grey, zero-padded "
                "to a square (here: the picture in the middle), 224 (Pillow, bilinear), 0..1, "
                "ImageNet mean and std."
            ),
        ),
        ORIGINAL,
    ),
    paper="Zhang et al. 2020, arXiv:2010.00747",
    code="https://github.com/GulatiAditya/cxrlearn 09675d3, models/convirt",
    licence="code: none stated; weights: no terms of their own found",
)

_MOCO_FORM = FileForm(
    name="MoCo's query encoder",
    group=("state_dict",),
    select=r"^module\.encoder_q\.(?!fc\.)",
    rename=((r"^module\.encoder_q\.", ""),),
    drop=(
        DropRule(r"^module\.encoder_q\.fc\.", "projection head of the contrastive training"),
        DropRule(r"^module\.encoder_k\.", "momentum copy of the encoder"),
        DropRule(r"^module\.queue", "queue of negatives"),
        DropRule(r"^(epoch|arch|optimizer)$", "state of the training"),
    ),
    certainty="certain for the query encoder",
)

_MOCO_STEPS = (ResizeShorter(320, "bilinear"), CenterCrop(320))
_MOCO_PREPROCESSINGS = (
    Preprocessing(
        name="published",
        steps=_MOCO_STEPS,
        mean=(0.5020,),
        std=(0.085585,),
        source=(
            "stanfordmlgroup/MoCo-CXR d433aca, moco/aihc_utils/image_transform.py (shorter side "
            "320, Pillow bilinear; centre crop in place of the random one) and chexpert-model "
            "data/base_dataset.py (0..1, chexpert_norm). Decided here: chexpert_norm, which "
            "pre-training used and MedAug's README uses, although the fine-tuning code defaults to "
            "ImageNet's mean and std; those are `imagenet-norm`."
        ),
    ),
    Preprocessing(
        name="imagenet-norm",
        steps=_MOCO_STEPS,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        source=(
            "As published, with the default mean and std of the authors' fine-tuning code "
            "(chexpert-model args/train_arg_parser.py)."
        ),
    ),
    ORIGINAL,
)

MOCOCXR = BackboneSpec(
    name="mococxr",
    aliases=("moco-cxr",),
    title="MoCo-CXR: momentum contrast on CheXpert",
    architecture="ResNet-50 or ResNet-18",
    builder=_RESNET,
    weights=FileWeights(
        forms=(_MOCO_FORM,),
        where=(
            "its authors link r5w-00001.pth.tar (resnet50) and r8w-00001.pth.tar (resnet18) in the "
            "README of https://github.com/stanfordmlgroup/MoCo-CXR; "
            + ORIGINAL_ZIP.format(file="moco-cxr_resnet{18,50}.pth.tar")
        ),
    ),
    variants=(
        Variant(
            arch="resnet50",
            files=("moco-cxr_resnet50.pth.tar", "r5w-00001.pth.tar"),
            features=_AVGPOOL["resnet50"],
            pretraining_data=("chexpert", "imagenet-1k"),
        ),
        Variant(
            arch="resnet18",
            files=("moco-cxr_resnet18.pth.tar", "r8w-00001-v2.pth.tar", "r8w-00001.pth.tar"),
            features=_AVGPOOL["resnet18"],
            pretraining_data=("chexpert", "imagenet-1k"),
        ),
    ),
    preprocessings=_MOCO_PREPROCESSINGS,
    paper="Sowrirajan et al. 2021, arXiv:2010.05352",
    code="https://github.com/stanfordmlgroup/MoCo-CXR d433aca",
    licence="code: none for the whole, its moco part CC BY-NC 4.0; weights: no terms found",
)

MEDAUG = BackboneSpec(
    name="medaug",
    title="MedAug: momentum contrast with positive pairs from patient metadata",
    architecture="ResNet-50 or ResNet-18",
    builder=_RESNET,
    weights=FileWeights(
        forms=(_MOCO_FORM,),
        where=(
            "no download by its authors is known; "
            + ORIGINAL_ZIP.format(file="medaug_{mimic-cxr,chexpert}_resnet{18,50}.pth.tar")
        ),
    ),
    variants=tuple(
        Variant(
            arch=arch,
            pretrained_on=data,
            files=(f"medaug_{data}_{arch}.pth.tar",),
            features=_AVGPOOL[arch],
            pretraining_data=(data, "imagenet-1k"),
        )
        for arch in ("resnet50", "resnet18")
        for data in ("mimic-cxr", "chexpert")
    ),
    preprocessings=_MOCO_PREPROCESSINGS,
    paper="Vu et al. 2021, arXiv:2102.10663",
    code="https://github.com/stanfordmlgroup/MedAug 0db9cd9",
    licence="code: MIT, its MoCo-derived part CC BY-NC 4.0; weights: no terms of their own found",
)

RESNET = BackboneSpec(
    name="resnet",
    title="ImageNet baseline: ResNet-50 trained on photographs",
    architecture="ResNet-50",
    builder=_RESNET,
    weights=LibraryWeights(
        library="torchvision",
        name="resnet50",
        entry="ResNet50_Weights.IMAGENET1K_V1",
        forms=(
            FileForm(
                name="torchvision's ResNet",
                select=r"^(?!fc\.)",
                drop=(DropRule(r"^fc\.", "ImageNet classifier"),),
                certainty="certain; files before torchvision 0.12 may lack num_batches_tracked",
            ),
        ),
    ),
    variants=(
        Variant(
            arch="resnet50",
            files=("resnet50-0676ba61.pth",),
            features=_AVGPOOL["resnet50"],
            pretraining_data=("imagenet-1k",),
            sha256="0676ba61",
        ),
    ),
    preprocessings=(
        Preprocessing(
            name="published",
            steps=(ResizeShorter(256, "bilinear"), CenterCrop(224)),
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            source=(
                "torchvision, ResNet50_Weights.IMAGENET1K_V1.transforms(): shorter side 256 "
                "(bilinear), centre crop 224, 0..1, ImageNet mean and std."
            ),
        ),
        ORIGINAL,
    ),
    paper="He et al. 2016, arXiv:1512.03385",
    code="https://github.com/pytorch/vision",
    licence="code: BSD-3-Clause; weights: trained on ImageNet, whose terms of access apply",
    use_note="The baseline: what photographs alone teach. torchvision downloads its weights.",
)
