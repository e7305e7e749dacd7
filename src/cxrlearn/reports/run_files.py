"""Which files a run has written: listed with their hashes in report.json, checked by readers."""

from __future__ import annotations

import hashlib
import tomllib
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from cxrlearn.errors import DataError, DiskError, TrainingError
from cxrlearn.reports.document import REPORT, json_text, read_report
from cxrlearn.runtime.folders import carry_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

OF_A_RUN = (
    "best.safetensors", "last.safetensors", "probe.safetensors", "history.csv", "model.json",
    "probe.json", "settings.toml", "split.csv",
)  # fmt: skip
"""Files that a run writes before its report, which lists them; settings.toml comes first."""
_OF_SEEDS = "seed-[0-9]*/*"
GROWING = ("last.safetensors", "*/last.safetensors", "tensorboard/*", "*/tensorboard/*")
"""Files of a training that have no final content, and so no hash in the report."""
_MODEL = ("probe.json", "model.json", "*.safetensors")


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a run, by its path in the folder, but for growing ones.

    Raises:
        OSError: a file cannot be read.
    """
    return {name: _sha256(path) for name, path in _files(folder) if not _is_any(name, GROWING)}


def sealed(document: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """Return the report of a run with the hashes of its files, and of itself, in `provenance`."""
    provenance = {**document["provenance"], "files": dict(files)}
    listed = {**document, "provenance": provenance}
    return {**listed, "provenance": {**provenance, "report_sha256": _digest(listed)}}


def check_run_files(folder: Path, document: Mapping[str, Any], *, models: bool = True) -> None:
    """See that report and files belong together, so that two runs never pass for one.

    A file that is missing is left to whoever needs it.

    Args:
        folder: of the run.
        document: its report.json, as `read_report` returns it.
        models: whether to look at probe, model and checkpoint too.

    Raises:
        DataError: the report or a table was changed since the run wrote it.
        TrainingError: the same of a probe, a model or a checkpoint.
    """
    provenance = document.get("provenance")
    if not isinstance(provenance, dict) or "report_sha256" not in provenance:
        return
    if _digest(document) != provenance["report_sha256"]:
        raise DataError(
            f"the report {folder / REPORT} is damaged: its content does not match its hash. Run "
            f"{document.get('command')} again."
        )
    for name, digest in provenance["files"].items():
        file = folder / name
        if not models and _is_any(name, _MODEL):
            continue
        if file.is_file() and _sha256(file) != digest:
            error = TrainingError if _is_any(name, _MODEL) else DataError
            raise error(
                f"{file} is not the file its report was made with: it is damaged or was changed. "
                f"Run {document['command']} again."
            )


def keep_other_files(old: Path, new: Path) -> None:
    """Carry over into the new folder of a run what the run in the old folder did not write.

    A file that a user has changed is not the run's any more. Where the new run has a file of that
    name, it is kept as `<name>.kept<suffix>`.

    Args:
        old: the folder as it is; it may be missing.
        new: complete but for these files.

    Raises:
        DiskError: a folder has the name of a file of the run.
        OSError: a file cannot be linked or copied.
    """
    for name, path in _entries(old, _written_by_run(old)):
        target = new / name
        if path.is_dir() and target.is_file():
            raise DiskError(
                f"cannot write {path}: a folder stands where a file is needed. What was there "
                "before is untouched."
            )
        while target.exists():
            target = target.with_name(f"{target.stem}.kept{target.suffix}")
        target.parent.mkdir(parents=True, exist_ok=True)
        carry_over(path, target)


def is_begun(folder: Path) -> bool:
    """Tell by its settings whether a run has begun in a folder, or has been finished there."""
    try:
        document = tomllib.loads((folder / "settings.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return "probe" in document or "finetune" in document


def _written_by_run(old: Path) -> Callable[[str, Path], bool]:
    """Return what tells by name and content whether the run in a folder wrote a file."""
    files = _listed(old)
    if files is not None:
        listed = files
        return lambda name, path: (
            name == REPORT
            or _is_any(name, GROWING)
            or (name in listed and not path.is_symlink() and _sha256(path) == listed[name])
        )
    if is_begun(old):
        return lambda name, _: _is_any(name, (REPORT, *OF_A_RUN, *GROWING, _OF_SEEDS))
    return lambda *_: False


def _entries(old: Path, is_ours: Callable[[str, Path], bool]) -> Iterator[tuple[str, Path]]:
    """Yield the files, folders and links in a run's folder that are not the run's."""
    for path in sorted(old.iterdir()) if old.is_dir() else ():
        if path.is_symlink() or path.is_file():
            if not is_ours(path.name, path):
                yield path.name, path
            continue
        inside = {f"{path.name}/{name}": one for name, one in _files(path)}
        foreign = {name: one for name, one in inside.items() if not is_ours(name, one)}
        if len(foreign) == len(inside):
            yield path.name, path
        else:
            yield from foreign.items()


def _listed(folder: Path) -> Mapping[str, str] | None:
    """Return the files that the report in a folder lists; None: there is no such report."""
    try:
        files = read_report(folder)["provenance"]["files"]
    except (DataError, KeyError, TypeError):
        return None
    return files if isinstance(files, dict) else None


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _is_any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a report's content without this hash."""
    provenance = {k: v for k, v in document["provenance"].items() if k != "report_sha256"}
    text = json_text({**document, "provenance": provenance})
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
