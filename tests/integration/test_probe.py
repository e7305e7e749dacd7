from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrlearn import read_features
from tests.support.auroc_oracles import auroc_by_pairs
from tests.support.cli import done, refused, run_cli
from tests.support.shared import shared_path
from tests.support.small_study import (
    LABELS,
    SETTINGS,
    Row,
    Study,
    embedded_study,
    write_rows,
    write_study,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ONE_FILE = ("-m", "cxr-tiny", "--csv", "all.csv", "--class-columns", "Cardiomegaly,Effusion")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return embedded_study(tmp_path_factory.mktemp("study") / "base")


@pytest.fixture
def study(base: Study, tmp_path: Path) -> Study:
    return base.copy(tmp_path / "study")


def probe(study: Study, *args: object, name: str = "run") -> dict[str, Any]:
    """Probe, and return report.json."""
    done("probe", "--quiet", "--name", name, *args, cwd=study.folder)
    return report_of(study, name)


def report_of(study: Study, name: str = "run") -> dict[str, Any]:
    text = (study.folder / "runs" / name / "report.json").read_text(encoding="utf-8")
    report: dict[str, Any] = json.loads(text)
    return report


def predictions_of(study: Study, name: str = "run", test: str = "test") -> pd.DataFrame:
    return pd.read_csv(study.folder / "runs" / name / f"predictions-{test}.csv", dtype=str)


def aurocs(report: dict[str, Any], position: int = 0) -> dict[str, float | None]:
    labels = report["results"][position]["evaluation"]["labels"]
    return {label["name"]: label["auroc"]["value"] for label in labels}


def split_of(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(split) for split in report["splits"] if split["name"] == name)


def stable_part(report: dict[str, Any]) -> str:
    return json.dumps({k: v for k, v in report.items() if k != "provenance"}, sort_keys=True)


def rows_by_id(file: Path) -> dict[str, NDArray[np.float32]]:
    content = read_features(file)
    return dict(zip(content.ids, content.features, strict=True))


# ---- the files of a run --------------------------------------------------------------------------


def test_a_run_leaves_everything_in_one_folder(study: Study) -> None:
    done("probe", "--use-logreg", cwd=study.folder)
    folder = study.folder / "runs" / "cxr-tiny-logreg"
    assert {file.name for file in folder.iterdir()} >= {
        "report.json",
        "predictions-test.csv",
        "table.csv",
        "table.md",
        "settings.toml",
        "provenance.json",
    }
    assert not list(folder.glob(".*"))


def test_predictions_are_enough_to_recompute_every_auroc_of_the_report(study: Study) -> None:
    study.rewrite("test", lambda row: {**row, "Effusion": ""} if "p16" in row["Path"] else row)
    study.rewrite("train", lambda row: {**row, "Effusion": "-1"} if "p03" in row["Path"] else row)
    report = probe(study)
    table = predictions_of(study)
    assert list(table["image_id"]) == [row["Path"] for row in study.rows("test")]
    assert list(table["patient_id"]) == [row["patient_id"] for row in study.rows("test")]
    for name, value in aurocs(report).items():
        known = table[table[f"true_{name}"].notna()]
        truth, score = known[f"true_{name}"].astype(int), known[f"logit_{name}"].astype(float)
        assert len(known) == (12 if name == "Cardiomegaly" else 10)
        assert value == auroc_by_pairs(list(truth), list(score))
    logit = table["logit_Cardiomegaly"].astype(float).to_numpy()
    probability = table["prob_Cardiomegaly"].astype(float).to_numpy()
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-logit)), rtol=1e-12)
    hashed = (study.folder / "runs/run/predictions-test.csv").read_bytes()
    assert report["results"][0]["predictions"]["sha256"] == hashlib.sha256(hashed).hexdigest()


def test_an_undefined_auroc_is_null_with_a_reason_and_leaves_the_macro(study: Study) -> None:
    study.rewrite("test", lambda row: {**row, "Effusion": "0"})
    report = probe(study)
    evaluation = report["results"][0]["evaluation"]
    effusion = evaluation["labels"][1]
    assert effusion["auroc"]["value"] is None
    assert "positive" in effusion["auroc"]["reason"]
    assert evaluation["macro_labels"] == ["Cardiomegaly"]
    assert evaluation["macro"]["value"] == aurocs(report)["Cardiomegaly"]
    assert "NaN" not in (study.folder / "runs/run/report.json").read_text()


