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
    help="Tells you, soon and honestly, how well each pretrained chest X-ray backbone serves your task.",
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
        except CxrlearnError as error:
            if debug:
                traceback.print_exc()
            Terminal().error(str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            Terminal().error("interrupted. What was finished is kept; the same command goes on.")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except Terminated:
            Terminal().error("stopped by SIGTERM. What was finished is kept; the same command goes on.")
            raise typer.Exit(EXIT_TERMINATED) from None
        except BrokenPipeError:  # `cxrlearn … | head`
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
            raise typer.Exit(0) from None
        except typer.Exit:
            raise
        except Exception as error:  # noqa: BLE001 - the one place where a bug becomes a sentence
            _report_bug(error, debug=debug)
            raise typer.Exit(EXIT_BUG) from None

    return run_command


def _report_bug(error: Exception, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
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
