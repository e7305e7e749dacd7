"""The Typer app and the one place where errors become exit codes."""

from __future__ import annotations

import functools
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import typer
import typer.core

from cxrlearn.cli.console import Terminal
from cxrlearn.cli.streams import StdoutClosedError, prepare_streams, result_written
from cxrlearn.errors import CxrlearnError, DiskError
from cxrlearn.runtime.memory import can_have, out_of_memory, out_of_memory_error
from cxrlearn.runtime.signals import Terminated, interrupts_noted, terminate_as_exception

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

# Typer brings its own copy of click in newer versions; the base of its errors is found either way.
_USAGE_ERROR = cast("type[Exception]", typer.BadParameter.__bases__[0])


class _Commands(typer.core.TyperGroup):
    """Says what is wrong with what was typed as every other failure is said: `error: ...`."""

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401 - as in Typer
        """Run the command that was typed; see `click.Command.main`."""
        try:
            with result_written():  # also what Typer prints by itself: help
                code = super().main(*args, **{**extra, "standalone_mode": False})
        except _USAGE_ERROR as error:
            sys.exit(_explain_typing(error))
        except StdoutClosedError:
            sys.exit(EXIT_CLOSED)
        except SystemExit as left:  # of Typer or Rich, when nobody reads the help
            closed = isinstance(left.__context__, BrokenPipeError)
            sys.exit(EXIT_CLOSED if closed else left.code)
        except DiskError as error:
            sys.exit(_explain(error, debug=False))
        sys.exit(code if isinstance(code, int) else 0)


def _explain_typing(error: Any) -> int:  # noqa: ANN401 - click's, or Typer's own copy of it
    """Say in one line what is wrong with the command line."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        where = error.ctx.command_path if error.ctx is not None else "cxrlearn"
        message = error.format_message().rstrip(".")
        stop = "" if message.endswith("?") else "."
        Terminal().error(f"{message}{stop} `{where} --help` tells more.")
    return int(error.exit_code)


app = typer.Typer(
    name="cxrlearn",
    cls=_Commands,
    help="Tells how well each pretrained chest X-ray backbone serves your task, soon and honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

HELPERS = "Helpers"
EXIT_BUG, EXIT_INTERRUPTED, EXIT_CLOSED, EXIT_TERMINATED = 1, 130, 141, 143
_LITTLE = 16 * 2**20
"""Without so many bytes nothing works."""
_FOR_MEMORY = {
    "embed": "Use a smaller --batch-size or fewer --workers. What was finished is kept; the same "
    "command goes on.",
    "probe": "Set --memory-limit: features beyond it are read from disk as needed.",
    "finetune": "Use a smaller --batch-size, a larger --accumulate, or fewer --workers.",
    "predict": "Use a smaller --batch-size or fewer --workers.",
    "compare": "Compare fewer runs at once.",
}
"""What to do about a lack of memory, by command."""


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
            with (
                terminate_as_exception(),
                interrupts_noted(signal.default_int_handler) as interrupts,
            ):
                return _run(command, interrupts, *args, **kwargs)
        except (typer.Exit, StdoutClosedError):
            raise
        except (Exception, KeyboardInterrupt, Terminated) as error:  # noqa: BLE001 - the only place
            code = _explain(error, debug=debug, command=command.__name__)
            raise typer.Exit(code) from None

    return run_command


def _run(command: Callable[P, R], interrupts: list[int], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a command. A library that is interrupted may raise anything: the cause is Ctrl-C."""
    try:
        return command(*args, **kwargs)
    except (typer.Exit, StdoutClosedError, CxrlearnError):
        raise
    except Exception as error:
        if interrupts:
            raise KeyboardInterrupt from error
        raise


def _explain(error: BaseException, *, debug: bool, command: str = "") -> int:
    """Say what ended a command, and return its exit code."""
    # Without memory libraries raise anything, most of all while they are imported.
    short = out_of_memory(error) or (isinstance(error, Exception) and not can_have(_LITTLE))
    if debug:
        traceback.print_exception(error)
    else:
        traceback.clear_frames(error.__traceback__)  # what they hold may be all the memory
    kept = f"{error}." if str(error) else "What was finished is kept; the same command goes on."
    if short and not isinstance(error, CxrlearnError):
        advice = _FOR_MEMORY.get(command, "Close other programs, or use a larger machine.")
        error = out_of_memory_error(error, advice)
    if isinstance(error, CxrlearnError):
        if str(error):  # else another process of the run says it
            Terminal().error(*map(str, error.args))
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
        f"this is a bug in cxrlearn ({type(error).__name__}: {' '.join(str(error).split())}). "
        f"Please report it with {Path(log.name)}; --debug shows where it happened."
    )


def run() -> None:
    """Register the commands and run the one that was typed."""
    prepare_streams()
    from cxrlearn.cli import (  # noqa: F401 - each registers itself
        compare,
        demo,
        embed,
        finetune,
        init,
        models,
        predict,
        probe,
    )

    app()
