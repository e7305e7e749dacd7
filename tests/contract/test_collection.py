"""Which tests there are, and their names, do not depend on the moment or on the process."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.support.shared import ROOT


def test_two_processes_collect_the_same_tests_in_the_same_order() -> None:
    # As the workers of pytest-xdist do, which start at different moments: the second that ticks
    # between these two, and their hashes, once made names differ.
    started = []
    for seed in ("1", "2"):
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "tests"],
                cwd=ROOT,
                env={**os.environ, "PYTHONHASHSEED": seed},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        time.sleep(1.5)
    first, second = ([line for line in one.communicate()[0].splitlines() if "::" in line]
                     for one in started)  # fmt: skip
    assert [one.returncode for one in started] == [0, 0]
    assert len(first) > 1000
    assert first == second
