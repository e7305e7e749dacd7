from __future__ import annotations

from pathlib import Path

import pytest

from cxrlearn.errors import TrainingError
from cxrlearn.workflows.finetune_circumstances import compare_circumstances

LAST = Path("runs/run/last.safetensors")
BEFORE = {
    "rows of train": "aa",
    "rows of test": "bb",
    "precision": "bf16",
    "batch-norm": "local",
    "processes": "1",
}


def test_the_same_goes_on_without_a_word() -> None:
    assert compare_circumstances(LAST, BEFORE, dict(BEFORE)) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows of test": "cc"}, "the rows of test have changed since"),
        ({"rows of ext": "cc"}, "the rows of ext have changed since"),
        ({"precision": "fp32"}, "go on with fp32 here: add --precision bf16"),
        ({"batch-norm": "frozen"}, "go on with frozen here: add --batch-norm local"),
    ],
)
def test_anything_else_is_refused_with_what_to_do(change: dict[str, str], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        compare_circumstances(LAST, BEFORE, BEFORE | change)


def test_other_processes_are_only_told() -> None:
    told = compare_circumstances(LAST, BEFORE, BEFORE | {"processes": "2"})
    assert told is not None
    assert told.startswith("begun by 1 processes, goes on with 2")
