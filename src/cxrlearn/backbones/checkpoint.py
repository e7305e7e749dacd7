"""Read a weight file without executing anything in it.

torch's restricted unpickler builds tensors and plain containers only. The published files also
name classes of OmegaConf and PyTorch Lightning, and a few plain types; each such name is bound to
an inert stand-in of its own, whether or not the library is installed. Any other name is refused.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from cxrlearn.backbones.archives import archive_fault
from cxrlearn.errors import HardwareError, WeightsError
from cxrlearn.runtime.memory import out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

INERT_PACKAGES = ("omegaconf.", "pytorch_lightning.", "lightning.")
"""Packages whose classes become stand-ins."""
INERT_NAMES = frozenset(
    {
        "collections.defaultdict",
        "typing.Any",
        *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "str", "tuple")),
    }
)
"""Plain types that OmegaConf's objects mention; stand-ins too."""

_NO_WEIGHTS = {
    "builtins.bytearray": "an array of any size, which weights do not need",
    **dict.fromkeys(
        ("torch._utils._rebuild_meta_tensor_no_storage", "torch._utils._rebuild_wrapper_subclass"),
        "a tensor without values",
    ),
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_qtensor": "a quantised tensor",
}
"""Names that torch would accept and no backbone can use; some would fill the memory."""

# What the readers raise on damaged bytes. RuntimeError is torch's own; the rest come out of
# unpickling garbage.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
)
# torch.save writes Python 2's names of some types.
_PYTHON_2 = {"__builtin__.long": "builtins.int", "__builtin__.unicode": "builtins.str"}
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)|unrecognized function (.+)")
_SAVE_AGAIN = (
    "If you trust its source, open it where it was made, save model.state_dict() with torch.save "
    "or safetensors, and give that file."
)


class _Inert:
    """Stands in for a class of a library: takes whatever the file says, and does nothing."""

    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        return object.__new__(cls)

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        """Take anything."""

    def __setstate__(self, _state: object) -> None:
        """Take anything."""


def _plain_dict(*_args: object) -> dict[object, object]:
    """Stand in for defaultdict: the restricted unpickler fills plain dicts only."""
    return {}


def read_checkpoint(path: Path) -> object:
    """Read the tensors and plain data of a weight file onto the CPU.

    Args:
        path: a torch.save file (zip or the older stream) or a safetensors file; what it is
            is found by its content.

    Returns:
        What was saved; classes of OmegaConf and Lightning are inert stand-ins.

    Raises:
        WeightsError: no such file, another kind of file, damaged, or it names anything that
            weights do not need; nothing in it has been executed.
        HardwareError: it does not fit into the memory.
    """
    kind = check_container(path)
    if kind == "safetensors":
        return _read_safetensors(path)
    return _read_torch(path, _names_in_zip if kind == "zip" else _names_in_stream)


def check_container(path: Path) -> str:
    """Tell what kind of file holds the weights, and refuse one that lies about its parts.

    Nothing is unpacked; for other libraries' readers too.

    Returns:
        "safetensors", "zip" or "stream" (torch's older form).

    Raises:
        WeightsError: no such file, another kind of file, or an archive not made by torch.save.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    _refuse_other_kinds(path, head)
    if _is_safetensors(head, size):
        return "safetensors"
    if head[:4] == b"PK\x03\x04":
        _refuse_lying_archive(path, size)
        return "zip"
    if head[:1] == b"\x80":
        return "stream"
    raise WeightsError(
        f"{path} is no weight file: expected a torch.save or safetensors file, found bytes "
        f"{head[:8].hex(' ')}. Download it again."
    )


def _refuse_lying_archive(path: Path, size: int) -> None:
    try:
        with path.open("rb") as stream:
            fault = archive_fault(stream, size)
    except _DAMAGE as error:
        raise WeightsError(_damaged(path, error)) from error
    if fault:
        raise WeightsError(
            f"{path} is refused: {fault}. It is damaged, or not written by torch.save. "
            f"Nothing in it was unpacked. {_SAVE_AGAIN}"
        )


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    """Name the kinds of files that people hold for weights."""
    start = head.lstrip()[:15].lower()
    found = None
    if not head:
        found = "an empty file"
    elif start.startswith((b"<!doctype", b"<html", b"<?xml")):
        found = "a web page (the page of a download, not the download itself)"
    elif start.startswith(b"version https:/"):
        found = "a Git LFS pointer, not the file it points to"
    elif head[:2] == b"\x1f\x8b":
        found = "a gzip archive; unpack it first"
    elif head[257:262] == b"ustar":
        found = "a tar archive; unpack it first"
    elif head.isascii() and head.decode("ascii").isprintable():
        found = "text"
    if found:
        raise WeightsError(
            f"{path} is no weight file: it is {found}. "
            "Expected a file written by torch.save or safetensors; download it again."
        )


def _is_safetensors(head: bytes, size: int) -> bool:
    """Whether the bytes begin as a safetensors file: length of a JSON header, then the header."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < max(size, 1 << 20)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, *_DAMAGE) as error:
        _refuse_for_memory(path, error)
        raise WeightsError(_damaged(path, error)) from error


