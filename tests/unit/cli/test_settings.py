from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from tests.support.cli import done, refused
from tests.support.small_study import SETTINGS

if TYPE_CHECKING:
    from pathlib import Path


def test_show_config_prints_valid_toml_with_origins_and_stops(tmp_path: Path) -> None:
    (tmp_path / "cxrlearn.toml").write_text(SETTINGS)
    arguments = ("probe", "--show-config", "--seed", 3)
    text = done(*arguments, cwd=tmp_path, CXRLEARN_MAX_ITER="200").out
    values = tomllib.loads(text)["probe"]
    assert values["class_columns"] == ["Cardiomegaly", "Effusion"]
    assert (values["seed"], values["max_iter"], values["model"]) == (3, 200, "cxr-tiny")
    lines = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    assert lines["seed"].endswith("# command line")
    assert lines["max_iter"].endswith("# CXRLEARN_MAX_ITER")
    assert lines["train_csv"].endswith("# cxrlearn.toml [data]")
    assert lines["model"].endswith("# cxrlearn.toml [embed]")
    assert lines["epochs"].endswith("# default")
    assert "part_rows" not in done("embed", "--show-config", cwd=tmp_path).out
    assert not (tmp_path / "runs").exists()


def test_the_paths_of_a_settings_file_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study/cxrlearn.toml").write_text(SETTINGS)
    text = done("probe", "--config", "study/cxrlearn.toml", "--show-config", cwd=tmp_path).out
    values = tomllib.loads(text)["probe"]
    assert values["train_csv"] == "study/train.csv"
    assert values["test_csv"] == ["study/test.csv"]


def test_a_probe_needs_to_know_which_of_several_backbones(tmp_path: Path) -> None:
    text = SETTINGS.replace('"cxr-tiny"', '["cxr-tiny", "resnet"]')
    (tmp_path / "cxrlearn.toml").write_text(text)
    message = refused(2, "probe", cwd=tmp_path)
    assert "[embed] names several (cxr-tiny, resnet)" in message


def test_init_writes_settings_that_can_be_read(tmp_path: Path) -> None:
    done("init", cwd=tmp_path)
    values = tomllib.loads((tmp_path / "cxrlearn.toml").read_text())
    assert set(values) == {"data", "embed", "probe", "finetune"}
    assert "model" not in values["embed"]
    text = done("probe", "--show-config", "-m", "cxr-tiny", cwd=tmp_path).out
    assert tomllib.loads(text)["probe"]["model"] == "cxr-tiny"
