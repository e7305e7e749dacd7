"""DICOM's grey transformations: modality LUT, values of interest, windows (PS3.3 C.11.1, C.11.2).

All functions run over a table of pixel values, not over pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    Float = NDArray[np.float64]


@dataclass(frozen=True)
class LookupTable:
    """One item of a modality or VOI LUT sequence."""

    entries: Float
    """(N,) output values."""
    first: int
    """The input value of the first entry; below and above, the ends go on."""
    bits: int
    """Outputs lie in 0 to 2**bits - 1."""

    def apply(self, values: Float) -> Float:
        """Return the entry of each value."""
        place = np.clip(np.rint(values) - self.first, 0, self.entries.size - 1)
        chosen: Float = self.entries[place.astype(np.int64)]
        return chosen


@dataclass(frozen=True)
class Window:
    """One window of the VOI LUT module."""

    center: float
    """In units of the modality LUT's output."""
    width: float
    """In the same units."""
    function: str
    """LINEAR, LINEAR_EXACT or SIGMOID."""

    def apply(self, values: Float) -> Float:
        """Return the share of full brightness of each value (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
        if self.function == "SIGMOID":
            exponent = np.clip(-4 * (values - self.center) / self.width, -700, 700)
            return 1 / (1 + np.exp(exponent))
        if self.function == "LINEAR_EXACT":
            return np.clip((values - self.center) / self.width + 0.5, 0.0, 1.0)
        low = self.center - 0.5 - (self.width - 1) / 2
        if self.width == 1:  # a threshold: the formula's first two cases leave nothing between
            return (values > low).astype(np.float64)
        return np.clip((values - low) / (self.width - 1), 0.0, 1.0)


def modality_values(dataset: Dataset, stored: Float) -> Float:
    """Return stored values after the modality LUT: its table, else slope and intercept.

    Raises:
        UnreadableImageError: the table is shorter than it says, or the slope is 0 or not finite.
    """
    if dataset.get("ModalityLUTSequence"):
        table = _read_table(dataset, dataset.ModalityLUTSequence[0], "modality LUT", stored)
        return table.apply(stored)
    slope = _first_number(dataset, "RescaleSlope", 1.0)
    intercept = _first_number(dataset, "RescaleIntercept", 0.0)
    if slope in {None, 0.0} or intercept is None:
        raise UnreadableImageError("the rescale slope or intercept makes no sense")
    return stored * slope + intercept


def display_share(dataset: Dataset, values: Float) -> Float | None:
    """Return (K,) the share of full brightness that the file's own display settings give.

    The VOI LUT sequence goes before a window; of several, the first is the default.

    Args:
        dataset: the DICOM header.
        values: (K,) output of the modality LUT.

    Returns:
        None where the file has no (valid) settings.
    """
    if dataset.get("VOILUTSequence"):
        table = _read_table(dataset, dataset.VOILUTSequence[0], "VOI LUT", values)
        share: Float = np.minimum(table.apply(values) / (2**table.bits - 1), 1.0)
        return share
    window = _first_window(dataset)
    return None if window is None else window.apply(values)


def _first_window(dataset: Dataset) -> Window | None:
    center = _first_number(dataset, "WindowCenter", None)
    width = _first_number(dataset, "WindowWidth", None)
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    if center is None or width is None:
        return None
    # LINEAR needs a width of at least 1, the others one above 0; anything else is no window.
    if width <= 0 or (width < 1 and function not in {"LINEAR_EXACT", "SIGMOID"}):
        return None
    return Window(center, width, function)


def _first_number(dataset: Dataset, name: str, default: float | None) -> float | None:
    """Return the first value of an element; `default` where it is empty, None if not finite."""
    value = dataset.get(name)
    if isinstance(value, str) or not hasattr(value, "__len__"):
        first = value
    else:
        first = value[0] if len(value) else None
    if first is None or first == "":
        return default
    number = float(first)
    return number if math.isfinite(number) else None


def _read_table(dataset: Dataset, item: Dataset, name: str, inputs: Float) -> LookupTable:
    descriptor = [int(number) for number in item.LUTDescriptor]
    if len(descriptor) != 3 or not 1 <= descriptor[2] <= 16:
        raise UnreadableImageError(f"the {name} has a damaged descriptor")
    count, first, bits = descriptor[0] or 65536, descriptor[1], descriptor[2]
    if first > 32767 and inputs.min() < 0:
        first -= 65536  # written as unsigned beside signed pixels
    entries = _entries(item.LUTData, count, bits, little_endian=_is_little_endian(dataset))
    if len(entries) < count:
        raise UnreadableImageError(f"the {name} has {len(entries)} entries instead of {count}")
    return LookupTable(entries[:count].astype(np.float64), first, bits)


def _is_little_endian(dataset: Dataset) -> bool:
    return dataset.original_encoding[1] is not False


def _entries(raw: Any, count: int, bits: int, *, little_endian: bool) -> NDArray[Any]:  # noqa: ANN401 - bytes, int or list, as the VR decides
    if isinstance(raw, bytes):
        if bits <= 8 and len(raw) in {count, count + 1}:
            return np.frombuffer(raw, dtype=np.uint8)
        words = np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<u2" if little_endian else ">u2")
    else:
        words = np.atleast_1d(np.asarray(raw, dtype=np.int64) & 0xFFFF)
    if bits <= 8 and words.size == (count + 1) // 2 and count > 1:
        # Two 8-bit entries share a word, the first in its lower half.
        return np.stack([words & 0xFF, words >> 8], axis=1).ravel()
    return words
