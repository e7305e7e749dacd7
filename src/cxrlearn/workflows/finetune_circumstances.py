"""What else than settings decides how a training goes on, and whether it is still the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from cxrlearn.backbones.trainable import BatchNormMode
    from cxrlearn.workflows.finetune_data import StudyImages

_ROWS, _PROCESSES = "rows of ", "processes"


def circumstances(
    study: StudyImages,
    autocast: torch.dtype | None,
    batch_norm: BatchNormMode | None,
    processes: int,
) -> dict[str, str]:
    """Return the rows of the manifests as digests, and what `auto` came to on this machine."""
    rows = {f"{_ROWS}{name}": digest for name, digest in study.digests.items()}
    return rows | {
        "precision": "fp32" if autocast is None else "bf16",
        "batch-norm": str(batch_norm),
        _PROCESSES: str(processes),
    }


def compare_circumstances(
    checkpoint: Path, before: Mapping[str, str], now: Mapping[str, str]
) -> str | None:
    """Refuse to go on as something else.

    Returns:
        A sentence where only the number of processes is another; None where nothing is.

    Raises:
        TrainingError: the manifests have changed, or the arithmetic would.
    """
    other = [key for key in now if before.get(key) != now[key]]
    rows = [key for key in other if key.startswith(_ROWS)]
    if rows:
        raise TrainingError(
            f"{checkpoint} was trained on other data: the {' and the '.join(rows)} have changed "
            "since. Put the manifests back as they were, or start anew with --overwrite."
        )
    for key in set(other) - {_PROCESSES}:
        raise TrainingError(
            f"{checkpoint} was trained with --{key} {before.get(key)}, and would go on with "
            f"{now[key]} here: add --{key} {before.get(key)}."
        )
    if not other:
        return None
    return (
        f"begun by {before.get(_PROCESSES)} processes, goes on with {now[_PROCESSES]}: the same "
        "but for rounding."
    )
