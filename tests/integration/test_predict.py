from __future__ import annotations

import csv
import json
import shutil
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.support.cli import done, refused, run_cli
from tests.support.dicoms import dataset_of, file_bytes
from tests.support.run_edits import edit_probe, edit_report
from tests.support.small_study import LABELS, Study, embedded_study, write_rows
from tests.support.tiny_backbone import use_tiny

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RULES = "youden,sensitivity>=0.9"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """A study with runs of every kind; validation is large enough for thresholds."""
    with pytest.MonkeyPatch.context() as patch:
        use_tiny(patch)
        study = embedded_study(tmp_path_factory.mktemp("study") / "base")
        study.rewrite("train", _with_size)
        for split in ("val", "test"):
            study.rewrite(split, _with_size)
        every = [row for split in ("train", "val", "test") for row in study.rows(split)]
        write_rows(study.folder / "every.csv", every)
        common = ("--val-csv", "every.csv", "--operating-point", RULES, "-q")
        for kind in ("use-logreg", "linear", "knn"):
            done("probe", f"--{kind}", *common, "--name", kind, cwd=study.folder)
        done(
            "probe", *common, "--class-columns", "Size", "--name", "classes", cwd=study.folder
        )  # fmt: skip
        done(
            "finetune", "-m", "tiny-test", "--epochs", 2, "--batch-size", 8, "--name", "tuned",
            *common, cwd=study.folder,
        )  # fmt: skip
        yield study


def _with_size(row: dict[str, str]) -> dict[str, str]:
    return {**row, "Size": ("small", "middle", "large")[int(row["patient_id"][1:]) % 3]}


@pytest.fixture
def study(base: Study, tmp_path: Path) -> Study:
    copied = base.copy(tmp_path / "study")
    (copied.folder / "predictions.csv").unlink(missing_ok=True)
    return copied


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny(monkeypatch)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as content:
        return list(csv.DictReader(content))


def predicted(study: Study, run: str, *args: object, code: int = 0) -> list[dict[str, str]]:
    """Run predict and return its rows."""
    given = args if {"--csv", "--images"} & set(args) else ("--csv", "test.csv", *args)
    outcome = run_cli("predict", "--run", run, "--overwrite", *given, cwd=study.folder)
    assert outcome.code == code, outcome.text
    return rows_of(study.folder / "predictions.csv")


