"""All faults of settings, manifests and weights in one message, each with value and remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from cxrlearn.backbones.registry import resolve
from cxrlearn.backbones.spec import PackagedFile
from cxrlearn.cli.models import weights_status
from tests.support.cli import done, refused
from tests.support.small_study import Study, embedded_study
from tests.support.tiny_backbone import tiny_spec, use_tiny

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return embedded_study(tmp_path_factory.mktemp("study") / "base")


@pytest.fixture
def study(base: Study, tmp_path: Path) -> Study:
    return base.copy(tmp_path / "study")


@pytest.mark.parametrize("command", ["probe", "finetune"])
def test_settings_manifests_and_weights_are_told_together(study: Study, command: str) -> None:
    study.rewrite("val", lambda row: {**row, "Effusion": "perhaps"})
    typed = (command, "-m", "chexzero", "--limit", "abc", "--seed", -1, "--blank", "maybe")
    message = refused(2, *typed, cwd=study.folder, CXRLEARN_WEIGHTS_DIR="")
    for part in (
        "'--limit': expected a whole number, got 'abc'",
        "--seed: expected at least 0, got -1",
        "--blank (command line): expected one of mask, zeros, got 'maybe'",
        "'perhaps' is not a label",
        "no weights for chexzero",
    ):
        assert message.count(part) >= 1, part


def test_faults_of_data_and_of_weights_are_told_together(study: Study) -> None:
    study.rewrite("test", lambda row: {**row, "Effusion": "perhaps"})
    message = refused(3, "probe", "-m", "chexzero", cwd=study.folder, CXRLEARN_WEIGHTS_DIR="")
    assert message.count("no weights for chexzero") == 1
    assert "'perhaps'" in message
    (study.folder / "test.csv").unlink()
    message = refused(3, "embed", "-m", "chexzero", cwd=study.folder, CXRLEARN_WEIGHTS_DIR="")
    assert "test.csv" in message
    assert "no weights for chexzero" in message


def test_a_fault_alone_is_told_once(study: Study) -> None:
    message = refused(3, "probe", "--class-columns", "Efusion", cwd=study.folder)
    assert message.count("Efusion") == 1


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[probe]\nC = auto\n", ["line 2", "C = auto", 'key = "text"']),
        ('[data]\n\ncsv = "all.csv\n', ["line 3", 'csv = "all.csv', 'key = "text"']),
        ("[probe]\nseed = 1\nseed = 2\n", ["line 3", "seed = 2", "each key once"]),
        ('[probe]\nepochs = "ten"\n', ["--epochs", "[probe]", "a whole number", "'ten'"]),
        ("[probe]\nseed = [1, 2]\n", ["--seed", "[probe]", "a whole number", "[1, 2]"]),
    ],
)
def test_a_broken_settings_file_names_place_value_and_remedy(
    study: Study, text: str, parts: list[str]
) -> None:
    (study.folder / "cxrlearn.toml").write_text(text)
    message = refused(2, "probe", cwd=study.folder)
    for part in parts:
        assert part in message


def test_an_architecture_is_no_backbone(study: Study) -> None:
    message = refused(4, "probe", "-m", "resnet18", cwd=study.folder)
    for way in ("gloria --arch resnet18", "torchvision:resnet18", "timm:resnet18"):
        assert f"--model {way}" in message
    assert "Did you mean 'resnet50'" not in message
    message = refused(4, "probe", "-m", "densenet121", cwd=study.folder)
    assert "--model torchvision:densenet121; --model timm:densenet121" in message
    assert "Did you mean 'chexzero'" in refused(4, "probe", "-m", "chexzeor", cwd=study.folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told_with_an_option_of_the_command(study: Study) -> None:
    done("probe", "--name", "run", cwd=study.folder)
    typed = ("predict", "--run", "run", "--csv", "test.csv", "--device", "cuda")
    message = refused(7, *typed, cwd=study.folder)
    assert "--device cpu" in message
    assert "--gpus" not in message


def test_weights_of_a_library_are_looked_for_in_three_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    typed = ("models", "check", "resnet", "--offline")
    message = refused(4, *typed, cwd=tmp_path, CXRLEARN_WEIGHTS_DIR=str(tmp_path / "w"))
    for place in (tmp_path / "w", tmp_path / "pretrained", tmp_path / "torch"):
        assert str(place) in message


def test_the_weights_of_a_plug_in_are_in_its_own_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.pt"
    spec = replace(tiny_spec(), weights=PackagedFile(locate=lambda: file))
    use_tiny(monkeypatch, spec)
    assert weights_status(spec) == "not there, though the package tests should hold them"
    file.touch()
    assert weights_status(spec) == "in the package tests"
    assert weights_status(resolve("cxr-tiny").spec) == "in the package"


def test_what_holds_for_several_manifests_is_said_once(study: Study) -> None:
    for split in ("train", "val", "test"):
        study.rewrite(split, lambda row: {"file": row.pop("Path"), **row})
    for command in ("probe", "embed"):
        text = done(command, "--path-column", "file", cwd=study.folder).err
        assert text.count("image paths are those of column 'file'") == 1
        assert "train.csv, val.csv, test.csv: image paths are those of column 'file'" in text
