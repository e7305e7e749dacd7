"""What all tests share: names without content, and an environment of their own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

SETTINGS_OF_TESTS = {
    "CXRLEARN_BIT_FLIPS", "CXRLEARN_CRASH_KILLS", "CXRLEARN_REPORTS", "CXRLEARN_REQUIRE_SHARED",
    "CXRLEARN_SCREENSHOTS",
}  # fmt: skip
COLOURS = {"CI", "FORCE_COLOR", "GITHUB_ACTIONS", "NO_COLOR", "PY_COLORS", "TTY_COMPATIBLE"}
JOBS = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}

# What the caller has set would reach the commands under test: settings of cxrlearn, colours in
# texts that are compared, and a job of torchrun or SLURM that is not theirs.
for name in list(os.environ):
    ours = name.startswith("CXRLEARN_") and name not in SETTINGS_OF_TESTS
    if ours or name in COLOURS | JOBS or name.startswith("SLURM_"):
        del os.environ[name]


# An example takes as long as the machine is busy.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs from all tests but those marked gpu (`pytest -m gpu`): `auto` would take one."""
    if "gpu" not in config.option.markexpr:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: their content can hold the time, or a library's version.

    Workers of pytest-xdist stop where they collect different names. pytest numbers equal ones.
    """
    return argname if isinstance(val, bytes) else None