def _read_torch(path: Path, names: Callable[[BinaryIO], Iterator[str]]) -> object:
    try:
        with path.open("rb") as stream:
            named = sorted(set(names(stream)))
            _refuse_useless(path, named)
            stand_ins: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
                _stand_in(name) for name in named if _is_inert(name)
            ]
            stream.seek(0)
            with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's advice to programmers
                return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(_refused(path, error)) from error
    except _DAMAGE as error:
        _refuse_for_memory(path, error)
        raise WeightsError(_damaged(path, error)) from error


def _refuse_useless(path: Path, named: Iterable[str]) -> None:
    for name in named:
        if name in _NO_WEIGHTS:
            raise WeightsError(
                f"{path} is refused: it names {name!r}, {_NO_WEIGHTS[name]}. "
                f"Nothing in it was executed. {_SAVE_AGAIN}"
            )


def _refuse_for_memory(path: Path, error: Exception) -> None:
    """Tell a file that is too large from one that claims more bytes than it has."""
    if not out_of_memory(error):
        return
    size = path.stat().st_size
    claimed = re.search(r"allocate (\d+) bytes", str(error))
    if claimed is None or int(claimed[1]) <= size:
        raise HardwareError(
            f"not enough memory to read {path} ({size:,} bytes). Close other programs, or use a "
            "machine with more memory."
        ) from error


def _is_inert(name: str) -> bool:
    return name.startswith(INERT_PACKAGES) or name in INERT_NAMES


def _stand_in(name: str) -> tuple[Callable[..., object], str]:
    """Return what the unpickler takes for `name`: a class of its own, or an empty dict."""
    if name == "collections.defaultdict":
        return _plain_dict, name
    module, _, class_name = name.rpartition(".")
    return type(class_name, (_Inert,), {"__module__": module}), name


def _names_in_zip(stream: BinaryIO) -> Iterator[str]:
    """Yield the names in the archive's pickle; check the sums of all members, as torch does not."""
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            if member.filename.endswith("/data.pkl"):
                yield from _names(archive.read(member))
            elif member.CRC:  # 0: saved without sums
                with archive.open(member) as content:
                    while content.read(1 << 20):
                        pass


def _names_in_stream(stream: BinaryIO) -> Iterator[str]:
    """Yield the names in the older form: magic number, version, system, the object, its keys."""
    with suppress(ValueError):  # not five pickles: the reader will say so
        for _ in range(5):
            yield from _names(stream)


def _names(pickled: bytes | BinaryIO) -> Iterator[str]:
    """Yield the names ("module.name") that one pickle asks for, without unpickling it."""
    try:
        for opcode, argument, _ in pickletools.genops(pickled):
            if opcode.name == "GLOBAL":
                name = str(argument).replace(" ", ".", 1)
                yield _PYTHON_2.get(name, name.replace("__builtin__.", "builtins.", 1))
    except MemoryError as error:  # the room for a string is made before it is read
        raise pickle.UnpicklingError("a string is longer than the file") from error


def _refused(path: Path, error: pickle.UnpicklingError) -> str:
    named = _GLOBAL.search(str(error))
    if named is None:
        return _damaged(path, error)
    return (
        f"{path} is refused: it names {(named[1] or named[2])!r}, which is neither a tensor nor "
        "plain data (a whole pickled model, or something that would run on loading). "
        f"Nothing in it was executed. {_SAVE_AGAIN}"
    )


def _damaged(path: Path, error: BaseException) -> str:
    text = " ".join(str(error).split())[:160] or type(error).__name__
    if "TorchScript" in text:
        return f"{path} is a TorchScript archive, which holds code. {_SAVE_AGAIN}"
    size = path.stat().st_size
    return (
        f"{path} cannot be read: cut short or damaged ({size:,} bytes; {text}). "
        "Compare its size with the published one and download it again."
    )
