"""Refuse a zip archive that would unpack to something else than it shows, before unpacking it.

torch.save stores members as they are, one after the other. Compressed, overlapping or contradictory
members are no work of torch's, and could fill the memory, or mean one thing to the check and another
to the reader.
"""

from __future__ import annotations

import struct
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

MOST_PICKLE = 256 * 2**20
"""Bytes of a pickle: names and shapes of tensors need far less."""
_LOCAL = struct.Struct("<4s5H3I2H")
_END = struct.Struct("<4s4H2IH")
_ENCRYPTED, _SIZES_FOLLOW = 0x1, 0x8
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
        fault = _member_fault(member, stream, end)
        if fault:
            return f"member {member.filename!r} {fault}"
    return None


def _member_fault(member: zipfile.ZipInfo, stream: BinaryIO, end: int) -> str | None:
    """Compare what the directory says of a member with its own header and the room it has."""
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        return "is compressed, which torch.save never does"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    stream.seek(member.header_offset)
    header = stream.read(_LOCAL.size)
    if len(header) < _LOCAL.size:
        return "is cut short"
    signature, _, flags, method, _, _, crc, packed, plain, name, extra = _LOCAL.unpack(header)
    if signature != b"PK\x03\x04" or method != zipfile.ZIP_STORED or flags & _ENCRYPTED:
        return "has a header that contradicts the directory"
    if stream.read(name) != member.orig_filename.encode("utf-8" if flags & 0x800 else "cp437"):
        return "has another name in its own header"
    unsaid = {_IN_EXTRA_FIELD, 0} if flags & _SIZES_FOLLOW else {_IN_EXTRA_FIELD}
    if any(said != member.file_size and said not in unsaid for said in (packed, plain)):
        return f"has another size in its own header than the directory's {member.file_size:,} bytes"
    if crc != member.CRC and not (flags & _SIZES_FOLLOW and crc == 0):
        return "has another checksum in its own header"
    if member.header_offset + _LOCAL.size + name + extra + member.file_size > end:
        return f"claims {member.file_size:,} bytes, more than there are"
    if member.filename.endswith(".pkl") and member.file_size > MOST_PICKLE:
        return f"has {member.file_size:,} bytes, too many for names and shapes of tensors"
    return None
