"""How fast a training goes, and what is said where a device is too small for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlearn.errors import HardwareError
from cxrlearn.runtime.memory import out_of_memory

if TYPE_CHECKING:
    import torch

    from cxrlearn.workflows.finetune_config import FinetuneConfig


@dataclass
class Pace:
    """How fast an epoch goes, without its validation."""

    first_step: int = 0
    """Where it began: a resumed epoch begins in the middle."""
    images_per_second: float = 0.0
    """So far."""
    _began: float = 0.0

    def begin(self, step: int) -> None:
        """Start the clock before this step."""
        self.first_step, self._began = step, time.monotonic()

    def measure(self, images: int) -> None:
        """Look at the clock after so many images since it was started."""
        self.images_per_second = images / max(time.monotonic() - self._began, 1e-9)


class memory_named:  # noqa: N801 - a context manager that reads as a function
    """Turn a device that is full into a sentence for the user."""

    def __init__(self, config: FinetuneConfig, device: torch.device) -> None:
        """Know what was asked of which device."""
        self._config, self._device = config, device

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Look at what came up.

        Raises:
            HardwareError: the device has too little memory.
        """
        if error is not None and out_of_memory(error):
            raise HardwareError(
                f"{self._device} has too little memory for batches of {self._config.batch_size} "
                f"in {self._config.accumulate} parts. Raise --accumulate, or use a smaller "
                "--batch-size; what was saved is kept."
            ) from error
