from __future__ import annotations

import pytest

from cxrlearn.runtime.words import agreeing, counted


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (12_000, "12,000 images")]
)
def test_numbers_and_nouns_agree(count: int, text: str) -> None:
    assert counted(count, "image") == text


def test_plurals_that_do_not_end_in_s_are_given() -> None:
    assert counted(1, "entry", "entries") == "1 entry"
    assert counted(2, "entry", "entries") == "2 entries"
    assert (agreeing(1, "is", "are"), agreeing(3, "is", "are")) == ("is", "are")
