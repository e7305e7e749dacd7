"""What a user's terminal, pipe or disk gets, whatever a file, a label or a plug-in is called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cxrlearn.cli.console import Terminal
from cxrlearn.cli.streams import printable, shown

if TYPE_CHECKING:
    from collections.abc import Callable

HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;a title of the window\x07",
    "\x9b2J",
    "over\rwritten",
    "two\nlines",
    "\x08\x08\x08",
    "\u202egnp.exe",
    "\u2066isolated\u2069",
    "\u2028line",
    "zero\u200bwidth",
    "no\udcffutf-8",
    "\x00",
    "[bold red]styled[/bold red]",
    "[link=http://example.org]click[/link]",
    ":warning:",
    "\\[red]",
]


def _harmless(text: str) -> bool:
    return all(sign.isprintable() for sign in text.removesuffix("\n"))


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_cannot_steer_the_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = f"cannot read {name}: no file"
    for method in ("notice", "warning", "error", "show"):
        terminal = Terminal()  # one says the same thing once
        getattr(terminal, method)(message)
        out, err = capsys.readouterr()
        assert _harmless(out + err), (out, err)
        assert (out + err).count("\n") == 1
    with Terminal().progress(message, 1) as task:
        task.describe(name)
        task.advance()
    assert _harmless(capsys.readouterr().err)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_in_tables_cannot_either(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    table = Table(title=shown(name), box=None)
    table.add_column(name.replace("[", r"\["))  # escaped for markup, as careless code does
    table.add_row(shown(name))
    Terminal().show(table)
    out = capsys.readouterr().out
    assert all(_harmless(line) for line in out.splitlines())


def test_what_is_shown_is_the_name_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("[bold]a[/bold]", ":warning:.png", "née_Ω.png", "患者.png", "a b", "c\\"):
        Terminal().notice(name)
        assert capsys.readouterr().err == f"{name}\n"
    assert printable("a\x1b[1mb\nc\u202ed\udcff") == r"a\x1b[1mb\nc\u202ed\udcff"


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_json_keeps_values_and_steers_nothing(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Terminal(as_json=True).show_json({name: [name]})
    out = capsys.readouterr().out
    assert all(_harmless(line) for line in out.splitlines())
    assert json.loads(out) == {name: [name]}


def test_each_problem_has_its_line_and_none_is_forged(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().error("first", "second\nerror: forged")
    assert capsys.readouterr().err == "error: first\nsecond\\nerror: forged\n"


# ---- as a shell sees it --------------------------------------------------------------------------


def _shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    run = f"{sys.executable} -m cxrlearn"
    return subprocess.run(  # noqa: S602 - redirections are what is tested
        f'set -o pipefail; cxrlearn() {{ {run} "$@"; }}; {command}',
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@needs_full
@pytest.mark.parametrize(
    "command",
    ["models list", "models list --json", "models show cxr-tiny", "--help", "probe --help",
     "--version", "embed -m cxr-tiny --show-config --csv x.csv"],
)  # fmt: skip
def test_a_full_disk_on_stdout_is_one_line_and_exit_8(command: str) -> None:
    ended = _shell(f"cxrlearn {command} > /dev/full")
    assert ended.returncode == 8, ended
    (line,) = ended.stderr.decode().splitlines()
    assert line.startswith("error: cannot write the result to stdout: no space left on device")


@needs_full
def test_a_full_disk_on_stderr_loses_messages_only() -> None:
    ended = _shell("cxrlearn models show nothing-of-that-name 2> /dev/full")
    assert ended.returncode == 4
    assert ended.stdout == b""


@pytest.mark.parametrize("command", ["models list --json", "--help"])
def test_a_closed_pipe_is_quiet(command: str) -> None:
    """Whoever reads has gone before the first byte comes."""
    ended = _shell(f"cxrlearn {command} | true")
    assert ended.returncode == 141
    assert ended.stderr == b""


def test_streams_that_are_closed_are_no_error() -> None:
    assert _shell("cxrlearn models list >&- 2>&- <&-").returncode == 0


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"},
     {"PYTHONIOENCODING": "latin-1"}],
    ids="-".join,
)  # fmt: skip
@pytest.mark.parametrize(
    "command", ["probe --help", "models show cxr-tiny", "embed -m 'cxr\u2013tiñy' --csv …"]
)
def test_a_terminal_of_few_signs_gets_a_readable_text(
    environment: dict[str, str], command: str
) -> None:
    ended = _shell(f"cxrlearn {command}", **environment)
    text = ended.stdout + ended.stderr
    assert b"Traceback" not in text
    assert b"bug in cxrlearn" not in text
    assert ended.returncode in {0, 3, 4}, text
    if "latin-1" not in environment.values():
        assert text.isascii()
    assert b"\\u20" not in ended.stdout


def test_signs_of_our_own_sentences_have_plain_forms(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from cxrlearn.cli.streams import prepare_streams

    path = tmp_path / "out"
    with path.open("w", encoding="ascii") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        prepare_streams()
        Terminal().show("0.91 [0.88\N{EN DASH}0.93] … ≥ 3 \N{MULTIPLICATION SIGN} 2")
    assert path.read_text() == "0.91 [0.88-0.93] ... >= 3 x 2\n"


@pytest.mark.parametrize("way", ["quiet", "loud"])
def test_messages_that_cannot_be_shown_do_not_stop_a_command(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        monkeypatch.setattr("sys.stderr", broken)
        terminal = Terminal(quiet=way == "quiet")
        for _ in range(3):
            terminal.warning("nobody hears this")
        monkeypatch.undo()
        _forget(broken.close)


def _forget(close: Callable[[], None]) -> None:
    try:
        close()
    except OSError:
        return
