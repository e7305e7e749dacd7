"""`cxrlearn demo`."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlearn.cli import options
from cxrlearn.cli.app import HELPERS, app, guarded
from cxrlearn.cli.console import Terminal, duration

if TYPE_CHECKING:
    from cxrlearn.workflows.demo import DemoResult


@app.command(rich_help_panel=HELPERS)
@guarded
def demo(quiet: options.Quiet = False, debug: options.Debug = False) -> None:
    """Try everything on made-up radiographs: about a minute on two cores."""
    from cxrlearn.workflows.demo import run_demo

    started = time.monotonic()
    terminal = Terminal(quiet=quiet)
    result = run_demo(reporter=terminal)
    _render(result, terminal)
    terminal.notice(f"The demo took {duration(time.monotonic() - started)}.")


def _render(result: DemoResult, terminal: Terminal) -> None:
    from cxrlearn.cli.tables import result_tables

    terminal.show(*result_tables(result.probed.report))
    terminal.show(
        "",
        "These radiographs are made up and so are their findings: the numbers show how the "
        "program works, not "
        "how good a backbone is.",
        "",
        f"Everything is in {result.folder}/. What to type next:",
        *_activation(),
        f"  cd {result.folder}",
        "  cxrlearn probe --C 0.01 --name weaker      another probe on the same features: "
        "nothing is embedded again",
        "  cxrlearn models list                       backbones for real radiographs, and the "
        "files they need",
        "  cxrlearn init                              in the folder of your own CSV files: a "
        "commented cxrlearn.toml",
    )


def _activation() -> list[str]:
    """Return the line that puts `cxrlearn` on the path, where it is not yet."""
    script = Path(sys.prefix) / "bin" / "activate"
    if shutil.which("cxrlearn") is not None or not script.is_file():
        return []
    here = script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script
    return [f"  . {here}"]
