"""Public chest X-ray datasets, and which of them hold the images of others."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from cxrlearn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

WITHIN: dict[str, tuple[str, ...]] = {
    "nih": (),
    "rsna": ("nih",),
    "siim": ("nih",),
    "ranzcr": ("nih",),
    "nih-google": ("nih",),
    "chexpert": (),
    "mimic-cxr": (),
    "reflacx": ("mimic-cxr",),
    "mimic-edema": ("mimic-cxr",),
    "padchest": (),
    "vindr-cxr": (),
    "shenzhen": (),
    "montgomery": (),
    "tbx11k": ("shenzhen", "montgomery"),
    "openi": (),
    "jsrt": (),
    "brax": (),
    "tb-portals": (),
    "kermany": (),
    "covid": (),
    "own": (),
}
"""Each dataset and those that it took images from, as the datasets' own descriptions say: RSNA is
a part of NIH, TBX11K took in Shenzhen and Montgomery. `own`: images that were never published."""


def check_origins(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names as this table spells them.

    Raises:
        UsageError: a name is not in the table; the message suggests one.
    """
    found = []
    for name in names:
        plain = name.strip().lower().replace("_", "-")
        if plain not in WITHIN:
            close = difflib.get_close_matches(plain, WITHIN, n=1)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            raise UsageError(
                f"--origin: unknown dataset {name!r}.{meant} Known: {', '.join(WITHIN)}."
            )
        found.append(plain)
    return tuple(found)


def related(origin: Iterable[str], seen: Iterable[str]) -> tuple[str, ...]:
    """Return the datasets among `seen` that share images with one of `origin`.

    Two datasets share images if one took them from the other, or both from a third.

    Example:
        >>> related(("rsna",), ("nih", "imagenet-1k")), related(("chexpert",), ("mimic-cxr",))
        (('nih',), ())
    """
    sources = {root for name in origin for root in _roots(name)}
    return tuple(name for name in seen if sources & _roots(name))


def _roots(name: str) -> set[str]:
    return {name, *WITHIN.get(name, ())}
