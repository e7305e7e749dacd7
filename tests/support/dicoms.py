"""Small DICOM files, built with pydicom and compressed with GDCM."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def dataset_of(
    pixels: NDArray[Any],
    *,
    bits_stored: int | None = None,
    syntax: str = ExplicitVRLittleEndian,
    **elements: object,
) -> Dataset:
    """Return a data set that holds (H, W) integers; `elements` are set last and may be None."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = "1.2.3"
    dataset.Modality = "DX"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = bits_stored or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    order: Literal["<", ">"] = ">" if syntax == ExplicitVRBigEndian else "<"
    raw = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    dataset.PixelData = raw + b"\x00" * (len(raw) % 2)
    dataset["PixelData"].VR = "OW"
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return dataset


def lookup_table(
    entries: list[int] | bytes, *, first: int, bits: int, count: int | None = None
) -> Sequence:
    """Return a LUT sequence of one item; bytes are written as OW."""
    item = Dataset()
    item.LUTDescriptor = [len(entries) if count is None else count, first, bits]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item.LUTData = entries
    item["LUTData"].VR = "OW" if isinstance(entries, bytes) else "US"
    return Sequence([item])


def file_bytes(dataset: Dataset) -> bytes:
    """Return the file, with preamble and file meta information."""
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def bare_bytes(dataset: Dataset, *, implicit: bool = True, little_endian: bool = True) -> bytes:
    """Return the data set alone: no preamble, no file meta information."""
    bare = Dataset()
    bare.update(dataset)
    buffer = io.BytesIO()
    dcmwrite(buffer, bare, implicit_vr=implicit, little_endian=little_endian)
    return buffer.getvalue()


def dicom(pixels: NDArray[Any], **options: Any) -> bytes:  # noqa: ANN401 - elements of any kind
    """Return the file of `dataset_of`."""
    return file_bytes(dataset_of(pixels, **options))


def encapsulated(
    frame: bytes,
    pixels: NDArray[Any],
    syntax: str,
    *,
    bits_stored: int | None = None,
    **elements: object,
) -> bytes:
    """Return a file whose pixels are one compressed frame; `pixels` gives size and depth."""
    dataset = dataset_of(pixels, bits_stored=bits_stored, syntax=syntax, **elements)
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return file_bytes(dataset)


def gdcm_compressed(folder: Path, dataset: Dataset, syntax_name: str) -> bytes:
    """Return the file compressed by GDCM; `syntax_name` is GDCM's, such as JPEG2000Lossless."""
    import gdcm

    source, target = folder / "plain.dcm", folder / "compressed.dcm"
    source.write_bytes(file_bytes(dataset))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax_name)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(target))
    assert writer.Write()
    return target.read_bytes()


def ramp(rows: int = 24, columns: int = 32, top: int = 4095) -> NDArray[np.uint16]:
    """Return (rows, columns) values that rise evenly from 0 to `top`, all over the picture."""
    return np.linspace(0, top, rows * columns).astype(np.uint16).reshape(rows, columns)


__all__ = [
    "bare_bytes",
    "dataset_of",
    "dicom",
    "encapsulated",
    "file_bytes",
    "gdcm_compressed",
    "lookup_table",
    "ramp",
]
