"""Manifests: identity of images, the parts columns play, repeats, and folders."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from cxrlearn.data.images import read_radiograph
from cxrlearn.data.labels import LabelPolicy, define_task, read_labels
from cxrlearn.data.manifest import Manifest, read_manifest, scan_folder
from cxrlearn.data.missing_images import missing_images_hint
from cxrlearn.errors import DataError, UnreadableImageError
from tests.support.shared import shared_path


def _read(folder: Path, text: str, **options: object) -> Manifest:
    file = folder / "train.csv"
    file.write_text(text, encoding="utf-8")
    return read_manifest(file, name="train", **options)  # type: ignore[arg-type]


def test_rows_keep_their_order_and_their_numbers(tmp_path: Path) -> None:
    manifest = _read(tmp_path, "Path,patient_id,Edema\nb.png,2,1\n\na.png,1,\n")

    assert len(manifest) == 2
    assert manifest.name == "train"
    assert manifest.image_ids == ("b.png", "a.png")
    assert manifest.paths == (tmp_path / "b.png", tmp_path / "a.png")
    assert manifest.rows == (2, 4)
    assert manifest.column("Edema").tolist() == ["1", None]
    assert manifest.image_root == tmp_path
    assert manifest.notices == ()


def test_patient_ids_are_text(tmp_path: Path) -> None:
    manifest = _read(tmp_path, "Path,Patient ID\na.png,00012\nb.png,12\nc.png,\n")

    assert manifest.patients.tolist() == ["00012", "12", None]


def test_patients_can_be_turned_off(tmp_path: Path) -> None:
    text = "Path,patient_id\na.png,1\n"

    assert _read(tmp_path, text, patient_column="none").patients.tolist() == [None]
    assert _read(tmp_path, text).columns.patient == "patient_id"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("image,Path", "Path"),
        ("PATH,x", "PATH"),
        ("x,filename", "filename"),
        ("x,Image Index", "Image Index"),
        ("x,image_path", "image_path"),
    ],
)
def test_path_column_is_found_by_a_list_of_names(
    tmp_path: Path, header: str, expected: str
) -> None:
    manifest = _read(tmp_path, f"{header}\na.png,b.png\n")

    assert manifest.columns.path == expected
    said = [f"{tmp_path / 'train.csv'}: image paths are those of column {expected!r}."]
    assert list(manifest.notices) == ([] if expected == "Path" else said)


def test_roles_of_published_files_are_found(tmp_path: Path) -> None:
    nih = "Image Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position"
    roles = _read(tmp_path, f"{nih}\na.png,x,1,61,F,PA\n").columns

    assert (roles.patient, roles.age, roles.sex, roles.view) == (
        "Patient ID",
        "Patient Age",
        "Patient Gender",
        "View Position",
    )
    assert roles.split is None
    chexpert = "Path,Sex,Age,Frontal/Lateral,AP/PA,split"
    roles = _read(tmp_path, f"{chexpert}\na.png,F,61,Frontal,AP,train\n").columns
    assert (roles.view, roles.split, roles.patient) == ("AP/PA", "split", None)


def test_columns_can_be_named(tmp_path: Path) -> None:
    manifest = _read(
        tmp_path,
        "dicom,who,fold,site\na.png,1,test,A\n",
        path_column="dicom",
        patient_column="who",
        split_column="fold",
        subgroups=("site",),
    )

    roles = manifest.columns
    assert (roles.path, roles.patient, roles.split, roles.subgroups) == (
        "dicom",
        "who",
        "fold",
        ("site",),
    )


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [
        ("path_column", "Pathh", "--path-column"),
        ("patient_column", "Patient", "--patient-column"),
        ("split_column", "folds", "--split-column"),
        ("subgroups", ("patien",), "--subgroup"),
    ],
)
def test_a_column_that_is_not_there_gets_a_suggestion(
    tmp_path: Path, option: str, value: object, name: str
) -> None:
    with pytest.raises(DataError, match=rf"train\.csv: {name} names '.*'\. Did you mean .*\?") as e:
        _read(tmp_path, "Path,patient,fold\na.png,1,test\n", **{option: value})

    assert str(e.value).endswith("The columns are 'Path', 'patient', 'fold'.")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n1,x/1.dcm\n2,y/2.dcm\n", "Column 'b' looks like it: --path-column 'b'"),
        ("a,b\n1,2\n", r"Name it with --path-column\. The columns are 'a', 'b'\."),
        ("Path:Edema\na.png:1\n", "It has one column only: separate cells by comma, semicolon"),
    ],
)
def test_without_a_column_of_paths_the_way_out_is_said(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(DataError, match=f"has no column of image paths.*{sentence}"):
        _read(tmp_path, text)


def test_blank_paths_and_urls_are_listed_together(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        _read(tmp_path, "Path,x\n,1\na.png,1\nhttps://a.org/b.png,1\n")

    file = tmp_path / "train.csv"
    assert str(caught.value).splitlines() == [
        f"{file}, row 2, column 'Path': blank; every row needs the path of an image",
        f"{file}, row 4, column 'Path': 'https://a.org/b.png' is a URL; images have to be files",
    ]


def test_labels_are_nobodys_business_here(tmp_path: Path) -> None:
    assert len(_read(tmp_path, "Path,Edema\na.png,maybe\n")) == 1


def test_an_image_root_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--image-root .*gone: no such folder\."):
        _read(tmp_path, "Path\na.png\n", image_root=tmp_path / "gone")


@pytest.mark.parametrize(
    ("written", "identity"),
    [
        ("images/a.png", "images/a.png"),
        ("./images//a.png", "images/a.png"),
        ("images/../a.png", "a.png"),
        ("images\\sub\\a.png", "images/sub/a.png"),
        ("a, b & (c).png", "a, b & (c).png"),
    ],
)
def test_spellings_of_a_path_are_one_image(tmp_path: Path, written: str, identity: str) -> None:
    manifest = _read(tmp_path, f'Path\n"{written}"\n')

    assert manifest.image_ids == (identity,)


def test_absolute_paths_are_relative_to_the_root_where_they_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    text = f"Path\n{root}/images/a.png\n{tmp_path}/data2/b.png\n../c.png\n"

    manifest = _read(tmp_path, text, image_root=root)

    expected = (
        "images/a.png",
        f"{tmp_path.as_posix()}/data2/b.png",
        f"{tmp_path.as_posix()}/c.png",
    )
    assert manifest.image_ids == expected
    assert manifest.paths[0] == root / "images/a.png"
    monkeypatch.chdir(tmp_path)
    assert _read(Path(), text, image_root="data").image_ids == expected


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_accents_are_found_in_either_spelling_under_one_id(
    tmp_path: Path, written: str, stored: str
) -> None:
    (tmp_path / unicodedata.normalize(stored, "röntgen.png")).touch()  # type: ignore[arg-type]

    manifest = _read(tmp_path, f"Path\n{unicodedata.normalize(written, 'röntgen.png')}\n")  # type: ignore[arg-type]

    assert manifest.image_ids == (unicodedata.normalize("NFC", "röntgen.png"),)
    assert manifest.paths[0].exists()


def test_exact_repeats_count_once(tmp_path: Path) -> None:
    manifest = _read(tmp_path, "Path,Edema\na.png,1\nb.png,0\n./a.png,1\na.png,0\nb.png,0\n")

    assert manifest.image_ids == ("a.png", "b.png", "a.png")
    assert manifest.rows == (2, 3, 5)
    assert manifest.duplicates == 2
    assert manifest.notices == (f"{tmp_path / 'train.csv'}: 2 exact repeats of rows left out.",)


def test_selected_rows_keep_everything_in_step(tmp_path: Path) -> None:
    whole = _read(tmp_path, "Path,patient,Edema\na.png,1,0\nb.png,2,1\nc.png,3,\n")

    part = whole.select([2, 0], name="part")

    assert part.name == "part"
    assert part.image_ids == ("c.png", "a.png")
    assert part.paths == (tmp_path / "c.png", tmp_path / "a.png")
    assert part.rows == (4, 2)
    assert part.patients.tolist() == ["3", "1"]
    assert part.column("Edema").tolist() == [None, "0"]
    assert len(whole) == 3


def test_a_folder_is_scanned_in_order_without_side_files(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.dcm", "a.JPG", "CR-1", "._a.JPG", ".hidden/x.png", "n.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "x.png").touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)

    manifest = scan_folder(tmp_path)

    assert manifest.image_ids == ("CR-1", "a.JPG", "b/10.dcm", "b/2.png")
    assert manifest.paths[2] == tmp_path / "b/10.dcm"
    assert manifest.file is None
    assert manifest.patients.tolist() == [None] * 4
    assert manifest.notices == ()


def test_a_linked_folder_of_images_is_entered(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").touch()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "images").symlink_to(tmp_path / "elsewhere")

    assert scan_folder(tmp_path / "here").image_ids == ("images/a.png",)


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()

    with pytest.raises(DataError, match=r"--images .*: no images in this folder or below\."):
        scan_folder(tmp_path)
    with pytest.raises(DataError, match=r"--images .*gone: no such folder\."):
        scan_folder(tmp_path / "gone")
    with pytest.raises(DataError, match=r"is a file\. For a manifest: --csv .*train\.csv"):
        scan_folder(tmp_path / "train.csv")


def test_a_wrong_image_root_is_told_with_the_right_one(tmp_path: Path) -> None:
    tmp_path = tmp_path / "data" / "study"  # folders beside it are searched too
    tmp_path.mkdir(parents=True)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    (tmp_path / "csv").mkdir()

    below = _read(tmp_path, "Path\na.png\nb.png\n")
    beside = _read(tmp_path / "csv", "Path\nimages/a.png\n")
    prefixed = _read(tmp_path, "Path\nCheXpert-v1.0/images/a.png\n")
    lost = _read(tmp_path, "Path\nx.png\n")

    assert str(missing_images_hint(below)).endswith(f"--image-root {tmp_path / 'images'}.")
    assert str(missing_images_hint(beside)).endswith(f"--image-root {tmp_path}.")
    assert str(missing_images_hint(prefixed)).endswith(": --path-prefix 'CheXpert-v1.0/='.")
    assert "--path-prefix" in str(missing_images_hint(prefixed))
    assert "say with --image-root" in str(missing_images_hint(lost))
    assert missing_images_hint(_read(tmp_path, "Path\nimages/a.png\nb.png\n")) is None


@pytest.mark.shared
def test_shared_manifests_are_read(tmp_path: Path) -> None:
    nih = read_manifest(shared_path("data/nih/train.csv"), name="train")
    oddities = read_manifest(shared_path("data/oddities/oddities.csv"), name="oddities")

    assert len(nih) == 573
    assert len({*nih.patients}) == 448
    assert (nih.columns.patient, nih.columns.sex, nih.columns.age, nih.columns.view) == (
        "patient_id",
        "sex",
        "age",
        "view",
    )
    assert all(path.is_file() for path in nih.paths)
    assert "röntgen_胸部_№7.jpg" in oddities.image_ids
    missing = [path.name for path in oddities.paths if not path.exists()]
    assert missing == ["does_not_exist.png"]


@pytest.mark.shared
def test_original_defect_s1_an_unreadable_image_shifts_no_label(tmp_path: Path) -> None:
    """The original kept labels of images it had skipped, so all later ones were a row off."""
    folder = shared_path("data/oddities")
    csv = "Path,Edema\ntiny_224.png,1\ntruncated.jpg,0\nwide_952x624.jpg,1\n"
    manifest = _read(tmp_path, csv, image_root=folder)
    labels = read_labels(manifest, define_task(manifest, ["Edema"], LabelPolicy()))

    decoded = {}
    for identity, path, value in zip(
        manifest.image_ids, manifest.paths, labels.values[:, 0], strict=True
    ):
        try:
            read_radiograph(path)
        except UnreadableImageError:
            continue
        decoded[identity] = int(value)

    assert decoded == {"tiny_224.png": 1, "wide_952x624.jpg": 1}


def test_original_defect_s8_an_edited_csv_is_read_anew(tmp_path: Path) -> None:
    """The original kept a copy of the data by the name of the set only."""
    before = _read(tmp_path, "Path,Edema\na.png,1\n")
    after = _read(tmp_path, "Path,Edema\na.png,0\nb.png,1\n")

    assert before.column("Edema").tolist() == ["1"]
    assert after.column("Edema").tolist() == ["0", "1"]


def test_reading_a_manifest_opens_no_image(tmp_path: Path) -> None:
    manifest = _read(tmp_path, "Path\ngone.png\n")

    assert not manifest.paths[0].exists()
