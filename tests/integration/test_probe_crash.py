"""A probe that overwrites a run and is killed leaves the old run or the new one, never a mixture.

`CXRLEARN_CRASH_KILLS` says how often (4; a quarter of it, 50, under `nox -s crash`).
"""

from __future__ import annotations

import os
import random
import signal
import tomllib
from typing import TYPE_CHECKING

import pytest

from cxrlearn.probes.saved import load_probe
from cxrlearn.reports.document import read_report
from cxrlearn.reports.run_files import check_run_files
from tests.support.small_study import Study, embedded_study

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("resource", reason="needs signals of POSIX")
probe_child = pytest.importorskip("tests.support.probe_child")

pytestmark = pytest.mark.slow

KILLS = max(4, int(os.environ.get("CXRLEARN_CRASH_KILLS", "0")) // 4)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = embedded_study(tmp_path_factory.mktemp("study") / "base")
    assert probe_child.probe(made.folder, 0.1)[0] == 0
    (made.folder / "runs/run/notes.txt").write_text("mine")
    return made


def strength_of(folder: Path) -> float:
    """Return C of the run in a folder, in which everything has to be of one run."""
    document = read_report(folder)
    check_run_files(folder, document)
    listed = set(document["provenance"]["files"])
    assert {path.name for path in folder.iterdir()} == listed | {"report.json", "notes.txt"}
    assert (folder / "notes.txt").read_text() == "mine"
    settings = tomllib.loads((folder / "settings.toml").read_text(encoding="utf-8"))
    strength: float = settings["probe"]["C"]
    assert {label.C for label in load_probe(folder).fit.labels} == {strength}
    return strength


@pytest.mark.parametrize("step", ["probe.tensors.moved", "run.filled", "run.swapped"])
def test_killed_at_a_write_step(study: Study, step: str) -> None:
    folder = study.folder / "runs/run"
    before = strength_of(folder)
    new = 1.0 if before == 0.1 else 0.1
    code, _ = probe_child.probe(study.folder, new, probe_child.Killed(step=step))
    assert code == -signal.SIGKILL
    assert strength_of(folder) == (new if step == "run.swapped" else before)


def test_killed_at_random(study: Study) -> None:
    folder = study.folder / "runs/run"
    seed = random.randrange(10**6)  # noqa: S311 - no secret; another one each time, and said
    draw = random.Random(seed)  # noqa: S311
    code, seconds = probe_child.probe(study.folder, 0.1)
    assert code == 0
    kills = 0
    while kills < KILLS:
        before = strength_of(folder)
        new = 1.0 if before == 0.1 else 0.1
        killed = probe_child.Killed(seconds=draw.uniform(0, seconds))
        code, _ = probe_child.probe(study.folder, new, killed)
        kills += code == -signal.SIGKILL
        assert strength_of(folder) in {before, new}, (seed, killed)
    assert probe_child.probe(study.folder, 1.0)[0] == 0
    left = {path.name for path in folder.parent.iterdir() if path.is_dir()}
    assert left == {"run"}
