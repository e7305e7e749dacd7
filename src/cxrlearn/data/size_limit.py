"""The largest picture that is decoded."""

from __future__ import annotations

from cxrlearn.errors import UnreadableImageError

MAX_PIXELS = 200_000_000
"""Ten times a large radiograph; a damaged or hostile header may ask for any size."""


def check_size(width: int, height: int) -> None:
    """Refuse a picture by the size its header states, before anything is decoded.

    Raises:
        UnreadableImageError: it has no pixels, or more than `MAX_PIXELS`.
    """
    if width < 1 or height < 1:
        raise UnreadableImageError(f"a picture of {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            f"{width} x {height} pixels are {width * height / 1e6:.0f} megapixels; "
            f"more than {MAX_PIXELS // 1_000_000} are not decoded"
        )
