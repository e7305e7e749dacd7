"""A test for each defect of the original program that a whole command can show; see its number."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from cxrlearn import read_features
from tests.support.cli import done, run_cli
from tests.support.shared import ROOT
from tests.support.small_study import LABELS, SETTINGS, Study, embedded_study, write_study

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return embedded_study(tmp_path_factory.mktemp("study") / "base")


@pytest.fixture
def study(base: Study, tmp_path: Path) -> Study:
    return base.copy(tmp_path / "study")


def probe(study: Study, *args: object) -> dict[str, Any]:
    done("probe", "--use-logreg", "--name", "run", *args, cwd=study.folder)
    text = (study.folder / "runs/run/report.json").read_text(encoding="utf-8")
    report: dict[str, Any] = json.loads(text)
    return report


def aurocs(report: dict[str, Any]) -> dict[str, float]:
    labels = report["results"][0]["evaluation"]["labels"]
    return {label["name"]: label["auroc"]["value"] for label in labels}


def frame(study: Study, split: str) -> pd.DataFrame:
    """Return a CSV with the features of each image beside its row, joined by image id."""
    content = read_features(study.features)
    features = pd.Series(list(content.features), index=content.ids, name="features")
    return pd.read_csv(study.folder / f"{split}.csv").join(features, on="Path", how="inner")


def refit(study: Study, label: str, C: float) -> float:
    """Return the AUROC on test of scikit-learn's own probe on the stored features."""
    train, test = frame(study, "train"), frame(study, "test")
    model = LogisticRegression(C=C, tol=1e-8, max_iter=10_000)
    model.fit(np.stack(list(train["features"])).astype(np.float64), train[label])
    scores = model.decision_function(np.stack(list(test["features"])).astype(np.float64))
    return float(roc_auc_score(test[label], scores))


def test_original_defect_s1_an_unreadable_image_does_not_shift_the_labels(study: Study) -> None:
    """The original dropped the image and kept its label: every later row got a neighbour's."""
    lost = study.rows("test")[0]["Path"]
    (study.folder / lost).write_bytes(b"broken")
    report = probe(study, "--allow-failures")
    table = pd.read_csv(study.folder / "runs/run/predictions-test.csv").set_index("image_id")
    truth = pd.read_csv(study.folder / "test.csv").set_index("Path").drop(lost)
    assert list(table.index) == list(truth.index)
    for label in LABELS:
        assert list(table[f"true_{label}"]) == list(truth[label])
        assert aurocs(report)[label] == pytest.approx(
            roc_auc_score(truth[label], table.loc[truth.index, f"logit_{label}"])
        )


def test_original_defect_s2_results_are_of_the_test_set_not_of_validation(study: Study) -> None:
    """The original evaluated the validation file whatever --test_csv said."""
    study.rewrite("val", lambda row: {**row, "Effusion": str(1 - int(row["Effusion"]))})
    report = probe(study)
    table = pd.read_csv(study.folder / "runs/run/predictions-test.csv")
    truth = pd.read_csv(study.folder / "test.csv")
    joined = truth.merge(table, left_on="Path", right_on="image_id", validate="one_to_one")
    assert len(joined) == len(truth)
    for label in LABELS:
        expected = roc_auc_score(joined[label], joined[f"logit_{label}"])
        assert aurocs(report)[label] == pytest.approx(expected)
    assert report["results"][0]["evaluation"]["rows"] == len(truth)

    study.rewrite("test", lambda row: {**row, "Effusion": str(1 - int(row["Effusion"]))})
    flipped = probe(study, "--overwrite")
    assert aurocs(flipped)["Effusion"] == pytest.approx(1 - aurocs(report)["Effusion"])


