"""Settings survive TOML, whatever their characters."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlearn.reports.toml import toml_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALAR = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXT
)
VALUE = st.one_of(SCALAR, st.lists(SCALAR, max_size=4))
DOCUMENT = st.dictionaries(
    TEXT, st.one_of(VALUE, st.dictionaries(TEXT, VALUE, max_size=4)), max_size=4
)


@given(DOCUMENT)
def test_tomllib_reads_back_what_was_written(document: dict[str, object]) -> None:
    assert tomllib.loads(toml_text(document)) == document


def test_settings_read_like_a_settings_file() -> None:
    settings = {
        "data": {"train_csv": "train.csv", "class_columns": ["Nodule, Mass", 'a "b" | c\\']},
        "probe": {"C": 0.0327, "seed": 0, "strict": False, "name": None},
    }
    assert toml_text(settings) == (
        "[data]\n"
        'train_csv = "train.csv"\n'
        'class_columns = ["Nodule, Mass", "a \\"b\\" | c\\\\"]\n'
        "\n"
        "[probe]\n"
        "C = 0.0327\n"
        "seed = 0\n"
        "strict = false\n"
    )


def test_numbers_that_are_none_have_words() -> None:
    found = tomllib.loads(toml_text({"a": math.inf, "b": -math.inf, "c": math.nan, "d": ()}))
    assert (found["a"], found["b"], found["d"]) == (math.inf, -math.inf, [])
    assert math.isnan(found["c"])


def test_nested_and_empty_tables_come_back() -> None:
    document = {"a": {}, "b": {"c": {"d e": 1}, "f": 2}}
    assert tomllib.loads(toml_text(document)) == document
    assert toml_text({}) == ""


@pytest.mark.parametrize("value", [Path("x"), b"x", {1}, [None]])
def test_other_types_are_refused_by_key(value: object) -> None:
    with pytest.raises(TypeError, match=r"probe\.key is of type"):
        toml_text({"probe": {"key": value}})
