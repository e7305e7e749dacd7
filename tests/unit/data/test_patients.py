"""Ids that name nobody, ids in paths, and one patient in two spellings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cxrlearn.data.manifest import Manifest, read_manifest
from cxrlearn.data.patients import (
    FROM_PATH,
    crowded,
    nameless,
    names_nobody,
    other_spellings,
    patients_of_paths,
)

if TYPE_CHECKING:
    from pathlib import Path


def _manifest(folder: Path, patients: list[str], name: str = "train") -> Manifest:
    file = folder / f"{name}.csv"
    rows = [f'{name}{at}.png,"{patient}"' for at, patient in enumerate(patients)]
    file.write_text("\n".join(["Path,patient_id", *rows]) + "\n", encoding="utf-8")
    return read_manifest(file, name=name)


@pytest.mark.parametrize(
    "patient",
    ["NA", "n/a", "#N/A", "NULL", "None", "nan", "unknown", "UNKNOWN", " Missing ", "-", "--", ".",
     "?", "anonymous", "Anonymized", "1.2E+11", "1,2E+11", "1.23457E+12", "1e+20", "####", "-1"],
)  # fmt: skip
def test_words_for_nobody_are_no_patients(tmp_path: Path, patient: str) -> None:
    manifest = _manifest(tmp_path, [patient, "7", "", patient])

    assert names_nobody(patient)
    assert list(manifest.patients) == [None, "7", None, None]
    assert nameless(manifest) == {patient.strip(): 2, "": 1} or patient == "nan"


def test_accents_in_ids_have_one_form(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, ["J\u00f6rg 1", "Jo\u0308rg 1"])

    assert len({*manifest.patients}) == 1


@pytest.mark.parametrize(
    "patient", ["0", "00012", "P7", "5e10", "12E45", "1.2.840.113", "Nadia", "NA12", "1385.0", "x1"]
)
def test_ids_are_left_alone(tmp_path: Path, patient: str) -> None:
    assert list(_manifest(tmp_path, [patient]).patients) == [patient]


@pytest.mark.parametrize(
    ("patients", "found"),
    [
        (["0"] * 45 + [f"P{at // 2}" for at in range(45)], {"0": 45}),
        (["999"] * 12 + [f"P{at}" for at in range(78)], {"999": 12}),
        (["0"] * 501 + [f"P{at}" for at in range(100_000)], {"0": 501}),
        (["P1"] * 184 + [f"P{at // 4}" for at in range(100_000)], {}),  # the most in NIH
        ([f"P{at % 3}" for at in range(90)], {}),
        (["P1"] * 9 + [f"Q{at}" for at in range(20)], {}),
        ([], {}),
    ],
)
def test_an_id_with_very_many_rows_is_told(patients: list[str], found: dict[str, int]) -> None:
    assert crowded(patients) == found


@pytest.mark.parametrize(
    ("train", "test", "example"),
    [
        ("1385", "1385.0", ("1385", "1385.0")),
        ("1385", "00001385", ("1385", "00001385")),
        ("P1385", "p1385", ("P1385", "p1385")),
        ("P1385", "P 1385", ("P1385", "P 1385")),
        ("1385.0", "01385", ("1385.0", "01385")),
        ("0", "000", ("0", "000")),
        ("12", "12,0", ("12", "12,0")),
        ("patient00027", "27", ("patient00027", "27")),
        ("P27", "27", ("P27", "27")),
    ],
)
def test_one_patient_in_two_spellings_is_found(
    tmp_path: Path, train: str, test: str, example: tuple[str, str]
) -> None:
    sets = {
        "train": _manifest(tmp_path, ["a", "a", train, train]),
        "test": _manifest(tmp_path, [test, "a", "b"], "test"),
    }

    (found,) = other_spellings(sets)

    assert (found.a, found.b, found.patients, found.example) == ("train", "test", 1, example)


def test_two_spellings_in_one_set_are_found(tmp_path: Path) -> None:
    (found,) = other_spellings({"train": _manifest(tmp_path, ["7", "07", "8"])})

    assert (found.a, found.b, found.patients, found.example) == ("train", "train", 1, ("07", "7"))


@pytest.mark.parametrize(
    ("train", "test"), [("12", "112"), ("P1", "P10"), ("1.5", "15"), ("a", "a")]
)
def test_different_ids_are_no_spellings(tmp_path: Path, train: str, test: str) -> None:
    sets = {
        "train": _manifest(tmp_path, [train]),
        "test": _manifest(tmp_path, [test], "test"),
    }

    assert other_spellings(sets) == []


@pytest.mark.parametrize(
    ("path", "patient"),
    [
        ("CheXpert-v1.0-small/train/patient00027/study1/view1_frontal.jpg", "patient00027"),
        ("Patient_12/a.png", "Patient_12"),
        ("files/p10/p10000032/s50414267/02aa804e.jpg", "p10000032"),
        ("images_001/images/00000013_026.png", "00000013"),
        ("sub-01/ses-1/img.png", "sub-01"),
        ("subject7_view2.png", "subject7"),
        ("images/film000.jpg", None),
        ("p10/a.jpg", None),
        ("patients/a1.png", None),
        ("20240101_12.png", None),
    ],
)
def test_ids_are_found_in_paths_of_known_layouts(
    tmp_path: Path, path: str, patient: str | None
) -> None:
    file = tmp_path / "all.csv"
    file.write_text(f"Path,Edema\n{path},1\n")

    manifest = read_manifest(file, name="all")
    off = read_manifest(file, name="all", patient_column="none")

    assert list(manifest.patients) == [patient]
    assert manifest.columns.patient == (None if patient is None else FROM_PATH)
    assert any("patients are taken from the paths" in one for one in manifest.notices) == (
        patient is not None
    )
    file.write_text(f"Path,patient_id\n{path},NA\n")
    assert list(read_manifest(file, name="all").patients) == [patient]
    assert list(off.patients) == [None]
    assert off.columns.patient is None


def test_paths_of_two_layouts_say_nothing() -> None:
    assert patients_of_paths(["patient1/a.png", "other/b.png"]) is None


def test_sex_and_view_have_one_spelling(tmp_path: Path) -> None:
    file = tmp_path / "all.csv"
    rows = ["a.png,M,pa", "b.png, male ,PA", "c.png,m,Postero-Anterior", "d.png,FEMALE,lat",
            "e.png,unknown,Lateral", "f.png,,N/A"]  # fmt: skip
    file.write_text("\n".join(["Path,sex,view", *rows]) + "\n")

    manifest = read_manifest(file, name="all")

    assert list(manifest.column("sex")) == ["M", "M", "M", "F", None, None]
    assert list(manifest.column("view")) == ["PA", "PA", "PA", "LATERAL", "LATERAL", None]
    assert list(manifest.table["sex"]) == ["M", "male", "m", "FEMALE", "unknown", None]