def test_original_defect_s3_features_do_not_depend_on_the_batch(
    base: Study, tmp_path: Path
) -> None:
    """The original ran BatchNorm in train mode: a feature hung on its neighbours in the batch."""
    whole = read_features(base.features)
    for size in (1, 7, 64):
        arguments = ("embed", "-q", "--batch-size", size, "--output-dir", tmp_path / str(size))
        done(*arguments, cwd=base.folder)
        other = read_features(tmp_path / str(size) / "cxr-tiny.h5")
        np.testing.assert_allclose(other.features, whole.features, rtol=1e-5, atol=1e-5)
    done("embed", "-q", "--limit", 3, "--output-dir", tmp_path / "few", cwd=base.folder)
    few = read_features(tmp_path / "few/cxr-tiny.h5")
    rows = np.isin(whole.ids, few.ids)
    assert np.array_equal(whole.features[rows], few.features)


@pytest.mark.parametrize("C", [0.05, 1.0])
def test_original_defect_s4_the_probe_uses_the_embedding_not_a_head(study: Study, C: float) -> None:
    """The original fitted on the output of a freshly initialised head of num_classes units."""
    report = probe(study, "--C", C)
    assert report["backbone"]["feature_dim"] == 496
    assert read_features(study.features).features.shape == (44, 496)
    for label in LABELS:
        assert aurocs(report)[label] == pytest.approx(refit(study, label, C), abs=1e-9)


def test_original_defect_s7_preprocessing_is_the_backbones_own_and_part_of_the_file(
    study: Study,
) -> None:
    """The original squashed everything to 224 x 224 with the statistics of CLIP."""
    done("embed", "-q", "--preprocessing", "original", cwd=study.folder)
    files = {file.name: read_features(file) for file in (study.folder / "features").glob("*.h5")}
    assert len(files) == 2
    rules = [json.dumps(file.attributes["fingerprint"], sort_keys=True) for file in files.values()]
    assert rules[0] != rules[1]
    published, original = files["cxr-tiny.h5"], next(v for k, v in files.items() if "original" in k)
    assert not np.allclose(published.features, original.features)


def test_original_defect_s8_an_edited_csv_is_read_again(study: Study) -> None:
    """The original kept its cache by name, whatever the CSV said by then."""
    before = probe(study)
    study.rewrite("train", lambda row: None if "p00" in row["Path"] else row)
    extra = study.folder / "images/new.png"
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(extra)
    rows = study.rows("test")
    study.rewrite("test", lambda row: {**row, "Path": "images/new.png"} if row == rows[0] else row)
    after = probe(study)
    assert [split["rows"] for split in before["splits"]] == [24, 8, 12]
    assert [split["rows"] for split in after["splits"]] == [22, 8, 12]
    assert after["splits"][2]["used"] == 12
    assert "images/new.png" in read_features(study.features).ids


@pytest.mark.slow
def test_original_defect_s9_several_devices_give_the_features_of_one(
    base: Study, tmp_path: Path
) -> None:
    """The original made `cuda:0,1` of --gpu_ids, and could use one device only."""
    done("embed", "-q", "--gpus", "cpu,cpu", "--output-dir", tmp_path, cwd=base.folder)
    one, two = read_features(base.features), read_features(tmp_path / "cxr-tiny.h5")
    assert list(one.ids) == list(two.ids)
    assert np.array_equal(one.features, two.features)


def test_original_defect_s10_options_do_what_their_names_say(study: Study) -> None:
    """The original's README typed flags that wrote elsewhere, and `chexzero` that did not exist."""
    typed = done("probe", "--use-logreg", "--show-config", cwd=study.folder).out
    settings = tomllib.loads(typed)["probe"]
    assert settings["use_logreg"] is True
    for name in ("chexzero", "cxr-repair"):
        shown = json.loads(done("models", "show", name, "--json", cwd=study.folder).out)
        assert shown["name"] == "chexzero"
        assert "cxr-repair" in shown["aliases"]
    outcome = run_cli("probe", "--model", "cxr-repair", cwd=study.folder)
    assert outcome.code == 4
    assert "no weights for chexzero" in outcome.err


