"""DICOM files, built with pydicom, against pixels worked out by hand."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from cxrlearn.data.images import decode_radiograph
from cxrlearn.errors import UnreadableImageError
from tests.support.dicoms import (
    bare_bytes,
    dataset_of,
    dicom,
    encapsulated,
    file_bytes,
    gdcm_compressed,
    lookup_table,
    ramp,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RAMP = ramp()


def _grey(data: bytes, **options: Any) -> NDArray[np.int64]:  # noqa: ANN401 - passed through
    return decode_radiograph(data, **options).pixels.astype(np.int64)


def _stretched(values: NDArray[Any]) -> NDArray[np.int64]:
    low, high = np.percentile(values, [0.5, 99.5])
    grey: NDArray[np.int64] = np.rint(255 * np.clip((values - low) / (high - low), 0, 1)).astype(
        np.int64
    )
    return grey


def _windowed(values: NDArray[Any], center: float, width: float) -> NDArray[np.int64]:
    """The formula of PS3.3 C.11.2.1.2.1, word by word."""
    x = values.astype(float)
    y = ((x - (center - 0.5)) / (width - 1) + 0.5) * 255
    y = np.where(x <= center - 0.5 - (width - 1) / 2, 0, y)
    y = np.where(x > center - 0.5 + (width - 1) / 2, 255, y)
    return np.rint(y).astype(np.int64)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_without_a_window_the_own_percentiles_count(syntax: str, dtype: type) -> None:
    values: NDArray[Any] = RAMP.astype(dtype) - (2000 if dtype is np.int16 else 0)

    assert np.array_equal(_grey(dicom(values, syntax=syntax)), _stretched(values))


def test_eight_bit_dicom_without_a_window_is_stretched_too() -> None:
    values = ramp(top=200).astype(np.uint8)

    assert np.array_equal(_grey(dicom(values)), _stretched(values))


def test_minmax_on_request() -> None:
    values = np.array([[0, 100], [200, 1000]], dtype=np.uint16)

    assert _grey(dicom(values), intensity="minmax").tolist() == [[0, 26], [51, 255]]


def test_a_window_is_applied_to_the_output_of_the_modality_lut() -> None:
    data = dicom(
        RAMP,
        RescaleSlope="2.5",
        RescaleIntercept="-1024",
        WindowCenter=[4000, 6000],
        WindowWidth=[9000, 2000],
    )

    assert np.array_equal(_grey(data), _windowed(RAMP * 2.5 - 1024, 4000, 9000))


@pytest.mark.parametrize("intensity", ["percentile", "minmax"])
def test_a_window_goes_before_the_intensity_rule(intensity: str) -> None:
    data = dicom(RAMP, WindowCenter=1900, WindowWidth=3000)

    assert np.array_equal(_grey(data, intensity=intensity), _windowed(RAMP, 1900, 3000))


@pytest.mark.parametrize(
    "elements",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        {"PresentationLUTShape": "INVERSE"},
    ],
)
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2000, "WindowWidth": 3000}])
def test_dark_bone_is_turned_once_and_after_the_window(
    elements: dict[str, Any], window: dict[str, Any]
) -> None:
    upright = _windowed(RAMP, 2000, 3000) if window else _stretched(RAMP)

    # Half a grey rounds the other way when it is turned.
    assert np.abs(_grey(dicom(RAMP, **elements, **window)) - (255 - upright)).max() <= 1


def test_identity_shape_leaves_the_picture_upright() -> None:
    data = dicom(RAMP, PresentationLUTShape="IDENTITY")

    assert np.array_equal(_grey(data), _stretched(RAMP))


def test_modality_table_then_voi_table() -> None:
    values = np.array([[0, 1], [2, 3]], dtype=np.uint16)
    data = dicom(
        values,
        ModalityLUTSequence=lookup_table([30, 20, 10, 0], first=0, bits=8),
        VOILUTSequence=lookup_table(list(range(0, 62, 2)), first=0, bits=6),
    )

    # 0 -> 30 -> 60; 1 -> 20 -> 40; 2 -> 10 -> 20; 3 -> 0 -> 0, of 63.
    assert _grey(data).tolist() == [[243, 162], [81, 0]]


def test_padding_counts_in_no_percentile_and_is_black() -> None:
    values = RAMP + np.uint16(100)
    values[:, :8] = 0
    data = dicom(values, PixelPaddingValue=0, PhotometricInterpretation="MONOCHROME1")

    pixels = _grey(data)

    assert not pixels[:, :8].any()
    assert np.abs(pixels[:, 8:] - (255 - _stretched(values[:, 8:]))).max() <= 1


def test_a_range_of_padding_values_is_black() -> None:
    values = RAMP.astype(np.int16) + np.int16(100)
    values[:4], values[4:8] = -2000, -1990
    dataset = dataset_of(values)
    dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = -2000, -1985
    dataset["PixelPaddingValue"].VR = dataset["PixelPaddingRangeLimit"].VR = "SS"

    pixels = _grey(file_bytes(dataset))

    assert not pixels[:8].any()
    assert np.array_equal(pixels[8:], _stretched(values[8:]))


def test_a_padding_value_written_without_sign_is_understood() -> None:
    values = RAMP.astype(np.int16)
    values[:4] = -2000
    dataset = dataset_of(values)
    dataset.PixelPaddingValue = 63536  # -2000 in 16 bits
    dataset["PixelPaddingValue"].VR = "US"

    assert np.array_equal(_grey(file_bytes(dataset))[4:], _stretched(values[4:]))


def test_a_window_that_misses_all_values_is_set_aside() -> None:
    data = dicom(RAMP + np.uint16(9000), WindowCenter=128, WindowWidth=256)

    assert np.array_equal(_grey(data), _stretched(RAMP))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_constant_pictures_are_zeros_and_say_so(photometric: str) -> None:
    values = np.full((6, 8), 700, dtype=np.uint16)

    for elements in ({}, {"WindowCenter": 700, "WindowWidth": 900}, {"PixelPaddingValue": 700}):
        radiograph = decode_radiograph(
            dicom(values, PhotometricInterpretation=photometric, **elements)
        )
        assert radiograph.constant
        assert not radiograph.pixels.any()


@pytest.mark.parametrize(
    ("implicit", "little_endian"), [(True, True), (False, True), (False, False)]
)
def test_files_without_preamble_are_known_by_content(implicit: bool, little_endian: bool) -> None:  # noqa: FBT001
    syntax = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
    dataset = dataset_of(RAMP, syntax=syntax)

    data = bare_bytes(dataset, implicit=implicit, little_endian=little_endian)

    assert b"DICM" not in data
    assert np.array_equal(_grey(data), _stretched(RAMP))


def test_file_meta_information_without_preamble_is_read() -> None:
    data = dicom(RAMP)[132:]

    assert np.array_equal(_grey(data), _stretched(RAMP))


def test_a_preamble_that_is_a_tiff_header_is_still_dicom() -> None:
    data = dicom(RAMP)

    assert np.array_equal(_grey(b"II*\x00" + data[4:]), _stretched(RAMP))


@pytest.mark.parametrize(
    "name",
    [
        "JPEGLosslessProcess14",
        "JPEGLosslessProcess14_1",
        "JPEGLSLossless",
        "JPEG2000Lossless",
        "RLELossless",
    ],
)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_compression_changes_no_pixel(tmp_path: Path, name: str, bits: int) -> None:
    values = ramp(40, 48, top=2**bits - 1).astype(np.uint8 if bits == 8 else np.uint16)
    dataset = dataset_of(values, bits_stored=bits, WindowCenter=2 ** (bits - 1), WindowWidth=100)

    assert np.array_equal(
        _grey(gdcm_compressed(tmp_path, dataset, name)), _grey(file_bytes(dataset))
    )


@pytest.mark.parametrize("name", ["JPEGLSNearLossless", "JPEG2000"])
def test_lossy_compression_changes_little(tmp_path: Path, name: str) -> None:
    dataset = dataset_of(ramp(40, 48), bits_stored=12)

    difference = _grey(gdcm_compressed(tmp_path, dataset, name)) - _grey(file_bytes(dataset))

    assert np.abs(difference).max() <= 3


def _jpeg(values: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def test_jpeg_baseline_is_what_opencv_decodes() -> None:
    values = ramp(40, 48, top=255).astype(np.uint8)
    frame = _jpeg(values)
    theirs = cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert theirs is not None
    data = encapsulated(frame, values, JPEGBaseline8Bit, WindowCenter=128, WindowWidth=256)

    assert np.abs(_grey(data) - theirs).max() <= 1


def test_jpeg_2000_is_what_opencv_decodes() -> None:
    values = ramp(64, 80, top=255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG2000", no_jp2=True, num_resolutions=3)
    data = encapsulated(
        buffer.getvalue(), values, JPEG2000Lossless, WindowCenter=128, WindowWidth=256
    )

    assert np.array_equal(_grey(data), values)


def _colour() -> bytes:
    dataset = dataset_of(np.arange(192, dtype=np.uint8).reshape(8, 24))
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration, dataset.Columns = 0, 8
    return file_bytes(dataset)


def _rt_plan() -> bytes:
    dataset = dataset_of(RAMP, PixelData=None, Rows=None, Columns=None)
    dataset.Modality = "RTPLAN"
    return file_bytes(dataset)


def _high_bit() -> bytes:
    return dicom(RAMP, bits_stored=12, HighBit=15)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_colour(), r"a colour picture \(RGB\): not a radiograph"),
        (
            dicom(RAMP, PhotometricInterpretation="PALETTE COLOR"),
            r"a colour picture \(PALETTE COLOR\) whose palette is missing",
        ),
        (dicom(RAMP, NumberOfFrames=3), "a DICOM file of 3 frames: a radiograph is one"),
        (_rt_plan(), r"a DICOM file without pixels \(modality RTPLAN\): not a picture, or cut off"),
        (dicom(RAMP, BitsAllocated=None), "damaged DICOM file: BitsAllocated missing"),
        (dicom(RAMP, Rows=20_000, Columns=10_001), "10001 x 20000 pixels are 200 megapixels"),
        (dicom(RAMP, Rows=0), "a picture of 32 x 0 pixels"),
        (dicom(RAMP, Rows=25), "the DICOM file is truncated: 1536 of 1600 bytes of pixels"),
        (dicom(RAMP, Columns=8), "damaged DICOM file: 1536 bytes of pixels where .* needs 384"),
        (_high_bit(), "high bit 15 with 12 bits stored is not supported"),
        (dicom(RAMP, BitsAllocated=12, BitsStored=12), "12 bits stored in 12 are not supported"),
        (dicom(RAMP, RescaleSlope=0, RescaleIntercept=0), "the rescale slope or intercept"),
        (
            encapsulated(_jpeg(RAMP.astype(np.uint8)), RAMP.astype(np.uint8), MPEG2MPML),
            "the transfer syntax MPEG2 .* is not supported",
        ),
    ],
)
def test_what_is_no_radiograph_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        decode_radiograph(data)


def test_deflated_files_are_refused_without_inflating_them() -> None:
    dataset = dataset_of(RAMP, syntax=DeflatedExplicitVRLittleEndian)

    with pytest.raises(UnreadableImageError, match="a deflated DICOM file"):
        decode_radiograph(file_bytes(dataset))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("syntax", ["native", "RLE", "JPEG", "JPEG2000"])
def test_truncated_files_are_refused(tmp_path: Path, syntax: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 90), dtype=np.uint8)
    if syntax == "native":
        data = dicom(noise)
    elif syntax == "RLE":
        dataset = dataset_of(noise)
        dataset.compress(RLELossless)
        data = file_bytes(dataset)
    elif syntax == "JPEG":
        data = encapsulated(_jpeg(noise), noise, JPEGBaseline8Bit)
    else:
        data = gdcm_compressed(tmp_path, dataset_of(noise), "JPEG2000Lossless")

    with pytest.raises(UnreadableImageError, match=r"truncated|without pixels"):
        decode_radiograph(data[: int(len(data) * share)])


def test_a_compressed_frame_cut_before_it_was_wrapped_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 90), dtype=np.uint8)
    frame = _jpeg(noise)
    data = encapsulated(frame[: len(frame) // 2], noise, JPEGBaseline8Bit)

    with pytest.raises(UnreadableImageError, match="truncated: the compressed pixels have no end"):
        decode_radiograph(data)


def test_twelve_bit_jpeg_is_refused_with_the_way_out() -> None:
    frame = bytearray(_jpeg(RAMP.astype(np.uint8)))
    at = frame.index(b"\xff\xc0")
    frame[at + 1], frame[at + 4] = 0xC1, 12
    data = encapsulated(bytes(frame), RAMP, JPEGExtended12Bit, bits_stored=12)

    with pytest.raises(UnreadableImageError, match=r"12 bits a pixel.*dcmdjpeg FILE"):
        decode_radiograph(data)


def test_private_and_odd_elements_elsewhere_in_the_header_do_no_harm() -> None:
    dataset = dataset_of(RAMP)
    dataset.add_new(0x00091010, "LO", "private")
    dataset["StudyDate"] = RawDataElement(Tag("StudyDate"), "DA", 10, b"not a date", 0, False, True)  # noqa: FBT003 - pydicom's
    dataset.PatientName = "Grün^Ä"
    item = Dataset()
    item.WindowCenter = 3  # of another object, nested
    dataset.ReferencedImageSequence = [item]

    assert np.array_equal(_grey(file_bytes(dataset)), _stretched(RAMP))
