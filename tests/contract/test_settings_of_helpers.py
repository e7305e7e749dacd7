"""`compare` and `models check` read the settings file and the environment as all commands do."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

from cxrlearn.cli import compare  # noqa: F401 - registers itself
from tests.support.cli import done, refused

if TYPE_CHECKING:
    from pathlib import Path


def test_compare_reads_its_section_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "cxrlearn.toml").write_text('[compare]\noutput_dir = "elsewhere"\nlabels = true\n')
    text = done("compare", "--show-config", cwd=tmp_path, CXRLEARN_COMMON_ROWS="yes").out
    found = tomllib.loads(text)["compare"]
    assert (found["output_dir"], found["labels"], found["common_rows"]) == ("elsewhere", True, True)
    assert "elsewhere" in refused(2, "compare", cwd=tmp_path)
    (tmp_path / "cxrlearn.toml").write_text("[compare]\nlabel = true\n")
    message = refused(2, "compare", cwd=tmp_path)
    assert "unknown key 'label' in [compare]: did you mean 'labels'?" in message
    assert "--output" in refused(2, "compare", cwd=tmp_path, CXRLEARN_OUTPUT="table.txt")


def test_models_check_checks_the_choice_of_embed(tmp_path: Path) -> None:
    embed = '[embed]\nmodel = "gloria"\narch = "resnet18"\nweights = "here.ckpt"\n'
    (tmp_path / "cxrlearn.toml").write_text(embed)
    message = refused(4, "models", "check", "gloria", cwd=tmp_path)
    assert "there is no file here.ckpt, given as the weights of gloria" in message
    outcome = done("models", "check", "cxr-tiny", "--json", cwd=tmp_path)
    assert json.loads(outcome.out)["name"] == "cxr-tiny"
    assert "passed over: model gloria, arch resnet18, weights here.ckpt of " in outcome.err
    message = refused(4, "models", "check", "cxr-tiny", cwd=tmp_path, CXRLEARN_WEIGHTS="no.pt")
    assert "there is no file no.pt" in message
