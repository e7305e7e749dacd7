"""The demo: what a stranger sees first."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Self

import pytest

from cxrlearn.errors import UsageError
from cxrlearn.workflows.demo import DemoResult, run_demo

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


class Listener:
    """Keeps what a workflow says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def notice(self, message: str) -> None:
        self.said.append(message)

    warning = notice

    def progress(self, title: str, total: int, *, unit: str = "images") -> Listener:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        pass

    def describe(self, text: str) -> None:
        pass


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    return run_demo(tmp_path_factory.mktemp("here") / "cxrlearn-demo", n_images=60)


def test_the_demo_embeds_and_probes_every_film_it_drew(first: DemoResult) -> None:
    assert not first.reused
    file = first.embedded.files[0]
    assert (file.rows, file.computed, file.failed) == (60, 60, {})
    rows = {split.name: split.used for split in first.probed.report.splits}
    assert sum(rows.values()) == 60
    assert set(rows) == {"train", "val", "test"}
    assert (first.folder / "runs/cxr-tiny-logreg/report.json").is_file()


def test_patients_of_the_demo_are_in_one_split_only(first: DemoResult) -> None:
    assert first.probed.report.overlaps == ()
    patients = []
    for split in ("train", "val", "test"):
        with (first.folder / f"{split}.csv").open(newline="") as file:
            patients.append({row["patient_id"] for row in csv.DictReader(file)})
    assert not patients[0] & patients[1]
    assert not patients[0] & patients[2]
    assert not patients[1] & patients[2]


def test_a_second_demo_reuses_the_films_and_their_features(first: DemoResult) -> None:
    films = {path: path.stat().st_mtime_ns for path in (first.folder / "images").iterdir()}
    report = first.folder / "runs/cxr-tiny-logreg/predictions-test.csv"
    before = report.read_bytes()
    listener = Listener()
    again = run_demo(first.folder, n_images=60, reporter=listener)
    assert again.reused
    assert any("from an earlier demo" in line for line in listener.said)
    assert again.embedded.files[0].unchanged == 60
    assert again.embedded.files[0].computed == 0
    assert {path: path.stat().st_mtime_ns for path in films} == films
    assert report.read_bytes() == before


def test_a_demo_that_was_interrupted_while_drawing_starts_over(tmp_path: Path) -> None:
    folder = tmp_path / "cxrlearn-demo"
    folder.mkdir()
    (folder / ".cxrlearn-demo").write_text("{}")
    (folder / "images").mkdir()
    (folder / "images/half.png").write_bytes(b"\x89PNG")
    result = run_demo(folder, n_images=24)
    assert not result.reused
    assert result.embedded.files[0].rows == 24


def test_a_folder_with_other_content_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "cxrlearn-demo"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="has content that no demo wrote, so it was left alone"):
        run_demo(folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_file_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cxrlearn-demo").write_text("precious")
    with pytest.raises(UsageError, match="is a file"):
        run_demo(tmp_path / "cxrlearn-demo")
