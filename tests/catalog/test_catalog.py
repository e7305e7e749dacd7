"""Every record is complete, true about its features, and readable without anything heavy."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import product

import pytest
import torch

from cxrlearn.backbones.catalog import CATALOG
from cxrlearn.backbones.load import build_network, load_backbone, without_values
from cxrlearn.backbones.registry import resolve
from cxrlearn.backbones.spec import BackboneSpec, FileWeights, LibraryWeights, ResolvedBackbone
from cxrlearn.features.fingerprint import Fingerprint

RECORDS = [pytest.param(spec, id=spec.name) for spec in CATALOG]
CHOICES = [
    pytest.param(
        ResolvedBackbone(spec, variant, feature, rule),
        id=f"{spec.name}-{variant.arch}-{variant.pretrained_on}-{feature.id}-{rule.name}",
    )
    for spec in CATALOG
    for variant in spec.variants
    for feature in variant.features
    for rule in (spec.preprocessings[0], spec.preprocessings[-1])
]
EIGHT = {"medaug", "chexzero", "refers", "convirt", "s2mts2", "gloria", "mococxr", "resnet"}


def test_the_eight_backbones_and_the_shipped_one_are_there() -> None:
    assert {spec.name for spec in CATALOG} == {*EIGHT, "cxr-tiny"}
    assert resolve("cxr-repair").name == "chexzero"


def test_variants_of_the_original_program_are_there() -> None:
    def variants(name: str) -> set[tuple[str | None, str | None]]:
        return {(one.arch, one.pretrained_on) for one in resolve(name).spec.variants}

    archs = ("resnet18", "resnet50")
    assert variants("medaug") == {(a, d) for a in archs for d in ("mimic-cxr", "chexpert")}
    assert variants("gloria") == variants("mococxr") == {(arch, None) for arch in archs}
    default = resolve("medaug")
    assert (default.arch, default.pretrained_on) == ("resnet50", "mimic-cxr")


@pytest.mark.parametrize("spec", RECORDS)
def test_record_leaves_nothing_out(spec: BackboneSpec) -> None:
    for field in ("title", "architecture", "paper", "code", "licence"):
        assert getattr(spec, field).strip(), field
    for rule in spec.preprocessings:
        assert len(rule.source) > 20, rule.name
    for variant in spec.variants:
        assert variant.files
        assert variant.pretraining_data
        assert len({feature.id for feature in variant.features}) == len(variant.features)
    if isinstance(spec.weights, FileWeights):
        assert "http" in spec.weights.where


@pytest.mark.parametrize("spec", RECORDS)
def test_published_rule_is_the_default_and_the_originals_is_offered(spec: BackboneSpec) -> None:
    names = [rule.name for rule in spec.preprocessings]
    assert names[0] == "published"
    original = resolve(spec.name, preprocessing="original").preprocessing
    assert original.input_size == (224, 224)
    assert original.mean == (0.48145466, 0.4578275, 0.40821073)


LIBRARY_NAMES = (
    "timm:test_resnet",
    "timm:test_vit4",
    "timm:resnet10t",
    "torchvision:resnet18",
    "torchvision:vit_b_16",
)


@pytest.mark.parametrize("name", [*(spec.name for spec in CATALOG), *LIBRARY_NAMES])
def test_the_fingerprint_of_every_choice_equals_its_stored_copy(name: str) -> None:
    spec = resolve(name).spec
    for variant, rule in product(spec.variants, spec.preprocessings):
        for feature in variant.features:
            made = Fingerprint(
                backbone=spec.name,
                arch=variant.arch,
                pretrained_on=variant.pretrained_on,
                weights="sha256:00",
                feature=feature.id,
                dim=feature.dim,
                preprocessing=rule.identity(),
                intensity="percentile",
                precision="fp32",
                store="float32",
            )
            assert Fingerprint.from_json(made.as_json()) == made


@pytest.mark.parametrize("spec", RECORDS)
def test_every_rule_of_a_file_form_is_a_regular_expression(spec: BackboneSpec) -> None:
    for form in getattr(spec.weights, "forms", ()):
        re.compile(form.select)
        for pattern, _ in form.rename:
            re.compile(pattern)
        for rule in form.drop:
            re.compile(rule.pattern)
            assert rule.reason


def test_names_and_tags_are_unique() -> None:
    names = [name for spec in CATALOG for name in (spec.name, *spec.aliases)]
    assert len(names) == len(set(names))
    tags = [
        ResolvedBackbone(spec, variant, variant.features[0], spec.preprocessings[0]).tag_base
        for spec in CATALOG
        for variant in spec.variants
    ]
    assert len(tags) == len(set(tags))


@pytest.mark.parametrize("resolved", CHOICES)
def test_every_feature_has_the_declared_width_for_every_input_size(
    resolved: ResolvedBackbone,
) -> None:
    network = without_values(lambda: build_network(resolved)).eval()
    images = torch.empty(2, 3, *resolved.preprocessing.input_size, device="meta")
    with torch.inference_mode():
        assert network(images).shape == (2, resolved.feature.dim)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arch"),
    [
        ("medaug", "resnet18"),
        ("resnet", "resnet50"),
        ("gloria", "resnet18"),
        ("s2mts2", None),
        ("chexzero", None),
        ("refers", None),
        ("cxr-tiny", None),
    ],
)
def test_random_weights_build_on_the_cpu_and_give_finite_features(
    name: str, arch: str | None
) -> None:
    backbone = load_backbone(name, arch=arch, random_weights=0)
    size = backbone.record.preprocessing.input_size
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = backbone(images)
    assert features.shape == (2, backbone.feature_dim)
    assert torch.isfinite(features).all()
    assert not torch.equal(features[0], features[1])


def test_no_record_ends_in_a_classifier() -> None:
    """The original's `num_out=None` path returned 1000 ImageNet logits (defect S5)."""
    for spec in CATALOG:
        for variant in spec.variants:
            assert all(feature.dim != 1000 for feature in variant.features)


def test_library_weights_name_a_file_too() -> None:
    for spec in CATALOG:
        if isinstance(spec.weights, LibraryWeights):
            assert all(variant.files for variant in spec.variants)


def test_records_are_read_without_torch_and_numpy() -> None:
    code = (
        "import sys\n"
        "from cxrlearn.backbones.registry import list_specs, resolve\n"
        "from cxrlearn.backbones import weights\n"
        "list_specs(); resolve('medaug', arch='resnet18')\n"
        "heavy = {'torch', 'numpy', 'PIL', 'timm', 'transformers', 'pandas'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
