"""The parts of a file, walked without decoding: boxes, PNG chunks, JPEG segments.

For what a file says and no library tells. Every walk ends: it moves forward at each part, and stops
at the end of the file or at the first part that cannot be one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNK_FRAME = 12  # length, name and checksum
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_JPEG_START_OF_SCAN, _JPEG_END = 0xDA, 0xD9


@dataclass(frozen=True)
class Part:
    """One part of a file: its name, and where its content begins and ends, in bytes."""

    name: bytes
    start: int
    end: int


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Part]:
    """The boxes of ISO 14496-12 (MP4, HEIF, JPEG 2000) between two positions, not those inside.

    A box that claims to reach beyond `end` ends there.
    """
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        length, name, content = int.from_bytes(head[:4], "big"), head[4:8], start + 8
        if length == 1:  # a length of 64 bits follows
            length, content = int.from_bytes(head[8:16], "big"), start + 16
        last = end if length == 0 else min(end, start + length)
        if len(head) < 8 or last < content:
            return
        yield Part(name, content, last)
        start = last


def box(file: BinaryIO, start: int, end: int, *path: bytes) -> Part | None:
    """The first box of that name, inside the first of the name before it, and so on."""
    part = Part(b"", start, end)
    for name in path:
        found = next((b for b in boxes(file, part.start, part.end) if b.name == name), None)
        if found is None:
            return None
        part = found
    return part


def content(file: BinaryIO, part: Part, most: int = 1 << 16) -> bytes:
    """The bytes of a part, no more than `most` of them."""
    file.seek(part.start)
    return file.read(min(most, part.end - part.start))


def png_chunks(file: BinaryIO) -> Iterator[Part]:
    """The chunks of a PNG to its IEND, and no others."""
    start = len(PNG_SIGNATURE)
    while True:
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:
            return
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        yield Part(name, start + 8, start + 8 + length)
        if name == b"IEND":
            return
        start += _PNG_CHUNK_FRAME + length


def jpeg_end(data: bytes) -> int | None:
    """Where the first picture of a JPEG file ends, behind its last marker; None if it does not.

    Pictures inside a segment, such as a thumbnail, are passed over with it.
    """
    at = 2
    while True:
        marker = _JPEG_MARKER.search(data, at)
        if marker is None:
            return None
        at = marker.end()
        code = data[at - 1]
        if code == _JPEG_END:
            return at
        # What follows the header of a scan is its code, in which no marker appears but restarts.
        at += int.from_bytes(data[at : at + 2], "big") if code != 0x01 else 0
