"""Files with one flipped bit: each has to be refused, or to be read as if nothing had happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cxrlearn.errors import CxrlearnError


@dataclass
class Flips:
    """What became of the flips of one file."""

    refused: int = 0
    harmless: int = 0
    silent: list[int] = field(default_factory=list)
    """Bits whose flip changed what was read."""
    wrong: list[str] = field(default_factory=list)
    """Errors other than the expected one, with the bit."""


def flip_bits(
    path: Path,
    read: Callable[[], object],
    error: type[CxrlearnError],
    *,
    count: int,
    seed: int = 0,
) -> Flips:
    """Flip `count` bits of a file, one at a time, and read it after each; leave it as it was.

    Args:
        path: the file.
        read: returns everything that is read from it, comparable with ==.
        error: what a refusal has to be.
        count: flips; every bit once where the file has no more.
        seed: of the choice.
    """
    whole = path.read_bytes()
    expected = read()
    bits = 8 * len(whole)
    chosen = np.random.default_rng(seed).choice(bits, size=min(count, bits), replace=False)
    found = Flips()
    for bit in chosen.tolist():
        _put(path, bit // 8, whole[bit // 8] ^ 1 << bit % 8)
        try:
            same = read() == expected
        except error:
            found.refused += 1
        except Exception as other:  # noqa: BLE001 - any other error is the finding
            found.wrong.append(f"bit {bit}: {type(other).__name__}: {other}")
        else:
            if same:
                found.harmless += 1
            else:
                found.silent.append(bit)
        _put(path, bit // 8, whole[bit // 8])
    return found


def _put(path: Path, place: int, byte: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes([byte]))
