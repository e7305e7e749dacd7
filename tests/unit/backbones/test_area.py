"""Our INTER_AREA against OpenCV's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cxrlearn.backbones.area import resize_area


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((512, 512), (256, 256)),  # whole-number factors: OpenCV's fast path
        ((768, 512), (256, 128)),
        ((601, 433), (256, 184)),
        ((257, 300), (219, 256)),
        ((1024, 96), (256, 24)),
        ((3, 900), (1, 256)),
        ((100, 60), (256, 153)),  # enlarging
        ((1, 1), (256, 256)),
        ((5, 3), (256, 153)),
        ((255, 131), (256, 131)),
        ((40, 300), (60, 256)),  # one side grows, the other shrinks
        ((64, 64), (64, 64)),
    ],
)
def test_equals_opencv_within_one_grey_level(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    """One level: OpenCV sums in float32, or where a side grows in fixed point that truncates."""
    pixels = np.random.default_rng(sum(before)).integers(0, 256, before, dtype=np.uint8)
    ours = resize_area(pixels, *after)
    theirs = cv2.resize(pixels, after[::-1], interpolation=cv2.INTER_AREA)
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert ours.shape == after
    assert ours.dtype == np.uint8
    assert difference.max() <= 1
    shrinks = before[0] >= after[0] and before[1] >= after[1]
    assert (difference > 0).mean() < (0.02 if shrinks else 0.2)


def test_halving_is_opencvs_to_the_bit() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (512, 512), dtype=np.uint8)
    theirs = cv2.resize(pixels, (256, 256), interpolation=cv2.INTER_AREA)
    assert np.array_equal(resize_area(pixels, 256, 256), theirs)


def test_shrinking_keeps_the_mean() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (301, 407), dtype=np.uint8)
    assert abs(resize_area(pixels, 100, 130).mean() - pixels.mean()) < 0.5


def test_black_and_white_stay_black_and_white() -> None:
    for value in (0, 255):
        flat = np.full((77, 53), value, dtype=np.uint8)
        for size in ((20, 10), (200, 100), (20, 100)):
            assert (resize_area(flat, *size) == value).all()
