"""The overlap audit: what is flagged, and which of four sentences stands for it."""

from __future__ import annotations

import pytest

from cxrlearn.backbones.registry import list_specs, resolve
from cxrlearn.data.origins import WITHIN
from cxrlearn.workflows.pretraining import audit


def sentence(
    model: str, *origin: str, pretrained_on: str | None = None
) -> tuple[tuple[str, ...], str]:
    found = audit(resolve(model, pretrained_on=pretrained_on), origin, ("test",))[0]
    return found.datasets, found.sentence


@pytest.mark.parametrize(
    ("model", "variant", "origin", "flagged"),
    [
        ("refers", {}, "mimic-cxr", ("mimic-cxr",)),
        ("refers", {}, "reflacx", ("mimic-cxr",)),
        ("gloria", {}, "chexpert", ("chexpert",)),
        ("medaug", {"pretrained_on": "mimic-cxr"}, "mimic-cxr", ("mimic-cxr",)),
        ("medaug", {"pretrained_on": "chexpert"}, "mimic-cxr", ()),
        ("refers", {}, "nih", ()),
    ],
)
def test_what_the_backbone_saw_is_flagged(
    model: str, variant: dict[str, str], origin: str, flagged: tuple[str, ...]
) -> None:
    datasets, said = sentence(model, origin, **variant)
    assert datasets == flagged
    assert ("it may have seen them" in said) == bool(flagged)
    assert ("no overlap" in said) == (not flagged)


def test_nothing_is_claimed_where_nobody_said_where_images_are_from() -> None:
    datasets, said = sentence("refers")
    assert datasets == ()
    assert "unknown" in said
    assert "--origin" in said


def test_a_backbone_that_saw_no_public_radiograph_has_nothing_to_overlap_with() -> None:
    for origin in ((), ("nih",), ("own",)):
        datasets, said = sentence("cxr-tiny", *origin)
        assert datasets == ()
        assert "no radiographs of patients" in said
        assert "unknown" not in said


def test_images_of_ones_own_were_in_no_pretraining() -> None:
    assert "never published" in sentence("refers", "own")[1]


def test_every_test_set_is_audited() -> None:
    found = audit(resolve("refers"), ("mimic-cxr",), ("near", "far"))
    assert [one.split for one in found] == ["near", "far"]


def test_records_spell_datasets_as_the_table_does() -> None:
    known = WITHIN.keys() | {"imagenet-1k", "openai-wit", "synthetic-thorax"}
    for spec in list_specs():
        for variant in spec.variants:
            assert set(variant.pretraining_data) <= known, spec.name
