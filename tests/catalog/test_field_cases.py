"""Every input that failed in the field trial, as its `expected.txt` asks."""

from __future__ import annotations

import pytest

from tests.support import field_backbones, field_pictures, field_tables
from tests.support.shared import shared_path

# Not the folder's own list: which tests there are does not depend on the machine.
CHECKS = {**field_pictures.CHECKS, **field_tables.CHECKS, **field_backbones.CHECKS}


@pytest.mark.shared
@pytest.mark.parametrize("name", sorted(CHECKS))
def test_input_of_the_field_trial(name: str) -> None:
    CHECKS[name](shared_path(f"field-cases/{name}"))


@pytest.mark.shared
def test_every_input_has_a_check() -> None:
    found = {path.parent.name for path in shared_path("field-cases").glob("*/expected.txt")}
    assert found == set(CHECKS), "write the check in tests/support/field_*.py"
