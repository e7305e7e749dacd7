"""What the compressed frame of a DICOM file says about itself, checked before a decoder sees it.

GDCM trusts a JPEG header: a damaged one can take the whole process down with it, or leave half of
a picture grey without a word. So every marker up to the pixels is read here first (ITU-T T.81
annex B, T.87 annex C, T.800 annex A), the pixels have to end where they should, and what a grey
picture does not need (comments, application data) is left out of what GDCM gets to see.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlearn.errors import UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

BASELINE = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
LOSSLESS = frozenset({"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"})
JPEG_LS = frozenset({"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"})
JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
COMPRESSED = BASELINE | LOSSLESS | JPEG_LS | JPEG_2000

# Tiles below 64 x 64 only cost time, and a damaged header asks for millions of them.
_JP2 = b"\x00\x00\x00\x0cjP  "
_SMALLEST_TILE = 64 * 64
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOS, _DHT, _DQT, _DRI, _LSE = 0xDA, 0xC4, 0xDB, 0xDD, 0xF8
_SIDE_MATTER = frozenset({0xFE, *range(0xE0, 0xF0)})  # comments and application data
_COD, _QCD, _SOT = 0x52, 0x5C, 0x90
_FRAME_MARKERS = {
    **dict.fromkeys(BASELINE, frozenset({0xC0, 0xC1})),
    **dict.fromkeys(LOSSLESS, frozenset({0xC3})),
    **dict.fromkeys(JPEG_LS, frozenset({0xF7})),
}
_OTHER_FRAMES = frozenset(range(0xC0, 0xD0)) - {_DHT, 0xC8, 0xCC}
# Inside the pixels 0xFF is followed by 0 (a stuffed byte) or is a restart marker; in JPEG-LS by
# any byte below 0x80 (a stuffed bit).
_MARKER_IN_JPEG = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
_MARKER_IN_JPEG_LS = re.compile(rb"\xff+([\x80-\xcf\xd8-\xfe])")


@dataclass(frozen=True)
class Container:
    """What the DICOM header promises about the frame."""

    rows: int
    """Rows of the picture."""
    columns: int
    """Columns of the picture."""
    bits_allocated: int
    """8 or 16: the size of a decoded pixel."""


def sound_codestream(frame: bytes, syntax: str, container: Container) -> bytes:
    """Return a frame that is a whole grey picture of the promised size, without its side matter.

    Args:
        frame: the bytes of one encapsulated frame.
        syntax: its transfer syntax UID, one of `COMPRESSED`.
        container: the size and depth that the DICOM header states.

    Raises:
        UnreadableImageError: the frame is cut off, damaged, in colour or of another size.
    """
    if syntax in JPEG_2000:
        codestream = _out_of_box(frame)
        _check_jpeg_2000(codestream, container)
        return codestream
    return _sound_jpeg(frame, syntax, container)


def lossless_precision(frame: bytes) -> int:
    """Return the bits a pixel of a sound JPEG Lossless frame."""
    return next(payload[0] for marker, payload, _ in _segments(frame, _SOS) if marker == 0xC3)


def _damaged(what: str) -> UnreadableImageError:
    return UnreadableImageError(f"the compressed pixels are damaged: {what}")


def _colour(channels: int) -> UnreadableImageError:
    return UnreadableImageError(
        f"a compressed picture in colour ({channels} channels): not a radiograph. If it is one, "
        "decompress it with GDCM: gdcmconv --raw FILE NEW.dcm"
    )


def _segments(frame: bytes, last: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield (marker, payload, end) of every segment up to and with the marker `last`."""
    position = 2
    while True:
        head = frame[position : position + 4]
        if len(head) < 4:
            raise UnreadableImageError("the file is truncated: the compressed pixels are missing")
        marker, length = head[1], int.from_bytes(head[2:], "big")
        end = position + 2 + length
        if head[0] != 0xFF or length < 2 or end > len(frame):
            raise _damaged("a marker is missing or has a wrong length")
        yield marker, frame[position + 4 : end], end
        if marker == last:
            return
        position = end


