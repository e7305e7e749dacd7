"""Which backbone a probe is of: one choice, from one place, and what was passed over is said."""

from __future__ import annotations

import json
import shutil
import tomllib
from typing import TYPE_CHECKING

import pytest

from cxrlearn.backbones.tiny_record import weights_file
from tests.support.cli import done, refused, run_cli
from tests.support.small_study import SETTINGS, Study, embedded_study
from tests.support.tiny_backbone import tiny_spec, use_tiny

if TYPE_CHECKING:
    from pathlib import Path

DATA = SETTINGS.partition("[embed]")[0]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return embedded_study(tmp_path_factory.mktemp("study") / "base")


@pytest.fixture
def study(base: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study with features of cxr-tiny and no model in its settings."""
    use_tiny(monkeypatch)
    study = base.copy(tmp_path / "study")
    settings(study)
    return study


def settings(study: Study, *sections: str) -> None:
    (study.folder / "cxrlearn.toml").write_text("\n".join([DATA, *sections]))


def tag(study: Study, *arguments: object, command: str = "probe", **environment: str) -> str:
    """Run a probe and return the tag of its backbone, as the report has it."""
    run = study.folder / "runs/it"
    arguments = (command, *arguments, "--name", "it", "--overwrite")
    outcome = done(*arguments, cwd=study.folder, **environment)
    report = json.loads((run / "report.json").read_text())
    said = [line for line in outcome.err.splitlines() if line.startswith("backbone ")]
    assert len(said) == 1, outcome.err
    found = str(report["backbone"]["tag"])
    assert said[0].startswith(f"backbone {found}, from ")
    kept = tomllib.loads((run / "settings.toml").read_text())[command]["backbone_from"]
    assert kept in said[0]
    return found


def choice(study: Study, *arguments: object, command: str = "probe") -> dict[str, object]:
    text = done(command, "--show-config", *arguments, cwd=study.folder).out
    found: dict[str, object] = tomllib.loads(text)[command]
    return found


def test_the_readmes_two_lines_give_the_model_that_was_embedded(study: Study) -> None:
    (study.folder / "cxrlearn.toml").unlink()
    study.features.unlink()
    done("init", cwd=study.folder)
    done("embed", "--model", "tiny-test", cwd=study.folder)
    assert tag(study, "--use-logreg") == "tiny-test"


@pytest.mark.parametrize("command", ["probe", "finetune"])
def test_the_whole_choice_of_embed_is_taken(study: Study, command: str) -> None:
    settings(
        study,
        '[embed]\nmodel = "gloria"\narch = "resnet18"\nfeatures = "global_emb"\n'
        'preprocessing = "original"\nrandom_weights = 3\nprecision = "fp32"\nstore = "float16"\n',
    )
    found = choice(study, command=command)
    assert (found["model"], found["arch"]) == ("gloria", "resnet18")
    assert (found["features"], found["preprocessing"]) == ("global_emb", "original")
    assert (found["random_weights"], found["precision"]) == (3, "fp32")
    assert command == "finetune" or found["store"] == "float16"


def test_what_embed_made_by_its_section_is_what_the_probe_reads(study: Study) -> None:
    settings(
        study,
        '[embed]\nmodel = "tiny-test"\nfeatures = "twice"\npreprocessing = "original"\n'
        'precision = "fp32"\nstore = "float16"\nintensity = "minmax"\n',
    )
    done("embed", cwd=study.folder)
    (made,) = (study.folder / "features").glob("tiny-test*.h5")
    outcome = done("probe", "--name", "it", cwd=study.folder)
    assert "embedding them first" not in outcome.err
    report = json.loads((study.folder / "runs/it/report.json").read_text())
    assert f"{report['backbone']['tag']}.h5" == made.name


def test_a_typed_model_takes_nothing_from_another_choice(study: Study) -> None:
    settings(study, '[embed]\nmodel = "gloria"\narch = "resnet18"\npreprocessing = "original"\n')
    outcome = done("probe", "-m", "cxr-tiny", cwd=study.folder)
    assert "backbone cxr-tiny, from command line; passed over: " in outcome.err
    assert "model gloria, arch resnet18, preprocessing original of " in outcome.err
    assert "cxrlearn.toml [embed]" in outcome.err


def test_the_order_of_places(study: Study) -> None:
    own, embed = '[probe]\nmodel = "tiny-other"\n', '[embed]\nmodel = "tiny-test"\n'
    settings(study, own, embed)
    assert tag(study, "-m", "cxr-tiny", CXRLEARN_MODEL="tiny-test") == "cxr-tiny"
    assert tag(study, CXRLEARN_MODEL="cxr-tiny") == "cxr-tiny"
    assert tag(study) == "tiny-other"
    settings(study, embed)
    assert tag(study) == "tiny-test"


def test_only_file_is_taken_with_all_that_made_it(study: Study) -> None:
    study.features.unlink()
    typed = ("-m", "tiny-test", "--preprocessing", "original", "--features", "twice")
    deep = ("--precision", "fp32", "--store", "float16", "--intensity", "minmax")
    done("embed", *typed, *deep, cwd=study.folder)
    (made,) = (study.folder / "features").glob("*.h5")
    assert tag(study) == made.stem
    assert len(list((study.folder / "features").glob("*.h5"))) == 1


def test_only_file_of_own_weights_finds_them_again(study: Study) -> None:
    study.features.unlink()
    own = study.folder / "own.safetensors"
    shutil.copy(weights_file(), own)
    done("embed", "-m", "cxr-tiny", "--weights", "cxr-tiny=own.safetensors", cwd=study.folder)
    (made,) = (study.folder / "features").glob("*.h5")
    assert "+w" in made.stem
    assert tag(study) == made.stem
    own.unlink()
    message = refused(2, "probe", cwd=study.folder)
    assert "own.safetensors, which are not there" in message
    assert "--weights cxr-tiny=FILE" in message
    message = refused(4, "probe", "-m", "chexzero", cwd=study.folder, CXRLEARN_WEIGHTS_DIR="")
    assert "features holds" not in message
    made.rename(made.with_name("chexzero+w12345678.h5"))
    message = refused(4, "probe", "-m", "chexzero", cwd=study.folder, CXRLEARN_WEIGHTS_DIR="")
    assert "features holds chexzero+w12345678: to use it, name what it was made with" in message


def test_several_files_and_no_name_are_refused_with_the_list(study: Study) -> None:
    done("embed", "-m", "tiny-test", cwd=study.folder)
    message = refused(2, "probe", cwd=study.folder)
    assert "features holds cxr-tiny, tiny-test" in message
    settings(study, '[embed]\nmodel = "tiny-test"\n')
    outcome = done("probe", cwd=study.folder)
    assert "backbone tiny-test, from cxrlearn.toml [embed]; not used: cxr-tiny" in outcome.err


def test_a_list_of_models_serves_each_of_them(study: Study) -> None:
    weights = '["gloria=a.ckpt", "chexzero=b.pt"]'
    settings(study, f'[embed]\nmodel = ["gloria", "chexzero"]\nweights = {weights}\n')
    assert "[embed] names several (gloria, chexzero)" in refused(2, "probe", cwd=study.folder)
    found = choice(study, "-m", "gloria")
    assert found["weights"] == ["gloria=a.ckpt", "chexzero=b.pt"]
    assert choice(study, "-m", "cxr-tiny")["weights"] == []


def test_what_is_typed_without_a_model_refines_the_choice(study: Study) -> None:
    settings(study, '[embed]\nmodel = "tiny-test"\npreprocessing = "original"\n')
    outcome = done("probe", "--features", "twice", cwd=study.folder)
    said = "backbone tiny-test+original+twice, from cxrlearn.toml [embed], with --features of"
    assert said in outcome.err


def test_features_of_other_weights_are_not_served(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    done("embed", "-m", "tiny-test", cwd=study.folder)
    use_tiny(monkeypatch, tiny_spec(identity="2"))
    message = refused(5, "probe", "-m", "tiny-test", cwd=study.folder)
    assert "weights: builder:tiny-test 1 there, builder:tiny-test 2 now" in message
    assert "--features-dir" in message


def test_fp16_of_embed_is_no_precision_of_a_training(study: Study) -> None:
    settings(study, '[embed]\nmodel = "tiny-test"\nprecision = "fp16"\n')
    outcome = run_cli("finetune", "--epochs", 1, "--batch-size", 8, cwd=study.folder)
    assert outcome.code == 0, outcome.err
    assert "precision of cxrlearn.toml [embed] has no effect here" in outcome.err
