"""Paths that are nearly right: what the message says, and that its options find the images."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from cxrlearn.data.manifest import Manifest, read_manifest
from cxrlearn.data.missing_images import missing_images_hint
from cxrlearn.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [f"film{at:03}.jpg" for at in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Films in `study/img`, the CSV in `study/csv`."""
    for name in NAMES:
        file = tmp_path / "study" / "img" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (tmp_path / "study" / "csv").mkdir()
    return tmp_path / "study" / "csv"


def _read(folder: Path, paths: list[str], **options: str | None) -> Manifest:
    file = folder / "all.csv"
    rows = (f'"{path}"' if "," in path else path for path in paths)
    file.write_text("\n".join(["Path", *rows]) + "\n", encoding="utf-8")
    return read_manifest(file, name="all", **options)  # type: ignore[arg-type]


def _options(hint: str) -> dict[str, str | None]:
    """Return the options that a message offers."""
    words = shlex.split(hint.rpartition("): ")[2].rstrip("."))
    return {
        name.removeprefix("--").replace("-", "_"): value
        for name, value in zip(words[::2], words[1::2], strict=True)
    }


@pytest.mark.parametrize(
    ("written", "differs"),
    [
        ("../img/film000", "with the suffix .jpg, which the path lacks"),
        ("../img/film000.png", "with the suffix .jpg ("),
        ("../img/film000.jpeg", "with the suffix .jpg ("),
        ("../img/film000.JPG", "with the suffix .jpg ("),
        ("./../IMG/film000.jpg", "in a folder of other upper and lower case"),
        ("../IMG/film000.jpg", "in a folder of other upper and lower case"),
        ("/home/alice/data/film000.jpg", "in another folder"),
        ("/home/alice/data/img/film000.png", "in another folder and with the suffix .jpg ("),
        ("C:\\data\\films\\film000.jpg", "in another folder"),
        ("D:/data/img/film000", "in another folder and with the suffix .jpg, which the path"),
        ("train/film000.jpg", "in another folder"),
        ("film000.jpg", "in another folder"),
        ("film000", "in another folder and with the suffix .jpg, which the path lacks"),
        ("img/film000.jpg", "in another folder"),
        ("CheXpert-v1.0/img/film000.jpg", "in another folder"),
        ("'../img/film000'", "with the suffix .jpg"),
        ("file:///home/alice/img/film000.jpg", "in another folder"),
    ],
)
def test_the_options_that_a_message_offers_find_every_image(
    folder: Path, written: str, differs: str
) -> None:
    paths = [written.replace("film000", f"film{at:03}") for at in range(4)]
    hint = missing_images_hint(_read(folder, paths))

    assert hint is not None
    assert hint.startswith(f"{folder / 'all.csv'}: none of 4 images looked at is there, such as ")
    assert f"the file is there {differs}" in hint
    mended = _read(folder, paths, **_options(hint))
    assert all(path.is_file() for path in mended.paths), mended.paths
    assert missing_images_hint(mended) is None


def test_paths_in_folders_of_patients_get_one_prefix(tmp_path: Path) -> None:
    paths = [f"p1{at}/s{at}/{at}.jpg" for at in range(3)]
    for path in paths:
        (tmp_path / "files" / path).parent.mkdir(parents=True)
        (tmp_path / "files" / path).touch()

    hint = missing_images_hint(_read(tmp_path, [f"/mnt/mimic/files/{path}" for path in paths]))

    assert hint is not None
    assert _options(hint) == {"path_prefix": "/mnt/mimic/="}


def test_names_in_another_case_are_told_without_an_option(folder: Path) -> None:
    hint = missing_images_hint(_read(folder, ["../img/Film000.jpg", "../img/Film001.jpg"]))

    assert hint is not None
    assert "in other upper and lower case" in hint
    assert hint.endswith("write the paths as the files are called.")


def test_a_part_of_the_images_is_told_where_it_is_found(folder: Path) -> None:
    paths = [*(f"../img/{name}" for name in NAMES), "../img/film002.PNG", "../img/gone.jpg"]

    hint = missing_images_hint(_read(folder, paths))

    assert hint is not None
    assert ": 2 images looked at are not there, such as " in hint
    assert missing_images_hint(_read(folder, [f"../img/{NAMES[0]}", "../img/gone.jpg"])) is None


def test_images_that_are_nowhere_ask_for_the_root(folder: Path) -> None:
    hint = missing_images_hint(_read(folder, ["x/1.png", "x/2.png"]))

    assert str(hint).endswith("say with --image-root which folder the paths start from.")


@pytest.mark.parametrize(
    ("written", "found", "notice"),
    [
        ("'../img/film000.jpg'", "../img/film000.jpg", "in quotes"),
        ("\u201c../img/film000.jpg\u201d", "../img/film000.jpg", "in quotes"),
        ("file:///data/a%20b.png", "/data/a b.png", "written as file://"),
        ("file://localhost/data/a.png", "/data/a.png", "written as file://"),
        ("FILE://img/a.png", "img/a.png", "written as file://"),
    ],
)
def test_quotes_and_file_urls_are_left_out_with_a_notice(
    folder: Path, written: str, found: str, notice: str
) -> None:
    manifest = _read(folder, [written])

    assert str(manifest.paths[0]) == str(folder / found)
    (said,) = manifest.notices
    assert said.startswith(f"{folder / 'all.csv'}: 1 image path is {notice}")


def test_a_drive_of_windows_after_file_is_kept(folder: Path) -> None:
    manifest = _read(folder, ["file:///C:/data/a.png"], path_prefix="C:\\data\\=img/")

    assert manifest.image_ids == ("img/a.png",)


def test_a_prefix_that_no_path_has_is_said(folder: Path) -> None:
    manifest = _read(folder, ["a.png"], path_prefix="/data/=")

    assert manifest.notices == (
        f"{folder / 'all.csv'}: --path-prefix '/data/=': no image path starts with '/data/'.",
    )


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("path_prefix", "/data", r"--path-prefix: expected OLD=NEW, such as"),
        ("path_suffix", ".", r"--path-suffix: expected a suffix such as \.png, got '\.'"),
    ],
)
def test_options_that_say_nothing_are_refused(
    folder: Path, option: str, value: str, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        _read(folder, ["a.png"], **{option: value})


@pytest.mark.parametrize(
    ("written", "suffix", "found"),
    [
        ("a", ".jpg", "a.jpg"),
        ("a.png", "jpg", "a.jpg"),
        ("a.PNG", ".png", "a.png"),
        ("1.2.840.113", ".dcm", "1.2.840.113.dcm"),
        ("b.v2/a", ".jpg", "b.v2/a.jpg"),
    ],
)
def test_a_suffix_is_added_or_replaces_that_of_another_format(
    folder: Path, written: str, suffix: str, found: str
) -> None:
    assert _read(folder, [written], path_suffix=suffix).image_ids == (found,)


def test_the_first_rows_are_those_of_the_file(folder: Path) -> None:
    file = folder / "all.csv"
    file.write_text("Path\na.png\na.png\nb.png\nhttp://x/c.png\n")

    manifest = read_manifest(file, name="all", limit=3)

    assert manifest.image_ids == ("a.png", "b.png")
