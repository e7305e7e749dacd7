"""What is said of the feature files in a folder: which was taken, which were not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.probe_config import ProbeConfig
    from cxrlearn.workflows.targets import Target


def files_like_it(config: ProbeConfig) -> list[str]:
    """Name the feature files of the backbone that were made with other settings."""
    label = re.sub(r"[^\w.-]", "-", config.model or "")
    files = sorted(file.stem for file in config.features_dir.glob(f"{label}*.h5"))
    return (
        [f"{config.features_dir} holds {', '.join(files)}: to use it, name what it was made with."]
        if files
        else []
    )


def announce_choice(config: ProbeConfig, target: Target, reporter: Reporter) -> None:
    """Say which backbone was taken, from where, and which other feature files there are."""
    if config.backbone_from is None:
        return
    others = sorted(file.stem for file in config.features_dir.glob("*.h5") if file != target.file)
    if config.backbone_from.startswith("command line"):
        others = [name for name in others if name.startswith(target.resolved.label)]
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    beside = f"; not used: {', '.join(others[:5])}{more} in {config.features_dir}" if others else ""
    reporter.notice(f"backbone {target.tag}, from {config.backbone_from}{beside}.")
