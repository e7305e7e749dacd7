"""The command line, run in this process, with what a user would see of it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from cxrlearn.cli import embed, finetune, init, models, predict, probe  # noqa: F401 - each registers itself
from cxrlearn.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path

QUIET_MACHINE = {"CXRLEARN_WORKERS": "0", "CXRLEARN_DEVICE": "", "COLUMNS": "200"}
"""Images are decoded in this process, whatever the machine; nothing comes from its environment."""


@dataclass(frozen=True)
class Outcome:
    """What a command did, as a shell sees it."""

    code: int
    """Exit code."""
    out: str
    """stdout."""
    err: str
    """stderr."""

    @property
    def text(self) -> str:
        """Both streams."""
        return self.out + self.err


def run_cli(*args: object, cwd: Path, **environment: str) -> Outcome:
    """Run `cxrlearn ARGS` in the folder `cwd` and return its exit code, stdout and stderr.

    An exception that leaves the program is the test's failure: a user would see a traceback.
    """
    with contextlib.chdir(cwd):
        result = CliRunner().invoke(
            app,
            [str(arg) for arg in args],
            prog_name="cxrlearn",
            env={**QUIET_MACHINE, **environment},
        )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def done(*args: object, cwd: Path, **environment: str) -> Outcome:
    """Run a command that has to succeed."""
    outcome = run_cli(*args, cwd=cwd, **environment)
    assert outcome.code == 0, outcome.text
    return outcome


def refused(code: int, *args: object, cwd: Path, **environment: str) -> str:
    """Run a command that has to fail with `code`, and return its message.

    Whatever the fault, the user gets one message on stderr that starts with `error:`, once, no
    traceback, and no result on stdout.
    """
    outcome = run_cli(*args, cwd=cwd, **environment)
    assert "Traceback" not in outcome.text, outcome.text
    assert "bug in cxrlearn" not in outcome.text, outcome.text
    assert outcome.code == code, f"exit code {outcome.code}, not {code}: {outcome.text}"
    lines = outcome.err.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    assert len(starts) == 1, outcome.text
    assert not outcome.out, outcome.out
    message = "\n".join(lines[starts[0] :]).removeprefix("error: ")
    assert len(message) > 10, outcome.text
    assert "<class" not in message, message
    assert "object at 0x" not in message, message
    return message
