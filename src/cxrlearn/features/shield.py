"""A file that HDF5 may write to on a disk that fills up."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from _typeshed import ReadableBuffer, WriteableBuffer


class ShieldedFile(io.RawIOBase):
    """A new file whose failed writes are remembered instead of reported to HDF5.

    When HDF5 cannot write what it holds, it can neither close the file nor forget it: it tries
    again at the end of the process, and crashes it. So it is told that all is well, and the
    first error is raised by `check`, to our own code.
    """

    def __init__(self, path: Path) -> None:
        """Create the file, or empty it.

        Raises:
            OSError: it cannot be made.
        """
        super().__init__()
        self._file = path.open("w+b", buffering=0)
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the first error there was.

        Raises:
            OSError: a write failed.
        """
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; an error of the disk comes before what it led to."""
        self.close()
        if kind is None or issubclass(kind, Exception):
            self.check()

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            try:
                self._file.close()
            except OSError as failure:
                self._error = self._error or failure
        super().close()

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of `data`, or remember why not; return its length in either case."""
        left = whole = memoryview(data).cast("B")
        try:
            while self._error is None and left.nbytes:
                left = left[self._file.write(left) :]
        except OSError as failure:
            self._error = failure
        return whole.nbytes

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file, or remember why not."""
        try:
            return self._file.truncate(size)
        except OSError as failure:
            self._error = self._error or failure
            return self._file.seek(0, io.SEEK_END)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read what HDF5 wrote before; zeros beyond the end, after a failed write."""
        whole = memoryview(buffer).cast("B")
        got = self._file.readinto(whole)
        whole[got:] = bytes(whole.nbytes - got)
        return whole.nbytes

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in the file."""
        return self._file.tell()

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""
