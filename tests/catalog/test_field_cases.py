"""Every input that failed in the field trial, as its `expected.txt` asks."""

from __future__ import annotations

import pytest

from tests.support import field_backbones, field_pictures, field_tables
from tests.support.shared import SHARED, shared_path

CHECKS = {**field_pictures.CHECKS, **field_tables.CHECKS, **field_backbones.CHECKS}
FOLDERS = sorted(path.parent.name for path in (SHARED / "field-cases").glob("*/expected.txt"))
# Folders whose checker is not written yet; an entry that has one fails.
PENDING = {}


@pytest.mark.shared
@pytest.mark.parametrize("name", FOLDERS)
def test_input_of_the_field_trial(name: str) -> None:
    if name in PENDING:
        assert name not in CHECKS, "take it out of PENDING"
        return
    assert name in CHECKS, f"no checker for {name}: write one in tests/support/field_*.py"
    CHECKS[name](shared_path(f"field-cases/{name}"))


@pytest.mark.shared
def test_the_folder_is_there() -> None:
    shared_path("field-cases")
    assert FOLDERS
