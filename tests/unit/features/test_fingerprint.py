from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from cxrlearn.backbones.spec import ResolvedBackbone
from cxrlearn.features.fingerprint import AUTO, Fingerprint, differences, feature_tag
from tests.support.feature_files import FINGERPRINT
from tests.support.tiny_backbone import tiny_spec

OTHER: dict[str, Any] = {
    "backbone": "other",
    "arch": "resnet18",
    "pretrained_on": "chexpert",
    "weights": "sha256:11",
    "feature": "proj",
    "dim": 4,
    "preprocessing": {"steps": [], "mean": [0.4]},
    "intensity": "minmax",
    "precision": "bf16",
    "store": "float16",
    "pixel_rules": 3,
}


def resolved(feature: int = 0, preprocessing: int = 0) -> ResolvedBackbone:
    spec = tiny_spec()
    variant = spec.variants[0]
    return ResolvedBackbone(
        spec, variant, variant.features[feature], spec.preprocessings[preprocessing]
    )


def test_the_hash_of_a_fingerprint_is_pinned() -> None:
    # Files of past releases carry it: changing it makes every feature file useless.
    first = replace(FINGERPRINT, pixel_rules=1)
    assert first.digest == "a8c737fd463879beeadd2b31226817a9d5a3d78b09b1b2d1606be339b5471a44"


def test_a_fingerprint_survives_its_json() -> None:
    text = FINGERPRINT.as_json()
    assert Fingerprint.from_json(text) == FINGERPRINT
    assert list(json.loads(text)) == sorted(field.name for field in fields(Fingerprint))


def test_a_rule_of_tuples_equals_its_stored_copy() -> None:
    rule: dict[str, Any] = {"steps": ({"size": (224, 160)},), "mean": (0.5,), "std": {1: 0.25}}
    made = replace(FINGERPRINT, preprocessing=rule)
    stored = Fingerprint.from_json(made.as_json())
    assert stored == made
    assert differences(made, stored) == []
    assert made.digest == stored.digest


@pytest.mark.parametrize("text", ["[]", '{"backbone": "x"}', "no json"])
def test_a_foreign_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Fingerprint.from_json(text)


@pytest.mark.parametrize("name", [field.name for field in fields(Fingerprint)])
def test_every_setting_changes_the_hash_and_is_named(name: str) -> None:
    other = replace(FINGERPRINT, **{name: OTHER[name]})
    assert other.digest != FINGERPRINT.digest
    (line,) = differences(FINGERPRINT, other)
    assert line.startswith(name)
    assert differences(FINGERPRINT, FINGERPRINT) == []


def test_a_difference_says_what_is_there_and_what_is_wanted() -> None:
    found = replace(FINGERPRINT, preprocessing={"steps": [], "mean": [0.4]}, weights="sha256:11")
    assert differences(FINGERPRINT, found) == [
        "weights: sha256:11 there, sha256:00 now",
        "preprocessing mean: [0.4] there, [0.5] now",
    ]


def test_an_automatic_precision_agrees_with_every_precision() -> None:
    wanted = replace(FINGERPRINT, precision=AUTO)
    assert differences(wanted, replace(FINGERPRINT, precision="bf16")) == []
    assert differences(FINGERPRINT, replace(FINGERPRINT, precision="bf16")) != []


def test_the_plain_tag_is_the_name() -> None:
    assert feature_tag(resolved()) == "tiny-test"


@pytest.mark.parametrize(
    ("settings", "tag"),
    [
        ({"precision": "bf16"}, "tiny-test+bf16"),
        ({"precision": "fp32"}, "tiny-test+fp32"),
        ({"store": "float16"}, "tiny-test+float16"),
        ({"intensity": "minmax"}, "tiny-test+minmax"),
        ({"weights_sha256": "abcdef0123456789"}, "tiny-test+wabcdef01"),
        ({"random_seed": 0}, "tiny-test+random0"),
        ({"precision": "bf16", "random_seed": 7}, "tiny-test+bf16+random7"),
    ],
    ids=str,
)
def test_each_setting_off_its_default_appends_to_the_tag(
    settings: dict[str, Any], tag: str
) -> None:
    assert feature_tag(resolved(), **settings) == tag


def test_another_feature_and_another_preprocessing_append_to_the_tag() -> None:
    assert feature_tag(resolved(1, 1)) == "tiny-test+original+twice"
