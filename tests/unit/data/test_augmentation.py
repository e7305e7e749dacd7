from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage

from cxrlearn.data.augmentation import NO_AUGMENTATION, Augmentation
from cxrlearn.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEIGHT, WIDTH = 60, 80
ONLY = {"rotation": 0.0, "translation": 0.0, "scale": 0.0, "brightness": 0.0, "contrast": 0.0}


def disc(row: float = 29.5, column: float = 39.5, radius: float = 12) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    inside = (y - row) ** 2 + (x - column) ** 2 < radius**2
    return np.where(inside, 200, 20).astype(np.uint8)


def noise(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)


def shown(
    pixels: NDArray[np.uint8], limits: dict[str, float], count: int = 40
) -> list[NDArray[np.uint8]]:
    change = Augmentation(**{**ONLY, **limits})
    return [change(pixels, seed=3, epoch=0, sample=sample) for sample in range(count)]


def middle(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    return ndimage.center_of_mass(pixels > 110)  # type: ignore[no-any-return]


def test_none_is_the_identity_to_the_bit() -> None:
    pixels = noise()
    for sample in range(20):
        assert NO_AUGMENTATION(pixels, seed=1, epoch=2, sample=sample) is pixels


def test_equal_keys_give_equal_bits_and_others_do_not() -> None:
    change, pixels = Augmentation(), noise()
    once = change(pixels, seed=1, epoch=2, sample=3)
    change(noise(1), seed=9, epoch=9, sample=9)  # nothing in between leaves a trace
    assert np.array_equal(once, Augmentation()(pixels.copy(), seed=1, epoch=2, sample=3))
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 3, 2)):
        seed, epoch, sample = other
        assert not np.array_equal(once, change(pixels, seed=seed, epoch=epoch, sample=sample))


def test_the_global_random_state_is_neither_used_nor_moved() -> None:
    np.random.seed(0)  # noqa: NPY002 - the state that must not matter
    before = np.random.get_state()[1].copy()  # type: ignore[index] # noqa: NPY002
    Augmentation()(noise(), seed=1, epoch=2, sample=3)
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index] # noqa: NPY002


def test_the_original_stays_as_it_is_and_the_size_stays() -> None:
    pixels = noise()
    pixels.setflags(write=False)
    changed = Augmentation(flip=1)(pixels, seed=0, epoch=0, sample=0)
    assert changed.shape == pixels.shape
    assert changed.dtype == np.uint8
    assert np.array_equal(pixels, noise())


def test_translation_moves_by_at_most_its_share_of_each_side() -> None:
    moves = np.array([middle(one) for one in shown(disc(), {"translation": 0.1})])
    moves -= (29.5, 39.5)
    assert np.abs(moves[:, 0]).max() <= 0.1 * HEIGHT + 0.1
    assert np.abs(moves[:, 1]).max() <= 0.1 * WIDTH + 0.1
    assert np.ptp(moves[:, 0]) > 0.12 * HEIGHT  # both ways
    assert np.ptp(moves[:, 1]) > 0.12 * WIDTH


def test_rotation_turns_around_the_middle() -> None:
    off_middle = disc(29.5, 59.5, 8)  # 20 to the right
    places = np.array([middle(one) for one in shown(off_middle, {"rotation": 10})])
    angles = np.degrees(np.arctan2(places[:, 0] - 29.5, places[:, 1] - 39.5))
    assert np.abs(angles).max() <= 10.3
    assert np.ptp(angles) > 12
    distances = np.hypot(places[:, 0] - 29.5, places[:, 1] - 39.5)
    assert distances == pytest.approx(20, abs=0.15)


def test_scale_changes_areas_by_its_square_and_leaves_the_middle() -> None:
    pixels = disc()
    results = shown(pixels, {"scale": 0.1})
    areas = np.array([(one > 110).sum() for one in results]) / (pixels > 110).sum()
    assert areas.min() > 0.9**2 - 0.03
    assert areas.max() < 1.1**2 + 0.03
    assert areas.min() < 0.9
    assert areas.max() > 1.1
    assert np.array([middle(one) for one in results]) == pytest.approx(
        np.tile([29.5, 39.5], (len(results), 1)), abs=0.1
    )


def test_what_comes_in_from_outside_is_the_rim_of_the_picture() -> None:
    # A grey background stays free of black wedges, a black one of grey ones.
    for background in (0, 90):
        pixels = np.full((HEIGHT, WIDTH), background, dtype=np.uint8)
        pixels[20:40, 30:50] = 200
        for one in shown(pixels, {"rotation": 30, "translation": 0.2, "scale": 0.2}):
            corners = one[[0, 0, -1, -1], [0, -1, 0, -1]]
            assert set(corners.tolist()) == {background}


def test_brightness_shifts_all_values_alike_and_cuts_off() -> None:
    pixels = np.tile(np.array([0, 100, 150, 255], dtype=np.uint8), (4, 1))
    shifts = set()
    for one in shown(pixels, {"brightness": 0.1}):
        low, high = one[0, 1] - 100.0, one[0, 2] - 150.0
        assert low == pytest.approx(high, abs=1)
        assert abs(low) <= 26
        assert one[0, 0] == max(0, round(low))
        assert one[0, 3] == min(255, round(255 + low))
        shifts.add(low)
    assert min(shifts) < 0 < max(shifts)


def test_contrast_stretches_around_the_mean() -> None:
    pixels = np.tile(np.array([100, 140], dtype=np.uint8), (4, 2))
    for one in shown(pixels, {"contrast": 0.25}):
        assert one[0, 0] + float(one[0, 1]) == pytest.approx(240, abs=1)
        assert 0.74 <= (one[0, 1] - float(one[0, 0])) / 40 <= 1.26


def test_a_flip_mirrors_left_and_right_only_when_asked() -> None:
    pixels = noise()
    flipped = [np.array_equal(one, pixels[:, ::-1]) for one in shown(pixels, {"flip": 0.5}, 60)]
    plain = [np.array_equal(one, pixels) for one in shown(pixels, {"flip": 0.5}, 60)]
    assert all(a != b for a, b in zip(flipped, plain, strict=True))
    assert 15 < sum(flipped) < 45
    assert Augmentation().flip == 0


def test_limits_do_not_shift_one_another() -> None:
    # The rotation of a sample is the same, whether or not it is also made brighter.
    pixels = disc(29.5, 59.5, 8)
    alone = shown(pixels, {"rotation": 10})
    lit = shown(pixels, {"rotation": 10, "brightness": 0.05})
    brighter = [b - a.astype(float) for a, b in zip(alone, lit, strict=True)]
    assert max(np.ptp(one) for one in brighter) <= 1  # nothing but an offset
    assert any(not np.array_equal(a, b) for a, b in zip(alone, lit, strict=True))


def test_impossible_limits_are_refused_together() -> None:
    with pytest.raises(UsageError, match=r"rotation must be .* scale must be .*1\.5"):
        Augmentation(rotation=-1, scale=1.5)
    with pytest.raises(UsageError, match="brightness"):
        Augmentation(brightness=float("nan"))
