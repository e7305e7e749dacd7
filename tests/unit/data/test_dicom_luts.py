"""DICOM's grey formulas, against values worked out by hand from PS3.3."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_windowing

from cxrlearn.data.dicom_luts import LookupTable, Window, display_settings, modality_values
from cxrlearn.errors import UnreadableImageError
from tests.support.dicoms import dataset_of, lookup_table, ramp

Float = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def _numbers(*values: float) -> Float:
    return np.array(values, dtype=np.float64)


def display_share(dataset: Dataset, values: Float) -> Float | None:
    """The file's first setting, if it is whole."""
    for _, share in display_settings(dataset, values):
        return None if isinstance(share, str) else share
    return None


def test_linear_window_is_the_formula_of_c_11_2_1_2_1() -> None:
    # c = 2048, w = 4096, the standard's own example: 0 -> 0, 4095 -> 1, and half a grey between.
    window = Window(2048, 4096, "LINEAR")

    assert window.apply(_numbers(0, 4095)).tolist() == [0.0, 1.0]
    assert window.apply(_numbers(2047.5)).tolist() == [0.5]
    # c = 0, w = 100: y = (x + 0.5) / 99 + 0.5; below -50 black, from 49 on white.
    narrow = Window(0, 100, "LINEAR").apply(_numbers(-51, -50, -0.5, 0, 49, 50))
    assert narrow == pytest.approx([0, 0, 0.5, 0.5 / 99 + 0.5, 1, 1])


def test_linear_window_of_width_one_is_a_threshold() -> None:
    # x <= c - 0.5 is black, all above is white.
    assert Window(10, 1, "LINEAR").apply(_numbers(9, 9.5, 10, 11)).tolist() == [0, 0, 1, 1]


def test_linear_exact_window_is_the_formula_of_c_11_2_1_3_2() -> None:
    share = Window(0, 100, "LINEAR_EXACT").apply(_numbers(-60, -50, 0, 25, 50, 60))

    assert share == pytest.approx([0, 0, 0.5, 0.75, 1, 1])


def test_sigmoid_window_is_the_formula_of_c_11_2_1_3_1() -> None:
    share = Window(100, 40, "SIGMOID").apply(_numbers(100, 110, 90, -1e9, 1e9))

    assert share[:3] == pytest.approx([0.5, 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))])
    assert share[3:] == pytest.approx([0, 1])


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_pydicom(function: str) -> None:
    dataset = dataset_of(
        ramp(), bits_stored=12, WindowCenter=1500, WindowWidth=900, VOILUTFunction=function
    )
    theirs = apply_windowing(np.arange(4096), dataset) / 4095

    assert display_share(dataset, np.arange(4096.0)) == pytest.approx(theirs, abs=1e-9)


def test_the_first_of_several_windows_counts() -> None:
    dataset = dataset_of(ramp(), WindowCenter=[100, 9], WindowWidth=[51, 2])

    # LINEAR: low end 100 - 0.5 - 25 = 74.5, high end 124.5.
    share = display_share(dataset, _numbers(74, 74.5, 99.5, 125))
    assert share == pytest.approx([0, 0, 0.5, 1])


@pytest.mark.parametrize(
    ("center", "width", "function"),
    [
        (None, None, None),
        (100, None, None),
        (100, 0, None),
        (100, -5, None),
        (100, 0.5, "LINEAR"),
        (100, 0, "SIGMOID"),
    ],
)
def test_a_window_that_makes_no_sense_is_no_window(
    center: float | None, width: float | None, function: str | None
) -> None:
    dataset = Dataset()
    for name, value in (
        ("WindowCenter", center),
        ("WindowWidth", width),
        ("VOILUTFunction", function),
    ):
        if value is not None:
            setattr(dataset, name, value)

    assert display_share(dataset, _numbers(0, 1)) is None


def test_lookup_table_goes_on_at_both_ends() -> None:
    table = LookupTable(_numbers(10, 20, 40), first=5, bits=8)

    assert table.apply(_numbers(-3, 5, 6, 7, 1000)).tolist() == [10, 10, 20, 40, 40]


def test_voi_table_goes_before_a_window_and_fills_its_bits() -> None:
    dataset = dataset_of(
        ramp(),
        WindowCenter=1,
        WindowWidth=2,
        VOILUTSequence=lookup_table([0, 1023, 512, 256], first=100, bits=10),
    )

    share = display_share(dataset, _numbers(100, 101, 102, 103, 500))

    assert share == pytest.approx([0, 1, 512 / 1023, 256 / 1023, 256 / 1023])


@pytest.mark.parametrize("packed", [bytes([0, 51, 102, 255]), [0x3300, 0xFF66]])
def test_eight_bit_entries_are_read_packed_and_unpacked(packed: bytes | list[int]) -> None:
    dataset = dataset_of(ramp(), VOILUTSequence=lookup_table(packed, first=0, bits=8, count=4))

    share = display_share(dataset, _numbers(0, 1, 2, 3))

    assert share == pytest.approx([0, 0.2, 0.4, 1])


def test_modality_table_goes_before_slope_and_intercept() -> None:
    dataset = dataset_of(
        ramp(),
        RescaleSlope=2,
        RescaleIntercept=-7,
        ModalityLUTSequence=lookup_table([5, 7, 65535], first=0, bits=16),
    )

    assert modality_values(dataset, _numbers(0, 1, 2, 9))[0].tolist() == [5, 7, 65535, 65535]


def test_slope_and_intercept() -> None:
    dataset = dataset_of(ramp(), RescaleSlope="2.5", RescaleIntercept="-1024")

    assert modality_values(dataset, _numbers(0, 4080))[0].tolist() == [-1024.0, 9176.0]


def test_table_for_signed_values_may_begin_below_zero() -> None:
    signed = dataset_of(ramp().astype(np.int16))
    signed.ModalityLUTSequence = lookup_table([1, 2, 3], first=-1, bits=8)

    assert modality_values(signed, _numbers(-1, 0, 1))[0].tolist() == [1, 2, 3]


def test_unsigned_first_value_beside_negative_inputs_is_taken_as_signed() -> None:
    dataset = dataset_of(ramp().astype(np.int16))
    dataset.ModalityLUTSequence = lookup_table([1, 2, 3], first=65535, bits=8)

    assert modality_values(dataset, _numbers(-1, 0, 1))[0].tolist() == [1, 2, 3]


def test_a_table_shorter_than_it_says_is_refused() -> None:
    dataset = dataset_of(
        ramp(), ModalityLUTSequence=lookup_table([1, 2, 3], first=0, bits=16, count=9)
    )

    with pytest.raises(UnreadableImageError, match="modality LUT has 3 entries instead of 9"):
        modality_values(dataset, _numbers(0))


def test_slope_zero_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match="rescale slope"):
        modality_values(dataset_of(ramp(), RescaleSlope=0, RescaleIntercept=0), _numbers(1))
