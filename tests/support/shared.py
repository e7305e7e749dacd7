"""The folder `shared/` beside the repository: real radiographs and the checkpoint kit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"


def shared_path(relative: str) -> Path:
    """Return `shared/<relative>`; skip the test without it, or fail where it is required."""
    path = SHARED / relative
    if path.exists():
        return path
    message = f"needs {path.relative_to(ROOT.parent)}"
    if os.environ.get("CXRLEARN_REQUIRE_SHARED") == "1":
        pytest.fail(message)
    pytest.skip(message)
