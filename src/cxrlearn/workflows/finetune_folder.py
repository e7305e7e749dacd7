"""The folder of a finetuning run: whose it is, and what of it may go."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cxrlearn.errors import UsageError
from cxrlearn.features.lock import writer_lock
from cxrlearn.reports.document import REPORT
from cxrlearn.runtime.atomic import disk_errors, write_text
from cxrlearn.training.checkpoints import load_checkpoint
from cxrlearn.workflows.finetune_files import BEST, LAST
from cxrlearn.workflows.run_folder import SETTINGS, refuse_other_run, settings_text, split_csv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cxrlearn.training.checkpoints import Identity
    from cxrlearn.training.distributed import ProcessRanks
    from cxrlearn.workflows.datasets import ImageSets
    from cxrlearn.workflows.finetune_config import FinetuneConfig

MAY_DIFFER = frozenset(
    {
        "overwrite", "resume", "workers", "device", "gpus", "max_restarts", "allow_failures",
        "offline", "name", "cache_dir", "tensorboard", "save_every", "features_dir", "output_dir",
    }
)  # fmt: skip
"""Settings that do not decide a result: a run may be repeated, or go on, with others."""
OF_A_TRAINING = (
    "*.safetensors", "history.csv", "learning.*", "model.json", "report.*", "table.*",
    "metrics.csv", "predictions-*.csv", "provenance.json", "split.csv", "*-*.png", "*-*.svg",
)  # fmt: skip
"""Files that a training leaves in its folder: the next one there starts by taking them away."""
FOLDERS_OF_A_TRAINING = ("tensorboard", "seed-*")
"""And folders."""


@contextmanager
def only_writer(folder: Path, ranks: ProcessRanks) -> Iterator[None]:
    """Hold the lock of a run on rank 0; where another process has it, all ranks learn so.

    The system frees the lock of a killed process, so that --resume can go on at once.
    """
    with ExitStack() as held:

        def take() -> None:
            held.enter_context(writer_lock(folder))

        ranks.together(take)
        yield


def refuse_other_settings(folder: Path, config: FinetuneConfig) -> None:
    """Refuse a folder that another run has.

    A run that ended before anything was trained, by a mistyped option perhaps, has nothing to lose.

    Raises:
        UsageError: the message says how to go on.
    """
    if not any((folder / name).is_file() for name in (LAST, BEST, REPORT)):
        return
    text = settings_text("finetune", config)
    refuse_other_run(folder, "finetune", text, may_differ=MAY_DIFFER, overwrite=config.overwrite)


def check_folder(folder: Path, config: FinetuneConfig, identity: Identity) -> None:
    """See to it that nothing of worth would be lost; nothing is changed yet.

    Only the holder of the run's lock can tell an unfinished run from one that is being trained.

    Raises:
        TrainingError: what is to be resumed is of another model.
        UsageError: it was made with other settings, or would be lost; how to go on.
    """
    last = folder / LAST
    if config.resume and last.is_file():
        load_checkpoint(last, identity)
    refuse_other_settings(folder, config)
    if config.resume or config.overwrite:
        return
    if (folder / REPORT).is_file():  # it may have taken days
        raise UsageError(
            f"{folder} holds a finished run with these settings: see its report.html. --overwrite "
            "trains it anew, --name makes another run."
        )
    if last.is_file():
        raise UsageError(
            f"{folder} holds an unfinished run. --resume goes on with it, --overwrite starts anew."
        )


def claim_folder(folder: Path, config: FinetuneConfig, sets: ImageSets, *, anew: bool) -> None:
    """Write down whose the folder is, right before the first step: all that can fail has not.

    Args:
        folder: of the run; made if it is missing.
        config: the settings.
        sets: their division is written down where it was drawn.
        anew: what an earlier training has left goes.

    Raises:
        DiskError: it cannot be written.
    """
    with disk_errors(folder, "Nothing was trained."):
        folder.mkdir(parents=True, exist_ok=True)
        if anew:
            _clear(folder)
    write_text(folder / SETTINGS, settings_text("finetune", config), step="run.settings")
    if sets.drawn:
        write_text(folder / "split.csv", split_csv(sets), step="run.split")


def _clear(folder: Path) -> None:
    for old in [old for kind in OF_A_TRAINING for old in folder.glob(kind)]:
        old.unlink()  # a folder of that name is somebody else's: an error
    for old in [old for kind in FOLDERS_OF_A_TRAINING for old in folder.glob(kind)]:
        shutil.rmtree(old)
