"""Ages as manifests write them, and the bands they fall into."""

from __future__ import annotations

import doctest

import pytest

from cxrlearn.data import ages
from cxrlearn.data.ages import age_bands, age_years


@pytest.mark.parametrize(
    ("age", "band"),
    [
        ("0", "0-19"), ("19", "0-19"), ("19.9", "0-19"), ("20", "20-39"), ("39", "20-39"),
        ("40", "40-59"), ("063Y", "60-79"), (" 63 ", "60-79"), ("63y", "60-79"), ("63.0", "60-79"),
        ("80", "80+"), ("85 or more", "80+"), ("90+", "80+"), ("120", "80+"), ("018M", "0-19"),
        ("012W", "0-19"), ("003D", "0-19"), ("000Y", "0-19"), ("000000063", "60-79"),
        ("121", None), ("411", None), ("1000", None), ("-5", None), ("", None), ("unknown", None),
        ("nan", None), ("63X", None), ("6 3", None), (None, None),
    ],
)  # fmt: skip
def test_ages_are_banded_as_manifests_write_them(age: str | None, band: str | None) -> None:
    assert age_bands([age]) == [band]


def test_ages_below_a_year_and_of_half_years_are_kept() -> None:
    assert [age_years(text) for text in ("018M", "026W", "073D", "63.5")] == [1.5, 0.5, 0.2, 63.5]


def test_examples_in_docstrings_are_true() -> None:
    assert doctest.testmod(ages).failed == 0