def _sound_jpeg(frame: bytes, syntax: str, container: Container) -> bytes:
    if not frame.startswith(_SOI):
        raise _damaged("they do not begin as a JPEG does")
    frames_seen, end, kept = 0, 2, [_SOI]
    for marker, payload, end in _segments(frame, _SOS):
        if marker in _SIDE_MATTER:
            continue
        kept.append(frame[end - 4 - len(payload) : end])
        if marker in _FRAME_MARKERS[syntax]:
            _check_frame_header(payload, syntax, container)
            frames_seen += 1
        elif marker == _SOS:
            _check_scan_header(payload, lossless=syntax in LOSSLESS)
        else:
            _check_table(marker, payload, lossless=syntax in LOSSLESS)
    if frames_seen != 1:
        raise _damaged(f"{frames_seen} frame headers instead of one")
    pattern = _MARKER_IN_JPEG_LS if syntax in JPEG_LS else _MARKER_IN_JPEG
    return b"".join([*kept, frame[end : _end_of_pixels(frame, end, pattern)]])


def _check_frame_header(payload: bytes, syntax: str, container: Container) -> None:
    if len(payload) < 6 or len(payload) != 6 + 3 * payload[5]:
        raise _damaged("the frame header has a wrong length")
    if payload[5] != 1:
        raise _colour(payload[5])
    precision = payload[0]
    if syntax in BASELINE and precision != 8:
        raise UnreadableImageError(
            f"JPEG Extended with {precision} bits a pixel, which GDCM does not decode reliably: "
            "decompress it with DCMTK: dcmdjpeg FILE NEW.dcm"
        )
    if not 2 <= precision <= 16 or (precision <= 8) != (container.bits_allocated == 8):
        raise UnreadableImageError(
            f"{precision} bits a pixel, compressed, in a picture of {container.bits_allocated} "
            "bits are not supported: decompress it with DCMTK: dcmdjpeg FILE NEW.dcm"
        )
    rows, columns = int.from_bytes(payload[1:3], "big"), int.from_bytes(payload[3:5], "big")
    _check_size(rows, columns, container)
    sampling, table = payload[7], payload[8]
    if not (1 <= sampling >> 4 <= 4 and 1 <= sampling & 15 <= 4 and table <= 3):
        raise _damaged("the frame header makes no sense")


def _check_size(rows: int, columns: int, container: Container) -> None:
    if (rows, columns) != (container.rows, container.columns):
        raise _damaged(
            f"they are {columns} x {rows} pixels, but the header says "
            f"{container.columns} x {container.rows}"
        )


def _check_scan_header(payload: bytes, *, lossless: bool) -> None:
    if len(payload) != 6 or payload[0] != 1:
        raise _damaged("the scan header makes no sense")
    predictor, point_transform = payload[3], payload[5] & 15
    if lossless and not (1 <= predictor <= 7 and point_transform < 16):
        raise _damaged("the scan header makes no sense")


def _check_table(marker: int, payload: bytes, *, lossless: bool) -> None:
    if marker in _OTHER_FRAMES:
        raise UnreadableImageError(
            f"JPEG of another process (SOF{marker - 0xC0}) than the transfer syntax says is not "
            "supported: decompress it with DCMTK: dcmdjpeg FILE NEW.dcm"
        )
    if marker == _DHT:
        _check_huffman(payload, lossless=lossless)
    elif marker == _DQT:
        _check_quantization(payload)
    elif marker == _DRI:
        if len(payload) != 2:
            raise _damaged("the restart interval has a wrong length")
    elif marker != _LSE:
        raise _damaged(f"an unexpected marker {marker:#x}")


def _check_huffman(payload: bytes, *, lossless: bool) -> None:
    while payload:
        counts = payload[1:17]
        total = sum(counts)
        if len(counts) != 16 or total > 256 or len(payload) < 17 + total:
            raise _damaged("a Huffman table has a wrong length")
        kind, number = payload[0] >> 4, payload[0] & 15
        if kind > 1 or number > 3 or (lossless and kind != 0) or not _is_prefix_code(counts):
            raise _damaged("a Huffman table makes no sense")
        payload = payload[17 + total :]


