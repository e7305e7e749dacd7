"""Refuse a zip archive that would unpack to something else than it shows, before unpacking it.

torch.save stores members as they are, one after the other. Compressed, overlapping or
contradictory members are not written by torch.save. They could fill the memory, or mean one thing
to the check and another to the reader.
"""

from __future__ import annotations

import struct
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

MOST_PICKLE = 256 * 2**20
"""Bytes of a pickle: names and shapes of tensors need far less."""
_LOCAL = struct.Struct("<4s5H3I2H")
_END = struct.Struct("<4s4H2IH")
_ENCRYPTED, _SIZES_FOLLOW, _UTF8 = 0x1, 0x8, 0x800
_IN_EXTRA_FIELD = 0xFFFFFFFF


def archive_fault(stream: BinaryIO, size: int) -> str | None:
    """Return what is wrong with the members of a zip archive, or None.

    Args:
        stream: the archive, seekable; nothing in it is unpacked.
        size: bytes of the file.

    Raises:
        zipfile.BadZipFile: it is no archive, or damaged.
    """
    stream.seek(-min(size, _END.size), 2)
    if stream.read(4) != b"PK\x05\x06":
        raise zipfile.BadZipFile("its directory does not end where the file ends")
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
    ordered = sorted(members, key=lambda one: one.header_offset)
    if not ordered or ordered[0].header_offset != 0:
        return "its first member does not stand at the beginning"
    if len({one.filename for one in members}) < len(members):
        return "two members have the same name"
    ends = [one.header_offset for one in ordered[1:]] + [size]
    for member, end in zip(ordered, ends, strict=True):
        for fault in _member_faults(member, stream, end):
            return f"member {member.filename!r} {fault}"
    return None


def _member_faults(member: zipfile.ZipInfo, stream: BinaryIO, end: int) -> Iterator[str]:
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        yield "is compressed, which torch.save never does"
    if member.filename.endswith(".pkl") and member.file_size > MOST_PICKLE:
        yield f"has {member.file_size:,} bytes, too many for names and shapes of tensors"
    stream.seek(member.header_offset)
    header = stream.read(_LOCAL.size)
    if len(header) < _LOCAL.size:
        yield "is cut short"
    else:
        yield from _header_faults(member, header, stream, end)


def _header_faults(
    member: zipfile.ZipInfo, header: bytes, stream: BinaryIO, end: int
) -> Iterator[str]:
    """Compare a member's own header with the directory, and its size with the room it has."""
    signature, _, flags, method, _, _, crc, packed, plain, name, extra = _LOCAL.unpack(header)
    follow = bool(flags & _SIZES_FOLLOW)
    unsaid = {_IN_EXTRA_FIELD, 0} if follow else {_IN_EXTRA_FIELD}
    encoding = "utf-8" if flags & _UTF8 else "cp437"
    room = end - member.header_offset - _LOCAL.size - name - extra
    faults = {
        "has a header that contradicts the directory": (signature, method) != (b"PK\x03\x04", 0),
        "is encrypted": (flags | member.flag_bits) & _ENCRYPTED,
        "has another name in its own header": stream.read(name)
        != member.orig_filename.encode(encoding, "replace"),
        "has another size in its own header": {packed, plain} - unsaid - {member.file_size},
        "has another checksum in its own header": crc != member.CRC and not (follow and crc == 0),
        f"claims {member.file_size:,} bytes, more than there are": member.file_size > room,
    }
    yield from (fault for fault, found in faults.items() if found)
