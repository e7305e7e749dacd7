"""Files that a command may write to: new ones, and those that it wrote itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cxrlearn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


def refuse_to_overwrite(
    file: Path,
    is_ours: Callable[[Path], bool],
    *,
    command: str,
    option: str = "--output",
    inputs: Iterable[Path] = (),
) -> None:
    """Refuse an output that would destroy an input, or a file of another origin.

    Args:
        file: what is to be written; it may be missing, and may be empty.
        is_ours: tells whether the command wrote the file that is there.
        command: its name, for the message.
        option: which option named the file.
        inputs: files that the command reads.

    Raises:
        UsageError: it is an input, or the command did not write it.
    """
    if not os.path.isfile(file):  # noqa: PTH113 - Path's raises where a name is too long
        return
    if any(given.exists() and file.samefile(given) for given in inputs):
        raise UsageError(f"{option} {file} is a file that this command reads. Name another one.")
    if file.stat().st_size and not is_ours(file):
        raise UsageError(
            f"{option} {file} was not written by `cxrlearn {command}`, so it is not overwritten. "
            "Name another file."
        )


def beginning(file: Path, size: int = 65536) -> str:
    """Return the first `size` bytes as text; what is not UTF-8 is replaced."""
    with file.open("rb") as stream:
        return stream.read(size).decode("utf-8", "replace")
