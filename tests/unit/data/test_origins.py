from __future__ import annotations

import pytest

from cxrlearn.data.origins import WITHIN, check_origins, related
from cxrlearn.errors import UsageError


@pytest.mark.parametrize("part", ["rsna", "siim", "ranzcr", "nih-google"])
def test_parts_of_nih_share_its_images_and_maybe_each_others(part: str) -> None:
    assert related([part], ["nih"]) == ("nih",)
    assert related(["nih"], [part]) == (part,)
    assert related([part], ["siim"]) == ("siim",)


def test_tbx11k_took_in_two_sets_that_share_nothing_with_each_other() -> None:
    for part, other in (("shenzhen", "montgomery"), ("montgomery", "shenzhen")):
        assert related([part], ["tbx11k"]) == ("tbx11k",)
        assert related(["tbx11k"], [part]) == (part,)
        assert related([part], [other]) == ()


@pytest.mark.parametrize("part", ["reflacx", "mimic-edema"])
def test_parts_of_mimic(part: str) -> None:
    assert related([part], ["mimic-cxr", "imagenet-1k"]) == ("mimic-cxr",)


def test_sets_of_different_hospitals_share_nothing() -> None:
    whole = [
        "nih",
        "chexpert",
        "mimic-cxr",
        "padchest",
        "vindr-cxr",
        "openi",
        "jsrt",
        "brax",
        "own",
    ]
    for one in whole:
        others = [name for name in whole if name != one]
        assert related([one], others) == ()
        assert related([one], [one]) == (one,)
    assert related([], whole) == related(whole, []) == ()


def test_datasets_outside_the_table_are_only_themselves() -> None:
    assert related(["nih"], ["imagenet-1k", "openai-wit"]) == ()


def test_every_source_is_a_dataset_of_the_table() -> None:
    assert {source for sources in WITHIN.values() for source in sources} <= WITHIN.keys()


def test_names_are_read_in_any_case_and_with_underscores() -> None:
    assert check_origins([" NIH", "MIMIC_CXR"]) == ("nih", "mimic-cxr")
    assert check_origins([]) == ()


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown dataset 'chexprt'\. Did you mean 'chexpert'\?"):
        check_origins(["nih", "chexprt"])
    with pytest.raises(UsageError, match=r"unknown dataset 'zzz'\. Known: nih"):
        check_origins(["zzz"])