def test_original_defect_s11_c_is_chosen_on_validation_and_what_was_tried_is_told(
    study: Study,
) -> None:
    """The original used one C for every backbone and every dataset."""
    report = probe(study)
    path = report["probe"]["path"]
    assert len({trial["C"] for trial in path}) > 3
    for label in report["probe"]["labels"]:
        assert label["C"] in {trial["C"] for trial in path}
        assert label["c_from"] in {"validation", "shared"}
        assert label["converged"] is True
    # Labels of the test set have no part in it.
    study.rewrite("test", lambda row: {**row, "Effusion": str(1 - int(row["Effusion"]))})
    assert probe(study)["probe"] == report["probe"]


def test_original_defect_s12_missing_and_uncertain_labels_are_masked(study: Study) -> None:
    """The original passed NaN and -1 on into the loss."""
    cells = ["", "-1"]

    def mask(row: dict[str, str]) -> dict[str, str]:
        return (
            {**row, "Effusion": cells["p01" in row["Path"]]} if row["Path"] < "images/p02" else row
        )

    study.rewrite("train", mask)
    report = probe(study, "--C", 1)
    label = report["splits"][0]["labels"][1]
    assert label["masked"] == 4
    study.rewrite("train", lambda row: None if row["Effusion"] in {"", "-1"} else row)
    assert aurocs(report)["Effusion"] == pytest.approx(refit(study, "Effusion", 1), abs=1e-9)


def test_original_defect_s13_results_have_a_folder_and_intervals(study: Study) -> None:
    """The original failed without ./results/, and knew no interval."""
    assert not (study.folder / "runs").exists()
    done("probe", "--output-dir", "new/folder", cwd=study.folder)
    text = (study.folder / "new/folder/cxr-tiny-logreg/report.json").read_text()
    evaluation = json.loads(text)["results"][0]["evaluation"]
    estimates = [label["auroc"] for label in evaluation["labels"]] + [evaluation["macro"]]
    for estimate in estimates:
        assert 0 <= estimate["low"] <= estimate["value"] <= estimate["high"] <= 1
    assert evaluation["unit"] == "patient"
    assert evaluation["clusters"] == 6
    mean = np.mean([label["auroc"]["value"] for label in evaluation["labels"]])
    assert evaluation["macro"]["value"] == pytest.approx(mean)


@pytest.mark.slow
def test_original_defect_s14_the_imagenet_resnet_can_be_probed_frozen(tmp_path: Path) -> None:
    """The original always fine-tuned it. Random weights are marked wherever a number stands."""
    study = write_study(tmp_path / "study")
    (study.folder / "cxrlearn.toml").write_text(SETTINGS.replace("cxr-tiny", "resnet"))
    arguments = ("--random-weights", 1, "--offline", "--limit", 6, "--C", 1)
    outcome = done("probe", "--name", "run", *arguments, cwd=study.folder)
    report = json.loads((study.folder / "runs/run/report.json").read_text())
    assert report["backbone"]["feature_dim"] == 2048
    assert report["backbone"]["random_weights"] == 1
    assert not report["backbone"]["verified"]
    assert "random" in report["backbone"]["tag"]
    assert "random" in outcome.out
    assert any("RANDOM WEIGHTS (seed 1)" in sentence for sentence in report["protocol"])
    table = (study.folder / "runs/run/table.md").read_text()
    assert "RANDOM WEIGHTS (seed 1)" in table
    file = next((study.folder / "features").glob("*.h5"))
    assert "random" in file.name
    assert "random" in json.dumps(read_features(file).attributes["fingerprint"])


def test_original_defect_s15_it_is_a_package_without_pins_and_without_a_drive() -> None:
    """The original was a conda file of about 100 exact pins, and weights behind gdown."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *(entry for group in project["dependency-groups"].values() for entry in group),
    ]
    assert not [entry for entry in wanted if "==" in str(entry)]
    assert not [entry for entry in wanted if "gdown" in str(entry)]
    sources = [file.read_text(encoding="utf-8") for file in (ROOT / "src").rglob("*.py")]
    assert not [text for text in sources if "import gdown" in text or "drive.google" in text]
    assert project["project"]["scripts"]["cxrlearn"]
