"""DICOM's grey transformations: modality LUT, values of interest, windows (PS3.3 C.11.1, C.11.2).

All functions run over a table of pixel values, not over pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrlearn.data.reasons import plain
from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    Float = NDArray[np.float64]


_EMPTY = "is empty"


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

    def share(self, values: Float) -> Float:
        """Return the share of full brightness of each value.

        Full is what the bits say, unless the entries say otherwise: some fill fewer bits than
        stated, or more. Then the table's own range counts.
        """
        low, high, top = self.entries.min(), self.entries.max(), 2**self.bits - 1
        stated = 1 <= self.bits <= 16 and top / 2 < high <= top
        bottom, full = (0.0, float(top)) if stated else (low, high)
        return (self.apply(values) - bottom) / max(full - bottom, 1.0)


@dataclass(frozen=True)
class Window:
    """One window of the VOI LUT module."""

    center: float
    """In units of the modality LUT's output."""
    width: float
    """In the same units."""
    function: str
    """LINEAR, LINEAR_EXACT or SIGMOID."""

    def makes_sense(self) -> bool:
        """Tell whether the width is at least 1, or above 0 where the function allows it."""
        least = 0.0 if self.function in {"LINEAR_EXACT", "SIGMOID"} else 1.0
        finite = math.isfinite(self.center) and math.isfinite(self.width)
        return finite and self.width >= least and self.width > 0

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


def modality_values(dataset: Dataset, stored: Float) -> tuple[Float, tuple[str, ...]]:
    """Return stored values after the modality LUT (its table, else slope and intercept), notices.

    An empty item, or a number that is none (a decimal comma), counts as absent.

    Raises:
        UnreadableImageError: the table is shorter than it says; the slope is 0 or not finite, or
            it is no number and begins with a minus, so that what is bright is in doubt.
    """
    notices = []
    if dataset.get("ModalityLUTSequence"):
        table = _read_table(dataset, dataset.ModalityLUTSequence[0], stored)
        if isinstance(table, LookupTable):
            return table.apply(stored), ()
        if table != _EMPTY:
            raise UnreadableImageError(f"the modality LUT {table}")
        notices.append(f"the modality LUT {table} and is not used")
    factors = []
    for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        found = _numbers(dataset, name)
        if found is None:
            text = plain(_text(dataset, name), most=32)
            if text.startswith("-") and name == "RescaleSlope":
                raise UnreadableImageError("the rescale slope is no number")
            notices.append(f"{name} {text!r} is no number and is not used")
        factors.append(found[0] if found else default)
    slope, intercept = factors
    if slope == 0 or not math.isfinite(slope) or not math.isfinite(intercept):
        raise UnreadableImageError("the rescale slope or intercept makes no sense")
    return stored * slope + intercept, tuple(notices)


def display_settings(dataset: Dataset, values: Float) -> Iterator[tuple[str, Float | str]]:
    """Yield the display settings of a file in their order: VOI LUTs, then windows.

    Of several tables or windows the first is the default.

    Args:
        dataset: the DICOM header.
        values: (K,) output of the modality LUT.

    Yields:
        What it is, and (K,) the share of full brightness that it gives each value, or a word for
        what is wrong with it.
    """
    for item in dataset.get("VOILUTSequence") or ():
        table = _read_table(dataset, item, values)
        yield "the VOI LUT", table if isinstance(table, str) else table.share(values)
    centers, widths = _numbers(dataset, "WindowCenter"), _numbers(dataset, "WindowWidth")
    if centers is None or widths is None:
        texts = (plain(_text(dataset, name), most=32) for name in ("WindowCenter", "WindowWidth"))
        yield f"the window {' / '.join(texts)}", "is no number"
        return
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    for center, width in zip(centers, widths, strict=False):
        name = f"the window of center {center:g} and width {width:g}"
        window = Window(center, width, function)
        yield name, window.apply(values) if window.makes_sense() else "makes no sense"


def _numbers(dataset: Dataset, name: str) -> list[float] | None:
    """Return the numbers of an element, none where it is absent or empty; None: they are none."""
    try:
        value = dataset.get(name)
        if value is None or value == "":
            return []
        several = hasattr(value, "__len__") and not isinstance(value, str)
        return [float(number) for number in (value if several else [value])]
    except (TypeError, ValueError, OverflowError):
        return None


def _text(dataset: Dataset, name: str) -> str:
    """Return an element as it stands in the file."""
    raw = dataset.get_item(name).value if name in dataset else b""
    return raw.decode("ascii", "replace").strip() if isinstance(raw, bytes) else str(raw)


def _read_table(dataset: Dataset, item: Dataset, inputs: Float) -> LookupTable | str:
    """Return a table, or a word for what is wrong with it."""
    raw, descriptor = item.get("LUTData"), item.get("LUTDescriptor")
    if raw is None or descriptor is None:
        return _EMPTY
    try:
        count, first, bits = (int(number) for number in descriptor)
    except (TypeError, ValueError):
        return "has a damaged descriptor"
    count = count or 65536
    if first > 32767 and inputs.min() < 0:
        first -= 65536  # written as unsigned beside signed pixels
    entries = _entries(raw, count, bits, little_endian=_is_little_endian(dataset))
    if len(entries) < count:
        return f"has {len(entries)} entries instead of {count}"
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
