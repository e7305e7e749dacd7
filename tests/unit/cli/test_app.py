"""What ends a command, as a shell sees it."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import typer

from cxrlearn.cli.app import guarded
from cxrlearn.errors import DiskError
from cxrlearn.training.distributed import PeerError


def test_a_lack_of_memory_is_exit_7_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    @guarded
    def probe() -> None:
        np.empty(2**58)

    with pytest.raises(typer.Exit) as left:
        probe()
    assert left.value.exit_code == 7
    said = capsys.readouterr().err
    assert said.startswith("error: out of memory (Unable to allocate")
    assert "--memory-limit" in said
    assert said.count("\n") == 1


def test_an_interrupted_import_that_raises_something_else_is_ctrl_c(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @guarded
    def command() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise ImportError("half an extension module") from error

    with pytest.raises(typer.Exit) as left:
        command()
    assert left.value.exit_code == 130
    assert "interrupted" in capsys.readouterr().err


def test_debug_shows_where_an_error_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    @guarded
    def command(*, debug: bool) -> None:
        raise DiskError("the disk is full" if debug else "")

    with pytest.raises(typer.Exit):
        command(debug=True)
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.endswith("error: the disk is full\n")


def ended(error: Exception, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    @guarded
    def command() -> None:
        raise error

    with pytest.raises(typer.Exit) as left:
        command()
    return left.value.exit_code, capsys.readouterr().err


def test_an_error_is_one_line_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(DiskError("the disk is full"), capsys) == (8, "error: the disk is full\n")


def test_a_process_leaves_without_a_word_when_another_says_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended(PeerError(8), capsys) == (8, "")