def test_the_written_settings_repeat_the_run(study: Study) -> None:
    first = probe(study, "--C", "0.5")
    file = study.folder / "runs/run/settings.toml"
    (study.folder / "again.toml").write_bytes(file.read_bytes())
    done("probe", "--quiet", "--config", "again.toml", cwd=study.folder)
    assert stable_part(report_of(study)) == stable_part(first)


# ---- seeds ---------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_report_to_the_byte(study: Study, tmp_path: Path) -> None:
    first, other = study, study.copy(tmp_path / "elsewhere")
    texts = []
    for place in (first, other):
        report = probe(place)
        volatile = report.pop("provenance")
        assert volatile["created"]
        texts.append(json.dumps(report, indent=2, sort_keys=True))
    assert texts[0] == texts[1]
    for name in ("predictions-test.csv", "table.csv", "table.md"):
        bytes_of = [(place.folder / "runs/run" / name).read_bytes() for place in (first, other)]
        assert bytes_of[0] == bytes_of[1], name


def test_another_seed_changes_no_number_where_nothing_is_drawn(study: Study) -> None:
    one, two = probe(study, name="one"), probe(study, "--seed", 1, name="two")
    assert one["results"][0]["evaluation"] == two["results"][0]["evaluation"]
    assert one["probe"]["labels"] == two["probe"]["labels"]
    assert one["splits"] == two["splits"]
    scores = [study.folder / f"runs/{name}/predictions-test.csv" for name in ("one", "two")]
    assert scores[0].read_bytes() == scores[1].read_bytes()


# ---- nothing is mixed up -------------------------------------------------------------------------


def test_datasets_that_share_relative_paths_stay_apart(base: Study, tmp_path: Path) -> None:
    other = embedded_study(tmp_path / "b", seed=1)
    folder = tmp_path / "both"
    (folder / "features").mkdir(parents=True)
    shutil.copytree(base.folder, folder / "a", ignore=shutil.ignore_patterns("features", "runs"))
    shutil.copytree(other.folder, folder / "b", ignore=shutil.ignore_patterns("features", "runs"))
    together = Study(folder)
    arguments = ("-m", "cxr-tiny", "--class-columns", ",".join(LABELS), "--val-csv", "a/val.csv")
    probe(
        together, *arguments, "--train-csv", "a/train.csv",
        "--test-csv", "own=a/test.csv", "--test-csv", "far=b/test.csv",
    )  # fmt: skip

    content = read_features(together.features)
    found = set(zip(content.ids, content.content_hashes, strict=True))
    a, b = rows_by_id(base.features), rows_by_id(other.features)
    for place, alone, splits in (("a", a, ("train", "val", "test")), ("b", b, ("test",))):
        for split in splits:
            for row in base.rows(split):
                pixels = (folder / place / row["Path"]).read_bytes()
                digest = hashlib.sha256(pixels).hexdigest()
                assert (row["Path"], digest) in found
                at = list(zip(content.ids, content.content_hashes, strict=True)).index(
                    (row["Path"], digest)
                )
                assert np.array_equal(content.features[at], alone[row["Path"]])

    # The same test sets, one at a time in folders of their own, score the same.
    shutil.copytree(base.folder, tmp_path / "alone")
    probe(Study(tmp_path / "alone"))
    own = predictions_of(together, test="own")
    assert own.equals(predictions_of(Study(tmp_path / "alone")))
    far = predictions_of(together, test="far")
    assert list(far["image_id"]) == list(own["image_id"])
    assert not far["logit_Cardiomegaly"].equals(own["logit_Cardiomegaly"])


@pytest.mark.shared
@pytest.mark.slow
def test_nih_and_covid_stay_apart_in_one_feature_file(tmp_path: Path) -> None:
    files = {name: shared_path(f"data/{name}/test.csv") for name in ("nih", "covid")}
    for name, file in files.items():
        arguments = ("embed", "-q", "-m", "cxr-tiny", "--csv", file, "--limit", 12)
        done(*arguments, "--output-dir", name, cwd=tmp_path)
        done(*arguments, "--output-dir", "both", cwd=tmp_path)
    both = read_features(tmp_path / "both/cxr-tiny.h5")
    keys = list(zip(both.ids, both.content_hashes, strict=True))
    for name in files:
        alone = read_features(tmp_path / name / "cxr-tiny.h5")
        for key, features in zip(
            zip(alone.ids, alone.content_hashes, strict=True), alone.features, strict=True
        ):
            assert np.array_equal(both.features[keys.index(key)], features)


