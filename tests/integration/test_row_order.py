"""The order of the rows of a CSV decides nothing: not a bit of a probe, a score or a report."""

from __future__ import annotations

import csv
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import done
from tests.support.finetune_child import run_finetune
from tests.support.small_study import (
    LABELS,
    PATIENTS,
    Row,
    Study,
    embedded_study,
    write_rows,
    write_study,
)

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("probe.safetensors", "probe.json", "predictions-test.csv", "table.csv", "split.csv")
ONE_FILE = ("--csv", "all.csv", "--model", "cxr-tiny", "--class-columns", "Cardiomegaly,Effusion")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study with age, sex and site, as three files and, in all.csv, as one."""
    made = embedded_study(tmp_path_factory.mktemp("order") / "study")
    for split in PATIENTS:
        made.rewrite(split, with_traits)
    whole = [{k: v for k, v in row.items() if k != "split"} for row in made.all_rows()]
    write_rows(made.folder / "all.csv", whole)
    (made.folder / "empty.toml").touch()
    return made


def with_traits(row: Row) -> Row:
    number = int(row["patient_id"][1:])
    traits = {"Age": str(40 + number % 7), "Sex": "FM"[number % 3 == 0], "site": "ab"[number % 2]}
    return {**row, **traits}


def shuffle(study: Study) -> None:
    for name in (*PATIENTS, "all"):
        rows = study.rows(name)
        random.Random(7).shuffle(rows)  # noqa: S311 - not for secrets
        assert rows != study.rows(name)
        write_rows(study.folder / f"{name}.csv", rows)


def outcome(study: Study, *args: object) -> dict[str, Any]:
    """Probe; return report.json without its provenance, and the bytes of what is beside it."""
    done("probe", "--quiet", "--name", "run", "--overwrite", *args, cwd=study.folder)
    run = study.folder / "runs/run"
    report: dict[str, Any] = json.loads((run / "report.json").read_text(encoding="utf-8"))
    report.pop("provenance", None)
    files = {file: (run / file).read_bytes() for file in FILES if (run / file).is_file()}
    assert {"probe.json", "predictions-test.csv"} <= files.keys()
    return {**report, **files}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--linear", "--epochs", 3, "--batch-size", 5), id="linear"),
        pytest.param(("--C", "auto", "--subgroup", "site"), id="C by validation"),
        pytest.param(("--solver", "sklearn", "--standardize"), id="scikit-learn"),
        pytest.param(("--knn",), id="neighbours"),
        pytest.param(
            ("--train-fraction", "0.3,1", "--few-shot", 2, "--repeats", 2), id="label efficiency"
        ),
        pytest.param(
            ("--config", "empty.toml", *ONE_FILE, "--linear", "--epochs", 2), id="drawn split"
        ),
    ],
)
def test_shuffled_rows_give_the_same_probe_report_and_predictions(
    study: Study, tmp_path: Path, options: tuple[object, ...]
) -> None:
    own = study.copy(tmp_path / "study")
    given = outcome(own, *options)
    shuffle(own)
    shuffled = outcome(own, *options)
    assert [key for key in given if given[key] != shuffled[key]] == []
    assert given.keys() == shuffled.keys()


def test_images_of_equal_ids_and_other_content_stay_apart_in_any_order(
    study: Study, tmp_path: Path
) -> None:
    own = study.copy(tmp_path / "study")
    other = write_study(own.folder / "other", seed=1)  # equal names, other pictures
    options = ("--linear", "--epochs", 2, "--test-csv", "other/train.csv")
    given = outcome(own, *options)
    shuffle(own)
    rows = other.rows("train")
    write_rows(other.folder / "train.csv", rows[::-1])
    assert outcome(own, *options) == given
    same = outcome(own, *options[:3], "--test-csv", "train.csv")
    pairs = zip(*(scores(one["predictions-test.csv"]) for one in (given, same)), strict=True)
    assert all(a[0] == b[0] and a[1] != b[1] for a, b in pairs)


def scores(predictions: bytes) -> list[tuple[str, str]]:
    rows = csv.DictReader(predictions.decode().splitlines())
    return [(row["image_id"], row[f"logit_{LABELS[0]}"]) for row in rows]


@pytest.mark.parametrize("kind", ["--use-logreg", "--knn"])
def test_a_prediction_does_not_depend_on_the_rows_beside_it(
    study: Study, tmp_path: Path, kind: str
) -> None:
    own = study.copy(tmp_path / "study")
    outcome(own, kind)
    with (own.folder / "runs/run/predictions-test.csv").open(encoding="utf-8") as file:
        expected = {row["image_id"]: row for row in csv.DictReader(file)}
    shuffle(own)
    write_rows(own.folder / "some.csv", own.rows("test")[:5])
    for name in ("test", "some"):
        args = ("--run", "run", "--csv", f"{name}.csv", "-o", "out.csv", "--overwrite", "-q")
        done("predict", *args, cwd=own.folder)
        found = own.rows("out")
        assert [row["image_id"] for row in found] == [row["Path"] for row in own.rows(name)]
        for row in found:
            for label in LABELS:
                assert row[f"prob_{label}"] == expected[row["image_id"]][f"prob_{label}"]


def test_shuffled_rows_give_the_same_finetuned_network(study: Study, tmp_path: Path) -> None:
    own = study.copy(tmp_path / "study")
    options = ("-m", "small-net", "--epochs", 1, "--batch-size", 8, "--learning-rate", 0.02)
    found = []
    for _ in range(2):
        ended = run_finetune(*options, "--name", "run", "--overwrite", cwd=own.folder)
        assert ended.code == 0, ended.err
        run = own.folder / "runs/run"
        found.append(
            [(run / name).read_bytes() for name in ("history.csv", "predictions-test.csv")]
        )
        shuffle(own)
    assert found[0] == found[1]
