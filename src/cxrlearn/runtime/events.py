"""How a workflow tells its caller what happens, without printing.

The command line passes a `Reporter` that draws progress bars; a library user passes none and gets
`SILENT`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Progress(Protocol):
    """One running task."""

    def advance(self, amount: int = 1) -> None:
        """Count `amount` more units as done."""

    def describe(self, text: str) -> None:
        """Show `text` beside the progress, instead of what stood there."""


class Reporter(Protocol):
    """Receives notices, warnings and progress from a workflow."""

    def notice(self, message: str) -> None:
        """Something the user should know; all is well."""

    def warning(self, message: str) -> None:
        """Something that may make a number mean less than it seems."""

    def progress(
        self, title: str, total: int, *, unit: str = "images"
    ) -> AbstractContextManager[Progress]:
        """Open a task of `total` units; one opened while another is open is a part of it."""


class _NoProgress:
    def advance(self, amount: int = 1) -> None:
        """Do nothing."""

    def describe(self, text: str) -> None:
        """Do nothing."""


class _Silent:
    def notice(self, message: str) -> None:
        """Do nothing."""

    def warning(self, message: str) -> None:
        """Do nothing."""

    def progress(
        self,
        title: str,  # noqa: ARG002 - the protocol's names
        total: int,  # noqa: ARG002
        *,
        unit: str = "images",  # noqa: ARG002
    ) -> AbstractContextManager[Progress]:
        """Return a task that shows nothing."""
        return nullcontext(_NoProgress())


SILENT: Reporter = _Silent()
"""The reporter of library users who did not pass one."""
