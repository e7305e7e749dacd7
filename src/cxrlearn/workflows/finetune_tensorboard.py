"""Logs for TensorBoard, which is no dependency: `--tensorboard` asks for it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cxrlearn.errors import UsageError

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
        """Open the log below the folder of a training."""
        from torch.utils.tensorboard import SummaryWriter

        writer: Any = SummaryWriter(folder / FOLDER)
        self._writer = writer

    def write(self, group: str, numbers: Mapping[str, float | None], at: int) -> None:
        """Add the numbers that are defined, at a step or an epoch."""
        for name, value in numbers.items():
            if value is not None:
                self._writer.add_scalar(f"{group}/{name}", value, at)
        if group == "epoch":
            self._writer.flush()
