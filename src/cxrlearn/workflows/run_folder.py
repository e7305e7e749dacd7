"""The folder of a run: its settings, whether another run has it, and the split that was drawn."""

from __future__ import annotations

import csv
import io
import tomllib
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from cxrlearn.errors import UsageError
from cxrlearn.workflows.settings import Setting, settings_toml

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.datasets import ImageSets

SETTINGS = "settings.toml"


class Recorder:
    """Passes everything on to a reporter and keeps the warnings for the report."""

    def __init__(self, reporter: Reporter) -> None:
        """Stand before a reporter."""
        self._reporter = reporter
        self.warnings: list[str] = []
        self.notice = reporter.notice
        self.progress = reporter.progress

    def warning(self, message: str) -> None:
        """Keep a warning and pass it on."""
        self.warnings.append(message)
        self._reporter.warning(message)


def settings_text(section: str, config: Any) -> str:  # noqa: ANN401 - any config dataclass
    """Return the resolved settings of a run as TOML."""
    return settings_toml(
        section, {field.name: Setting(getattr(config, field.name), "") for field in fields(config)}
    )


def refuse_other_run(
    folder: Path, section: str, text: str, *, may_differ: Collection[str], overwrite: bool
) -> None:
    """Let equal settings overwrite a run; others need another name.

    Args:
        folder: of the run.
        section: the command that makes it.
        text: its settings, of `settings_text`.
        may_differ: settings that do not decide a result.
        overwrite: any run may be overwritten.

    Raises:
        UsageError: a run of other settings has this name.
    """
    file = folder / SETTINGS
    if overwrite or not file.is_file():
        return
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
        there = dict(document.get(section, {}))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{folder} holds a run that cannot be read ({error}). Use --name or --overwrite."
        ) from error
    if section not in document:
        made = " and ".join(document) or "nothing known"
        raise UsageError(
            f"{folder} holds a run of {made}, not of {section}. Give this one a --name, or "
            "--overwrite it."
        )
    mine = tomllib.loads(text)[section]
    differing = sorted(
        key
        for key in (there.keys() | mine.keys()) - set(may_differ)
        if there.get(key) != mine.get(key)
    )
    if differing:
        keys = ", ".join(differing)
        raise UsageError(
            f"{folder} holds a run with other settings ({keys} differ). Give this one a --name, "
            "or --overwrite it."
        )


def split_csv(sets: ImageSets) -> str:
    """Return which image is in which split."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image_id", "patient_id", "split"])
    for name, manifest in sets.named().items():
        pairs = zip(manifest.image_ids, manifest.patients, strict=True)
        writer.writerows([image, patient or "", name] for image, patient in pairs)
    return text.getvalue()
