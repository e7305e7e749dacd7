"""The folder of a finetuning run: whose it is, and what of it may go."""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cxrlearn.errors import DiskError, UsageError
from cxrlearn.features.lock import writer_lock
from cxrlearn.reports.document import REPORT
from cxrlearn.reports.run_files import OF_A_RUN, is_begun
from cxrlearn.runtime.atomic import disk_errors, write_text
from cxrlearn.runtime.folders import carry_over
from cxrlearn.training.checkpoints import load_checkpoint
from cxrlearn.workflows.finetune_files import BEST, HISTORY, LAST
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
        "backbone_from",
    }
)  # fmt: skip
"""Settings that do not decide a result: a run may be repeated, or go on, with others."""
_SEED = re.compile(r"seed-\d+")


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
    if not _holds_a_run(folder):
        return
    text = settings_text("finetune", config)
    refuse_other_run(folder, "finetune", text, may_differ=MAY_DIFFER, overwrite=config.overwrite)


def folder_apart(folder: Path) -> Path:
    """Return the hidden folder in which a run is trained that will overwrite another."""
    return folder.with_name(f".{folder.name}.training")


def training_folder(folder: Path, config: FinetuneConfig, identity: Identity) -> Path:
    """See to it that nothing of worth would be lost, and return the folder to train in.

    A run that is there stays whole until the new one is: what overwrites it is trained in a hidden
    folder beside it, where `--resume` looks first. So is a run whose folder holds somebody's
    files. Only the holder of the run's lock can tell an unfinished run from one that is being
    trained.

    Raises:
        TrainingError: what is to be resumed is of another model.
        UsageError: it was made with other settings, or would be lost; how to go on.
        DiskError: a folder cannot be written.
    """
    apart = folder_apart(folder)
    with disk_errors(folder, "What was there before is untouched."):
        if not config.overwrite:
            if apart.is_dir() and (config.resume or not _holds_a_run(folder)):
                _check_folder(apart, config, identity)
                if config.resume:
                    return apart
            _check_folder(folder, config, identity)
        _remove(apart)
        if not _is_trained_apart(folder, config):
            return folder
        apart.mkdir()
        if config.resume:
            for path in (*trained_files(folder), folder / SETTINGS):
                carry_over(path, apart / path.name)
        return apart


def _is_trained_apart(folder: Path, config: FinetuneConfig) -> bool:
    if _holds_a_run(folder):
        return config.overwrite or (folder / REPORT).is_file()
    for name in (*OF_A_RUN, REPORT):
        if (folder / name).is_dir():  # said now, not after days of training
            raise DiskError(
                f"cannot write {folder / name}: a folder stands where a file is needed."
            )
    return folder.is_dir() and any(folder.iterdir()) and not is_begun(folder)


def _holds_a_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (LAST, BEST, REPORT))


def _check_folder(folder: Path, config: FinetuneConfig, identity: Identity) -> None:
    last = folder / LAST
    if config.resume and last.is_file():
        load_checkpoint(last, identity)
    refuse_other_settings(folder, config)
    if config.resume:
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
        folder: to train in; made if it is missing.
        config: the settings.
        sets: their division is written down where it was drawn.
        anew: what an earlier training has left goes; other files stay.

    Raises:
        DiskError: it cannot be written.
    """
    with disk_errors(folder, "Nothing was trained."):
        folder.mkdir(parents=True, exist_ok=True)
        if anew:
            for name in (*OF_A_RUN, REPORT):
                (folder / name).unlink(missing_ok=True)  # an error where it is somebody's folder
            for path in _folders_of_training(folder):
                shutil.rmtree(path)
    write_text(folder / SETTINGS, settings_text("finetune", config), step="run.settings")
    if sets.drawn:
        write_text(folder / "split.csv", split_csv(sets), step="run.split")


def trained_files(folder: Path) -> list[Path]:
    """Return the files and folders that a training leaves for its report, and to go on from."""
    names = (BEST, LAST, HISTORY, "split.csv")
    return [
        *(folder / name for name in names if (folder / name).is_file()),
        *_folders_of_training(folder),
    ]


def forget_training(trained_in: Path, folder: Path) -> None:
    """Remove the hidden folder of a training whose run is now in `folder`."""
    if trained_in != folder:
        _remove(trained_in)


def _folders_of_training(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and (path.name == "tensorboard" or _SEED.fullmatch(path.name))
    ]


def _remove(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
