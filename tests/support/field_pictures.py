"""What has to happen with the pictures among the inputs of `shared/field-cases`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHECKS: dict[str, Callable[[Path], None]] = {}
"""A checker for each folder, by its name; it gets the folder."""
