from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cxrlearn.features import rows
from cxrlearn.features.parts import PartWriter, Row, parts_folder, usable_parts
from cxrlearn.features.plan import (
    Catalogue,
    Image,
    image_at,
    images_to_embed,
    unique_images,
    without_unreadable,
)
from cxrlearn.features.rows import Contents, Index, SeenContents, empty_index, place_of
from cxrlearn.features.store import read_index
from tests.support.feature_files import FINGERPRINT, features_of
from tests.support.tiny_backbone import make_image

TIME = 1_700_000_000_123_456_789


def image(root: Path, name: str, content: str, *, mtime_ns: int = TIME) -> Image:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return Image(name, str(root))


def indexed(folder: Path, images: list[Image]) -> Index:
    """Return the index of a file that was made from these images as they are now."""
    writer = PartWriter(parts_folder(folder / "x.h5"), FINGERPRINT, {})
    for number, one in enumerate(images):
        path = Path(one.path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest().encode()
        size, mtime_ns = path.stat().st_size, path.stat().st_mtime_ns
        place = place_of(one.path)
        writer.add(Row(one.image_id, digest, size, mtime_ns, place), features_of(number))
    writer.close_part()
    return read_index(usable_parts(folder / "x.h5")[0][0][0])


def todo(images: list[Image], index: Index, *, verify_content: bool = False) -> list[Image]:
    return images_to_embed(images, Catalogue(index), verify_content=verify_content)


def test_without_a_file_everything_is_to_do(tmp_path: Path) -> None:
    images = [image(tmp_path, "a.png", "a"), image(tmp_path, "b.png", "b")]
    assert todo(images, empty_index()) == images


def test_unchanged_images_are_not_to_do(tmp_path: Path) -> None:
    images = [image(tmp_path, "a.png", "a"), image(tmp_path, "b.png", "b")]
    index = indexed(tmp_path, images)
    assert todo(images, index) == []
    new = image(tmp_path, "c.png", "c")
    assert todo([*images, new], index) == [new]


@pytest.mark.parametrize(
    ("content", "mtime_ns"), [("aa", TIME), ("b", TIME + 1), ("a", TIME - 1)], ids=str
)
def test_an_edited_or_touched_image_is_to_do(tmp_path: Path, content: str, mtime_ns: int) -> None:
    index = indexed(tmp_path, [image(tmp_path, "a.png", "a")])
    changed = image(tmp_path, "a.png", content, mtime_ns=mtime_ns)
    assert todo([changed], index) == [changed]


def test_a_missing_image_is_to_do_so_that_it_is_reported(tmp_path: Path) -> None:
    gone = image(tmp_path, "a.png", "a")
    index = indexed(tmp_path, [gone])
    Path(gone.path).unlink()
    assert todo([gone, Image("nul\0.png", str(tmp_path))], index)[0] == gone


def test_verify_content_finds_an_edit_that_kept_size_and_time(tmp_path: Path) -> None:
    index = indexed(tmp_path, [image(tmp_path, "a.png", "a"), image(tmp_path, "b.png", "b")])
    edited = image(tmp_path, "a.png", "x")
    same = Image("b.png", str(tmp_path))
    assert todo([edited, same], index) == []
    assert todo([edited, same], index, verify_content=True) == [edited]


def test_two_datasets_with_equal_names_sizes_and_times_are_told_apart(tmp_path: Path) -> None:
    first = image(tmp_path / "nih", "images/1.bmp", "one")
    second = image(tmp_path / "covid", "images/1.bmp", "two")
    index = indexed(tmp_path, [first])
    assert todo([first, second], index) == [second]
    catalogue = Catalogue(indexed(tmp_path / "both", [first, second]))
    assert sorted(catalogue.rows([first, second]).tolist()) == [0, 1]
    assert catalogue.rows([first])[0] != catalogue.rows([second])[0]


def test_one_content_in_two_datasets_settles(tmp_path: Path) -> None:
    # 564 images of the two real datasets are equal in name and content, but not in time.
    first = image(tmp_path / "nih", "1.png", "same")
    second = image(tmp_path / "covid", "1.png", "same", mtime_ns=TIME + 9)
    index = indexed(tmp_path, [first, second])
    assert todo([first, second], index) == []


def test_an_edited_and_restored_image_finds_its_old_row(tmp_path: Path) -> None:
    one = image(tmp_path, "a.png", "first")
    index = indexed(tmp_path, [one])
    image(tmp_path, "a.png", "second", mtime_ns=TIME + 1)
    assert Catalogue(index).rows([one]).tolist() == [-1]
    image(tmp_path, "a.png", "first", mtime_ns=TIME + 2)
    assert Catalogue(index).rows([one]).tolist() == [0]  # found by its content


def test_rows_are_found_by_id_and_content_and_never_by_one_alone(tmp_path: Path) -> None:
    images = [image(tmp_path, "a.png", "a"), image(tmp_path, "b.png", "b")]
    catalogue = Catalogue(indexed(tmp_path, images))
    other = tmp_path / "elsewhere"
    moved = [image(other, "b.png", "b"), image(other, "a.png", "other"), image(other, "c.png", "a")]
    assert catalogue.rows(moved).tolist() == [1, -1, -1]


def test_an_image_that_is_gone_from_its_place_keeps_its_row(tmp_path: Path) -> None:
    images = [image(tmp_path, name, name) for name in ("a.png", "b.png", "c.png")]
    index = indexed(tmp_path, images)
    Path(images[1].path).unlink()
    catalogue = Catalogue(index)
    assert catalogue.rows(images).tolist() == [0, 1, 2]
    assert catalogue.not_on_disk == {"b.png"}
    assert Catalogue(index).rows([Image("x.png", str(tmp_path))]).tolist() == [-1]


def test_features_without_any_of_their_images_are_found_by_name(tmp_path: Path) -> None:
    index = indexed(tmp_path, [image(tmp_path, name, name) for name in ("a.png", "b.png")])
    there = [Image(name, "/another/machine") for name in ("b.png", "new.png", "a.png")]
    catalogue = Catalogue(index)
    assert catalogue.rows(there).tolist() == [1, -1, 0]
    assert catalogue.not_on_disk == {"a.png", "b.png"}


def test_an_image_missing_among_others_is_not_taken_from_another_dataset(tmp_path: Path) -> None:
    index = indexed(tmp_path, [image(tmp_path / "nih", name, name) for name in ("a.png", "b.png")])
    covid = [image(tmp_path / "covid", "a.png", "other"), Image("b.png", str(tmp_path / "covid"))]
    assert Catalogue(index).rows(covid).tolist() == [-1, -1]


def test_of_two_contents_of_one_name_the_one_last_seen_here_is_taken(tmp_path: Path) -> None:
    first = image(tmp_path, "a.png", "first")
    writer = PartWriter(parts_folder(tmp_path / "x.h5"), FINGERPRINT, {})
    place = place_of(first.path)
    for number, (digest, mtime_ns) in enumerate([(b"0" * 64, 9), (b"1" * 64, 5)]):
        writer.add(Row("a.png", digest, 5, mtime_ns, place), features_of(number))
    writer.close_part()
    index = read_index(usable_parts(tmp_path / "x.h5").usable[0][0])
    Path(first.path).unlink()
    assert Catalogue(index).rows([first]).tolist() == [0]
    assert Catalogue(index).rows([Image("a.png", "/elsewhere")]).tolist() == [-1]  # which one?


def test_images_are_taken_once_in_order_of_their_ids() -> None:
    a, b = Image("a.png", "x"), Image("b.png", "x")
    again, elsewhere = Image("a.png", "x"), Image("a.png", "y")
    assert unique_images([b, a, elsewhere, again]) == [a, elsewhere, b]


def test_a_path_is_kept_only_where_root_and_id_do_not_give_it() -> None:
    assert image_at("a/b.png", "root", str(Path("root", "a/b.png"))) == Image("a/b.png", "root")
    odd = image_at("é.png", "root", "root/e\u0301.png")
    assert odd.path == "root/e\u0301.png"
    assert image_at("/else/a.png", "root", "/else/a.png").path == "/else/a.png"


def test_a_place_does_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of("a/b.png") == place_of(str(tmp_path / "a/b.png"))
    assert place_of("a/b.png") != place_of("b/a.png")


def test_contents_find_the_first_row_of_a_hash() -> None:
    digests = [hashlib.sha256(bytes([n])).hexdigest().encode() for n in (5, 1, 5, 3)]
    contents = Contents(np.array(digests, dtype="S64"))
    assert [contents.find(digest) for digest in digests] == [0, 1, 0, 3]
    assert contents.find(b"0" * 64) is None
    assert contents.find(b"f" * 64) is None
    assert digests[0] in contents
    assert "text" not in contents
    assert Contents(np.empty(0, dtype="S64")).find(digests[0]) is None


def test_a_growing_set_of_contents_knows_what_was_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "SEEN_AT_ONCE", 3)
    digests = [f"{number * 2**224:064x}".encode() for number in range(20)]  # they end in zeros
    seen = SeenContents()
    for number, digest in enumerate(digests):
        assert digest not in seen
        seen.add(digest)
        assert all(one in seen for one in digests[: number + 1])
    assert b"f" * 64 not in seen


def test_images_that_failed_before_are_tried_again(tmp_path: Path) -> None:
    make_image(tmp_path / "mended.png", 1)
    bad = image(tmp_path, "bad.png", "still no picture")
    new = image(tmp_path, "new.png", "not tried here")
    images = [bad, Image("mended.png", str(tmp_path)), Image("none.png", str(tmp_path)), new]
    kept, failed = without_unreadable(images, {"bad.png", "mended.png"}, "percentile")
    assert [one.image_id for one in kept] == ["mended.png", "new.png"]
    assert set(failed) == {"bad.png", "none.png"}
    assert failed["none.png"] == "file not found"
    assert "not an image" in failed["bad.png"]


@pytest.mark.slow
def test_planning_imports_no_torch() -> None:
    script = (
        "import sys, cxrlearn.workflows.embed, cxrlearn.features.plan, cxrlearn.features.merging; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_two_files_of_one_id_are_two_images_in_a_fixed_order() -> None:
    plain = Image("r\u00f6nt.png", "img")
    spelled = Image("r\u00f6nt.png", "img", "img/ro\u0308nt.png")

    assert unique_images([spelled, plain, spelled]) == [plain, spelled]
    assert unique_images([plain, spelled]) == [plain, spelled]
