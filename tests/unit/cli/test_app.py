"""What ends a command, as a shell sees it."""

from __future__ import annotations

import pytest
import typer

from cxrlearn.cli.app import guarded
from cxrlearn.errors import DiskError
from cxrlearn.training.distributed import PeerError


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