# ---- damaged images ------------------------------------------------------------------------------


def damaged(study: Study, how: str) -> str:
    """Damage one training image and return its id."""
    row = study.rows("train")[4]
    file = study.folder / row["Path"]
    if how == "removed":
        file.unlink()
    elif how == "truncated":
        file.write_bytes(file.read_bytes()[:-200])
    else:
        file.write_bytes(b"not an image at all")
    return row["Path"]


@pytest.mark.parametrize("how", ["removed", "truncated", "corrupted"])
def test_a_damaged_image_changes_no_other_feature_or_label(
    base: Study, tmp_path: Path, how: str
) -> None:
    study = write_study(tmp_path / "study")
    lost = damaged(study, how)
    outcome = run_cli("embed", cwd=study.folder)
    assert outcome.code == 3, outcome.text
    assert lost in outcome.err
    expected = rows_by_id(base.features)
    found = rows_by_id(study.features)
    assert set(expected) - set(found) == {lost}
    assert all(np.array_equal(found[name], expected[name]) for name in found)
    assert set(read_features(study.features).failed) == {lost}

    outcome = run_cli("probe", "--name", "run", cwd=study.folder)
    assert outcome.code == 3, outcome.text
    assert lost in outcome.err
    assert "AUROC" in outcome.out  # the result is there all the same
    train = split_of(report_of(study), "train")
    assert (train["rows"], train["used"], train["failed"]) == (24, 23, 1)
    kept = [row for row in study.rows("train") if row["Path"] != lost]
    for label in train["labels"]:
        assert label["positives"] == sum(row[label["name"]] == "1" for row in kept)
        assert label["negatives"] == sum(row[label["name"]] == "0" for row in kept)

    # The fit is that of a manifest without the image, to the bit.
    study.rewrite("train", lambda row: None if row["Path"] == lost else row)
    without = probe(study, name="without")
    scores = [predictions_of(study, name) for name in ("run", "without")]
    assert scores[0].equals(scores[1])
    assert without["probe"]["labels"] == report_of(study)["probe"]["labels"]


def test_unreadable_images_are_acceptable_if_said_so(study: Study) -> None:
    lost = damaged(study, "corrupted")
    outcome = done("probe", "--allow-failures", cwd=study.folder)
    assert lost in outcome.err
    done("embed", "--allow-failures", cwd=study.folder)
    assert run_cli("embed", cwd=study.folder).code == 3


def test_a_damaged_test_image_is_left_out_with_its_label(study: Study) -> None:
    lost = study.rows("test")[3]["Path"]
    (study.folder / lost).write_bytes(b"")
    report = probe(study, "--allow-failures")
    table = predictions_of(study)
    rows = [row for row in study.rows("test") if row["Path"] != lost]
    assert list(table["image_id"]) == [row["Path"] for row in rows]
    for label in LABELS:
        assert list(table[f"true_{label}"]) == [row[label] for row in rows]
    assert split_of(report, "test")["failed"] == 1
    assert report["results"][0]["evaluation"]["rows"] == 11


def test_a_replaced_image_gets_its_own_features_not_the_old_ones(study: Study) -> None:
    row = study.rows("test")[0]
    before = rows_by_id(study.features)
    Image.fromarray(np.full((50, 70), 9, np.uint8)).save(study.folder / row["Path"])
    os.utime(study.folder / row["Path"], ns=(10**18, 10**18))
    report = probe(study)
    assert split_of(report, "test")["used"] == 12
    content = read_features(study.features)
    digest = hashlib.sha256((study.folder / row["Path"]).read_bytes()).hexdigest()
    keys = list(zip(content.ids, content.content_hashes, strict=True))
    new = content.features[keys.index((row["Path"], digest))]
    assert not np.array_equal(new, before[row["Path"]])


# ---- tasks and policies --------------------------------------------------------------------------


def test_blank_and_uncertain_labels_count_as_the_policies_say(study: Study) -> None:
    cells = ["", "-1", "1", "0"] * 6

    def change(row: Row) -> Row:
        return {**row, "Effusion": cells.pop()}

    study.rewrite("train", change)
    counts = {}
    for blank, uncertain in (
        ("mask", "mask"),
        ("zeros", "mask"),
        ("mask", "ones"),
        ("zeros", "zeros"),
    ):
        options = ("--blank", blank, "--uncertain", uncertain, "--C", 1)
        report = probe(study, *options, name=f"{blank}-{uncertain}")
        label = split_of(report, "train")["labels"][1]
        counts[blank, uncertain] = (label["positives"], label["negatives"], label["masked"])
        assert (report["task"]["blank"], report["task"]["uncertain"]) == (blank, uncertain)
    assert counts == {
        ("mask", "mask"): (6, 6, 12),
        ("zeros", "mask"): (6, 12, 6),
        ("mask", "ones"): (12, 6, 6),
        ("zeros", "zeros"): (6, 18, 0),
    }


