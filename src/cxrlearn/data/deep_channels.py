"""Colour, and grey with alpha, at 16 bits a channel: read in full although Pillow keeps 8 bits.

Pillow drops the lower byte of each channel, which leaves a 10-bit radiograph four grey values. But
it can be told to take the byte order for the other one, and then drops the upper byte.
"""

from __future__ import annotations

import io
import sys
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

_BLOCK = 1 << 20  # pixels at once: sums take 32 bits a channel
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def deep_rawmode(image: ImageFile) -> str | None:
    """Return how the pixels of an opened file lie on disk if they have 16-bit channels, else None.

    Single channels of 16 bits are none of this module's business: Pillow reads them in full.
    """
    rawmode = _rawmode(image.tile[0].args) if image.tile else ""
    return rawmode if ";16" in rawmode and not rawmode.startswith("I") else None


def _rawmode(arguments: object) -> str:
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def deep_channels_grey(
    data: bytes, opener: Callable[[io.BytesIO], ImageFile], rawmode: str
) -> NDArray[np.uint16]:
    """Decode to (H, W) uint16: luma, over black where alpha is not full.

    Args:
        data: the whole file.
        opener: Pillow's class for its format.
        rawmode: from `deep_rawmode`.

    Raises:
        UnreadableImageError: channels that are neither colour nor grey with alpha.
    """
    if rawmode.startswith("LA"):
        return over_black(_grey_and_alpha(data))
    if not rawmode.startswith(("RGB;", "RGBA;", "RGBX;")):
        channels = rawmode.partition(";")[0]
        raise UnreadableImageError(f"16 bits a channel in {channels}: save it as grey")
    with opener(io.BytesIO(data)) as upper, opener(io.BytesIO(data)) as lower:
        _swap_bytes(lower, rawmode[:-1] + _OTHER_ORDER[rawmode[-1]])
        return over_black(np.asarray(upper).astype(np.uint16) << 8 | np.asarray(lower))


def _swap_bytes(image: ImageFile, rawmode: str) -> None:
    image.tile = [
        tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)
        for tile in image.tile
    ]


def _grey_and_alpha(data: bytes) -> NDArray[np.uint16]:
    """Read a 16-bit grey-and-alpha PNG as 8-bit RGBA, which lies in the file in the same way."""
    header = b"IHDR" + data[16:24] + b"\x08\x06" + data[26:29]
    relabelled = data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]
    with PngImageFile(io.BytesIO(relabelled)) as image:
        halves = np.asarray(image).astype(np.uint16)
    return np.asarray(halves[..., 0::2] << 8 | halves[..., 1::2], dtype=np.uint16)


def over_black(channels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return (H, W) from (H, W, 2 to 4): ITU-R 601 luma as Pillow rounds it, times alpha."""
    grey = np.empty(channels.shape[:2], dtype=np.uint16)
    rows = max(1, _BLOCK // channels.shape[1])
    for start in range(0, len(channels), rows):
        grey[start : start + rows] = _luma_over_black(channels[start : start + rows])
    return grey


def _luma_over_black(channels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return (h, W) from (h, W, 2 to 4); all sums stay below 2**32."""
    wide: NDArray[Any] = channels.astype(np.uint32)
    grey = wide[..., 0]
    if channels.shape[2] >= 3:
        luma = wide[..., 0] * 19595 + wide[..., 1] * 38470 + wide[..., 2] * 7471 + 0x8000
        grey = luma >> 16
    if channels.shape[2] in {2, 4}:
        grey = (grey * wide[..., -1] + 32767) // 65535
    return grey.astype(np.uint16)
