"""The parts of a file, walked without decoding: boxes, PNG chunks, JPEG segments.

For what a file says and no library tells. Every walk ends: it moves forward at each part, and stops
at the end of the file or at the first part that cannot be one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNK_FRAME = 12  # length, name and checksum
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_JPEG_ALONE, _JPEG_END = 0x01, 0xD9  # markers that no segment follows
_BLOCK = 1 << 12  # bytes in which a marker is looked for at a time


@dataclass(frozen=True)
class Part:
    """One part of a file: its name, and where its content begins and ends, in bytes.

    open: the file leaves the size open, and `end` is that of what is around the part.
    """

    name: bytes
    start: int
    end: int
    open: bool = False


Walk = Callable[[BinaryIO, int, int], Iterator[Part]]


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
        behind = end if length == 0 else min(end, start + length)
        if len(head) < 8 or behind < content:
            return
        yield Part(name, content, behind)
        start = behind


def box(file: BinaryIO, start: int, end: int, *path: bytes) -> Part | None:
    """`find` among boxes."""
    return find(boxes, file, start, end, *path)


def find(walk: Walk, file: BinaryIO, start: int, end: int, *path: bytes) -> Part | None:
    """The first part of that name, inside the first of the name before it, and so on.

    None of them ends beyond the one around it.
    """
    part = Part(b"", start, end)
    for name in path:
        found = next((p for p in walk(file, part.start, part.end) if p.name == name), None)
        if found is None:
            return None
        part = replace(found, end=min(part.end, found.end))
    return part


def content(file: BinaryIO, part: Part, most: int = 1 << 16) -> bytes:
    """The bytes of a part, no more than `most` of them."""
    file.seek(part.start)
    return file.read(max(0, min(most, part.end - part.start)))


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


def jpeg_end(file: BinaryIO) -> int | None:
    """Where the first picture of a JPEG file ends, behind its last marker; None if it does not.

    Pictures inside a segment, such as a thumbnail, are passed over with it. Only the code itself
    tells where it ends, so the file is read to there, a block at a time.
    """
    at = 2
    while True:
        file.seek(at)
        block = file.read(_BLOCK)
        marker = _JPEG_MARKER.search(block)
        if marker is None:
            if len(block) < _BLOCK:
                return None
            at += len(block) - 1  # the last byte may begin a marker
            continue
        at += marker.end()
        code = block[marker.end() - 1]
        if code == _JPEG_END:
            return at
        # What follows the header of a scan is its code, in which no marker appears but restarts.
        if code != _JPEG_ALONE:
            file.seek(at)
            at += int.from_bytes(file.read(2), "big")
