"""The only module that prints: messages and progress on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from cxrlearn.cli.streams import printable, result_written, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID
    from rich.table import Table

    from cxrlearn.runtime.events import Progress

LOG_EVERY_SECONDS = 10.0
"""Where there is no terminal, a plain progress line appears this often."""
SPEED_SECONDS = 120.0
"""Rates and times left are estimated over so long: steps of large networks take their time."""


class _SafeConsole(Console):
    """Draws every text, cells of tables too, without controls that came with a name."""

    def render_str(self, text: str, **settings: Any) -> Text:  # noqa: ANN401 - as in Rich
        return super().render_str(printable(text, keep="\n"), **settings)

    def on_broken_pipe(self) -> None:
        """Raise the error, where Rich would exit."""
        raise  # noqa: PLE0704 - Rich calls this while it handles the error


class Terminal:
    """A `Reporter` that draws on the terminal, or writes plain lines where there is none."""

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        """Create the consoles; `quiet` keeps warnings and errors only."""
        self.quiet = quiet
        self.as_json = as_json
        self._log = _SafeConsole(stderr=True, highlight=False, soft_wrap=True, emoji=False)
        self._out = _SafeConsole(highlight=False, emoji=False)
        self._open = 0
        self._told: set[str] = set()
        self._bars: RichProgress | None = None

    def notice(self, message: str) -> None:
        """Say something the user should know."""
        if not self.quiet and self._is_new(message):
            self._say("", "", printable(message))

    def warning(self, message: str) -> None:
        """Say what may make a number mean less than it seems."""
        if self._is_new(message):
            self._say("warning: ", "yellow", printable(message))

    def _is_new(self, message: str) -> bool:
        """Tell whether a message is said for the first time; items of lists always are."""
        if message in self._told:
            return message.startswith(" ")
        self._told.add(message)
        return True

    def error(self, *lines: str) -> None:
        """Say why the command stops, in one line, or a line for each problem."""
        self._say("error: ", "bold red", "\n".join(map(printable, lines)))

    def _say(self, kind: str, style: str, text: str) -> None:
        """Write on stderr; a message that cannot be shown is no reason to stop."""
        with suppress(OSError):
            self._log.print(Text.assemble((kind, style), text))

    @contextmanager
    def progress(self, title: str, total: int, *, unit: str = "images") -> Iterator[Progress]:
        """Show a bar with rate and time left, or a plain line now and then.

        One that is opened while another is open stands below it, and vanishes when it ends.
        """
        inner = self._open > 0
        self._open += 1
        try:
            if self.quiet or not self._log.is_terminal:
                task = _PlainProgress(self, title, total, unit)
                yield task
                if not inner:
                    task.finish()
                return
            with nullcontext(self._bars) if self._bars is not None else self._live() as bars:
                number = bars.add_task(shown(title), total=total, unit=unit, said="")
                yield _BarTask(bars, number)
                if inner:
                    bars.remove_task(number)
        finally:
            self._open -= 1

    @contextmanager
    def _live(self) -> Iterator[RichProgress]:
        """Draw bars while open; all that are opened meanwhile share them."""
        with _bars(self._log) as bars:
            self._bars = bars
            try:
                yield bars
            finally:
                self._bars = None

    def show(self, *parts: Table | str) -> None:
        """Print a result for people on stdout, unless it is printed as JSON."""
        if not self.as_json:
            with result_written():
                for part in parts:
                    if isinstance(part, str):
                        self._out.print(printable(part), markup=False, soft_wrap=True)
                    else:
                        self._out.print(part)

    def show_text(self, text: str) -> None:
        """Print lines on stdout as they are: settings, records."""
        with result_written():
            sys.stdout.write(printable(text.removesuffix("\n"), keep="\n\t") + "\n")

    def show_json(self, document: Mapping[str, object]) -> None:
        """Print a result as one JSON document on stdout, if asked for."""
        if self.as_json:
            text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
            with result_written():
                sys.stdout.write(f"{printable(text, keep=chr(10), as_json=True)}\n")


class _BarTask:
    def __init__(self, bar: RichProgress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def advance(self, amount: int = 1) -> None:
        self._bar.advance(self._task, amount)

    def describe(self, text: str) -> None:
        self._bar.update(self._task, said=shown(text))


def _bars(console: Console) -> RichProgress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            rate = task.finished_speed or task.speed
            return Text("" if rate is None else f"{rate:,.1f} {task.fields['unit']}/s")

    def whole() -> Column:
        return Column(no_wrap=True)

    # On narrow terminals what is said beside the bar gives way, never the time that is left.
    said = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    return Progress(
        TextColumn("{task.description}", table_column=whole()),
        BarColumn(bar_width=min(40, console.width // 6), table_column=whole()),
        MofNCompleteColumn(table_column=whole()),
        Rate(table_column=whole()),
        TimeRemainingColumn(elapsed_when_finished=True, table_column=whole()),
        TextColumn("{task.fields[said]}", table_column=said),
        console=console,
        expand=True,
        speed_estimate_period=SPEED_SECONDS,
    )


class _PlainProgress:
    def __init__(self, terminal: Terminal, title: str, total: int, unit: str) -> None:
        self._terminal, self._title, self._total, self._unit = terminal, title, total, unit
        self._done, self._said, self._started = 0, "", time.monotonic()
        self._last = self._started

    def advance(self, amount: int = 1) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._last >= LOG_EVERY_SECONDS and self._done < self._total:
            self._last = now
            self._line(now)

    def describe(self, text: str) -> None:
        self._said = f", {text}" if text else ""

    def finish(self) -> None:
        self._line(time.monotonic())

    def _line(self, now: float) -> None:
        rate = self._done / max(now - self._started, 1e-9)
        left = (
            f", {duration((self._total - self._done) / rate)} left"
            if 0 < self._done < self._total
            else ""
        )
        self._terminal.notice(
            f"{self._title}: {self._done:,}/{self._total:,} {self._unit}, {rate:,.1f} "
            f"{self._unit}/s{left}{self._said}"
        )


def duration(seconds: float) -> str:
    """Return a time as people say it: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
