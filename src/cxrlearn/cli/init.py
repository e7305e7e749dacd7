"""`cxrlearn init`: a commented settings file."""

from __future__ import annotations

from pathlib import Path

from cxrlearn.cli import options
from cxrlearn.cli.app import HELPERS, app, guarded
from cxrlearn.cli.console import Terminal


@app.command(rich_help_panel=HELPERS)
@guarded
def init(quiet: options.Quiet = False, debug: options.Debug = False) -> None:
    """Write a commented cxrlearn.toml into this folder."""
    from cxrlearn.workflows.settings import FILE_NAME
    from cxrlearn.workflows.template import write_settings

    write_settings(Path(FILE_NAME))
    Terminal(quiet=quiet).notice(
        f"wrote {FILE_NAME}. Name your CSV files and label columns in it, then type `cxrlearn "
        "probe`."
    )
