"""Logs for TensorBoard, which is no dependency: `--tensorboard` asks for it."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cxrlearn.errors import UsageError
from cxrlearn.runtime.atomic import disk_errors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FOLDER = "tensorboard"


def require_tensorboard() -> None:
    """Refuse `--tensorboard` where it is not installed.

    Raises:
        UsageError: it is not.
    """
    if find_spec("tensorboard") is None:
        raise UsageError(
            "--tensorboard: the package tensorboard is not installed. `pip install tensorboard`, "
            "or leave the option out: history.csv has the same numbers."
        )


class TensorboardLog:
    """Writes numbers into a folder that TensorBoard reads."""

    def __init__(self, folder: Path) -> None:
        """Know where; nothing is written before `begin`."""
        self._folder = folder / FOLDER
        self._writer: Any = None

    def begin(self, step: int) -> None:
        """Open the log at a step; what was logged from there on by a run that died is void.

        Raises:
            DiskError: it cannot be written.
        """
        from torch.utils.tensorboard import SummaryWriter

        if step == 0:
            shutil.rmtree(self._folder, ignore_errors=True)
        with disk_errors(self._folder, _KEPT):
            writer: Any = SummaryWriter(self._folder, purge_step=step + 1 if step else None)
        self._writer = writer

    def write(self, group: str, numbers: Mapping[str, float | None], at: int) -> None:
        """Add the numbers that are defined, at a step or an epoch.

        Raises:
            DiskError: they cannot be written.
        """
        with disk_errors(self._folder, _KEPT):
            for name, value in numbers.items():
                if value is not None:
                    self._writer.add_scalar(f"{group}/{name}", value, at)
            if group == "epoch":
                self._writer.flush()

    def end(self) -> None:
        """Write what is left."""
        with disk_errors(self._folder, _KEPT):
            self._writer.close()


_KEPT = "The last checkpoint is kept; without --tensorboard less is written."
