"""`demo`: made-up radiographs, then the same commands that a user would type."""

from __future__ import annotations

import json
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlearn.data.synthetic.dataset import write_demo_dataset
from cxrlearn.data.synthetic.traits import FINDINGS
from cxrlearn.errors import UsageError
from cxrlearn.runtime.atomic import disk_errors, write_text
from cxrlearn.runtime.events import SILENT
from cxrlearn.workflows.embed import run_embed
from cxrlearn.workflows.embed_config import EmbedConfig
from cxrlearn.workflows.probe import run_probe
from cxrlearn.workflows.probe_config import ProbeConfig
from cxrlearn.workflows.settings import FILE_NAME, make_config, resolve_settings
from cxrlearn.workflows.template import write_settings

if TYPE_CHECKING:
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.embed import EmbedResult
    from cxrlearn.workflows.probe import ProbeResult

FOLDER = Path("cxrlearn-demo")
MODEL = "cxr-tiny"
MARK = ".cxrlearn-demo"
"""A file that says the folder was made here, so that a second demo may reuse it."""
N_IMAGES = 600

DATA = """\
train_csv = "train.csv"
val_csv = "val.csv"
test_csv = "test.csv"
class_columns = {columns}
"""


@dataclass(frozen=True)
class DemoResult:
    """What the demo did."""

    folder: Path
    """`./cxrlearn-demo`."""
    reused: bool
    """The radiographs were there already."""
    embedded: EmbedResult
    """What `embed` did."""
    probed: ProbeResult
    """What `probe` did."""


def run_demo(
    folder: Path = FOLDER, *, n_images: int = N_IMAGES, reporter: Reporter = SILENT
) -> DemoResult:
    """Write synthetic radiographs with labels, embed them with `cxr-tiny` and probe the features.

    The two commands run in `folder` with the settings of the `cxrlearn.toml` there, exactly as if
    they were typed in it.

    Raises:
        UsageError: the folder has other content.
        DiskError: it cannot be written.
    """
    reused = _prepare(folder, n_images, reporter)
    with chdir(folder):
        reporter.notice(f"$ cxrlearn embed --model {MODEL}")
        settings = resolve_settings(
            EmbedConfig, "embed", {"model": (MODEL,)}, file=None, environment={}
        )
        embedded = run_embed(make_config(EmbedConfig, settings), reporter)
        reporter.notice("$ cxrlearn probe --use-logreg")
        settings = resolve_settings(
            ProbeConfig, "probe", {"model": MODEL}, file=None, environment={}
        )
        probed = run_probe(make_config(ProbeConfig, settings), reporter)
    return DemoResult(folder, reused, embedded, probed)


def _prepare(folder: Path, n_images: int, reporter: Reporter) -> bool:
    """Write the data set, unless an earlier demo has; return whether it was there."""
    mark = folder / MARK
    if folder.exists() and not folder.is_dir():
        raise UsageError(
            f"{folder} is a file; the demo needs a folder of that name. Run it elsewhere."
        )
    if folder.exists() and any(folder.iterdir()) and not mark.is_file():
        raise UsageError(
            f"{folder}/ has content that no demo wrote, so it was left alone. Move it away, or "
            "run the "
            "demo in another folder."
        )
    with disk_errors(folder, "Run the demo in a folder you may write to."):
        folder.mkdir(exist_ok=True)
    done = json.dumps({"images": n_images})
    if (
        mark.is_file()
        and mark.read_text(encoding="utf-8") == done
        and (folder / FILE_NAME).is_file()
    ):
        reporter.notice(f"{folder}/ is there from an earlier demo: its radiographs are used again.")
        return True
    write_text(mark, "{}", step="demo.mark")
    with (
        disk_errors(folder, "Free some space and run the demo again."),
        reporter.progress("drawing synthetic radiographs", n_images) as progress,
    ):
        write_demo_dataset(folder, n_images=n_images, progress=lambda _: progress.advance())
    (folder / FILE_NAME).unlink(missing_ok=True)
    columns = json.dumps(list(FINDINGS))
    write_settings(folder / FILE_NAME, data=DATA.format(columns=columns), model=MODEL)
    write_text(mark, done, step="demo.mark")
    return False
