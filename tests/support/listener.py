"""A reporter that keeps what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.runtime.events import SILENT

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cxrlearn.runtime.events import Progress


class Listener:
    """Keeps notices and warnings."""

    def __init__(self) -> None:
        """Start with none."""
        self.notices: list[str] = []
        self.warnings: list[str] = []

    def notice(self, message: str) -> None:
        """Keep it."""
        self.notices.append(message)

    def warning(self, message: str) -> None:
        """Keep it."""
        self.warnings.append(message)

    def progress(
        self, title: str, total: int, *, unit: str = "images"
    ) -> AbstractContextManager[Progress]:
        """Return a task that shows nothing."""
        return SILENT.progress(title, total, unit=unit)
