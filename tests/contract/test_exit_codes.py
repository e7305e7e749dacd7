from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import torch

import cxrlearn.errors
from cxrlearn.cli import compare  # noqa: F401 - registers itself
from cxrlearn.errors import CxrlearnError
from cxrlearn.features.lock import writer_lock
from tests.support.cli import done, refused, run_cli
from tests.support.feature_files import edited
from tests.support.shared import ROOT
from tests.support.small_study import SETTINGS, Study, embedded_study
from tests.support.tiny_backbone import SPECS, use_tiny

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Damage = Callable[[Study], object]

HEADER = "Path,patient_id,Cardiomegaly,Effusion\n"
ROW = "images/p00_0.png,P00,0,1\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return embedded_study(tmp_path_factory.mktemp("study") / "base")


@pytest.fixture
def study(base: Study, tmp_path: Path) -> Study:
    return base.copy(tmp_path / "study")


TUNE = ("finetune", "-m", "tiny-test", "--epochs", 1, "--batch-size", 8)
"""A training of a second."""


@pytest.fixture(scope="module")
def tuned(base: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study with a finished run `tuned`."""
    study = base.copy(tmp_path_factory.mktemp("tuned") / "study")
    with pytest.MonkeyPatch.context() as patch:
        use_tiny(patch)
        done(*TUNE, "--name", "tuned", "-q", cwd=study.folder)
    return study


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny(monkeypatch)


# ---- the table of the documentation --------------------------------------------------------------


def test_the_table_of_exit_codes_is_that_of_the_classes() -> None:
    page = (ROOT / "docs/reference/errors-and-exit-codes.md").read_text(encoding="utf-8")
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE)}
    classes = [
        value
        for value in vars(cxrlearn.errors).values()
        if isinstance(value, type) and issubclass(value, CxrlearnError)
    ]
    raised = {value.exit_code for value in classes}
    assert documented == raised | {0, 130, 141, 143}
    assert sorted(raised) == list(range(1, 9))


# ---- what is typed -------------------------------------------------------------------------------

USAGE = [
    (["--bogus"], "No such option: --bogus"),
    (["surplus"], "unexpected extra argument"),
    (["--limit", "abc"], "--limit"),
    (["--limit", "0"], "--limit: expected at least 1, got 0"),
    (["--C", "0"], "--C: expected a positive number or auto, got 0.0"),
    (["--C", "nan"], "--C: expected a positive number or auto, got nan"),
    (["--C", "inf"], "--C: expected a positive number or auto, got inf"),
    (["--C", "abc"], "--C (command line): expected a number or auto, got 'abc'"),
    (["--seed", "-1"], "--seed: expected at least 0"),
    (["--max-iter", "0"], "--max-iter: expected at least 1"),
    (["--batch-size", "0"], "--batch-size: expected at least 1"),
    (["--random-weights", "-3"], "--random-weights: expected at least 0"),
    (["--task", "foo"], "expected one of auto, binary, multilabel, multiclass, got 'foo'"),
    (["--blank", "foo"], "expected one of mask, zeros, got 'foo'"),
    (["--uncertain", "foo"], "expected one of mask, zeros, ones, got 'foo'"),
    (["--precision", "fp8"], "expected one of auto, fp32, bf16, fp16, got 'fp8'"),
    (["--intensity", "foo"], "expected one of percentile, minmax, got 'foo'"),
    (["--device", "tpu"], "--device: expected auto, cpu, cuda, cuda:N or mps, got 'tpu'"),
    (["--gpus", "x"], "--gpus: expected numbers such as 0,1, or cpu, got 'x'"),
    (["--gpus", "0", "--device", "cpu"], "--gpus and --device exclude each other"),
    (["--name", "a/b"], "--name: 'a/b' cannot be the name of a folder"),
    (["--name", ""], "--name"),
    (["--csv", "all.csv", "--test-csv", "test.csv"], "--csv stands alone"),
    (["--test-csv", "train=test.csv"], "'train' cannot name a test set"),
    (["--test-csv", "a=test.csv", "--test-csv", "a=val.csv"], "two test sets are named 'a'"),
    (["--config", "nope.toml"], "--config: no file nope.toml"),
    (["--config", "images"], "--config: no file images"),
    (["--positive", "yes"], "--positive 'yes' does not occur in train.csv: columns"),
    (["--linear", "--knn"], "--linear and --knn exclude each other: one probe a run"),
    (["--use-logreg", "--knn"], "--use-logreg and --knn exclude each other: one probe a run"),
    (["--knn", "--C", "1"], "--C belongs to logistic regression, not to --knn"),
    (["--linear", "--k", "3"], "--k belongs to --knn, not to --linear"),
    (["--knn", "--class-weight", "balanced"], "--class-weight belongs to logistic regression and"),
    (["--k", "0", "--knn"], "--k: expected at least 1, got 0"),
    (["--solver", "foo"], "expected one of batched, sklearn, got 'foo'"),
    (["--class-weight", "foo"], "expected one of none, balanced, got 'foo'"),
    (["--aggregate", "foo"], "expected one of mean, max, got 'foo'"),
    (["--operating-point", "best"], "--operating-point: A threshold rule is `youden`"),
    (["--origin", "nhi"], "--origin: unknown dataset 'nhi'. Did you mean 'nih'?"),
    (["--train-fraction", "0.1,2"], "--train-fraction: expected shares above 0 and at most 1, got"),
    (["--train-fraction", "x"], "--train-fraction"),
    (["--few-shot", "0"], "--few-shot: expected at least 1 patient, got 0"),
    (["--few-shot", "1.5"], "--few-shot"),
    (["--repeats", "0"], "--repeats: expected at least 1, got 0"),
    (["--null", "--few-shot", "3"], "--null and a label-efficiency curve exclude each other"),
    (["--linear", "--learning-rate", "0"], "--learning-rate: expected a positive number, got 0"),
    (["--linear", "--epochs", "0"], "--epochs: expected at least 1, got 0"),
    (["--memory-limit", "0"], "--memory-limit: expected a positive number, got 0"),
    (["--class-columns", ""], "hold 0/1: Cardiomegaly,Effusion"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "part"), USAGE, ids=[" ".join(typed) for typed, _ in USAGE])
def test_what_is_typed_wrong_is_a_usage_error(base: Study, arguments: list[str], part: str) -> None:
    assert part in refused(2, "probe", *arguments, cwd=base.folder)


FINETUNE = [
    (["--bogus"], "No such option: --bogus"),
    (["--C", "1"], "No such option: --C"),
    (["--epochs", "x"], "Invalid value for '--epochs'"),
    (["--epochs", "0"], "--epochs: expected at least 1, got 0"),
    (["--batch-size", "0"], "--batch-size: expected at least 1, got 0"),
    (["--batch-size", "4", "--accumulate", "8"], "with these it has to be 8 or more"),
    (["--batch-size", "1", "--gpus", "cpu,cpu"], "with these it has to be 2 or more"),
    (["--optimizer", "adam"], "expected one of sgd, adamw, got 'adam'"),
    (["--optimizer", "adamw", "--momentum", "0.5"], "--momentum belongs to --optimizer sgd"),
    (["--learning-rate", "0"], "--learning-rate: expected a positive number, got 0"),
    (["--learning-rate", "inf"], "--learning-rate: expected a positive number, got inf"),
    (["--momentum", "1"], "--momentum: expected a number from 0 to below 1, got 1.0"),
    (["--weight-decay", "-1"], "--weight-decay: expected 0 or a positive number, got -1.0"),
    (["--layer-decay", "1.5"], "--layer-decay: expected a number above 0 and at most 1, got 1.5"),
    (["--warmup-epochs", "100"], "--warmup-epochs: expected 0 or more, below --epochs, got 100"),
    (["--clip-norm", "0"], "--clip-norm: expected a positive number, got 0"),
    (["--clip-norm", "inf"], "--clip-norm: expected a positive number, got inf"),
    (["--patience", "-1"], "--patience: expected at least 0, got -1"),
    (["--seeds", "0"], "--seeds: expected at least 1, got 0"),
    (["--save-every", "0"], "--save-every: expected at least 1, got 0"),
    (["--max-restarts", "1"], "--max-restarts is for the workers of --gpus"),
    (["--resume", "--overwrite"], "--resume goes on, --overwrite starts anew: give one of them"),
    (["--freeze-backbone", "--freeze-to", "0"], "--freeze-backbone and --freeze-to exclude each"),
    (["--freeze-to", "nope"], "--freeze-to 'nope': tiny-test has none of that name. It has 0, 1"),
    (["--batch-norm", "sync", "--device", "cpu"], "--batch-norm sync works on GPUs only"),
    (["--precision", "fp16"], "expected one of auto, fp32, bf16, got 'fp16'"),
    (["--gpus", "0", "--device", "cpu"], "--gpus and --device exclude each other"),
    (["--name", "a/b"], "--name: 'a/b' cannot be the name of a folder"),
]


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("arguments", "part"), FINETUNE, ids=[" ".join(typed) for typed, _ in FINETUNE]
)
def test_what_finetune_is_told_wrong_is_a_usage_error(
    base: Study, tmp_path: Path, arguments: list[str], part: str
) -> None:
    typed = ("finetune", "-m", "tiny-test", "--output-dir", tmp_path, *arguments)
    assert part in refused(2, *typed, cwd=base.folder)


@pytest.mark.usefixtures("tiny")
def test_a_mistyped_option_does_not_stand_in_the_way_of_the_right_one(study: Study) -> None:
    refused(2, *TUNE, "--freeze-to", "nope", cwd=study.folder)
    done(*TUNE, "--freeze-to", "0", cwd=study.folder)
    message = refused(2, *TUNE, "--freeze-to", "1", cwd=study.folder)
    assert "holds a run with other settings (freeze_to differ)" in message


def test_all_problems_of_the_settings_are_told_together(base: Study) -> None:
    lines = refused(2, "probe", "--seed", "-1", "--limit", "0", "--device", "tpu", cwd=base.folder)
    assert len(lines.splitlines()) == 3


@pytest.mark.parametrize("typed", [["porbe"], ["models", "shwo", "x"], ["models", "show"]])
def test_unknown_commands_and_missing_arguments(tmp_path: Path, typed: list[str]) -> None:
    message = refused(2, *typed, cwd=tmp_path)
    assert "--help` tells more" in message


@pytest.mark.parametrize("typed", [[], ["models"]])
def test_a_command_alone_shows_the_help_and_not_an_error(tmp_path: Path, typed: list[str]) -> None:
    outcome = run_cli(*typed, cwd=tmp_path)
    assert "Usage:" in outcome.text
    assert "error:" not in outcome.text


NO_DATA = [
    ([], "--model is missing"),
    (["-m", "cxr-tiny"], "no data: give --csv FILE"),
    (["-m", "cxr-tiny", "--train-csv", "a.csv"], "--test-csv is missing"),
    (["-m", "cxr-tiny", "--test-csv", "a.csv"], "--train-csv is missing"),
    (["-m", "cxr-tiny", "--val-csv", "a.csv", "--test-csv", "a.csv"], "--train-csv is missing"),
    (
        ["-m", "cxr-tiny", "--train-csv", "a.csv", "--test-csv", "b.csv", "--C", "auto"],
        "--C auto needs a validation split",
    ),
]


@pytest.mark.parametrize(("arguments", "part"), NO_DATA)
def test_missing_data_is_a_usage_error(tmp_path: Path, arguments: list[str], part: str) -> None:
    assert part in refused(2, "probe", *arguments, cwd=tmp_path)
    if "--C" not in arguments:
        assert part in refused(2, "finetune", *arguments, cwd=tmp_path)


def test_embed_without_images_or_model(tmp_path: Path) -> None:
    message = refused(2, "embed", cwd=tmp_path)
    assert "--model is missing" in message
    assert "no images: give --csv FILE or --images DIR" in message


def test_init_leaves_a_settings_file_alone(base: Study) -> None:
    assert "left alone" in refused(2, "init", cwd=base.folder)
    assert (base.folder / "cxrlearn.toml").read_text() == SETTINGS


# ---- the settings file ---------------------------------------------------------------------------

TOML = [
    ("[data\n", "not valid TOML"),
    (b"\xff\xfe\x00", "not valid TOML"),
    ('[data]\ntrian_csv = "x"\n', "did you mean 'train_csv'?"),
    ("[prob]\nC = 1\n", "unknown section 'prob': did you mean 'probe'?"),
    ('model = "x"\n', "unknown key outside a section: 'model'"),
    ('[[data]]\ncsv = "x"\n', "'data' has to be a section, [data]"),
    ("data = 3\n", "'data' has to be a section, [data]"),
    ("[probe]\nlimit = inf\n", "--limit (cxrlearn.toml [probe]): expected a whole number"),
    ("[probe]\nlimit = nan\n", "--limit (cxrlearn.toml [probe]): expected a whole number"),
    ("[probe]\nseed = 1.5\n", "--seed (cxrlearn.toml [probe]): expected a whole number"),
    ("[probe]\nC = true\n", "--C (cxrlearn.toml [probe]): expected a number or auto"),
    ('[data]\ntrain_csv = ["a.csv"]\n', "--train-csv (cxrlearn.toml [data]): expected one path"),
    ("[data]\ntrain_csv = 3\n", "--train-csv (cxrlearn.toml [data]): expected one path"),
    ("[data]\nclass_columns = { a = 1 }\n", "expected one text"),
    ('[data]\nstrict = "perhaps"\n', "expected true or false, got 'perhaps'"),
    (SETTINGS + "[probe]\nuse_logreg = false\n", "another probe is needed: --linear or --knn"),
    ("[probe]\nquiet = true\n", "unknown key 'quiet' in [probe]"),
]


@pytest.mark.parametrize(("content", "part"), TOML, ids=[part for _, part in TOML])
def test_faults_of_the_settings_file(tmp_path: Path, content: str | bytes, part: str) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "cxrlearn.toml").write_bytes(data)
    assert part in refused(2, "probe", cwd=tmp_path)


def test_faults_of_the_environment(base: Study) -> None:
    message = refused(2, "probe", cwd=base.folder, CXRLEARN_LIMIT="many")
    assert message.startswith("--limit (CXRLEARN_LIMIT): expected a whole number, got 'many'")


def test_no_class_columns_lists_those_that_could_be_meant(study: Study) -> None:
    text = SETTINGS.replace('class_columns = ["Cardiomegaly", "Effusion"]\n', "")
    (study.folder / "cxrlearn.toml").write_text(text)
    message = refused(2, "probe", cwd=study.folder)
    assert message.rstrip().endswith("hold 0/1: Cardiomegaly,Effusion")


# ---- manifests and labels ------------------------------------------------------------------------

TABLES = [
    (None, "no such file"),
    ("", "is empty (0 bytes)"),
    ("\n\n", "is blank"),
    (HEADER, "has a header but no rows"),
    (b"\x89PNG\r\n\x1a\n\x00\x00", "is not a text file"),
    (HEADER.encode() + "images/é.png,1,0,1\n".encode("latin1"), "not UTF-8"),
    (HEADER + "images/p00_0.png,P00,0,1,7\n", "row 2: 5 cells, but the header has 4"),
    (HEADER + '"images/p00_0.png,P00,0,1\n', "A quote is opened and not closed"),
    ("foo,Cardiomegaly,Effusion\n1,0,1\n", "has no column of image paths"),
    ("Path,Path,Cardiomegaly,Effusion\na,b,0,1\n", "more than one column is called 'Path'"),
    (HEADER + ",P00,0,1\n", "row 2, column 'Path': blank"),
    (HEADER + "http://x/y.png,P00,0,1\n", "is a URL"),
]  # fmt: skip
CSV = [
    *TABLES,
    (HEADER.replace("Effusion", "Efusion") + ROW, "Did you mean 'Efusion'?"),
    (HEADER + ROW + "images/p00_1.png,P00,1,yes\n", "column 'Effusion': 'yes' is not a label"),
    (HEADER + ROW + "images/p00_1.png,P00,1,inf\n", "'inf' is not a label"),
    (HEADER + ROW + "images/p00_0.png,P00,1,1\n", "rows 2, 3: 'images/p00_0.png' has several rows"),
]  # fmt: skip


@pytest.mark.parametrize("file", ["train.csv", "test.csv"])
@pytest.mark.parametrize(("content", "part"), CSV, ids=[part for _, part in CSV])
def test_faults_of_a_manifest(
    study: Study, content: str | bytes | None, part: str, file: str
) -> None:
    path = study.folder / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for command in ("probe", "finetune"):
        message = refused(3, command, cwd=study.folder)
        assert part in message
        assert message.startswith(file)


@pytest.mark.parametrize(("content", "part"), TABLES, ids=[part for _, part in TABLES])
def test_faults_of_a_manifest_without_labels(
    tuned: Study, tmp_path: Path, content: str | bytes | None, part: str
) -> None:
    path = tmp_path / "new.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    typed = ("predict", "--run", "tuned", "--csv", path, "-o", tmp_path / "out.csv")
    message = refused(3, *typed, cwd=tuned.folder)
    assert part in message
    assert message.startswith(str(path))
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.usefixtures("tiny")
def test_nothing_to_finetune_on(study: Study) -> None:
    study.rewrite("train", lambda row: {**row, "Cardiomegaly": "1", "Effusion": ""})
    message = refused(3, *TUNE, cwd=study.folder)
    assert "no label of the training set has both classes: there is nothing to learn" in message
    for option in ("--subgroup", "--floor-columns", "--aggregate-by"):
        assert f"({option})" in refused(3, *TUNE, option, "nope", cwd=study.folder)
    message = refused(3, *TUNE, "--strict", "--val-csv", "train.csv", cwd=study.folder)
    assert "12 patients are both in train and in val" in message


def test_options_that_name_what_a_manifest_lacks(base: Study) -> None:
    for option in ("--path-column", "--patient-column", "--class-columns"):
        message = refused(3, "probe", option, "Pth", cwd=base.folder)
        assert f"{option} names 'Pth'" in message
        assert "'patient_id'" in message
    assert "no such folder" in refused(3, "probe", "--image-root", "nope", cwd=base.folder)
    assert "Did you mean 'Effusion'?" in refused(
        3, "probe", "--class-columns", "Efusion", cwd=base.folder
    )


@pytest.mark.usefixtures("tiny")
def test_all_images_missing(study: Study) -> None:
    shutil.rmtree(study.folder / "images")
    study.features.unlink()  # with features, they are not needed
    for command in (("probe",), TUNE):
        message = refused(3, *command, cwd=study.folder)
        assert "none of the 24 images of train can be used (images/p00_0.png: " in message
        assert "--image-root" in message
    outcome = run_cli("embed", cwd=study.folder)
    assert outcome.code == 3
    assert "44 images could not be read" in outcome.err


def test_nan_in_the_features_is_told_with_count_and_first_image(study: Study) -> None:
    with edited(study.features) as file:
        file["features"][3, 2] = np.nan
        file["features"][7, :] = np.inf
        first = file["image_id"].asstr()[3]
    message = refused(3, "probe", cwd=study.folder)
    assert "2 of 24" in message
    assert first in message


# ---- backbones -----------------------------------------------------------------------------------

BACKBONES = [
    (["--model", "cxr-tny"], "Did you mean 'cxr-tiny'"),
    (["--model", "nope"], "unknown backbone 'nope'. Available: medaug"),
    (["--arch", "resnet18"], "cxr-tiny has no --arch 'resnet18'"),
    (["--pretrained-on", "mimic"], "cxr-tiny has no --pretrained-on 'mimic'"),
    (["--features", "nope"], "cxr-tiny has no --features 'nope': it has pooled"),
    (["--preprocessing", "nope"], "cxr-tiny has no --preprocessing 'nope': it has published"),
    (["--weights", "nope.pt"], "there is no file nope.pt"),
    (["--model", "chexzero"], "no weights for chexzero"),
    (["--model", "chexzero", "--weights", "train.csv"], "train.csv is no weight file"),
]


@pytest.mark.parametrize("command", ["embed", "probe", "finetune"])
@pytest.mark.parametrize(("arguments", "part"), BACKBONES, ids=[part for _, part in BACKBONES])
def test_faults_of_a_backbone(
    base: Study, tmp_path: Path, command: str, arguments: list[str], part: str
) -> None:
    folder = (
        ["--features-dir", tmp_path / "f"] if command == "probe" else ["--output-dir", tmp_path]
    )
    assert part in refused(
        4, command, *arguments, *folder, cwd=base.folder, CXRLEARN_WEIGHTS_DIR=""
    )


def test_a_run_of_a_backbone_that_is_not_installed_any_more(
    tuned: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_tiny(monkeypatch, SPECS[1])
    message = refused(4, "predict", "--run", "tuned", "--csv", "test.csv", cwd=tuned.folder)
    assert "unknown backbone 'tiny-test'. Did you mean 'tiny-other'?" in message


def test_models_of_an_unknown_name(tmp_path: Path) -> None:
    for command in ("show", "check"):
        assert "unknown backbone" in refused(4, "models", command, "nope", cwd=tmp_path)


# ---- feature files -------------------------------------------------------------------------------


def _cut(study: Study) -> None:
    data = study.features.read_bytes()
    study.features.write_bytes(data[: len(data) // 2])


def _overwrite(study: Study) -> None:
    data = bytearray(study.features.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 5000] = bytes(5000)
    study.features.write_bytes(data)


def _foreign(study: Study) -> None:
    study.features.unlink()
    with h5py.File(study.features, "w") as file:
        file["x"] = 1


def _attribute(name: str, value: object) -> Damage:
    def change(study: Study) -> None:
        with edited(study.features) as file:
            file.attrs[name] = value

    return change


def _features(rows: slice, columns: slice) -> Damage:
    def change(study: Study) -> None:
        with edited(study.features) as file:
            kept = file["features"][rows, columns]
            del file["features"]
            file["features"] = kept

    return change


def _without(name: str) -> Damage:
    def change(study: Study) -> None:
        with edited(study.features) as file:
            del file[name]

    return change


FILES: dict[str, tuple[Damage, str]] = {
    "empty": (lambda study: study.features.write_bytes(b""), "damaged or no HDF5 file"),
    "text": (lambda study: study.features.write_bytes(b"hello"), "damaged or no HDF5 file"),
    "truncated": (_cut, "damaged"),
    "overwritten": (_overwrite, "damaged"),
    "foreign": (_foreign, "no feature file of cxrlearn"),
    "newer": (_attribute("version", 99), "format version 99"),
    "version of another type": (_attribute("version", [1, 2]), "damaged"),
    "other fingerprint": (_attribute("fingerprint", "{}"), "damaged"),
    "rows missing": (_features(slice(5), slice(None)), "damaged"),
    "columns missing": (_features(slice(None), slice(5)), "damaged"),
    "no features": (_without("features"), "damaged"),
    "no list of failures": (_without("failed"), "damaged"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_feature_file_that_is_not_whole_is_refused(study: Study, name: str) -> None:
    damage, part = FILES[name]
    damage(study)
    for command in ("probe", "embed"):
        message = refused(5, command, cwd=study.folder)
        assert message.startswith("features/cxr-tiny.h5")
        assert part in message


def test_a_feature_file_that_is_being_written_is_refused(study: Study) -> None:
    with writer_lock(study.features):
        message = refused(5, "embed", cwd=study.folder)
    assert "is being written by process" in message
    done("embed", cwd=study.folder)


@pytest.mark.usefixtures("tiny")
def test_a_run_that_is_being_written_is_refused(study: Study) -> None:
    with writer_lock(study.folder / "runs" / "mine"):
        message = refused(5, *TUNE, "--name", "mine", cwd=study.folder)
    assert message.startswith("runs/mine is being written by process ")
    assert not (study.folder / "runs/mine").exists()


def test_a_run_that_another_probe_is_writing_is_refused(study: Study) -> None:
    with writer_lock(study.folder / "runs" / "mine"):
        message = refused(5, "probe", "--name", "mine", cwd=study.folder)
    assert message.startswith("runs/mine is being written by process ")
    assert not (study.folder / "runs/mine").exists()


def test_features_without_their_images_are_enough_to_probe_and_predict(
    study: Study,
) -> None:
    shutil.rmtree(study.folder / "images")
    before = study.features.read_bytes()
    outcome = done("probe", cwd=study.folder)
    assert "44 of 44 images are not on disk" in outcome.err
    assert study.features.read_bytes() == before
    outcome = done("predict", "--run", "cxr-tiny-logreg", "--csv", "test.csv", cwd=study.folder)
    assert "12 of 12 images are not on disk" in outcome.err
    assert study.features.read_bytes() == before


@pytest.mark.parametrize("command", ["predict", "compare"])
def test_an_output_with_a_name_that_no_disk_takes(study: Study, command: str) -> None:
    done("probe", "-q", cwd=study.folder)
    given = ("--run", "cxr-tiny-logreg", "--csv", "test.csv") if command == "predict" else ()
    message = refused(8, command, *given, "-o", "x" * 300 + ".csv", cwd=study.folder)
    assert "file name too long" in message


def test_a_feature_file_of_other_settings_is_refused(study: Study) -> None:
    message = refused(5, "embed", "--intensity", "minmax", "-q", cwd=_with_tag_of(study, "minmax"))
    assert "was made with other settings" in message


def _with_tag_of(study: Study, suffix: str) -> Path:
    """Put the feature file where that of another intensity belongs."""
    study.features.rename(study.features.with_name(f"cxr-tiny+{suffix}.h5"))
    return study.folder


# ---- checkpoints ---------------------------------------------------------------------------------


def _truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


CHECKPOINTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "is no checkpoint, or a damaged one"),
    "text": (lambda _: b"hello", "is no checkpoint, or a damaged one"),
    "truncated": (_truncated, "is no checkpoint, or a damaged one"),
    "one bit": (_flipped, "last.safetensors is damaged"),
}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_that_is_not_whole_is_not_resumed(
    tuned: Study, tmp_path: Path, name: str
) -> None:
    study = tuned.copy(tmp_path / "study")
    last = study.folder / "runs/tuned/last.safetensors"
    damage, part = CHECKPOINTS[name]
    last.write_bytes(damage(last.read_bytes()))
    message = refused(6, *TUNE, "--name", "tuned", "--resume", cwd=study.folder)
    assert part in message
    assert "start the run anew" in message


@pytest.mark.usefixtures("tiny")
def test_a_loss_that_is_no_number(study: Study) -> None:
    message = refused(6, *TUNE, "--learning-rate", "1e30", cwd=study.folder)
    assert "epoch 1, step 2 of 3: the loss is " in message
    assert "Lower the learning rate" in message


# ---- runs to compare -----------------------------------------------------------------------------


def test_runs_that_cannot_predict(base: Study, tmp_path: Path) -> None:
    args = ("predict", "--csv", "test.csv", "--run", "half", "--output-dir", tmp_path)
    assert "no run 'half'" in refused(2, *args, cwd=base.folder)
    (tmp_path / "half").mkdir()
    assert "no report at" in refused(3, *args, cwd=base.folder)
    (tmp_path / "half" / "report.json").write_text("{}")
    assert "is not a report of cxrlearn" in refused(3, *args, cwd=base.folder)


def test_runs_that_cannot_be_compared(tmp_path: Path) -> None:
    assert "no finished run in runs/" in refused(2, "compare", cwd=tmp_path)
    assert "no run 'nope'" in refused(2, "compare", "nope", cwd=tmp_path)
    (tmp_path / "runs" / "half").mkdir(parents=True)
    assert "no report at runs/half/report.json" in refused(3, "compare", "half", cwd=tmp_path)
    (tmp_path / "runs" / "half" / "report.json").write_text("{}")
    assert "is not a report of cxrlearn" in refused(3, "compare", cwd=tmp_path)


# ---- hardware, disk, signals ---------------------------------------------------------------------

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@without_cuda
@pytest.mark.parametrize("option", [["--gpus", "7"], ["--device", "cuda"], ["--device", "cuda:7"]])
@pytest.mark.parametrize("command", ["embed", "probe", "finetune"])
def test_a_device_that_is_not_there(study: Study, command: str, option: list[str]) -> None:
    study.features.unlink()
    message = refused(7, command, *option, cwd=study.folder)
    assert ("Leave --gpus out" if "--gpus" in option else "Use --device cpu") in message


@without_cuda
@pytest.mark.usefixtures("tiny")
def test_a_device_to_predict_with_that_is_not_there(tuned: Study) -> None:
    typed = ("predict", "--run", "tuned", "--csv", "test.csv", "--device", "cuda:7")
    assert "cuda:7 was asked for" in refused(7, *typed, cwd=tuned.folder)


def test_an_output_folder_that_is_a_file(study: Study) -> None:
    for place in ("train.csv", "train.csv/below"):
        for command in ("embed", "probe", "finetune"):
            message = refused(8, command, "--output-dir", place, cwd=study.folder)
            assert message.startswith(f"cannot write {place}")
    assert "train.csv" in refused(8, "probe", "--features-dir", "train.csv", cwd=study.folder)


def test_a_folder_in_the_place_of_a_file(study: Study) -> None:
    (study.folder / "runs/cxr-tiny-logreg/report.json").mkdir(parents=True)
    assert "report.json" in refused(8, "probe", cwd=study.folder)
    study.features.unlink()
    study.features.mkdir()
    message = refused(8, "embed", cwd=study.folder)
    assert message.startswith("cannot write features/cxr-tiny.h5")


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("place", ["settings.toml", "best.safetensors", "report.json", ""])
def test_something_in_the_place_of_a_finetuned_run(study: Study, place: str) -> None:
    folder = study.folder / "runs/mine"
    if place:
        (folder / place).mkdir(parents=True)
    else:
        folder.parent.mkdir()
        folder.touch()
    message = refused(8, *TUNE, "--name", "mine", cwd=study.folder)
    assert message.startswith("cannot write runs/mine")


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("arguments", [["-o", "mine"], ["-o", "a.csv", "--saliency", "val.csv"]])
def test_something_in_the_place_of_predictions(
    tuned: Study, tmp_path: Path, arguments: list[str]
) -> None:
    study = tuned.copy(tmp_path / "study")
    (study.folder / "mine.csv").mkdir()
    typed = [name.replace("mine", "mine.csv") for name in arguments]
    message = refused(8, "predict", "--run", "tuned", "--csv", "test.csv", *typed, cwd=study.folder)
    assert message.startswith(f"cannot write {typed[-1]}")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"probe = 3", b"", b"[probe"])
def test_settings_of_an_earlier_run_that_cannot_be_read(study: Study, content: bytes) -> None:
    folder = study.folder / "runs/cxr-tiny-logreg"
    folder.mkdir(parents=True)
    (folder / "settings.toml").write_bytes(content)
    message = refused(2, "probe", cwd=study.folder)
    assert "--overwrite" in message
    done("probe", "--overwrite", cwd=study.folder)


@pytest.mark.parametrize("command", ["embed", "probe", "finetune"])
def test_ctrl_c_is_130_with_a_sentence(
    base: Study, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"cxrlearn.workflows.{command}.run_{command}", interrupt)
    assert "the same command goes on" in refused(130, command, cwd=base.folder)


def test_a_bug_is_one_sentence_with_a_log_and_a_traceback_with_debug(
    base: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("cxrlearn.workflows.probe.run_probe", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcome = run_cli("probe", cwd=base.folder)
    assert outcome.code == 1
    assert "Traceback" not in outcome.text
    assert "this is a bug in cxrlearn (ZeroDivisionError: of all things)" in outcome.err
    assert "ZeroDivisionError" in next(tmp_path.glob("cxrlearn-*.log")).read_text()
    assert "Traceback" in run_cli("probe", "--debug", cwd=base.folder).err
