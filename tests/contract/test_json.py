from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import done, refused, run_cli
from tests.support.small_study import Study, embedded_study

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return embedded_study(tmp_path_factory.mktemp("study") / "base")


def document(*args: object, cwd: Path) -> dict[str, Any]:
    """Run a command with --json: stdout is one JSON document, and nothing else."""
    found: dict[str, Any] = json.loads(done(*args, "--json", cwd=cwd).out)
    return found


def test_probe_prints_its_report(base: Study, tmp_path: Path) -> None:
    found = document("probe", "--output-dir", tmp_path, cwd=base.folder)
    assert set(found) == {
        "schema_version", "command", "name", "task", "backbone", "split_origin", "splits",
        "overlaps", "probe", "results", "warnings", "protocol", "provenance", "pretraining",
        "curve", "null_control", "aggregation", "finetune",
    }  # fmt: skip
    assert found["schema_version"] == 1
    assert found == json.loads((tmp_path / "cxr-tiny-logreg/report.json").read_text())


def test_embed_prints_its_files(base: Study, tmp_path: Path) -> None:
    (base.folder / "broken.csv").write_text("Path\nimages/p00_0.png\nbroken.csv\n")
    (base.folder / "empty.toml").touch()
    found = run_cli(
        "embed", "-m", "cxr-tiny", "--config", "empty.toml", "--csv", "broken.csv",
        "--output-dir", tmp_path, "--json", cwd=base.folder,
    )  # fmt: skip
    assert found.code == 3
    result = json.loads(found.out)
    assert set(result) == {"images", "seconds", "files"}
    assert result["images"] == 2
    file = result["files"][0]
    assert set(file) == {
        "tag", "file", "dim", "rows", "computed", "copied", "unchanged", "failed", "constant",
            "notices",
    }  # fmt: skip
    assert (file["rows"], file["computed"], list(file["failed"])) == (1, 1, ["broken.csv"])


def test_predict_prints_what_it_wrote(base: Study, tmp_path: Path) -> None:
    done("probe", "--output-dir", tmp_path / "runs", "-q", cwd=base.folder)
    found = document(
        "predict", "--run", tmp_path / "runs/cxr-tiny-logreg", "--csv", "test.csv",
        "--output", tmp_path / "out.csv", cwd=base.folder,
    )  # fmt: skip
    assert set(found) == {
        "run", "output", "images", "labels", "operating_points", "positive", "failed", "overlays",
        "seconds",
    }  # fmt: skip
    assert (found["images"], found["failed"], found["overlays"]) == (12, {}, None)
    assert found["labels"] == ["Cardiomegaly", "Effusion"]
    assert found["positive"] == {"youden": {"Cardiomegaly": 0, "Effusion": 0}}
    (point,) = found["operating_points"]
    assert point == {"rule": "youden", "thresholds": [None, None]}


def test_models_list_show_and_check(tmp_path: Path) -> None:
    keys = {"name", "aliases", "title", "weights", "variants"}
    listed = document("models", "list", cwd=tmp_path)
    assert set(listed) == {"models"}
    assert all(keys <= set(model) for model in listed["models"])
    names = {model["name"] for model in listed["models"]}
    assert names >= {
        "medaug", "chexzero", "refers", "convirt", "s2mts2", "gloria", "mococxr", "resnet",
        "cxr-tiny",
    }  # fmt: skip
    assert keys <= set(document("models", "show", "cxr-tiny", cwd=tmp_path))
    assert set(document("models", "check", "cxr-tiny", cwd=tmp_path)) == {
        "name", "arch", "pretrained_on", "file", "sha256", "verification", "form", "parameters",
        "keys", "features",
    }  # fmt: skip


@pytest.mark.parametrize("typed", [["probe"], ["embed"], ["predict"], ["models", "show", "nope"]])
def test_a_failure_prints_nothing_on_stdout(tmp_path: Path, typed: list[str]) -> None:
    code = 4 if typed[0] == "models" else 2
    assert refused(code, *typed, "--json", cwd=tmp_path)
