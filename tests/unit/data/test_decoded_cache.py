from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cxrlearn.data.decoded_cache import DecodedCache, ImageFile, open_cache
from cxrlearn.errors import DiskError

if TYPE_CHECKING:
    from numpy.typing import NDArray

RULE = {"steps": [{"step": "ResizeExact", "size": 24}], "intensity": "percentile"}
FILE = ImageFile("images/a.png", 1234, 5678)


def picture(seed: int = 0, shape: tuple[int, int] = (24, 20)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def cache(tmp_path: Path) -> DecodedCache:
    return open_cache(tmp_path / "cache", RULE)


def entry(cache: DecodedCache) -> Path:
    (found,) = [path for path in cache.folder.glob("*/*") if path.is_file()]
    return found


def test_what_was_put_in_comes_out_to_the_bit(cache: DecodedCache) -> None:
    assert cache.get(FILE) is None
    cache.put(FILE, picture())
    found = cache.get(FILE)
    assert found is not None
    assert found.dtype == np.uint8
    assert np.array_equal(found, picture())


def test_pictures_that_are_views_come_out_as_they_looked(cache: DecodedCache) -> None:
    turned = picture().T[::-1]
    cache.put(FILE, turned)
    assert np.array_equal(cache.get(FILE), turned)  # type: ignore[arg-type]


def test_pictures_are_mapped_and_cannot_be_written_to(cache: DecodedCache) -> None:
    cache.put(FILE, picture())
    found = cache.get(FILE)
    assert found is not None
    assert not found.flags.writeable
    assert not found.flags.owndata


def test_another_size_time_or_path_is_another_image(cache: DecodedCache) -> None:
    cache.put(FILE, picture())
    assert cache.get(FILE._replace(size=1235)) is None
    assert cache.get(FILE._replace(mtime_ns=5679)) is None
    assert cache.get(FILE._replace(path="images/b.png")) is None
    assert cache.get(FILE._replace(path=os.path.abspath("images/../images/a.png"))) is not None  # noqa: PTH100


def test_a_changed_file_takes_the_place_of_its_former_picture(cache: DecodedCache) -> None:
    for time in range(5):
        cache.put(FILE._replace(mtime_ns=time), picture(time))
    assert entry(cache).is_file()  # and no other
    assert cache.get(FILE._replace(mtime_ns=3)) is None
    assert np.array_equal(cache.get(FILE._replace(mtime_ns=4)), picture(4))  # type: ignore[arg-type]


def test_another_rule_is_another_cache(tmp_path: Path, cache: DecodedCache) -> None:
    cache.put(FILE, picture())
    other = open_cache(tmp_path / "cache", {**RULE, "intensity": "minmax"})
    assert other.folder != cache.folder
    assert other.get(FILE) is None
    reordered = dict(reversed(list(RULE.items())))
    assert open_cache(tmp_path / "cache", reordered).get(FILE) is not None


@pytest.mark.parametrize("place", [0, 9, 41, 50, 58, 63, 66, 70, -1])
def test_one_flipped_bit_anywhere_is_noticed_and_mended(cache: DecodedCache, place: int) -> None:
    cache.put(FILE, picture())
    content = bytearray(entry(cache).read_bytes())
    content[place] ^= 4
    entry(cache).write_bytes(content)
    assert cache.get(FILE) is None
    cache.put(FILE, picture())
    assert np.array_equal(cache.get(FILE), picture())  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [0, 1, 40, 100, -1])
def test_a_cut_file_counts_as_absent(cache: DecodedCache, length: int) -> None:
    cache.put(FILE, picture())
    entry(cache).write_bytes(entry(cache).read_bytes()[:length])
    assert cache.get(FILE) is None


def test_a_picture_of_swapped_sides_is_noticed(cache: DecodedCache) -> None:
    # Equal number of pixels, equal pixels: only the header tells them apart.
    cache.put(FILE, picture())
    content = entry(cache).read_bytes()
    high, wide = (24).to_bytes(4, "little"), (20).to_bytes(4, "little")
    assert content.count(high + wide) == 1
    entry(cache).write_bytes(content.replace(high + wide, wide + high))
    assert cache.get(FILE) is None


def _write_all(folder: Path, number: int, count: int) -> None:
    cache = open_cache(folder, RULE)
    for turn in range(count):
        image = FILE._replace(path=f"{(turn * (number + 1)) % count}.png")
        found = cache.get(image)
        expected = picture(int(Path(image.path).stem), (40, 40))
        if found is not None and not np.array_equal(found, expected):
            os._exit(3)
        cache.put(image, expected)


def test_eight_processes_may_write_the_same_pictures_at_once(tmp_path: Path) -> None:
    count = 41  # prime, so that every writer meets every picture
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=_write_all, args=(tmp_path, number, count)) for number in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 8
    cache = open_cache(tmp_path, RULE)
    for number in range(count):
        found = cache.get(FILE._replace(path=f"{number}.png"))
        assert np.array_equal(found, picture(number, (40, 40)))  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DiskError, match=r"cannot write .*Choose another --cache-dir, or none"):
        open_cache(tmp_path / "cache", RULE)


def test_a_picture_that_cannot_be_kept_is_a_disk_error(cache: DecodedCache) -> None:
    cache.put(FILE, picture())
    folder = entry(cache).parent
    entry(cache).unlink()
    folder.rmdir()
    folder.write_text("in the way")
    with pytest.raises(DiskError, match="cannot write"):
        cache.put(FILE, picture())
