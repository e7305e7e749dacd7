"""The largest file that is read, and the largest picture that is decoded."""

from __future__ import annotations

from cxrlearn.errors import UnreadableImageError

MAX_FILE_BYTES = 500_000_000
"""Twenty times a large radiograph without compression."""
MAX_PIXELS = 200_000_000
"""Ten times a large radiograph; a damaged or hostile header may ask for any size."""


def check_size(width: int, height: int, bytes_per_pixel: float = 1) -> None:
    """Refuse a picture by the size its header states, before anything is decoded.

    Channels and bytes count: 16-bit RGBA takes eight times the memory of 8-bit grey.

    Args:
        width: columns.
        height: rows.
        bytes_per_pixel: of all channels, decoded.

    Raises:
        UnreadableImageError: it has no pixels, or more than `MAX_PIXELS` bytes of them.
    """
    if width < 1 or height < 1:
        raise UnreadableImageError(f"a picture of {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            f"{width} x {height} pixels are {width * height / 1e6:.0f} megapixels; "
            f"more than {MAX_PIXELS // 1_000_000} are not decoded"
        )
    size = width * height * bytes_per_pixel
    if size > MAX_PIXELS:
        raise UnreadableImageError(
            f"{width} x {height} pixels of {bytes_per_pixel:g} bytes are {size / 1e6:.0f} MB; "
            f"more than {MAX_PIXELS // 1_000_000} MB are not decoded"
        )