def test_text_labels_need_to_know_the_positive_one(study: Study) -> None:
    words = {"0": "clear", "1": "present"}
    for split in ("train", "val", "test"):
        study.rewrite(split, lambda row: {**row, "finding": words[row["Effusion"]]})
    numbers = probe(study, "--class-columns", "Effusion", name="numbers")
    text = ("--class-columns", "finding")
    report = probe(study, *text, "--positive", "present", name="words")
    assert report["task"]["kind"] == "binary"
    assert list(aurocs(report).values()) == list(aurocs(numbers).values())
    flipped = probe(study, *text, "--positive", "clear", name="flipped")
    train = [split_of(each, "train")["labels"][0] for each in (report, flipped)]
    assert train[0]["positives"] == train[1]["negatives"]
    refused(2, "probe", *text, "--positive", "presnt", cwd=study.folder)


def test_classes_are_fixed_on_train_and_scored_one_against_the_rest(study: Study) -> None:
    names = {("0", "0"): "normal", ("1", "0"): "heart", ("0", "1"): "fluid", ("1", "1"): "both"}

    def change(row: Row) -> Row:
        return {**row, "kind": names[row["Cardiomegaly"], row["Effusion"]]}

    for split in ("train", "val", "test"):
        study.rewrite(split, change)
    report = probe(study, "--class-columns", "kind", "--num-classes", 4)
    assert report["task"]["kind"] == "multiclass"
    assert report["task"]["labels"] == ["both", "fluid", "heart", "normal"]
    table = predictions_of(study)
    for name, value in aurocs(report).items():
        truth = [change(row)["kind"] == name for row in study.rows("test")]
        assert value == auroc_by_pairs(
            [int(one) for one in truth], list(table[f"logit_{name}"].astype(float))
        )
    probabilities = table.filter(like="prob_").astype(float).to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)

    study.rewrite("test", lambda row: {**row, "kind": row["kind"].replace("heart", "hart")})
    message = refused(3, "probe", "--class-columns", "kind", cwd=study.folder)
    assert "test.csv, row" in message
    assert "'hart' is not a class of the training set" in message
    assert "Did you mean 'heart'?" in message


def test_several_test_sets_are_reported_each_by_name(study: Study) -> None:
    (study.folder / "other.csv").write_bytes((study.folder / "test.csv").read_bytes())
    study.rewrite("other", lambda row: {**row, "Effusion": str(1 - int(row["Effusion"]))})
    report = probe(study, "--test-csv", "home=test.csv", "--test-csv", "other.csv")
    assert [result["name"] for result in report["results"]] == ["home", "other"]
    home, other = aurocs(report, 0)["Effusion"], aurocs(report, 1)["Effusion"]
    assert home is not None
    assert other is not None
    assert home == pytest.approx(1 - other)
    assert aurocs(report, 0)["Cardiomegaly"] == aurocs(report, 1)["Cardiomegaly"]
    for name in ("home", "other"):
        assert (study.folder / f"runs/run/predictions-{name}.csv").is_file()


