"""Weight files whose archive lies are refused before anything in them is unpacked."""

from __future__ import annotations

import pickle
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from cxrlearn.backbones.checkpoint import check_container, read_checkpoint
from cxrlearn.errors import HardwareError, WeightsError
from tests.support.memory import little_memory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LITTLE = 200_000_000
"""Bytes: much less than what the files here would unpack to. A limit, as a peak of this process
would not show what an earlier test has exceeded already."""
STATE = {"w": torch.arange(600.0), "b": torch.ones(3)}


@pytest.fixture
def honest(tmp_path: Path) -> Path:
    path = tmp_path / "honest.pt"
    torch.save(STATE, path)
    return path


def _rewritten(path: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """Copy an archive member by member, as a stranger's zip program would store it."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.infolist():
            new.writestr(member.filename, change(member.filename, old.read(member)))
    return target


def test_archives_of_torch_and_of_plain_zip_programs_are_read(honest: Path, tmp_path: Path) -> None:
    stored = _rewritten(honest, tmp_path / "stored.pt", lambda _, data: data)
    for path in (honest, stored):
        assert check_container(path) == "zip"
        content = read_checkpoint(path)
        assert isinstance(content, dict)
        assert torch.equal(content["w"], STATE["w"])


def test_a_zip_bomb_is_refused_and_never_unpacked(honest: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(honest) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            content = old.read(member)
            if member.filename.endswith("data.pkl"):
                content += bytes(1_500_000_000)
            new.writestr(member.filename, content)
    assert path.stat().st_size < 3_000_000
    refusal = r"data\.pkl' is compressed.*Nothing in it was unpacked"
    with little_memory(LITTLE), pytest.raises(WeightsError, match=refusal):
        read_checkpoint(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_one_compressed_member_is_enough(honest: Path, tmp_path: Path, method: int) -> None:
    path = tmp_path / "mixed.pt"
    with zipfile.ZipFile(honest) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.infolist():
            packed = method if member.filename.endswith("data/0") else zipfile.ZIP_STORED
            new.writestr(member.filename, old.read(member), packed)
    with pytest.raises(WeightsError, match="data/0' is compressed"):
        read_checkpoint(path)


def _directory(data: bytes | bytearray) -> int:
    """Return where the directory's first entry stands."""
    return data.index(b"PK\x01\x02")


def _directory_says_more(data: bytearray) -> None:
    at = _directory(data)
    struct.pack_into("<II", data, at + 20, 2**31, 2**31)


def _header_says_more(data: bytearray) -> None:
    struct.pack_into("<II", data, 18, 2**31, 2**31)


def _header_says_compressed(data: bytearray) -> None:
    struct.pack_into("<H", data, 8, 8)


def _directory_says_compressed_to_nothing(data: bytearray) -> None:
    struct.pack_into("<I", data, _directory(data) + 20, 3)


def _header_has_another_name(data: bytearray) -> None:
    data[30:33] = b"xyz"


def _header_has_another_sum(data: bytearray) -> None:
    struct.pack_into("<I", data, 14, 12345)


def _members_overlap(data: bytearray) -> None:
    """Let the second member begin where the first does: each unpacks what the other does."""
    second = data.index(b"PK\x01\x02", _directory(data) + 4)
    struct.pack_into("<I", data, second + 42, 0)


def _same_name_twice(data: bytearray) -> None:
    data[:] = bytes(data).replace(b"data/1", b"data/0")


def _prefixed(data: bytearray) -> None:
    data[:] = b"PK\x03\x04" + bytes(60) + bytes(data)


def _followed(data: bytearray) -> None:
    data += bytes(40)


LIES = [
    _directory_says_more,
    _header_says_more,
    _header_says_compressed,
    _directory_says_compressed_to_nothing,
    _header_has_another_name,
    _header_has_another_sum,
    _members_overlap,
    _same_name_twice,
    _prefixed,
    _followed,
]


@pytest.mark.parametrize("lie", LIES, ids=[lie.__name__[1:] for lie in LIES])
def test_lying_members_are_refused(
    honest: Path, tmp_path: Path, lie: Callable[[bytearray], None]
) -> None:
    data = bytearray(_rewritten(honest, tmp_path / "lie.pt", lambda _, raw: raw).read_bytes())
    lie(data)
    path = tmp_path / "lie.pt"
    path.write_bytes(data)
    with little_memory(LITTLE), pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    with pytest.raises(WeightsError):
        check_container(path)


def test_a_tensor_that_claims_more_than_its_member_is_refused(honest: Path, tmp_path: Path) -> None:
    """600 values are there; the pickle speaks of 40,000."""

    def claim(name: str, data: bytes) -> bytes:
        return data.replace(b"M\x58\x02", b"M\x40\x9c") if name.endswith("data.pkl") else data

    path = _rewritten(honest, tmp_path / "claim.pt", claim)
    with pytest.raises(WeightsError, match="cannot be read"):
        read_checkpoint(path)


class _Calls:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_pickle_cannot_order_gigabytes(tmp_path: Path, form: str) -> None:
    """`bytearray(n)` is plain data to torch: forty bytes of file, n bytes of memory."""
    path = tmp_path / "x.pt"
    content = {"w": _Calls(bytearray, 2_000_000_000)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with little_memory(LITTLE), pytest.raises(WeightsError, match="bytearray"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(3, device="meta"), torch.eye(3).to_sparse()],
    ids=["meta", "sparse"],
)
def test_tensors_that_are_no_weights_are_refused(tmp_path: Path, tensor: torch.Tensor) -> None:
    path = tmp_path / "x.pt"
    torch.save({"w": tensor}, path)
    with pytest.raises(WeightsError, match="tensor"):
        read_checkpoint(path)


def test_a_legacy_stream_with_a_string_longer_than_itself_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"\x80\x04\x8e" + struct.pack("<Q", 2**45) + b"abc.")
    with pytest.raises(WeightsError, match="cut short or damaged"):
        read_checkpoint(path)


@pytest.mark.parametrize("length", [2**63 - 1, 2**40, 10_000_000, 90, 3, 0])
def test_a_safetensors_header_of_a_wrong_length_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.safetensors"
    save_file(STATE, path)
    data = path.read_bytes()
    path.write_bytes(struct.pack("<Q", length) + data[8:])
    with pytest.raises(WeightsError):
        read_checkpoint(path)


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_an_honest_file_that_does_not_fit_is_no_damaged_file(tmp_path: Path, form: str) -> None:
    path = tmp_path / "big.pt"
    state = {"w": torch.zeros(50_000_000)}
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    del state
    with (
        little_memory(100_000_000),
        pytest.raises(HardwareError, match=r"not enough memory to read .*big\.pt") as caught,
    ):
        read_checkpoint(path)
    assert caught.value.exit_code == 7
