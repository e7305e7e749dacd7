from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from cxrlearn.data import training_batches
from cxrlearn.data.augmentation import Augmentation
from cxrlearn.data.decoded_cache import open_cache
from cxrlearn.data.images import read_file, read_radiograph
from cxrlearn.data.training_batches import (
    EvaluationBatches,
    ImageBatch,
    ImageBatches,
    LabelledImages,
    LoadingConfig,
    Share,
)
from cxrlearn.errors import HardwareError, UsageError
from tests.support.dicoms import dicom, ramp
from tests.support.tiny_backbone import make_image

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

COUNT, SIZE = 13, (30, 32)


def corner(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels[: SIZE[0], : SIZE[1]]


def deadly(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    os.kill(os.getpid(), signal.SIGKILL)
    return pixels


@pytest.fixture
def images(tmp_path: Path) -> LabelledImages:
    for number in range(COUNT):
        make_image(tmp_path / f"{number:02d}.png", number)
    generator = np.random.default_rng(0)
    return LabelledImages(
        paths=sorted(str(path) for path in tmp_path.iterdir()),
        values=generator.integers(0, 2, (COUNT, 3), dtype=np.int8),
        known=generator.random((COUNT, 3)) < 0.7,
        rule=corner,
        picture_size=SIZE,
    )


def batches(images: LabelledImages, **changes: object) -> ImageBatches:
    return replace(ImageBatches(images, batch_size=4, seed=5), **changes)  # type: ignore[arg-type]


def rows(stream: Iterable[ImageBatch]) -> list[list[int]]:
    return [batch.rows.tolist() for batch in stream]


def flat(lists: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(lists))


def check_rows_hold_their_own(images: LabelledImages, stream: list[ImageBatch]) -> None:
    """Compare every row of every batch with what its file and its labels say."""
    for batch in stream:
        for at, row in enumerate(batch.rows.tolist()):
            grey = corner(read_radiograph(images.paths[row]).pixels)
            assert np.array_equal(batch.pixels[at, 0], grey)
            assert np.array_equal(batch.values[at], images.values[row])
            assert np.array_equal(batch.known[at], images.known[row])


def test_every_image_comes_once_an_epoch_with_its_own_pixels_and_labels(
    images: LabelledImages,
) -> None:
    stream = list(batches(images).epoch(0, 0))
    assert [len(batch) for batch in stream] == [4, 4, 4, 1]
    assert sorted(flat(rows(stream))) == list(range(COUNT))
    assert stream[0].pixels.dtype == torch.uint8
    assert stream[0].pixels.shape == (4, 1, *SIZE)
    check_rows_hold_their_own(images, stream)


def test_the_order_depends_on_seed_and_epoch_only(images: LabelledImages) -> None:
    first = rows(batches(images).epoch(0, 0))
    again = rows(batches(images, loading=LoadingConfig(workers=2)).epoch(0, 0))
    assert first == again
    assert rows(batches(images).epoch(1, 0)) != first
    assert rows(batches(images, seed=6).epoch(0, 0)) != first
    assert flat(rows(batches(images, batch_size=5).epoch(0, 0))) == flat(first)


def test_an_epoch_can_begin_anywhere_and_reads_nothing_before(
    images: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []

    def counted(path: str) -> bytes:
        reads.append(path)
        return read_file(path)

    monkeypatch.setattr(training_batches, "read_file", counted)
    late = rows(batches(images).epoch(3, 2))
    assert late == rows(batches(images).epoch(3, 0))[2:]
    assert len(reads) == 5 + COUNT  # of the first pass five, and none twice in the second
    assert len(set(reads[5:])) == COUNT


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("size", [12, 13, 5])
def test_ranks_and_micro_batches_together_make_the_batches_of_one(
    images: LabelledImages, world: int, accumulate: int, size: int
) -> None:
    if world * accumulate > size:
        with pytest.raises(UsageError, match=r"--batch-size 5 cannot be shared .*12 or more"):
            batches(images, batch_size=5, share=Share(0, 4), accumulate=3)
        return
    whole = [set(one.tolist()) for one in batches(images, batch_size=size).rows(1)]
    parts = [
        batches(images, batch_size=size, share=Share(rank, world), accumulate=accumulate)
        for rank in range(world)
    ]
    micro = [part.rows(1) for part in parts]
    assert {len(part) for part in parts} == {len(one) for one in micro}
    assert len({len(one) for one in micro}) == 1  # ranks take equally many steps
    for number, batch in enumerate(whole):
        step = [one[number * accumulate : (number + 1) * accumulate] for one in micro]
        together = [row for own in step for piece in own for row in piece.tolist()]
        assert sorted(together) == sorted(batch)
        sizes = [len(piece) for own in step for piece in own]
        assert max(sizes) - min(sizes) <= 2
    assert all(len(piece) for one in micro for piece in one[: (COUNT // size) * accumulate])


def test_micro_batches_of_the_last_batch_are_filled(images: LabelledImages) -> None:
    # 13 images in batches of 8 by 4: the last batch has 5, and as many micro-batches as can be.
    one = batches(images, batch_size=8, accumulate=4)
    assert [len(part) for part in one.rows(0)] == [2, 2, 2, 2, 1, 1, 1, 2]
    assert len(one) == 8
    two = batches(images, batch_size=8, accumulate=4, share=Share(1, 2))
    assert [len(part) for part in two.rows(0)] == [1, 1, 1, 1, 1, 2]


def test_a_rank_without_images_gets_one_masked_picture(images: LabelledImages) -> None:
    # The last batch has one image; the step has to be taken by both ranks.
    (last,) = batches(images, share=Share(0, 2)).epoch(0, 3)
    assert len(last) == 1
    assert not last.known.any()
    assert last.pixels.shape == (1, 1, *SIZE)
    assert len(set(last.pixels.flatten().tolist())) > 200
    (other,) = batches(images, share=Share(1, 2)).epoch(0, 3)
    check_rows_hold_their_own(images, [other])


@pytest.mark.parametrize("workers", [0, 2])
def test_original_defect_s1_an_unreadable_image_shifts_nothing(
    images: LabelledImages, workers: int
) -> None:
    sound = batches(images).rows(0)
    broken = sound[1][2], sound[3][0]
    Path(images.paths[broken[0]]).write_bytes(b"no picture")
    Path(images.paths[broken[1]]).unlink()
    told: list[tuple[int, str]] = []
    loading = LoadingConfig(workers, on_failure=lambda row, why: told.append((row, why)))
    stream = list(batches(images, loading=loading).epoch(0, 0))
    assert [row for row, _ in told] == list(broken)
    assert "not an image but text" in told[0][1]
    assert told[1][1] == "file not found"
    assert rows(stream)[:3] == [
        [row for row in one.tolist() if row not in broken] for one in sound[:3]
    ]
    check_rows_hold_their_own(images, stream[:3])
    assert not stream[3].known.any()  # nothing else was in that batch


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_not_read_as_stated_is_told_with_its_position(
    images: LabelledImages, workers: int
) -> None:
    Path(images.paths[2]).write_bytes(dicom(ramp(*SIZE), WindowCenter=128, WindowWidth=256))
    Path(images.paths[5]).write_bytes(dicom(np.full(SIZE, 7, dtype=np.uint16)))
    told: dict[int, str] = {}
    loading = LoadingConfig(workers, on_image_notice=told.__setitem__)
    list(batches(images, loading=loading).epoch(0, 0))
    assert sorted(told) == [2, 5]
    assert told[2].startswith("the window of center 128 and width 256 ")
    assert told[5] == "every pixel has the same value"


def test_augmented_pictures_are_the_same_on_any_worker_and_rank(images: LabelledImages) -> None:
    def pictures(**changes: object) -> dict[int, bytes]:
        stream = batches(images, augmentation=Augmentation(), **changes).epoch(2, 0)
        return {
            int(row): picture.numpy().tobytes()
            for batch in stream
            if batch.known.any()
            for row, picture in zip(batch.rows, batch.pixels, strict=True)
        }

    alone = pictures()
    assert pictures(loading=LoadingConfig(2)) == alone
    assert pictures(accumulate=2, batch_size=6) == alone
    ranks = [pictures(share=Share(rank, 2), batch_size=6) for rank in range(2)]
    merged = ranks[0] | ranks[1]
    assert merged == {row: alone[row] for row in merged}
    assert len(merged) >= COUNT - 1
    change = Augmentation()
    for row, content in alone.items():
        grey = corner(read_radiograph(images.paths[row]).pixels)
        assert change(grey, seed=5, epoch=2, sample=row).tobytes() == content


def test_the_cache_gives_the_same_batches_and_decodes_once(
    images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = replace(images, cache=open_cache(tmp_path / "cache", {"rule": 1}))
    list(batches(cached, loading=LoadingConfig(workers=2)).epoch(0, 0))
    monkeypatch.setattr(training_batches, "decode_radiograph", None)
    check_rows_hold_their_own(images, list(batches(cached).epoch(1, 0)))


def test_a_changed_image_leaves_the_cache(images: LabelledImages, tmp_path: Path) -> None:
    cached = replace(images, cache=open_cache(tmp_path / "cache", {"rule": 1}))
    list(batches(cached).epoch(0, 0))
    make_image(Path(images.paths[4]), 99)
    os.utime(images.paths[4], ns=(1, 1))
    check_rows_hold_their_own(images, list(batches(cached).epoch(1, 0)))


def test_a_cache_that_cannot_be_written_is_told_once_and_training_goes_on(
    images: LabelledImages, tmp_path: Path
) -> None:
    cache = open_cache(tmp_path / "cache", {"rule": 1})
    for number in range(256):
        (cache.folder / f"{number:02x}").write_text("in the way")
    told: list[str] = []
    loading = LoadingConfig(on_notice=told.append)
    stream = batches(replace(images, cache=cache), loading=loading).epoch(0, 0)
    check_rows_hold_their_own(images, list(stream))
    assert len(told) == 1
    assert "--cache-dir" in told[0]


def test_a_cache_that_vanishes_is_told_once_and_training_goes_on(
    images: LabelledImages, tmp_path: Path
) -> None:
    cache = open_cache(tmp_path / "cache", {"rule": 1})
    shutil.rmtree(cache.folder)
    told: list[str] = []
    loading = LoadingConfig(on_notice=told.append)
    stream = batches(replace(images, cache=cache), loading=loading).epoch(0, 0)
    check_rows_hold_their_own(images, list(stream))
    assert len(told) == 1


def test_a_picture_of_another_size_in_the_cache_is_made_anew(
    images: LabelledImages, tmp_path: Path
) -> None:
    cache = open_cache(tmp_path / "cache", {"rule": 1})
    list(batches(replace(images, cache=cache)).epoch(0, 0))
    larger = replace(
        images, cache=cache, rule=lambda pixels: pixels[:31, :32], picture_size=(31, 32)
    )
    (first, *_) = batches(larger).epoch(0, 0)
    assert first.pixels.shape == (4, 1, 31, 32)


def test_a_killed_worker_is_one_clear_error(images: LabelledImages) -> None:
    doomed = batches(replace(images, rule=deadly), loading=LoadingConfig(workers=1))
    with pytest.raises(HardwareError, match=r"decodes images died .*--resume.*--workers"):
        list(doomed.epoch(0, 0))


@pytest.mark.parametrize("world", [1, 2, 3, 20])
def test_evaluation_meets_every_image_once_and_in_order(images: LabelledImages, world: int) -> None:
    parts = [EvaluationBatches(images, 4, Share(rank, world)) for rank in range(world)]
    streams = [list(part) for part in parts]
    assert [len(part) for part in parts] == [len(stream) for stream in streams]
    assert flat(flat(rows(stream)) for stream in streams) == list(range(COUNT))
    for stream in streams:
        check_rows_hold_their_own(images, stream)


def test_evaluation_leaves_out_what_cannot_be_read(images: LabelledImages) -> None:
    for row in (0, 1, 2, 3, 9):
        Path(images.paths[row]).unlink()
    told: list[int] = []
    loading = LoadingConfig(on_failure=lambda row, _: told.append(row))
    stream = list(EvaluationBatches(images, 4, loading=loading))
    assert told == [0, 1, 2, 3, 9]
    assert rows(stream) == [[4, 5, 6, 7], [8, 10, 11], [12]]
    check_rows_hold_their_own(images, stream)


def test_labels_of_a_batch_are_copies(images: LabelledImages) -> None:
    before = images.values.copy()
    for batch in batches(images).epoch(0, 0):
        batch.values.add_(1)
    assert np.array_equal(images.values, before)


@dataclass(frozen=True)
class _Loop:
    """How the training loop cuts an epoch into steps."""

    accumulate: int

    def steps(self, stream: ImageBatches, epoch: int, step: int) -> list[list[list[int]]]:
        micro = rows(stream.epoch(epoch, step * self.accumulate))
        return [micro[at : at + self.accumulate] for at in range(0, len(micro), self.accumulate)]


def test_a_step_of_the_loop_is_a_batch(images: LabelledImages) -> None:
    loop = _Loop(accumulate=3)
    stream = batches(images, accumulate=3, batch_size=6)
    steps = loop.steps(stream, 0, 0)
    assert len(steps) == -(-len(stream) // 3) == 3
    plain = rows(batches(images, batch_size=6).epoch(0, 0))
    assert [flat(step) for step in steps] == plain
    assert loop.steps(stream, 0, 1) == steps[1:]
