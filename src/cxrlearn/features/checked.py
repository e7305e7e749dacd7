"""A file that ends with checksums of itself, so that no damaged byte is ever used.

`seal` appends a digest of every block, and a digest of those digests. `CheckedFile` gives out a
byte only after its block has been compared with its digest. HDF5 therefore never sees a damaged
byte: neither a number nor a name can change silently, and HDF5 cannot crash on damaged structures.
The layout is specified in docs/reference/feature-file.md.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import WriteableBuffer

MAGIC = b"cxrlearn-sums-1\n"
BLOCK = 256 * 1024
"""Bytes of a block: what has to be read and hashed to use a single byte of it."""
KEPT_BLOCKS = 8
"""Blocks kept in memory: HDF5 reads neighbouring small pieces one by one."""
_DIGEST = 32
_NUMBERS = struct.Struct("<QQ")  # length of the content, bytes in a block
_FOOTER = _NUMBERS.size + _DIGEST + len(MAGIC)


class NotSealedError(ValueError):
    """A file does not end with checksums."""


class DamagedError(OSError):
    """A file differs from what was written."""


class _Sums(NamedTuple):
    length: int
    """Bytes of the content, without the checksums."""
    block: int
    """Bytes of a block."""
    digests: bytes
    """SHA-256 of each block, one after the other."""


def seal(path: Path) -> None:
    """Append the checksums to a file that is complete.

    Raises:
        OSError: the disk is full, or fails.
    """
    with path.open("r+b") as file:
        digests = b"".join(
            hashlib.sha256(block).digest() for block in iter(lambda: file.read(BLOCK), b"")
        )
        numbers = _NUMBERS.pack(file.tell(), BLOCK)
        file.write(digests + numbers + hashlib.sha256(digests + numbers).digest() + MAGIC)


class CheckedFile(io.RawIOBase):
    """The content of a sealed file, for reading; every block is checked before it is given out."""

    def __init__(self, path: Path) -> None:
        """Open the file and check its checksums.

        Raises:
            NotSealedError: the file has none.
            DamagedError: the checksums themselves are damaged.
            OSError: it cannot be read.
        """
        super().__init__()
        self.damage: DamagedError | None = None
        """The first damage met; HDF5 turns errors of a read into its own."""
        self._at = 0
        self._kept: dict[int, bytes] = {}
        self._file = path.open("rb", buffering=0)
        try:
            self._sums = _read_sums(self._file)
        except BaseException:
            self._file.close()
            raise

    def check_all(self) -> None:
        """Read and check everything.

        Raises:
            DamagedError: a block is damaged.
        """
        for number in range(-(-self._sums.length // self._sums.block)):
            self._block(number)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer; zeros beyond the end.

        Raises:
            DamagedError: a block is damaged.
        """
        whole = memoryview(buffer).cast("B")
        at, filled = self._at, 0
        while filled < whole.nbytes and at < self._sums.length:
            number, skipped = divmod(at, self._sums.block)
            piece = self._block(number)[skipped : skipped + whole.nbytes - filled]
            whole[filled : filled + len(piece)] = piece
            filled += len(piece)
            at += len(piece)
        whole[filled:] = bytes(whole.nbytes - filled)
        self._at += whole.nbytes
        return whole.nbytes

    def _block(self, number: int) -> bytes:
        kept = self._kept.get(number)
        if kept is not None:
            return kept
        start = number * self._sums.block
        size = min(self._sums.block, self._sums.length - start)
        self._file.seek(start)
        block = self._file.read(size) or b""
        wanted = self._sums.digests[number * _DIGEST : (number + 1) * _DIGEST]
        if hashlib.sha256(block).digest() != wanted:
            self.damage = DamagedError(f"bytes {start:,} to {start + size:,} have changed")
            raise self.damage
        while len(self._kept) >= KEPT_BLOCKS:
            self._kept.pop(next(iter(self._kept)))
        self._kept[number] = block
        return block

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place in the content."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._sums.length}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Return the place in the content."""
        return self._at

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _read_sums(file: io.FileIO) -> _Sums:
    size = file.seek(0, os.SEEK_END)
    footer = _read_at(file, max(0, size - _FOOTER), _FOOTER)
    if len(footer) < _FOOTER or not footer.endswith(MAGIC):
        raise NotSealedError("it does not end with checksums")
    length, block = _NUMBERS.unpack_from(footer)
    blocks = -(-length // block) if block else 0
    if length + blocks * _DIGEST + _FOOTER != size:
        raise DamagedError("its checksums are damaged, or bytes are missing")
    digests = _read_at(file, length, blocks * _DIGEST)
    signed = hashlib.sha256(digests + footer[: _NUMBERS.size]).digest()
    if signed != footer[_NUMBERS.size : -len(MAGIC)]:
        raise DamagedError("its checksums are damaged")
    return _Sums(length, block, digests)


def _read_at(file: io.FileIO, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size) or b""