def _is_prefix_code(counts: bytes) -> bool:
    """Kraft's inequality: the codes of all lengths fit into 16 bits together."""
    used = sum(count << (16 - bits) for bits, count in enumerate(counts, start=1))
    return used <= 1 << 16


def _check_quantization(payload: bytes) -> None:
    while payload:
        size = 65 if payload[0] >> 4 == 0 else 129
        if payload[0] >> 4 > 1 or payload[0] & 15 > 3 or len(payload) < size:
            raise _damaged("a quantization table makes no sense")
        payload = payload[size:]


def _end_of_pixels(frame: bytes, start: int, markers: re.Pattern[bytes]) -> int:
    found = markers.search(frame, start)
    if found is None:
        raise UnreadableImageError("the file is truncated: the compressed pixels have no end")
    if found.group(1) != _EOI[1:]:
        raise _damaged("a marker stands amid the pixels")
    return found.end()


def _out_of_box(frame: bytes) -> bytes:
    """Return the codestream of a frame that was wrapped as a JP2 file (T.800 annex I).

    DICOM asks for the bare codestream; GDCM and pydicom read both.
    """
    if not frame.startswith(_JP2):
        return frame
    position = 0
    while position + 8 <= len(frame):
        length, name = (
            int.from_bytes(frame[position : position + 4], "big"),
            frame[position + 4 : position + 8],
        )
        start = position + 8
        if length == 1:  # the length follows in 64 bits
            length, start = int.from_bytes(frame[start : start + 8], "big"), start + 8
        end = len(frame) if length == 0 else position + length
        if name == b"jp2h" and b"pclr" in frame[start:end]:
            raise UnreadableImageError("JPEG 2000 with a palette in its JP2 box is not supported")
        if end <= position or end > len(frame):
            break
        if name == b"jp2c":
            return frame[start:end]
        position = end
    raise UnreadableImageError("the file is truncated: the JP2 box has no JPEG 2000 codestream")


def _check_jpeg_2000(frame: bytes, container: Container) -> None:
    if not frame.startswith(b"\xff\x4f\xff\x51") or len(frame) < 48:
        raise _damaged("they do not begin as JPEG 2000 does")
    width, height, *offsets = (int.from_bytes(frame[at : at + 4], "big") for at in range(8, 40, 4))
    left, top, tile_width, tile_height, tile_left, tile_top = offsets
    channels = int.from_bytes(frame[40:42], "big")
    if channels != 1:
        raise _colour(channels)
    _check_size(height, width, container)
    # Offsets are legal in JPEG 2000 but senseless in DICOM, and GDCM trips over wild ones.
    if any((left, top, tile_left, tile_top)) or frame[43:45] != b"\x01\x01":
        raise UnreadableImageError(
            "JPEG 2000 whose picture does not begin in its own corner is not supported: save the "
            "file uncompressed (Explicit VR Little Endian)"
        )
    if tile_width * tile_height < _SMALLEST_TILE and (tile_width < width or tile_height < height):
        raise _damaged("tiles without a size")
    if (frame[42] & 127) >= 16:
        raise _damaged(f"{(frame[42] & 127) + 1} bits a pixel")
    _check_coding_style(frame)


def _check_coding_style(frame: bytes) -> None:
    """Check the segments COD and QCD (T.800 A.6), which direct what the decoder allocates."""
    found = {marker: payload for marker, payload, _ in _segments(frame, _SOT)}
    coding, quantization = found.get(_COD, b""), found.get(_QCD, b"")
    if len(coding) < 10 or len(quantization) < 2:
        raise _damaged("the coding style is missing")
    progression, channel_transform, levels, code_width, code_height = (
        coding[at] for at in (1, 4, 5, 6, 7)
    )
    if progression > 4 or channel_transform or levels > 32 or code_width + code_height > 8:
        raise _damaged("the coding style makes no sense")
    bytes_a_band = {0: 1, 2: 2}.get(quantization[0] & 31)
    bands = 3 * levels + 1 if bytes_a_band else 1
    if coding[9] > 1 or len(quantization) - 1 < bands * (bytes_a_band or 2):
        raise _damaged("the quantization makes no sense")
