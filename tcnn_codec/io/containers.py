"""Is a video file cut short? Answered from the sizes that its container declares."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_MP4_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"uuid", b"styp"}


def is_cut_short(path: Path) -> bool:
    """True where an MP4/MOV, Matroska/WebM or AVI file ends before the end it declares.

    False for an intact file and wherever it cannot be told. Needed because FFmpeg's demuxers
    take the end of the data for the end of the clip.
    """
    size = os.path.getsize(path)
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == _EBML:
            return _matroska_end(file, size) > size
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return 8 + int.from_bytes(head[4:8], "little") > size
        if head[4:8] in _MP4_BOXES:
            return _mp4_end(file, size) > size
    return False


def _mp4_end(file: BinaryIO, size: int) -> int:
    """Where the last top-level box ends."""
    end = 0
    while end < size:
        file.seek(end)
        head = file.read(16)
        if head[4:8] not in _MP4_BOXES:
            break
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0: to the end of the file
            break
        end += length
    return end


def _matroska_end(file: BinaryIO, size: int) -> int:
    """Where the segment ends; 0 where its size is left open, as in a live recording."""
    file.seek(len(_EBML))
    header = _vint(file)
    if header is None:
        return 0
    file.seek(header, os.SEEK_CUR)
    if file.read(len(_SEGMENT)) != _SEGMENT:
        return 0
    length = _vint(file)
    return 0 if length is None else file.tell() + length


def _vint(file: BinaryIO) -> int | None:
    """An EBML variable-length size: leading zeros count its bytes; all ones means unknown."""
    lead = file.read(1)
    if not lead or lead[0] == 0:
        return None
    length = 9 - lead[0].bit_length()
    value = int.from_bytes(lead + file.read(length - 1), "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else value
