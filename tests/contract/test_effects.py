"""A setting that does nothing in a run is refused where it is typed, and named elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import done, refused
from tests.support.small_study import SETTINGS, Study, embedded_study
from tests.support.tiny_backbone import use_tiny

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return embedded_study(tmp_path_factory.mktemp("study") / "base")


@pytest.fixture
def study(base: Study, tmp_path: Path) -> Study:
    return base.copy(tmp_path / "study")


# Typed values that equal the default do nothing either.
REFUSED = [
    ("probe --weights foo=x.pt", "--weights foo=x.pt: no backbone of this run has the name 'foo'"),
    ("embed --weights foo=x.pt", "expected cxr-tiny"),
    ("finetune --weights foo=x.pt", "--weights foo=x.pt"),
    ("probe --weights x.pt --random-weights 1", "--weights does nothing beside --random-weights"),
    ("probe --repeats 5", "--repeats needs a label-efficiency curve"),
    ("probe --repeats 3 --train-fraction 1", "--repeats needs a label-efficiency curve"),
    ("probe --aggregate mean", "--aggregate needs --aggregate-by COLUMN"),
    ("finetune --aggregate max", "--aggregate needs --aggregate-by COLUMN"),
    ("probe --split-column split", "--split-column needs --csv FILE"),
    ("finetune --split-column split", "--split-column needs --csv FILE"),
    ("probe --split-by-image", "--split-by-image needs --csv FILE"),
    ("probe --linear --C auto", "--C belongs to logistic regression, not to --linear"),
    ("probe --linear --solver batched", "--solver belongs to logistic regression"),
    ("probe --learning-rate 0.1", "--learning-rate belongs to --linear, not to --use-logreg"),
    ("probe --epochs 100", "--epochs belongs to --linear"),
    ("probe --k 20", "--k belongs to --knn"),
    ("probe --knn --class-weight none", "--class-weight belongs to"),
    ("probe --linear --memory-limit 4", "--memory-limit needs logistic regression"),
    ("probe --solver sklearn --memory-limit 4", "--memory-limit needs logistic regression"),
    ("finetune --optimizer adamw --momentum 0.9", "--momentum belongs to --optimizer sgd"),
    ("finetune --freeze-backbone --layer-decay 0.5", "--layer-decay does nothing with"),
    ("finetune --max-restarts 0", "--max-restarts is for the workers of --gpus"),
    ("finetune --features-dir features", "--features-dir does nothing where"),
    ("embed --images images --image-root images", "--image-root goes with CSV files"),
    ("embed --images images --path-column Path", "--path-column goes with CSV files"),
    ("predict --run x --images images --path-column Path", "--path-column goes with CSV files"),
    ("predict --run x --csv test.csv --saliency-label x", "--saliency-label goes with --saliency"),
]


@pytest.mark.parametrize(("typed", "part"), REFUSED, ids=[typed for typed, _ in REFUSED])
def test_an_option_without_effect_is_refused(base: Study, typed: str, part: str) -> None:
    assert part in refused(2, *typed.split(), cwd=base.folder)


@pytest.mark.parametrize("option", ["--operating-point youden", "--patience 3"])
def test_choices_on_validation_need_one(base: Study, tmp_path: Path, option: str) -> None:
    file = base.folder / "only.toml"
    file.write_text('[data]\ntrain_csv = "train.csv"\ntest_csv = "test.csv"\n')
    typed = ("finetune", "-m", "cxr-tiny", "--config", "only.toml", *option.split())
    message = refused(2, *typed, cwd=base.folder)
    assert f"{option.partition(' ')[0]} needs a validation split" in message


def test_a_shared_file_may_hold_what_another_probe_needs(study: Study) -> None:
    own = "[probe]\nk = 5\nlearning_rate = 0.1\nmemory_limit = 4\n"
    (study.folder / "cxrlearn.toml").write_text(SETTINGS + own)
    outcome = done("probe", cwd=study.folder)
    for key in ("k", "learning_rate"):
        assert f"warning: {key} of cxrlearn.toml [probe] has no effect here" in outcome.err
    assert "memory_limit" not in outcome.err
    text = (study.folder / "runs/cxr-tiny-logreg/settings.toml").read_text()
    assert "k = 5" not in text
    assert "warning" not in done("probe", "--knn", "--show-config", cwd=study.folder).err


def test_variables_are_named(study: Study) -> None:
    outcome = done("probe", cwd=study.folder, CXRLEARN_SED="3", CXRLEARN_K="3")
    assert (
        "CXRLEARN_SED has no effect: no setting has that name: did you mean 'CXRLEARN_SEED'?"
        in outcome.err
    )
    assert "k of CXRLEARN_K has no effect here: belongs to --knn" in outcome.err
    # A variable serves every command that has the setting, and one of the weights serves all.
    said = "CXRLEARN_WEIGHTS_DIR has no effect: w is no folder"
    environment = {"CXRLEARN_EPOCHS": "3", "CXRLEARN_WEIGHTS_DIR": "w"}
    assert said in done("embed", cwd=study.folder, **environment).err
    (study.folder / "w").mkdir()
    assert "CXRLEARN" not in done("embed", cwd=study.folder, **environment).err


def test_a_typo_in_the_section_of_another_command_is_refused(study: Study) -> None:
    (study.folder / "cxrlearn.toml").write_text(SETTINGS + "[finetune]\nepoch = 3\n")
    message = refused(2, "probe", cwd=study.folder)
    assert "unknown key 'epoch' in [finetune]: did you mean 'epochs'?" in message


@pytest.mark.parametrize("option", [("--gpus", "cpu"), ("--batch-size", "7"), ("--device", "cpu")])
def test_options_of_computing_are_named_when_nothing_is_computed(
    study: Study, option: tuple[str, str]
) -> None:
    said = f"{option[0]}: no effect in this run, all images have features already"
    assert said in done("embed", *option, cwd=study.folder).err
    if option[0] != "--device":  # which a probe is fitted on
        assert said in done("probe", *option, cwd=study.folder).err


def test_resume_says_when_there_is_nothing_to_resume(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_tiny(monkeypatch)
    typed = ("finetune", "-m", "tiny-test", "--epochs", 1, "--batch-size", 8, "--resume")
    outcome = done(*typed, cwd=study.folder)
    assert "--resume: there is nothing to resume in runs/tiny-test-finetune" in outcome.err


def test_positive_is_for_labels_in_words(study: Study) -> None:
    typed = ("probe", "--class-columns", "Effusion", "--positive", "1")
    said = "--positive 1 has no effect: 'Effusion' holds 0 and 1"
    assert said in done(*typed, cwd=study.folder).err
