"""Which tests there are, and their names, do not depend on the moment or on the process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.shared import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_two_processes_collect_the_same_tests_in_the_same_order(tmp_path: Path) -> None:
    # As the workers of pytest-xdist do, which start at different moments: the second that ticks
    # between these two, and their hashes, once made names differ.
    environment = {name: v for name, v in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "tests"]
    started = []
    for seed in ("1", "2"):
        with (tmp_path / seed).open("wb") as out:
            env = {**environment, "PYTHONHASHSEED": seed}
            started.append(subprocess.Popen(command, cwd=ROOT, env=env, stdout=out))
        time.sleep(1.5)
    assert [one.wait() for one in started] == [0, 0]
    first, second = (
        [line for line in (tmp_path / seed).read_text().splitlines() if "::" in line]
        for seed in ("1", "2")
    )
    assert len(first) > 1000
    assert first == second
