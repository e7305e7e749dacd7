"""The Typer app and the one place where errors become exit codes."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer

from cxrlearn.cli.console import Terminal
from cxrlearn.errors import CxrlearnError
from cxrlearn.runtime.signals import Terminated, terminate_as_exception

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="cxrlearn",
    help="Tells how well each pretrained chest X-ray backbone serves your task, soon and honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

HELPERS = "Helpers"
EXIT_BUG, EXIT_INTERRUPTED, EXIT_TERMINATED = 1, 130, 143


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        Terminal().show_text(f"cxrlearn {version('cxrlearn')}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Take the options that stand before a command."""


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn every failure of a command into one message and its exit code."""

    @functools.wraps(command)
    def run_command(*args: P.args, **kwargs: P.kwargs) -> R:
        debug = bool(kwargs.get("debug"))
        try:
            with terminate_as_exception():
                return command(*args, **kwargs)
        except typer.Exit:
            raise
        except BrokenPipeError:  # `cxrlearn … | head`
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
            raise typer.Exit(0) from None
        except (Exception, KeyboardInterrupt, Terminated) as error:  # noqa: BLE001 - the only place
            raise typer.Exit(_explain(error, debug=debug)) from None

    return run_command


def _explain(error: BaseException, *, debug: bool) -> int:
    """Say what ended a command, and return its exit code."""
    if debug:
        traceback.print_exception(error)
    kept = "What was finished is kept; the same command goes on."
    if isinstance(error, CxrlearnError):
        Terminal().error(str(error))
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        Terminal().error(f"interrupted. {kept}")
        return EXIT_INTERRUPTED
    if isinstance(error, Terminated):
        Terminal().error(f"stopped by SIGTERM. {kept}")
        return EXIT_TERMINATED
    _report_bug(error)
    return EXIT_BUG


def _report_bug(error: BaseException) -> None:
    with tempfile.NamedTemporaryFile(
        "w", prefix="cxrlearn-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        log.write(f"{sys.argv}\n")
        traceback.print_exception(error, file=log)
    Terminal().error(
        f"this is a bug in cxrlearn ({type(error).__name__}: {error}). "
        f"Please report it with {Path(log.name)}; --debug shows where it happened."
    )


def run() -> None:
    """Register the commands and run the one that was typed."""
    from cxrlearn.cli import demo, embed, init, models, probe  # noqa: F401 - each registers itself

    app()
