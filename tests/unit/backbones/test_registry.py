"""Names lead to records; wrong ones to a suggestion."""

from __future__ import annotations

import pytest

from cxrlearn.backbones import registry
from cxrlearn.backbones.plugins import Plugins
from cxrlearn.backbones.registry import get_spec, list_specs, plugin_problems, resolve
from cxrlearn.errors import WeightsError
from tests.support.plugins import toy_spec


def test_an_alias_leads_to_the_record() -> None:
    assert get_spec("cxr-repair") is get_spec("chexzero")
    assert resolve("cxr-repair").tag_base == "chexzero"


@pytest.mark.parametrize(
    ("name", "hint"), [("chexzer", "chexzero"), ("medaugg", "medaug"), ("ResNet", "resnet")]
)
def test_an_unknown_name_gets_a_suggestion_and_the_list(name: str, hint: str) -> None:
    with pytest.raises(WeightsError, match=f"Did you mean '{hint}'.*Available: medaug, ") as caught:
        resolve(name)
    assert caught.value.exit_code == 4


def test_an_unknown_prefix_lists_the_libraries() -> None:
    with pytest.raises(WeightsError, match="timm:, torchvision:, hf:"):
        resolve("keras:vgg16")
    with pytest.raises(WeightsError, match="needs the name of a model"):
        resolve("timm: ")


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"arch": "resnet34"}, "no --arch 'resnet34': it has resnet50, resnet18"),
        ({"pretrained_on": "chexprt"}, "Did you mean 'chexpert'"),
        ({"features": "projj"}, "no --features 'projj': it has avgpool"),
        ({"preprocessing": "published2"}, "it has published, imagenet-norm, original"),
    ],
)
def test_a_choice_the_record_lacks_is_refused_with_what_it_has(
    choice: dict[str, str], said: str
) -> None:
    with pytest.raises(WeightsError, match=said):
        resolve("medaug", **choice)  # type: ignore[arg-type]


def test_a_record_without_a_choice_says_so() -> None:
    with pytest.raises(WeightsError, match="it has no such choice"):
        resolve("chexzero", pretrained_on="mimic-cxr")


def test_one_choice_leaves_the_other_at_its_default() -> None:
    chosen = resolve("medaug", arch="resnet18")
    assert (chosen.arch, chosen.pretrained_on) == ("resnet18", "mimic-cxr")
    chosen = resolve("medaug", pretrained_on="chexpert")
    assert (chosen.arch, chosen.pretrained_on) == ("resnet50", "chexpert")


def test_tags_are_in_full_where_a_record_has_variants() -> None:
    assert resolve("medaug").tag_base == "medaug-resnet50-mimic-cxr"
    assert resolve("gloria", arch="resnet18").tag_base == "gloria-resnet18"
    assert resolve("convirt", arch="resnet50").tag_base == "convirt"


def test_defaults_are_told_from_choices() -> None:
    default = resolve("chexzero")
    assert default.is_default_feature
    assert default.is_default_preprocessing
    other = resolve("chexzero", features="pre_proj", preprocessing="original")
    assert not other.is_default_feature
    assert not other.is_default_preprocessing


def test_plugins_are_listed_after_the_shipped_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = toy_spec("toy-net", aliases=("toy",))
    monkeypatch.setattr(registry, "_plugins", lambda: Plugins((toy,), ("broken",)))
    assert list_specs()[-1] is toy
    assert get_spec("toy") is toy
    assert plugin_problems() == ("broken",)
    with pytest.raises(WeightsError, match=r"Did you mean 'toy-net'.*broken"):
        resolve("toy-nett")
