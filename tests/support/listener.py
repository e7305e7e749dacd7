"""A reporter that keeps what it is told."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class ShownProgress:
    """One progress, as it was shown."""

    title: str
    total: int
    unit: str
    within: int
    """How many others were open when it was opened."""
    done: int = 0
    said: list[str] = field(default_factory=list)
    closed: bool = False

    def advance(self, amount: int = 1) -> None:
        """Count."""
        self.done += amount

    def describe(self, text: str) -> None:
        """Keep it."""
        self.said.append(text)


class Listener:
    """Keeps notices, warnings and progress."""

    def __init__(self) -> None:
        """Start with none."""
        self.notices: list[str] = []
        self.warnings: list[str] = []
        self.shown: list[ShownProgress] = []

    def notice(self, message: str) -> None:
        """Keep it."""
        self.notices.append(message)

    def warning(self, message: str) -> None:
        """Keep it."""
        self.warnings.append(message)

    @contextmanager
    def progress(self, title: str, total: int, *, unit: str = "images") -> Iterator[ShownProgress]:
        """Keep it, and that it was closed."""
        within = sum(not one.closed for one in self.shown)
        one = ShownProgress(title, total, unit, within)
        self.shown.append(one)
        try:
            yield one
        finally:
            one.closed = True
