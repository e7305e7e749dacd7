from __future__ import annotations

import json
import time

import pytest

from cxrlearn.cli.console import Terminal, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (42, "42 s"), (59.7, "1 min 0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")],
)
def test_times_are_told_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_messages_go_to_stderr_and_results_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.notice("a notice")
    terminal.warning("a warning")
    terminal.error("an error")
    terminal.show("a result")
    out, err = capsys.readouterr()
    assert out == "a result\n"
    assert err.splitlines() == ["a notice", "warning: a warning", "error: an error"]


def test_quiet_keeps_warnings_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(quiet=True)
    terminal.notice("a notice")
    with terminal.progress("work", 2) as task:
        task.advance()
    terminal.warning("a warning")
    terminal.error("an error")
    assert capsys.readouterr().err.splitlines() == ["warning: a warning", "error: an error"]


def test_names_that_look_like_markup_are_shown_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal = Terminal()
    terminal.error("no column '[red]' in a [bold]file[/bold]")
    terminal.show("[/x] [blue]")
    out, err = capsys.readouterr()
    assert err == "error: no column '[red]' in a [bold]file[/bold]\n"
    assert out == "[/x] [blue]\n"


def test_long_messages_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().error("word " * 200)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_json_is_all_that_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(as_json=True)
    terminal.show("a table")
    terminal.show_json({"née": 0.1})
    assert json.loads(capsys.readouterr().out) == {"née": 0.1}
    Terminal().show_json({"a": 1})
    assert not capsys.readouterr().out
    with pytest.raises(ValueError, match="not JSON compliant"):
        terminal.show_json({"a": float("nan")})


def test_without_a_terminal_progress_is_a_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal().progress("embedding", 1200) as task:
        task.advance(1200)
    line = capsys.readouterr().err
    assert line.startswith("embedding: 1,200/1,200 images, ")
    assert line.count("\n") == 1


def test_a_plain_line_ends_with_what_is_said_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal().progress("training", 1, unit="steps") as task:
        task.describe("loss 0.5")
        task.advance()
    assert capsys.readouterr().err.endswith("steps/s, loss 0.5\n")


def test_without_a_terminal_an_inner_progress_that_is_soon_over_says_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal = Terminal()
    with terminal.progress("outer", 2) as outer:
        for _ in range(2):
            with terminal.progress("inner", 3) as inner:
                inner.advance(3)
            outer.advance()
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["outer"]


def test_on_a_terminal_an_inner_bar_stands_below_and_vanishes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich then draws as on a terminal
    monkeypatch.setenv("COLUMNS", "160")
    terminal = Terminal()
    with terminal.progress("outer", 2, unit="steps"), terminal.progress("inner", 3) as inner:
        inner.describe("loss [0.5]")
        inner.advance(3)
        drawn, until = "", time.monotonic() + 60
        while "3/3" not in drawn and time.monotonic() < until:  # rich draws ten times a second
            time.sleep(0.05)
            drawn += capsys.readouterr().err
    drawn += capsys.readouterr().err
    assert "inner" in drawn
    assert "3/3" in drawn
    assert "loss [0.5]" in drawn
    last = drawn[drawn.rindex("outer") :]
    assert "inner" not in last
    assert "0/2" in last


def test_the_same_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    for _ in range(3):
        terminal.notice("paths are those of column 'Path'")
        terminal.warning("2 images could not be read:")
        terminal.warning("  and 3 more")
    said = capsys.readouterr().err.splitlines()
    assert said.count("paths are those of column 'Path'") == 1
    assert said.count("warning: 2 images could not be read:") == 1
    assert said.count("warning:   and 3 more") == 3