def report_of(study: Study, run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((study.folder / "runs" / run / "report.json").read_text())
    return found


def probabilities(rows: list[dict[str, str]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    names = [name for name in rows[0] if name.startswith("prob_")]
    return np.array([[float(row[name]) for name in names] for row in rows])


@pytest.mark.parametrize("run", ["use-logreg", "linear", "knn", "classes", "tuned"])
def test_the_test_set_gets_the_probabilities_of_the_report(base: Study, run: str) -> None:
    found = predicted(base, run)
    reported = rows_of(base.folder / "runs" / run / "predictions-test.csv")
    assert [row["image_id"] for row in found] == [row["image_id"] for row in reported]
    assert probabilities(found).shape[0] == 12
    # A checkpoint's batches are of another size here than in training: not to the last bit.
    tolerance = 1e-5 if run == "tuned" else 0
    np.testing.assert_allclose(probabilities(found), probabilities(reported), atol=tolerance)
    assert {row["failure"] for row in found} == {""}


@pytest.mark.parametrize("run", ["use-logreg", "linear", "knn", "classes", "tuned"])
def test_decisions_are_those_behind_the_reported_operating_points(base: Study, run: str) -> None:
    found = predicted(base, run)
    labels = report_of(base, run)["results"][0]["evaluation"]["labels"]
    reported = rows_of(base.folder / "runs" / run / "predictions-test.csv")
    decided = 0
    for label in labels:
        for number, point in enumerate(label["operating_points"]):
            suffix = "" if number == 0 else f"@{point['rule']}"
            cells = [row[f"decision_{label['name']}{suffix}"] for row in found]
            if point["threshold"] is None:
                assert set(cells) == {""}
                continue
            truth = [row[f"true_{label['name']}"] for row in reported]
            pairs = list(zip(cells, truth, strict=True))
            assert pairs.count(("1", "1")) == point["true_positives"]
            assert pairs.count(("1", "0")) == point["false_positives"]
            assert pairs.count(("0", "0")) == point["true_negatives"]
            assert pairs.count(("0", "1")) == point["false_negatives"]
            decided += 1
    assert decided


def test_classes_name_the_most_probable_one(base: Study) -> None:
    found = predicted(base, "classes")
    for row in found:
        scores = {name: float(row[f"prob_{name}"]) for name in ("small", "middle", "large")}
        assert sum(scores.values()) == pytest.approx(1)
        assert row["class"] == max(scores, key=lambda name: scores[name])


@pytest.mark.parametrize("run", ["use-logreg", "tuned"])
def test_new_images_are_read_from_anywhere_and_need_no_labels(study: Study, run: str) -> None:
    before = predicted(study, run)
    folder = study.folder / "elsewhere" / "deep"
    shutil.copytree(study.folder / "images", folder)
    rows = [{"file": row["image_id"].removeprefix("images/")} for row in before]
    write_rows(study.folder / "new.csv", rows)
    found = predicted(
        study, run, "--csv", "new.csv", "--image-root", folder, "--path-column", "file"
    )
    assert [row["image_id"] for row in found] == [row["file"] for row in rows]
    np.testing.assert_allclose(probabilities(found), probabilities(before), atol=1e-6)
    scanned = predicted(study, run, "--images", folder)
    assert len(scanned) == 44
    assert all(a["image_id"] < b["image_id"] for a, b in pairwise(scanned))


@pytest.mark.parametrize("run", ["use-logreg", "tuned"])
def test_a_dicom_folder_is_predicted_as_its_pictures_would_be(study: Study, run: str) -> None:
    expected = predicted(study, run)
    folder = study.folder / "dicoms"
    folder.mkdir()
    for number, row in enumerate(expected):
        pixels = np.asarray(Image.open(study.folder / row["image_id"]))
        film = dataset_of(pixels, WindowCenter=128, WindowWidth=256)
        (folder / f"IM{number:04d}").write_bytes(file_bytes(film))
    found = predicted(study, run, "--images", "dicoms")
    np.testing.assert_allclose(probabilities(found), probabilities(expected), atol=0.02)


@pytest.mark.parametrize("run", ["use-logreg", "tuned"])
def test_what_cannot_be_read_keeps_its_row_with_the_reason(study: Study, run: str) -> None:
    sound = predicted(study, run)
    copies = study.folder / "copies"
    shutil.copytree(study.folder / "images", copies / "images")
    (copies / sound[3]["image_id"]).write_bytes(b"no picture")
    (copies / sound[7]["image_id"]).unlink()
    found = predicted(study, run, "--csv", "test.csv", "--image-root", copies, code=3)
    assert [row["image_id"] for row in found] == [row["image_id"] for row in sound]
    assert "not an image" in found[3]["failure"]
    assert found[7]["failure"] == "file not found"
    for row in (found[3], found[7]):
        assert {value for name, value in row.items() if name.startswith(("prob", "dec"))} == {""}
    kept = [number for number in range(12) if number not in {3, 7}]
    np.testing.assert_allclose(
        probabilities([found[n] for n in kept]), probabilities([sound[n] for n in kept]), atol=1e-6
    )
    predicted(study, run, "--csv", "test.csv", "--image-root", copies, "--allow-failures")
    outcome = run_cli(
        "predict", "--run", run, "--csv", "test.csv", "--image-root", copies, "--overwrite",
        cwd=study.folder,
    )  # fmt: skip
    assert "2 images could not be read" in outcome.err
    assert sound[7]["image_id"] in outcome.err


def test_nothing_readable_is_a_table_of_reasons(study: Study) -> None:
    write_rows(study.folder / "gone.csv", [{"Path": "a.png"}, {"Path": "b.png"}])
    for run in ("use-logreg", "tuned"):
        found = predicted(study, run, "--csv", "gone.csv", code=3)
        assert [row["failure"] for row in found] == ["file not found"] * 2


def test_parquet_holds_what_csv_holds(base: Study, tmp_path: Path) -> None:
    rows = predicted(base, "classes")
    file = tmp_path / "new" / "out.parquet"
    done(
        "predict", "--run", "classes", "--csv", "test.csv", "-o", file, "-q", cwd=base.folder
    )  # fmt: skip
    frame = pd.read_parquet(file)
    assert list(frame.columns) == list(rows[0])
    assert frame["prob_large"].tolist() == [float(row["prob_large"]) for row in rows]
    for name in ("image_id", "class", "decision_large"):
        cells = ["" if pd.isna(cell) else str(cell) for cell in frame[name]]
        assert cells == [row[name] for row in rows]
    assert frame["failure"].isna().all()


def test_the_first_rows_only(base: Study) -> None:
    assert len(predicted(base, "use-logreg", "--limit", 5)) == 5


def test_predictions_are_never_overwritten_unasked(study: Study) -> None:
    file = study.folder / "predictions.csv"
    file.write_text("mine")
    message = refused(2, "predict", "--run", "knn", "--csv", "test.csv", cwd=study.folder)
    assert message.startswith("predictions.csv is there already: --overwrite it")
    assert file.read_text() == "mine"
    (study.folder / "overlays").mkdir()
    (study.folder / "overlays" / "mine.png").touch()
    saliency = ("--saliency", "overlays", "-o", "other.csv")
    message = refused(
        2, "predict", "--run", "use-logreg", "--csv", "test.csv", *saliency, cwd=study.folder
    )
    assert "overlays holds files already" in message


def test_overwriting_is_for_predictions_only(study: Study) -> None:
    args = ("predict", "--run", "knn", "--overwrite", "--csv")
    train = (study.folder / "train.csv").read_bytes()
    message = refused(2, *args, "test.csv", "-o", "train.csv", cwd=study.folder)
    assert "train.csv was not written by `cxrlearn predict`" in message
    assert (study.folder / "train.csv").read_bytes() == train
    table = (study.folder / "runs/knn/predictions-test.csv").read_bytes()
    message = refused(2, *args, "test.csv", "-o", "runs/knn/predictions-test.csv", cwd=study.folder)
    assert (study.folder / "runs/knn/predictions-test.csv").read_bytes() == table
    message = refused(2, *args, "test.csv", "-o", "test.csv", cwd=study.folder)
    assert "test.csv is a file that this command reads" in message
    for name in ("own.csv", "own.parquet"):
        for _ in range(2):
            done(*args, "test.csv", "-o", name, "-q", cwd=study.folder)


def test_overlays_overwrite_overlays_only(study: Study) -> None:
    args = ("predict", "--run", "use-logreg", "--csv", "test.csv", "--limit", 1, "--overwrite")
    done(*args, "--saliency", "maps", "-q", cwd=study.folder)
    (listed,) = rows_of(study.folder / "maps/saliency.csv")
    drawn = study.folder / "maps" / listed["file"]
    for name in (drawn.name, "saliency.csv"):
        sound = (study.folder / "maps" / name).read_bytes()
        mine = (study.folder / rows_of(study.folder / "test.csv")[0]["Path"]).read_bytes()
        (study.folder / "maps" / name).write_bytes(mine)
        message = refused(2, *args, "--saliency", "maps", cwd=study.folder)
        assert f"{name} was not written by `cxrlearn predict`" in message
        assert (study.folder / "maps" / name).read_bytes() == mine
        (study.folder / "maps" / name).write_bytes(sound)
    done(*args, "--saliency", "maps", "-q", cwd=study.folder)


# ---- features as the probe knows them ------------------------------------------------------------


def test_features_are_made_where_there_are_none(study: Study) -> None:
    expected = predicted(study, "use-logreg")
    shutil.rmtree(study.folder / "features")
    assert predicted(study, "use-logreg") == expected
    assert study.features.is_file()


def test_a_probe_of_other_features_is_refused(study: Study) -> None:
    folder = study.folder / "runs/use-logreg"
    edit_probe(folder, fingerprint="0" * 64)
    args = ("predict", "--run", "use-logreg", "--csv", "test.csv")
    message = refused(5, *args, cwd=study.folder)
    assert "reads or preprocesses images differently" in message
    assert "run the probe again" in message
    backbone = json.loads((folder / "report.json").read_text())["backbone"]
    edit_report(folder, backbone=backbone | {"weights_sha256": "ab" * 32})
    message = refused(5, *args, cwd=study.folder)
    assert "its weights were cxr_tiny.safetensors (sha256 abababababab)" in message
    assert "--weights" in message


def test_a_feature_file_of_other_settings_is_refused(study: Study) -> None:
    study.features.unlink()
    done("embed", "--intensity", "minmax", "-q", cwd=study.folder)
    study.features.with_name("cxr-tiny+minmax.h5").rename(study.features)
    message = refused(
        5, "predict", "--run", "use-logreg", "--csv", "test.csv", cwd=study.folder
    )  # fmt: skip
    assert "holds other features than those the probe was fitted on" in message
    assert "--features-dir" in message
    assert predicted(study, "use-logreg", "--features-dir", "anew")


def test_a_run_says_how_images_are_read_and_not_the_settings_of_the_folder(study: Study) -> None:
    # The run was made with minmax: its features are not those of the percentiles.
    done("probe", "--intensity", "minmax", "--name", "mm", "-q", cwd=study.folder)
    predicted(study, "mm")
    reported = rows_of(study.folder / "runs/mm/predictions-test.csv")
    assert np.array_equal(probabilities(predicted(study, "mm")), probabilities(reported))


# ---- overlays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["use-logreg", "linear", "classes", "tuned"])
def test_overlays_are_drawn_of_the_most_probable_label(
    base: Study, tmp_path: Path, run: str
) -> None:
    folder = tmp_path / "overlays"
    rows = predicted(base, run, "--saliency", folder, "--limit", 3)
    listed = rows_of(folder / "saliency.csv")
    assert [one["image_id"] for one in listed] == [row["image_id"] for row in rows]
    assert {path.name for path in folder.glob("*.png")} == {one["file"] for one in listed}
    for one, row in zip(listed, rows, strict=True):
        names = [name.removeprefix("prob_") for name in row if name.startswith("prob_")]
        best = max(names, key=lambda name: float(row[f"prob_{name}"]))
        assert (one["label"], one["probability"]) == (best, row[f"prob_{best}"])
        assert one["method"] == "Grad-CAM" or run == "tuned"
        with Image.open(folder / one["file"]) as image:
            assert max(image.size) >= 448
            assert image.mode == "RGB"
            assert "no evidence" in image.info["Comment"]
            assert image.info["Label"] == best


def test_the_label_of_overlays_can_be_chosen(base: Study, tmp_path: Path) -> None:
    folder = tmp_path / "overlays"
    predicted(
        base, "use-logreg", "--saliency", folder, "--saliency-label", "Effusion", "--limit", 2
    )
    assert {one["label"] for one in rows_of(folder / "saliency.csv")} == {"Effusion"}
    outcome = done(
        "predict", "--run", "use-logreg", "--csv", "test.csv", "--saliency", folder, "--limit", 1,
        "--overwrite", cwd=base.folder,
    )  # fmt: skip
    assert "no evidence that the score is right" in outcome.err


def test_images_that_failed_have_no_overlay(study: Study) -> None:
    (study.folder / "images/p16_1.png").write_bytes(b"no picture")
    predicted(study, "use-logreg", "--saliency", "overlays", "--limit", 3, code=3)
    listed = rows_of(study.folder / "overlays/saliency.csv")
    assert [one["image_id"] for one in listed] == ["images/p16_0.png", "images/p17_0.png"]


# ---- what is wrong -------------------------------------------------------------------------------

USAGE = [
    (["--csv", "test.csv"], "--run is missing: which finished run?"),
    (["--csv", "test.csv"], "Runs in runs/: "),
    (["--run", "knn"], "no images: give --csv FILE or --images DIR"),
    (["--run", "knn", "--csv", "test.csv", "--images", "images"], "--images stands alone"),
    (["--run", "nope", "--csv", "test.csv"], "no run 'nope': neither a folder nor a run in runs/"),
    (["--run", "kn", "--csv", "test.csv"], "Did you mean 'knn'?"),
    (["--run", "runs", "--csv", "test.csv"], "--run runs holds several runs"),
    (["--run", "knn", "--csv", "test.csv", "-o", "a.xlsx"], "has to end with .csv or .parquet"),
    (["--run", "knn", "--csv", "test.csv", "--batch-size", "0"], "--batch-size: expected at least"),
    (["--run", "knn", "--csv", "test.csv", "--saliency-label", "x"], "goes with --saliency DIR"),
    (
        ["--run", "knn", "--csv", "test.csv", "--saliency", "new"],
        "nearest neighbours have none",
    ),
    (
        [
            "--run",
            "linear",
            "--csv",
            "test.csv",
            "--saliency",
            "new",
            "--saliency-label",
            "Efusion",
        ],
        "Did you mean 'Effusion'?",
    ),
]


@pytest.mark.parametrize(("arguments", "part"), USAGE, ids=[part for _, part in USAGE])
def test_what_is_typed_wrong_is_a_usage_error(
    base: Study, tmp_path: Path, arguments: list[str], part: str
) -> None:
    output = () if "-o" in arguments else ("-o", tmp_path / "out.csv")
    assert part in refused(2, "predict", *arguments, *output, cwd=base.folder)
    assert not (tmp_path / "out.csv").exists()


def test_runs_that_are_not_whole(study: Study) -> None:
    def message(code: int, run: str) -> str:
        return refused(code, "predict", "--run", run, "--csv", "test.csv", cwd=study.folder)

    runs = study.folder / "runs"
    (runs / "knn/report.json").write_text("{}")
    assert "is not a report of cxrlearn" in message(3, "knn")
    report = json.loads((runs / "linear/report.json").read_text())
    (runs / "linear/report.json").write_text(json.dumps({**report, "results": []}))
    assert "is damaged: its content does not match its hash" in message(3, "linear")
    edit_report(runs / "linear", results=[])
    assert "is damaged (IndexError" in message(3, "linear")
    edit_report(runs / "linear", command="dance")
    assert "does not hold the settings of the run" in message(3, "linear")
    (runs / "use-logreg/probe.safetensors").unlink()
    assert "cannot read" in message(6, "use-logreg")
    (runs / "use-logreg/settings.toml").write_text("[probe")
    assert "settings.toml does not hold the settings" in message(3, "use-logreg")


@pytest.mark.parametrize(
    ("file", "content", "part"),
    [
        ("model.json", None, "cannot read"),
        ("model.json", "{", "is damaged"),
        ("model.json", '{"format": "x"}', "does not describe a model of cxrlearn"),
        ("model.json", '{"format": "cxrlearn-model", "version": 9}', "has format version 9"),
        ("model.json", '{"format": "cxrlearn-model", "version": 1}', "is damaged: 'kind'"),
        ("best.safetensors", None, "cannot read the checkpoint"),
        ("best.safetensors", "hello", "is no checkpoint, or a damaged one"),
    ],
)
def test_finetuned_models_that_are_not_whole(
    study: Study, file: str, content: str | None, part: str
) -> None:
    path = study.folder / "runs/tuned" / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert part in refused(6, "predict", "--run", "tuned", "--csv", "test.csv", cwd=study.folder)


def test_a_checkpoint_of_other_labels_is_refused(study: Study) -> None:
    path = study.folder / "runs/tuned/model.json"
    account = json.loads(path.read_text())
    path.write_text(json.dumps({**account, "labels": list(reversed(LABELS))}))
    message = refused(6, "predict", "--run", "tuned", "--csv", "test.csv", cwd=study.folder)
    assert "they are of two models" in message


@pytest.mark.parametrize(("run", "name"), [("use-logreg", "probe.*"), ("tuned", "model.json")])
def test_files_of_two_runs_are_never_mixed(study: Study, run: str, name: str) -> None:
    # As a killed overwrite left them: sound files, each of another run.
    runs = study.folder / "runs"
    shutil.copytree(runs / run, runs / "other")
    for file in (runs / "other").glob(name):
        if file.suffix == ".json":
            file.write_text(
                json.dumps(json.loads(file.read_text()))
            )  # as sound, laid out otherwise
    for file in (runs / "other").glob(name):
        shutil.copy(file, runs / run)
    message = refused(6, "predict", "--run", run, "--csv", "test.csv", cwd=study.folder)
    assert "is not the file its report was made with" in message
    assert "is not the file its report was made with" in refused(
        6, "compare", run, cwd=study.folder
    )
    shutil.copy(runs / "knn" / "settings.toml", runs / "linear")
    message = refused(3, "predict", "--run", "linear", "--csv", "test.csv", cwd=study.folder)
    assert "settings.toml is not the file its report was made with" in message


def test_an_output_that_cannot_be_written(study: Study) -> None:
    args = ("predict", "--run", "use-logreg", "--csv", "test.csv", "-q")
    message = refused(8, *args, "-o", "test.csv/out.csv", cwd=study.folder)
    assert message.startswith("cannot write test.csv/out.csv")
    assert message.endswith("Nothing was predicted.")
    (study.folder / "full.csv").mkdir()
    message = refused(8, *args, "-o", "full.csv", cwd=study.folder)
    assert message.startswith("cannot write full.csv: a folder stands where a file is needed")
    message = refused(8, *args, "-o", "a.csv", "--saliency", "test.csv/ov", cwd=study.folder)
    assert message.startswith("cannot write test.csv/ov")


def test_settings_come_from_the_file_too(study: Study) -> None:
    with (study.folder / "cxrlearn.toml").open("a") as file:
        file.write('\n[predict]\nrun = "use-logreg"\noutput = "from-file.csv"\nlimit = 2\n')
    done("predict", "--csv", "test.csv", "-q", cwd=study.folder)
    assert len(rows_of(study.folder / "from-file.csv")) == 2
