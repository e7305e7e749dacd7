"""CheXzero, a CLIP vision transformer (also circulating as CXR-RePaiR-CLIP)."""

from __future__ import annotations

from cxrlearn.backbones.records.rules import ORIGINAL, ORIGINAL_ZIP
from cxrlearn.backbones.spec import (
    BackboneSpec,
    DropRule,
    FeatureChoice,
    FileForm,
    FileWeights,
    PadSquare,
    Preprocessing,
    ResizeLonger,
    Variant,
)

_STEPS = (ResizeLonger(320, "lanczos", longer="by-ratio"), PadSquare(320))

_FORM = FileForm(
    name="state dict of OpenAI's CLIP class",
    select=r"^visual\.",
    rename=(
        (r"^visual\.class_embedding$", "vit.cls_token"),
        (r"^visual\.positional_embedding$", "vit.pos_embed"),
        (r"^visual\.conv1\.weight$", "vit.patch_embed.proj.weight"),
        (r"^visual\.ln_pre\.", "vit.norm_pre."),
        (r"^visual\.ln_post\.", "vit.norm."),
        (r"^visual\.proj$", "proj"),
        (r"^visual\.transformer\.resblocks\.(\d+)\.", r"vit.blocks.\1."),
        (r"\.attn\.in_proj_", ".attn.qkv."),
        (r"\.attn\.out_proj\.", ".attn.proj."),
        (r"\.ln_([12])\.", r".norm\1."),
        (r"\.mlp\.c_fc\.", ".mlp.fc1."),
        (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    ),
    reshape=(("vit.cls_token", (1, 1, 768)), ("vit.pos_embed", (1, 50, 768))),
    drop=(
        DropRule(
            r"^(transformer\.|token_embedding\.|positional_embedding$|ln_final\.|text_projection$)",
            "text tower",
        ),
        DropRule(r"^logit_scale$", "temperature of the contrastive loss"),
        DropRule(r"^visual\.proj$", "projection, needed only by --features proj"),
    ),
    certainty="keys and shapes certain; float32 or partly float16, both are cast to float32",
)

CHEXZERO = BackboneSpec(
    name="chexzero",
    aliases=("cxr-repair",),
    title="CheXzero: CLIP on MIMIC-CXR radiographs and reports",
    architecture="CLIP ViT-B/32 with QuickGELU",
    builder="cxrlearn.backbones.builders:clip_vit",
    weights=FileWeights(
        forms=(_FORM,),
        where=(
            "its authors link best_64_5e-05_original_22000_0.864.pt in the README of "
            "https://github.com/rajpurkarlab/CheXzero; " + ORIGINAL_ZIP.format(file="chexzero.pt")
        ),
    ),
    variants=(
        Variant(
            arch="vit-b32",
            files=("chexzero.pt", "best_64_5e-05_original_22000_0.864.pt"),
            features=(
                FeatureChoice("proj", 512, "class token in CLIP's joint space, not scaled"),
                FeatureChoice("pre_proj", 768, "class token after the last norm, not projected"),
            ),
            pretraining_data=("mimic-cxr", "openai-wit"),
        ),
    ),
    preprocessings=(
        Preprocessing(
            name="published",
            steps=_STEPS,
            value_range="0..255",
            mean=(101.48761,),
            std=(83.43944,),
            tensor_size=224,
            source=(
                "rajpurkarlab/CheXzero 5c341db, data_process.py and zero_shot.py: longest side to "
                "320 (Pillow LANCZOS, both sides truncated), pasted centred on black, values stay "
                "0..255; normalised, then the tensor is resized to 224, bicubic, without antialias "
                "as torchvision did in 2022."
            ),
        ),
        Preprocessing(
            name="cxr-repair-chexpert",
            steps=_STEPS,
            value_range="0..255",
            mean=(129.4185,),
            std=(73.3378,),
            tensor_size=224,
            source=(
                "rajpurkarlab/CXR-RePaiR c11fa85, data/*_image_dataset.py: what that project uses "
                "for CheXpert images; for files that are CXR-RePaiR's."
            ),
        ),
        ORIGINAL,
    ),
    paper="Tiu et al. 2022, doi:10.1038/s41551-022-00936-9",
    code="https://github.com/rajpurkarlab/CheXzero 5c341db; https://github.com/openai/CLIP d05afc4",
    licence="code: MIT; weights: no terms of their own found",
    use_note=(
        "The original benchmark calls its file cxr-repair and cites CXR-RePaiR, which shares the "
        "architecture and the file's layout: its chexzero.pt may be either."
    ),
)
