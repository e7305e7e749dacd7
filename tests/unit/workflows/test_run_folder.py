from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cxrlearn.errors import UsageError
from cxrlearn.workflows.run_folder import refuse_other_run

if TYPE_CHECKING:
    from pathlib import Path

MINE = "[finetune]\nepochs = 3\nworkers = 2\n"


def look(folder: Path, there: str, *, overwrite: bool = False) -> None:
    (folder / "settings.toml").write_text(there, encoding="utf-8")
    refuse_other_run(folder, "finetune", MINE, may_differ={"workers"}, overwrite=overwrite)


def test_equal_settings_and_those_that_may_differ_pass(tmp_path: Path) -> None:
    look(tmp_path, MINE)
    look(tmp_path, "[finetune]\nepochs = 3\nworkers = 8\n")
    look(tmp_path, "[finetune]\nepochs = 4\n", overwrite=True)


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ("[finetune]\nepochs = 4\n", r"holds a run with other settings \(epochs differ\)"),
        ("[finetune]\nepochs = 3\nseed = 1\n", r"\(seed differ\)"),
        ("[probe]\nepochs = 3\n", "holds a run of probe, not of finetune. Give this one a --name"),
        ("", "holds a run of nothing known"),
        ("[finetune", "holds a run that cannot be read"),
    ],
)
def test_anything_else_is_named(tmp_path: Path, there: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        look(tmp_path, there)
