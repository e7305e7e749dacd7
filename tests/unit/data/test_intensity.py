"""Percentiles and stretching, against NumPy on the pixels themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cxrlearn.data.intensity import (
    Intensity,
    Levels,
    as_stored,
    levels_of,
    render,
    stretch,
    stretch_numbers,
    weighted_percentile,
)
from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=9)


@given(
    pixels=st.one_of(
        arrays(np.uint16, _SHAPES),
        arrays(np.int16, _SHAPES),
        arrays(np.uint8, _SHAPES),
        arrays(np.int8, _SHAPES),
    ),
    percent=st.floats(0, 100),
)
def test_percentiles_of_the_histogram_are_those_of_the_pixels(
    pixels: NDArray[Any], percent: float
) -> None:
    levels = levels_of(pixels)

    assert np.array_equal(levels.values[levels.index], pixels.astype(np.float64))
    assert levels.counts.sum() == pixels.size
    seen = levels.seen()
    ours = weighted_percentile(levels.values[seen], levels.counts[seen], percent)
    assert ours == pytest.approx(np.percentile(pixels.astype(np.float64), percent), abs=1e-6)


def test_stretch_puts_the_half_percent_at_both_ends_to_black_and_white() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.normal(20_000, 3_000, (200, 150)).astype(np.uint16)
    pixels[0, 0] = 65_535  # a bright marker
    low, high = np.percentile(pixels, [0.5, 99.5])
    expected = np.rint(255 * np.clip((pixels - low) / (high - low), 0, 1))

    levels = levels_of(pixels)
    grey = render(levels, stretch(levels, "percentile")).pixels

    assert np.array_equal(grey, expected)
    assert grey.std() > 40


def test_minmax_uses_the_full_range_so_that_a_marker_darkens_the_rest() -> None:
    pixels = np.array([[0, 100], [200, 1000]], dtype=np.uint16)

    levels = levels_of(pixels)

    assert render(levels, stretch(levels, "minmax")).pixels.tolist() == [[0, 26], [51, 255]]


def test_nearly_empty_pictures_fall_back_on_their_full_range() -> None:
    pixels = np.zeros((100, 100), dtype=np.uint16)
    pixels[50, 50:53] = [100, 200, 400]  # less than half a percent

    levels = levels_of(pixels)
    radiograph = render(levels, stretch(levels, "percentile"))

    assert radiograph.pixels[50, 50:53].tolist() == [64, 128, 255]
    assert not radiograph.constant


def test_values_that_are_not_finite_count_in_no_statistic() -> None:
    pixels = np.array([[0.0, 1.0, np.nan], [0.5, np.inf, -np.inf]], dtype=np.float32)

    assert stretch_numbers(pixels, "minmax").pixels.tolist() == [[0, 255, 0], [128, 255, 0]]


def test_pixels_without_any_finite_value_are_refused() -> None:
    with pytest.raises(UnreadableImageError, match="no pixel has a finite value"):
        stretch_numbers(np.full((2, 2), np.nan), "percentile")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("intensity", ["percentile", "minmax"])
def test_extremes_of_float_do_not_overflow(dtype: type, intensity: Intensity) -> None:
    top = np.finfo(dtype).max
    pixels: NDArray[Any] = np.array([[-top, 0.0, top]], dtype=dtype)

    grey = stretch_numbers(pixels, intensity).pixels.tolist()

    assert grey == [[0, 128, 255]]


@given(
    pixels=arrays(np.float32, _SHAPES, elements=st.floats(-1e6, 1e6, width=32)),
    intensity=st.sampled_from(["percentile", "minmax"]),
)
def test_floats_are_stretched_as_whole_numbers_are(
    pixels: NDArray[np.float32], intensity: Intensity
) -> None:
    whole = np.rint(pixels / 1e3).astype(np.int16)
    levels = levels_of(whole)

    direct = stretch_numbers(whole.astype(np.float32), intensity)
    by_levels = render(levels, stretch(levels, intensity))

    assert direct.constant == by_levels.constant
    assert np.abs(direct.pixels.astype(int) - by_levels.pixels).max() <= 1


@pytest.mark.parametrize("value", [0, 7, 255])
def test_one_grey_value_becomes_zeros_and_says_so(value: int) -> None:
    eight = as_stored(np.full((3, 5), value, dtype=np.uint8))
    sixteen = levels_of(np.full((3, 5), value, dtype=np.uint16))

    for radiograph in (eight, render(sixteen, stretch(sixteen, "percentile"))):
        assert radiograph.constant
        assert not radiograph.pixels.any()
        assert radiograph.pixels.shape == (3, 5)


def test_eight_bits_stay_as_they_are_and_read_only() -> None:
    pixels = np.array([[100, 101], [100, 100]], dtype=np.uint8)

    radiograph = as_stored(pixels)

    assert np.array_equal(radiograph.pixels, pixels)
    assert not radiograph.constant
    assert not radiograph.pixels.flags.writeable


def test_values_counted_zero_times_stay_out_of_the_range() -> None:
    levels = levels_of(np.array([[0, 10], [20, 4000]], dtype=np.uint16))
    counts = np.where(levels.values == 4000, 0, levels.counts)

    share = stretch(Levels(levels.index, levels.values, counts), "minmax")

    assert share[[0, 10, 20, 4000]].tolist() == [0.0, 0.5, 1.0, 1.0]
