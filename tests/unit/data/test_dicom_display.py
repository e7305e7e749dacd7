"""Display settings that would destroy the picture are set aside, and said; others are obeyed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from cxrlearn.data.images import Radiograph, decode_radiograph
from cxrlearn.errors import UnreadableImageError
from tests.support.dicoms import dataset_of, dicom, file_bytes, lookup_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Y, _X = np.mgrid[0:120, 0:140]


def _film(bits: int = 12) -> NDArray[np.uint16]:
    """A film-like picture: two dark lungs, a bright middle, noise; most of `bits` in use."""
    lungs = sum(np.exp(-(((_X - x) / 26) ** 2) - ((_Y - 60) / 45) ** 2) for x in (40, 100))
    noise = np.random.default_rng(0).normal(0, 0.01, _X.shape)
    share = np.clip(0.85 - 0.65 * lungs + 0.1 * np.sin(_X / 9) + noise, 0.02, 0.98)
    film: NDArray[np.uint16] = (share * (2**bits - 1)).astype(np.uint16)
    return film


FILM = _film()


def _own_range(values: NDArray[Any]) -> NDArray[np.float64]:
    low, high = np.percentile(values, [0.5, 99.5])
    stretched: NDArray[np.float64] = np.rint(255 * np.clip((values - low) / (high - low), 0, 1))
    return stretched


def _is_whole(radiograph: Radiograph) -> bool:
    """Tell whether a viewer would see the film: alike, many grey values, much contrast."""
    pixels = radiograph.pixels.astype(np.float64)
    alike = np.corrcoef(pixels.ravel(), FILM.ravel().astype(np.float64))[0, 1]
    low, high = np.percentile(pixels, [1, 99])
    return bool(alike >= 0.95 and np.unique(pixels).size >= 100 and high - low > 150)


USELESS = {
    "for 8 bits": (128, 256),
    "for 10 bits": (512, 1024),
    "absurdly narrow": (2000, 2),
    "a threshold": (2000, 1),
    "far too wide": (32768, 65536),
    "beside the data, above": (60000, 500),
    "beside the data, below": (-5000, 500),
    "swapped": (4096, 2048),
    "huge": (1e9, 2e9),
}


@pytest.mark.parametrize(("center", "width"), USELESS.values(), ids=USELESS)
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_window_that_leaves_no_picture_is_set_aside(
    center: float, width: float, function: str
) -> None:
    data = dicom(
        FILM, bits_stored=12, WindowCenter=center, WindowWidth=width, VOILUTFunction=function
    )

    radiograph = decode_radiograph(data)

    assert np.array_equal(radiograph.pixels, _own_range(FILM))
    (notice,) = radiograph.notices
    assert f"the window of center {center:g} and width {width:g}" in notice
    assert notice.endswith(": the picture's own range is used")


@pytest.mark.parametrize(
    ("center", "width"), [(2048, 4096), (1800, 3600), (2000, 3000), (2300, 2600), (2048, 5000)]
)
def test_a_window_that_leaves_a_picture_is_obeyed(center: float, width: float) -> None:
    radiograph = decode_radiograph(
        dicom(FILM, bits_stored=12, WindowCenter=center, WindowWidth=width)
    )

    x = FILM.astype(np.float64)
    expected = np.rint(255 * np.clip((x - (center - 0.5)) / (width - 1) + 0.5, 0, 1))
    assert np.array_equal(radiograph.pixels, expected)
    assert radiograph.notices == ()


def test_collimators_and_marks_may_be_black_and_white() -> None:
    film = FILM.copy()
    film[:, :50], film[:25] = 0, 4095  # half of the picture
    data = dicom(film, bits_stored=12, WindowCenter=2048, WindowWidth=3800)

    assert decode_radiograph(data).notices == ()


def test_of_several_windows_the_first_that_leaves_a_picture_is_used() -> None:
    data = dicom(FILM, bits_stored=12, WindowCenter=[128, 2048], WindowWidth=[256, 4096])

    radiograph = decode_radiograph(data)

    assert radiograph.notices[0].endswith(": the window of center 2048 and width 4096 is used")
    assert np.array_equal(
        radiograph.pixels,
        decode_radiograph(dicom(FILM, bits_stored=12, WindowCenter=2048, WindowWidth=4096)).pixels,
    )


@pytest.mark.parametrize("width", [0, -4096])
def test_a_window_without_a_width_is_none(width: float) -> None:
    radiograph = decode_radiograph(
        dicom(FILM, bits_stored=12, WindowCenter=2048, WindowWidth=width)
    )

    assert np.array_equal(radiograph.pixels, _own_range(FILM))
    assert "makes no sense" in radiograph.notices[0]


def _with_raw(name: str, text: bytes, **elements: Any) -> bytes:  # noqa: ANN401 - of any kind
    """Write a file in which a decimal string holds any bytes."""
    dataset = dataset_of(FILM, bits_stored=12, **elements)
    tag = Tag(name)
    padded = text + b" " * (len(text) % 2)
    dataset[tag] = RawDataElement(tag, "DS", len(padded), padded, 0, False, True)  # noqa: FBT003 - pydicom's
    return file_bytes(dataset)


@pytest.mark.parametrize("text", [b"2048,5", b"nan", b"inf", b"wide", b"12:30", b"\xff\xfe"])
@pytest.mark.parametrize("name", ["WindowCenter", "WindowWidth"])
def test_a_window_that_is_no_number_counts_as_absent(name: str, text: bytes) -> None:
    elements = {"WindowCenter": "2048", "WindowWidth": "4096"}

    radiograph = decode_radiograph(_with_raw(name, text, **elements))

    assert np.array_equal(radiograph.pixels, _own_range(FILM))
    assert all("could not" not in notice for notice in radiograph.notices)


@pytest.mark.parametrize("name", ["RescaleSlope", "RescaleIntercept"])
def test_a_rescale_factor_that_is_no_number_counts_as_absent(name: str) -> None:
    elements = {"RescaleSlope": "1", "RescaleIntercept": "0"}

    radiograph = decode_radiograph(_with_raw(name, b"1,0", **elements))

    assert np.array_equal(radiograph.pixels, _own_range(FILM))
    assert radiograph.notices == (f"{name} '1,0' is no number and is not used",)


def test_a_negative_slope_that_is_no_number_is_refused() -> None:
    data = _with_raw("RescaleSlope", b"-1,0", RescaleSlope="1", RescaleIntercept="0")

    with pytest.raises(UnreadableImageError, match=r"the rescale slope .*no number"):
        decode_radiograph(data)  # what is bright is in doubt


_RAMP = np.arange(4096)
_S_CURVE = np.rint(4095 / (1 + np.exp(-(_RAMP - 2048) / 700))).astype(int)


def test_a_whole_table_is_obeyed() -> None:
    table = lookup_table(_S_CURVE.tolist(), first=0, bits=12)

    radiograph = decode_radiograph(dicom(FILM, bits_stored=12, VOILUTSequence=table))

    assert np.array_equal(radiograph.pixels, np.rint(_S_CURVE[FILM] / 4095 * 255))
    assert radiograph.notices == ()


@pytest.mark.parametrize("bits", [16, 14, 8, 1, 0, 255])
def test_a_table_that_states_other_bits_than_it_fills_is_read_in_its_own_range(bits: int) -> None:
    table = lookup_table(_S_CURVE.tolist(), first=0, bits=bits)

    radiograph = decode_radiograph(dicom(FILM, bits_stored=12, VOILUTSequence=table))

    low, high = int(_S_CURVE.min()), int(_S_CURVE.max())
    expected = np.rint((_S_CURVE[FILM] - low) / (high - low) * 255)
    assert np.array_equal(radiograph.pixels, expected)
    assert _is_whole(radiograph)


@pytest.mark.parametrize(
    "table",
    [
        lookup_table(_S_CURVE.tolist(), first=3900, bits=12),  # begins behind the data
        lookup_table(_S_CURVE.tolist(), first=60000, bits=12),
        lookup_table(_S_CURVE.tolist(), first=0, bits=12, count=9000),  # says more than it has
        lookup_table(_S_CURVE[:200].tolist(), first=0, bits=12),  # ends before the data
        lookup_table([0, 4095], first=0, bits=12),
        lookup_table(
            np.random.default_rng(0).permutation(4096).tolist(), first=0, bits=12
        ),  # as with bytes in the other order
    ],
    ids=["first", "far first", "too short", "for 8 bits", "two entries", "shuffled"],
)
def test_a_table_that_leaves_no_picture_is_set_aside(table: Sequence) -> None:
    radiograph = decode_radiograph(dicom(FILM, bits_stored=12, VOILUTSequence=table))

    assert np.array_equal(radiograph.pixels, _own_range(FILM))
    assert radiograph.notices[0].startswith("the VOI LUT ")


def _broken_items() -> dict[str, Dataset]:
    no_data = Dataset()
    no_data.LUTDescriptor = [4096, 0, 12]
    no_data["LUTDescriptor"].VR = "US"
    no_descriptor = Dataset()
    no_descriptor.LUTData = [1, 2, 3]
    no_descriptor["LUTData"].VR = "US"
    short_descriptor = Dataset()
    short_descriptor.LUTDescriptor, short_descriptor.LUTData = [4096, 0], [1, 2, 3]
    short_descriptor["LUTDescriptor"].VR = short_descriptor["LUTData"].VR = "US"
    empty = Dataset()
    empty.LUTDescriptor, empty.LUTData = None, None
    empty["LUTDescriptor"].VR = empty["LUTData"].VR = "US"
    return {
        "no elements": Dataset(), "no data": no_data, "no descriptor": no_descriptor,
        "short descriptor": short_descriptor, "empty elements": empty,
    }  # fmt: skip


@pytest.mark.parametrize("item", _broken_items().values(), ids=_broken_items())
def test_a_broken_voi_table_gives_way_to_the_window(item: Dataset) -> None:
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    data = dicom(FILM, bits_stored=12, VOILUTSequence=Sequence([item]), **window)

    radiograph = decode_radiograph(data)

    assert np.array_equal(
        radiograph.pixels, decode_radiograph(dicom(FILM, bits_stored=12, **window)).pixels
    )
    assert radiograph.notices[0].startswith("the VOI LUT ")


def test_an_empty_modality_table_gives_way_to_slope_and_intercept() -> None:
    data = dicom(
        FILM,
        bits_stored=12,
        ModalityLUTSequence=Sequence([Dataset()]),
        RescaleSlope="-1",
        RescaleIntercept="4095",
    )

    radiograph = decode_radiograph(data)

    assert np.array_equal(radiograph.pixels, _own_range(4095 - FILM.astype(np.int64)))
    assert radiograph.notices == ("the modality LUT is empty and is not used",)


def test_dark_bone_is_turned_where_a_window_is_set_aside_too() -> None:
    data = dicom(
        FILM,
        bits_stored=12,
        PhotometricInterpretation="MONOCHROME1",
        WindowCenter=128,
        WindowWidth=256,
    )

    upside = 255 - _own_range(FILM)
    assert np.abs(decode_radiograph(data).pixels - upside).max() <= 1


def test_a_picture_of_few_values_is_not_held_against_its_window() -> None:
    steps = (FILM // 256).astype(np.uint16)  # 16 values, in any range

    radiograph = decode_radiograph(dicom(steps, bits_stored=8, WindowCenter=8, WindowWidth=16))

    assert radiograph.notices == ()
    assert np.unique(radiograph.pixels).size == np.unique(steps).size
