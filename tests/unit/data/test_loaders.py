from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from cxrlearn.data import loaders
from cxrlearn.data.images import read_file
from cxrlearn.data.loaders import DecodeDataset, DecodedImage, ImageTask, decode_in_order
from cxrlearn.errors import HardwareError
from tests.support.tiny_backbone import make_image

if TYPE_CHECKING:
    from numpy.typing import NDArray


def whole(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels


def corner(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels[:2, :2]


def deadly(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    os.kill(os.getpid(), signal.SIGKILL)
    return pixels


def slow_at_first(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    time.sleep(0.15 if pixels[0, 0] == 0 else 0)
    return pixels


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    for number in range(13):
        make_image(tmp_path / f"{number:02d}.png", number)
    return sorted(str(path) for path in tmp_path.iterdir())


def dataset(paths: list[str], **changes: object) -> DecodeDataset:
    rules = changes.pop("rules", (whole,))
    wanted = changes.pop("wanted", tuple(range(len(rules))))  # type: ignore[arg-type]
    known = changes.pop("known", frozenset())
    tasks = [ImageTask(path, wanted) for path in paths]  # type: ignore[arg-type]
    return DecodeDataset(tasks, rules, known, "percentile")  # type: ignore[arg-type]


def decoded(one: DecodeDataset, workers: int = 0) -> list[DecodedImage]:
    return list(decode_in_order(one, workers=workers))


def test_an_image_is_hashed_and_decoded(images: list[str]) -> None:
    for position, image in enumerate(decoded(dataset(images))):
        path = Path(images[position])
        assert image.position == position
        assert image.content_hash.decode() == hashlib.sha256(path.read_bytes()).hexdigest()
        assert image.size == path.stat().st_size
        assert image.mtime_ns == path.stat().st_mtime_ns
        assert np.array_equal(image.pictures[0], np.asarray(Image.open(path)))
        assert image.failure is None
        assert not image.constant


def test_workers_give_the_same_in_the_same_order(images: list[str]) -> None:
    # The first image takes longest, so that an order of arrival would show.
    Image.fromarray(np.zeros((9, 9), dtype=np.uint8)).save(images[0])
    alone = decoded(dataset(images, rules=(slow_at_first,)))
    helped = decoded(dataset(images, rules=(slow_at_first,)), workers=3)
    assert [image.position for image in helped] == list(range(13))
    for one, other in zip(alone, helped, strict=True):
        assert one.content_hash == other.content_hash
        assert np.array_equal(one.pictures[0], other.pictures[0])


def test_a_file_is_read_once_for_all_rules(
    images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []

    def counted(path: str) -> bytes:
        reads.append(path)
        return read_file(path)

    monkeypatch.setattr(loaders, "read_file", counted)
    for image in decoded(dataset(images, rules=(whole, corner))):
        assert image.pictures[0].shape == (40, 36)
        assert image.pictures[1].shape == (2, 2)
    assert reads == images


def test_only_the_wanted_rules_run(images: list[str]) -> None:
    for image in decoded(dataset(images, rules=(whole, corner), wanted=(1,))):
        assert set(image.pictures) == {1}


def test_known_contents_are_hashed_but_not_decoded(images: list[str]) -> None:
    known = hashlib.sha256(Path(images[3]).read_bytes()).hexdigest().encode()
    found = decoded(dataset(images, known={known}))
    assert [position for position, image in enumerate(found) if not image.pictures] == [3]
    assert found[3].content_hash == known


@pytest.mark.parametrize("workers", [0, 2])
def test_original_defect_s1_what_cannot_be_read_keeps_its_place(
    images: list[str], workers: int
) -> None:
    # The original dropped it, and every later image got its neighbour's label.
    reference = decoded(dataset(images))
    Path(images[2]).write_bytes(b"no picture")
    Path(images[5]).write_bytes(Path(images[5]).read_bytes()[:-40])
    Path(images[9]).unlink()
    found = decoded(dataset(images), workers=workers)
    assert len(found) == len(images)
    reasons = {image.position: image.failure for image in found if image.failure}
    assert set(reasons) == {2, 5, 9}
    assert reasons[9] == "file not found"
    assert images[2] not in str(reasons[2])
    for image in found:
        if image.failure is None:
            assert np.array_equal(image.pictures[0], reference[image.position].pictures[0])


def test_a_constant_image_is_zeros_and_marked(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 77, dtype=np.uint8)).save(tmp_path / "a.png")
    (image,) = decoded(dataset([str(tmp_path / "a.png")]))
    assert image.constant
    assert not image.pictures[0].any()


def test_an_image_that_does_not_fit_into_memory_is_a_failure(
    images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(loaders, "decode_radiograph", refuse)
    assert decoded(dataset(images[:1]))[0].failure == "too large for the memory of this machine"


def test_a_file_replaced_while_it_is_read_has_the_older_time(
    images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:

    def replaced(path: str) -> bytes:
        os.utime(path, ns=(5, 10**18))
        return read_file(path)

    before = Path(images[0]).stat().st_mtime_ns
    monkeypatch.setattr(loaders, "read_file", replaced)
    assert decoded(dataset(images[:1]))[0].mtime_ns == before


def test_no_images_are_no_trouble() -> None:
    assert decoded(dataset([])) == []
    assert decoded(dataset([]), workers=2) == []


def test_more_workers_than_cores_are_no_warning(images: list[str]) -> None:
    assert len(decoded(dataset(images), workers=4)) == 13  # a warning would be an error here


def test_a_killed_worker_is_one_clear_error(images: list[str]) -> None:
    with pytest.raises(HardwareError, match=r"a process that decodes images died .*--workers"):
        decoded(dataset(images, rules=(deadly,)), workers=1)


def test_original_defect_s8_the_data_set_is_never_in_memory_as_a_whole(
    images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The original kept every picture in one tensor before it computed the first feature.
    reads: list[str] = []

    def counted(path: str) -> bytes:
        reads.append(path)
        return read_file(path)

    monkeypatch.setattr(loaders, "read_file", counted)
    stream = decode_in_order(dataset(images), workers=0)
    for number in range(1, 6):
        next(stream)
        assert len(reads) < number + loaders.CHUNK
    stream.close()
