"""Ctrl-C in the first moments of a command, while everything is imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

READY = "import sys; sys.stderr.write('>'); sys.stderr.flush(); "


@pytest.mark.parametrize("after", [0.0, 0.2, 0.6, 1.2])
@pytest.mark.parametrize("command", [["embed", "-m", "cxr-tiny", "--images", "."], ["--help"]])
def test_ctrl_c_while_a_command_starts_is_130_and_one_line(
    tmp_path: Path, command: list[str], after: float
) -> None:
    from PIL import Image

    for number in range(3):
        Image.new("L", (30, 30), number * 50).save(tmp_path / f"{number}.png")
    script = f"{READY}from cxrlearn.__main__ import main; sys.argv[1:] = {command!r}; main()"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "CXRLEARN_WORKERS": "0"},
    ) as process:
        assert process.stderr is not None
        assert process.stderr.read(1) == b">"
        time.sleep(0.05 + after)  # `main` has been entered
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    if process.returncode == 0:
        assert command == ["--help"]  # it was done before
        return
    assert process.returncode == 130, (out, err)
    (line,) = (line for line in err.decode().splitlines() if line.startswith("error:"))
    assert line.startswith("error: interrupted.")
    assert b"Traceback" not in err
