"""Is a video file cut short? Answered from the sizes that its container declares.

FFmpeg's demuxers take the end of the data for the end of the clip.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from tcnn_codec.io.elements import ebml_elements, last_end, riff_chunks

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_MP4_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"uuid", b"styp"}
_RIFF_HEADER = 8  # bytes of a chunk's name and size
_RIFF_SLACK = 8  # bytes too many that some writers declare: they count the RIFF header too
_OGG_PAGE, _OGG_HEADER = 65307, 27  # bytes of a page at most (RFC 3533), and of what leads it
_OBU_EXTENSION, _OBU_HAS_SIZE = 4, 2
_TS_SYNC = 0x47
_TS_PACKETS = {188: 0, 192: 4, 204: 0}  # bytes of a packet, and before its sync byte


def is_cut_short(path: Path, needed: int = 0) -> bool:
    """True where an MP4/MOV, Matroska/WebM or AVI file ends before the end it declares.

    False for an intact file and wherever it cannot be told, so in general for a recording that was
    streamed, whose sizes are left open. needed: how many bytes the index asks for, if known; it
    counts for MP4 whose media data are declared to last to the end of the file.
    """
    size = os.path.getsize(path)
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == _EBML:
            return _matroska_end(file, size) > size
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return _avi_is_cut(file, size)
        if head[4:8] in _MP4_BOXES:
            return _mp4_end(file, size, needed) > size
    return False


def cut_tail(path: Path, demuxer: str, frame_bytes: int) -> str | None:
    """A note where a file without a declared length ends inside a frame, a packet or a page.

    FFmpeg drops such a part without a word. demuxer: FFmpeg's name. frame_bytes: the size of a
    frame of Y4M or DV, which all have the same. None where nothing is missing, or cannot be told.
    """
    size = os.path.getsize(path)
    with path.open("rb") as file:
        match demuxer:
            case "yuv4mpegpipe":
                there, whole = _y4m_rest(file, size, frame_bytes), frame_bytes
            case "dv":
                there, whole = size % frame_bytes if frame_bytes else 0, frame_bytes
            case "mpegts":
                there, whole = _ts_rest(file, size)
            case "ogg":
                there, whole = _ogg_rest(file, size)
            case "obu":
                there, whole = _obu_rest(file, size)
            case _:
                return None
    if not there:
        return None
    part = {"mpegts": "packet", "ogg": "page", "obu": "unit"}.get(demuxer)
    if part is None:
        return f"the file is cut short: its last frame has {there} of {whole} bytes and is left out"
    return (
        f"the file is cut short: its last {part} has {there} of {whole} bytes, and frames may be "
        "missing"
    )


def _mp4_end(file: BinaryIO, size: int, needed: int) -> int:
    """Where the last top-level box ends, as declared."""
    end, name = 0, b""
    while end + 8 <= size:
        file.seek(end)
        head = file.read(16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:  # to the end of the file, wherever that is
            return max(size, needed)
        # What is no known box may be bytes that somebody appended.
        if length < 8 or (name not in _MP4_BOXES and end + length > size):
            return end
        end += length
    # A fragment's header is followed by its data.
    return size + 1 if name == b"moof" else end


def _matroska_end(file: BinaryIO, size: int) -> int:
    """Where the segment ends or, as its size is left open, the last element in it."""
    for element in ebml_elements(file, 0, size):
        if element.name == _SEGMENT:
            if not element.open:
                return element.end
            return last_end(ebml_elements, file, element.start, size)
    return 0


def _avi_is_cut(file: BinaryIO, size: int) -> bool:
    last = None
    for last in riff_chunks(file, 0, size):  # beyond a gigabyte there are several
        if last.name not in (b"AVI ", b"AVIX"):
            return False
    if last is None or (not last.open and last.end <= size):
        return False
    reached = last_end(riff_chunks, file, last.start, size)
    rest = size - reached
    if rest < 0 or 1 < rest < _RIFF_HEADER:  # 1: what pads the last chunk
        return True
    return not last.open and (last.end - size > _RIFF_SLACK or rest > 1)


def _y4m_rest(file: BinaryIO, size: int, frame_bytes: int) -> int:
    """How many bytes there are of a frame that is not whole."""
    file.seek(0)
    file.readline(1 << 12)  # the header
    while (start := file.tell()) < size:
        line = file.readline(1 << 10)
        if not line.endswith(b"\n"):
            return size - start if b"FRAME".startswith(line[:5]) else 0
        if not line.startswith(b"FRAME"):
            return 0
        start += len(line)
        if start + frame_bytes > size:
            return size - start
        file.seek(start + frame_bytes)
    return 0


def _ts_rest(file: BinaryIO, size: int) -> tuple[int, int]:
    """(bytes behind the last whole packet, bytes of a packet)."""
    file.seek(0)
    head = file.read(4 * max(_TS_PACKETS))
    for whole, offset in _TS_PACKETS.items():
        marks = head[offset::whole]
        if len(marks) > 1 and set(marks) == {_TS_SYNC}:
            return size % whole, whole
    return 0, 0


def _ogg_rest(file: BinaryIO, size: int) -> tuple[int, int]:
    """(bytes there of the last page, its bytes), or zeros where it is whole."""
    start = max(0, size - _OGG_PAGE)
    file.seek(start)
    tail = file.read(_OGG_PAGE)
    at = tail.rfind(b"OggS")
    if at < 0:
        return 0, 0
    page = tail[at:]
    whole = _OGG_HEADER
    if len(page) >= _OGG_HEADER:
        segments = page[_OGG_HEADER : _OGG_HEADER + page[26]]
        whole += page[26] + sum(segments)
    return (len(page), whole) if whole > len(page) else (0, 0)


def _obu_rest(file: BinaryIO, size: int) -> tuple[int, int]:
    """(bytes there of the last unit, its bytes), or zeros where it is whole.

    Of AV1's low-overhead format (specification, section 5.3); units without a size are not walked.
    """
    start = 0
    while start < size:
        file.seek(start)
        head = file.read(10)
        content = 2 if head[0] & _OBU_EXTENSION else 1
        if not head[0] & _OBU_HAS_SIZE:
            break
        length = shift = 0
        for byte in head[content:]:
            length |= (byte & 0x7F) << shift
            shift += 7
            content += 1
            if byte < 0x80:
                break
        if start + content + length > size:
            return size - start, content + length
        start += content + length
    return 0, 0
