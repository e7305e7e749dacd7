"""Synthetic films: findings can be seen, files decode, splits and labels are consistent."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrlearn.data.synthetic.cohort import draw_cohort
from cxrlearn.data.synthetic.dataset import COLUMNS, DemoDataset, write_demo_dataset
from cxrlearn.data.synthetic.film import make_radiograph
from cxrlearn.data.synthetic.formats import (
    WRITERS,
    write_dicom1,
    write_dicom2,
    write_jpeg,
    write_png8,
    write_png16,
    write_tiff16,
)
from cxrlearn.data.synthetic.traits import FINDINGS, PatientTraits

SIZE = (160, 160)
PATIENT = PatientTraits()


def film(findings: dict[str, float] | frozenset[str], seed: int = 3) -> np.ndarray:
    return make_radiograph(np.random.default_rng(seed), findings, PATIENT, SIZE)


def auroc(positive: list[float], negative: list[float]) -> float:
    """Share of correctly ordered pairs."""
    return float(np.mean([[p > n for n in negative] for p in positive]))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoDataset:
    return write_demo_dataset(tmp_path_factory.mktemp("demo"), n_images=40, seed=5)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def all_rows(demo: DemoDataset) -> list[dict[str, str]]:
    return [row for path in (demo.train_csv, demo.val_csv, demo.test_csv) for row in rows_of(path)]


def test_a_film_is_dark_in_the_lungs_and_bright_in_the_middle() -> None:
    picture = film({})
    assert picture.dtype == np.float32
    assert picture.shape == SIZE
    assert 0 <= picture.min() < picture.max() <= 1
    lung, spine = picture[55:90, 35:55].mean(), picture[55:90, 75:85].mean()
    assert spine > lung + 0.3


def test_corners_outside_the_body_are_black() -> None:
    assert film({})[-20:-10, :6].mean() < 0.2


@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_changes_its_place_and_leaves_the_rest_of_the_film_alone(name: str) -> None:
    # Findings draw from streams of their own, so the same seed shows the same chest without it.
    change = np.abs(film({name: 0.9}) - film({}))
    assert change.max() > 0.03
    assert np.median(change) < 0.005


@pytest.mark.parametrize("name", ["Cardiomegaly", "Effusion", "Opacity", "Nodule", "Device"])
def test_a_shadow_makes_the_film_brighter_where_it_lies(name: str) -> None:
    change = film({name: 0.9}) - film({})
    assert change[np.abs(change) > 0.05].mean() > 0


def test_a_pneumothorax_takes_the_vessels_away() -> None:
    # Air without vessels: darker than lung on the whole, but for the thin line of the pleura.
    change = film({"Pneumothorax": 1.0}) - film({})
    assert change[np.abs(change) > 0.01].mean() < 0


def test_a_graver_finding_changes_more() -> None:
    for name in ("Cardiomegaly", "Effusion", "Opacity", "Nodule"):
        mild, grave = (np.abs(film({name: grade}) - film({})).sum() for grade in (0.1, 0.9))
        assert grave > mild, name


def test_region_brightness_tells_easy_findings_apart_across_patients() -> None:
    cases = draw_cohort(60, 11)
    seen: dict[str, dict[bool, list[float]]] = {
        name: {True: [], False: []} for name in ("Cardiomegaly", "Effusion")
    }
    for case in cases:
        picture = case.draw((96, 96))
        lung = picture[30:45, 20:32].mean()
        beside_heart = picture[50:62, 58:70].mean() - lung
        angles = max(picture[58:66, 14:22].mean(), picture[58:66, 74:82].mean()) - lung
        seen["Cardiomegaly"]["Cardiomegaly" in case.findings].append(float(beside_heart))
        seen["Effusion"]["Effusion" in case.findings].append(float(angles))
    assert auroc(seen["Cardiomegaly"][True], seen["Cardiomegaly"][False]) > 0.8
    assert auroc(seen["Effusion"][True], seen["Effusion"][False]) > 0.65


def test_several_findings_add_up_on_one_film() -> None:
    both = film({"Device": 0.8, "Nodule": 0.8})
    device, nodule = film({"Device": 0.8}), film({"Nodule": 0.8})
    assert np.abs(both - device).max() > 0.03
    assert np.abs(both - nodule).max() > 0.03


def test_a_set_of_names_draws_the_severities() -> None:
    assert np.abs(film(frozenset({"Effusion"})) - film({})).max() > 0.03


def test_equal_seeds_give_equal_pixels_and_others_do_not() -> None:
    np.testing.assert_array_equal(film({"Opacity": 0.5}), film({"Opacity": 0.5}))
    assert not np.array_equal(film({"Opacity": 0.5}), film({"Opacity": 0.5}, seed=4))


def test_view_and_sex_change_the_same_patients_film() -> None:
    films = [
        make_radiograph(np.random.default_rng(1), {}, traits, SIZE)
        for traits in (PatientTraits(), PatientTraits(sex="F"), PatientTraits(view="AP"))
    ]
    assert np.abs(films[0] - films[1]).max() > 0.05
    assert np.abs(films[0] - films[2]).max() > 0.05


@pytest.mark.parametrize(
    ("findings", "size"),
    [({"Fracture": 0.5}, SIZE), ({"Nodule": 1.5}, SIZE), ({}, (32, 160))],
)
def test_what_cannot_be_drawn_is_refused(findings: dict[str, float], size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"known|range|pixels"):
        make_radiograph(np.random.default_rng(0), findings, PATIENT, size)


def test_traits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="age"):
        PatientTraits(age=7)
    with pytest.raises(ValueError, match="view"):
        PatientTraits(view="LL")  # type: ignore[arg-type]


def test_a_larger_cohort_begins_with_the_smaller_one() -> None:
    small, large = draw_cohort(20, 2), draw_cohort(40, 2)
    assert small == large[:20]
    assert draw_cohort(20, 3) != small


def test_a_cohort_has_repeated_patients_several_findings_and_every_label() -> None:
    cases = draw_cohort(300, 0)
    assert len({case.patient_id for case in cases}) < 250
    assert max(len(case.findings) for case in cases) >= 3
    prevalence = np.mean([case.labels() for case in cases], axis=0)
    assert (prevalence > 0.05).all()
    assert (prevalence < 0.5).all()


def test_a_patients_lasting_findings_are_on_all_films() -> None:
    for name in ("Cardiomegaly", "Nodule"):
        by_patient: dict[str, set[bool]] = {}
        for case in draw_cohort(200, 4):
            by_patient.setdefault(case.patient_id, set()).add(name in case.findings)
        assert all(len(states) == 1 for states in by_patient.values())


def test_every_row_of_the_csvs_names_a_film_and_every_film_has_a_row(demo: DemoDataset) -> None:
    rows = all_rows(demo)
    files = {f"images/{path.name}" for path in (demo.folder / "images").iterdir()}
    assert {row["Path"] for row in rows} == files
    assert len(rows) == len(files) == demo.images == 40
    assert tuple(rows[0]) == COLUMNS


def test_no_patient_is_in_two_splits(demo: DemoDataset) -> None:
    train, val, test = (
        {row["patient_id"] for row in rows_of(path)}
        for path in (demo.train_csv, demo.val_csv, demo.test_csv)
    )
    assert train
    assert val
    assert test
    assert not train & val
    assert not train & test
    assert not val & test
    assert len(train | val | test) == demo.patients


def test_labels_in_the_csvs_are_those_the_films_were_drawn_with(demo: DemoDataset) -> None:
    truth = {f"{c.patient_id}_{c.number}": c for c in draw_cohort(40, 5)}
    for row in all_rows(demo):
        case = truth[Path(row["Path"]).stem]
        for name, label in zip(FINDINGS, case.labels(), strict=True):
            assert row[name] in {str(label), "", "-1"}
        assert (row["sex"], row["view"]) == (case.traits.sex, case.traits.view)
        assert row["age"] == f"{case.traits.age:.0f}"


def test_only_training_labels_are_blank_or_uncertain(tmp_path: Path) -> None:
    demo = write_demo_dataset(tmp_path, n_images=60, seed=8)
    odd = [
        sum(row[name] in {"", "-1"} for row in rows_of(path) for name in FINDINGS)
        for path in (demo.train_csv, demo.val_csv, demo.test_csv)
    ]
    assert odd[0] > 0
    assert odd[1:] == [0, 0]


def test_the_same_seed_writes_the_same_bytes(demo: DemoDataset, tmp_path: Path) -> None:
    again = write_demo_dataset(tmp_path, n_images=40, seed=5)

    def digests(folder: Path) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    assert digests(again.folder) == digests(demo.folder)


def test_the_demo_mixes_formats(demo: DemoDataset) -> None:
    suffixes = {path.suffix for path in (demo.folder / "images").iterdir()}
    assert suffixes == {suffix for _, suffix, _ in WRITERS}


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="12"):
        write_demo_dataset(tmp_path, n_images=3)


def test_progress_counts_every_film(tmp_path: Path) -> None:
    seen: list[int] = []
    write_demo_dataset(tmp_path, n_images=12, progress=seen.append)
    assert seen == list(range(1, 13))


def test_plain_pictures_decode_to_the_film(tmp_path: Path) -> None:
    picture = film({"Effusion": 0.7})
    for write, suffix, depth in (
        (write_png8, "png", 8),
        (write_jpeg, "jpg", 8),
        (write_png16, "png", 16),
        (write_tiff16, "tif", 16),
    ):
        path = tmp_path / f"{write.__name__}.{suffix}"
        write(picture, path)
        with Image.open(path) as opened:
            values = np.asarray(opened).astype(float)
        assert (values.max() > 255) == (depth == 16)
        assert np.corrcoef(values.ravel(), picture.ravel())[0, 1] > 0.995, path.name


def test_dicom_decodes_to_the_film_through_its_own_window(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    picture = film({"Device": 0.7})
    for write, photometric in ((write_dicom1, "MONOCHROME1"), (write_dicom2, "MONOCHROME2")):
        path = tmp_path / f"{photometric}.dcm"
        write(picture, path)
        header = pydicom.dcmread(path)
        assert header.PhotometricInterpretation == photometric
        low = float(header.WindowCenter) - float(header.WindowWidth) / 2
        shown = (header.pixel_array.astype(float) - low) / float(header.WindowWidth)
        bright = 1 - shown if photometric == "MONOCHROME1" else shown
        np.testing.assert_allclose(bright, picture, atol=1e-3)
