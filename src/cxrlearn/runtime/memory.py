"""How much memory there is, and whether an error says that it is used up."""

from __future__ import annotations

import errno
import mmap
from pathlib import Path

from cxrlearn.errors import HardwareError

_CGROUP = Path("/sys/fs/cgroup")
_UNKNOWN = 8 * 2**30
"""Assumed where the system says nothing."""
_SPARE = 2**30
"""A process that can still have so many bytes is not short of memory; no image needs them."""
_CACHE = ("active_file", "inactive_file")
"""Parts of a container's memory that only keep files read before, and give way when needed."""


_WORDS = ("can't allocate memory", "Cannot allocate memory", "out of memory", "not enough memory",
          "failed to map segment from shared object")  # fmt: skip
"""What torch's allocators and the system say, in errors of a general kind."""


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error, of Python, numpy, torch or CUDA, means that memory is used up."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    general = isinstance(error, RuntimeError | ImportError)
    return general and any(words in str(error) for words in _WORDS)


def ran_short(error: BaseException) -> bool:
    """Tell whether an error means that this process cannot have more memory.

    A damaged file can ask for more than any machine has; that is a fault of the file.
    """
    causes = [one for one in (error, error.__cause__) if one is not None]
    return any(out_of_memory(one) for one in causes) and not can_have(_SPARE)


def can_have(size: int) -> bool:
    """Tell whether this process may have `size` bytes more."""
    try:
        mmap.mmap(-1, size).close()
    except OSError:
        return False
    return True


def out_of_memory_error(error: BaseException, advice: str) -> HardwareError:
    """Return the error for the user, with the words of the one that says how much was asked for."""
    text = " ".join(str(error).split("\n")[0].split())[:200]
    return HardwareError(f"out of memory{f' ({text})' if text else ''}. {advice}")


def available_memory() -> int:
    """Return the bytes that can be had without swapping: of the machine, or of its container."""
    return min(of_machine(), of_container())


def of_machine(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return what the machine has free, files it keeps for later included."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:
        return _UNKNOWN
    for line in lines:
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return _UNKNOWN


def of_container(folder: Path = _CGROUP) -> int:
    """Return what the container's limit leaves; more than any machine has where there is none."""
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        parts = (folder / "memory.stat").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 2**63
    if limit == "max":
        return 2**63
    stat = dict(zip(parts[::2], parts[1::2], strict=False))
    cache = sum(int(stat.get(name, 0)) for name in _CACHE)
    return max(0, int(limit) - max(0, used - cache))
