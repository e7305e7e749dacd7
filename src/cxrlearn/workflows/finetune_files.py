"""Names of the files that a finetuning run keeps beside its report."""

from __future__ import annotations

BEST = "best.safetensors"
"""Weights of the best epoch."""
LAST = "last.safetensors"
"""Everything to go on from."""
HISTORY = "history.csv"
"""A line for each epoch."""