def test_images_without_features_are_embedded_first_with_a_notice(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    outcome = done("probe", cwd=study.folder)
    assert "44 images have no cxr-tiny features yet" in outcome.err
    assert study.features.is_file()
    again = done("probe", cwd=study.folder)
    assert "embedding" not in again.err


# ---- one manifest --------------------------------------------------------------------------------


@pytest.fixture
def one_file(study: Study) -> Study:
    """Return a study whose rows are in all.csv, without a split column and without settings."""
    (study.folder / "cxrlearn.toml").unlink()
    rows = [{k: v for k, v in row.items() if k != "split"} for row in study.all_rows()]
    write_rows(study.folder / "all.csv", rows)
    return study


def test_a_split_column_decides(study: Study) -> None:
    separate = probe(study, name="separate")
    (study.folder / "cxrlearn.toml").unlink()
    rows = study.all_rows()
    names = {"train": "Train", "val": "valid", "test": "TEST"}
    write_rows(study.folder / "all.csv", [{**r, "split": names[r["split"]]} for r in rows[::-1]])
    together = probe(study, *ONE_FILE, name="together")
    assert "split" in together["split_origin"]
    assert not (study.folder / "runs/together/split.csv").exists()
    for split in ("train", "val", "test"):
        counts = [split_of(report, split) for report in (separate, together)]
        assert {**counts[0], "source": ""} == {**counts[1], "source": ""}
    assert aurocs(together) == pytest.approx(aurocs(separate), abs=1e-6)


def drawn_split(study: Study, name: str) -> dict[str, str]:
    with (study.folder / "runs" / name / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    homes: dict[str, set[str]] = {}
    for row in rows:
        homes.setdefault(row["patient_id"], set()).add(row["split"])
    if set(homes) != {""}:
        assert all(len(splits) == 1 for splits in homes.values()), homes
    return {row["image_id"]: row["split"] for row in rows}


def test_a_drawn_split_is_patient_disjoint_seeded_and_written_down(one_file: Study) -> None:
    report = probe(one_file, *ONE_FILE, name="zero")
    assert "by patient" in report["split_origin"]
    assert "seed 0" in report["split_origin"]
    assert report["overlaps"] == []
    first = drawn_split(one_file, "zero")
    assert len(first) == 44
    assert set(first.values()) == {"train", "val", "test"}
    for split in ("train", "val", "test"):
        assert split_of(report, split)["rows"] == list(first.values()).count(split)
    (one_file.folder / "runs/zero/split.csv").unlink()
    probe(one_file, *ONE_FILE, name="zero")
    assert drawn_split(one_file, "zero") == first
    probe(one_file, *ONE_FILE, "--seed", 1, name="one")
    assert drawn_split(one_file, "one") != first
    assert set(predictions_of(one_file, "zero")["image_id"]) == {
        image for image, split in first.items() if split == "test"
    }


def test_a_split_without_patients_has_to_be_allowed(one_file: Study) -> None:
    arguments = (*ONE_FILE, "--patient-column", "none")
    message = refused(2, "probe", *arguments, cwd=one_file.folder)
    assert "--split-by-image" in message
    assert not (one_file.folder / "runs").exists()
    report = probe(one_file, *arguments, "--split-by-image")
    assert report["results"][0]["evaluation"]["unit"] == "image"
    assert report["splits"][0]["patients"] is None


def test_a_patient_in_two_splits_is_a_warning_or_with_strict_an_error(study: Study) -> None:
    study.rewrite(
        "test", lambda row: {**row, "patient_id": row["patient_id"].replace("P16", "P00")}
    )
    report = probe(study)
    overlap = report["overlaps"][0]
    assert (overlap["a"], overlap["b"], overlap["patients"]) == ("train", "test", 1)
    assert overlap["examples"] == ["P00"]
    assert any("too good" in warning for warning in report["warnings"])
    assert "P00" in refused(3, "probe", "--strict", cwd=study.folder)


# ---- runs of one name ----------------------------------------------------------------------------


def test_a_run_of_other_settings_is_not_overwritten(study: Study) -> None:
    before = probe(study)
    message = refused(2, "probe", "--name", "run", "--C", 3, cwd=study.folder)
    assert "(C differ" in message
    assert "--name" in message
    assert "--overwrite" in message
    assert stable_part(report_of(study)) == stable_part(before)
    probe(study, "--C", 3, "--overwrite")
    assert report_of(study)["probe"]["labels"][0]["C"] == 3


def test_limit_uses_the_first_rows_of_each_manifest(study: Study) -> None:
    report = probe(study, "--limit", 8)
    assert [split["rows"] for split in report["splits"]] == [8, 8, 8]


def test_settings_come_from_the_file_the_environment_and_the_command_line(study: Study) -> None:
    (study.folder / "cxrlearn.toml").write_text(f"{SETTINGS}\n[probe]\nC = 0.5\n")
    done("probe", "--name", "file", cwd=study.folder)
    done("probe", "--name", "environment", cwd=study.folder, CXRLEARN_C="0.25")
    done("probe", "--name", "typed", "--C", 2, cwd=study.folder, CXRLEARN_C="0.25")
    names = ("file", "environment", "typed")
    values = [report_of(study, name)["probe"]["labels"][0]["C"] for name in names]
    assert values == [0.5, 0.25, 2]
