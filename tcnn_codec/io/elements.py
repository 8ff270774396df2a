"""The parts of Matroska and AVI files, walked without decoding, as `structure.py` walks others.

Every walk moves forward at each part, and ends at the first that cannot be one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

_LISTS = (b"RIFF", b"LIST")
_OPEN_SIZES = (0, 0xFFFFFFFF)  # what a writer leaves that cannot go back to fill in a size


@dataclass(frozen=True)
class Element:
    """A part of a file: its name, and where its content begins and, as declared, ends, in bytes.

    end: beyond the end of the file where that is cut short; None where the size is left open.
    """

    name: bytes
    start: int
    end: int | None


Walk = Callable[[BinaryIO, int, int], Iterator[Element]]


def ebml_elements(file: BinaryIO, start: int, end: int) -> Iterator[Element]:
    """The elements (RFC 8794) that start between two positions, not those inside them.

    An element whose size is left open is the last.
    """
    while start < end:
        file.seek(start)
        head = file.read(12)
        name_length = 9 - head[0].bit_length() if head else 9
        if name_length > 4 or len(head) <= name_length:
            return
        size_length = 9 - head[name_length].bit_length()
        content = name_length + size_length
        if size_length > 8 or len(head) < content:
            return
        unknown = (1 << 7 * size_length) - 1
        size = int.from_bytes(head[name_length:content], "big") & unknown
        last = None if size == unknown else start + content + size
        yield Element(head[:name_length], start + content, last)
        if last is None:
            return
        start = last


def riff_chunks(file: BinaryIO, start: int, end: int) -> Iterator[Element]:
    """The chunks of a RIFF file that start between two positions, not those inside lists.

    The name of a list is its type, such as b"movi". A list whose size is left open is the last.
    """
    while start + 8 <= end:
        file.seek(start)
        head = file.read(12)
        name, size = head[:4], int.from_bytes(head[4:8], "little")
        # A chunk may claim to reach beyond the end of the file.
        if len(head) < 8 or not name.isascii() or not name.decode("ascii").isprintable():
            return
        if name not in _LISTS:
            yield Element(name, start + 8, start + 8 + size)
        elif size in _OPEN_SIZES:
            yield Element(head[8:12], start + 12, None)
            return
        elif size >= 4 and len(head) == 12:
            yield Element(head[8:12], start + 12, start + 8 + size)
        else:
            return
        start += 8 + size + size % 2


def last_end(walk: Walk, file: BinaryIO, start: int, end: int) -> int:
    """Where the last part ends, as declared, of those that start between two positions.

    What follows the start of an open part is taken for parts beside it, as it may be either.
    """
    reached = start
    while True:
        last = None
        for last in walk(file, start, end):
            reached = last.end or last.start
        if last is None or last.end is not None:
            return reached
        start = last.start


def find(walk: Walk, file: BinaryIO, start: int, end: int, *path: bytes) -> tuple[int, int] | None:
    """Where the content lies of the first part of that name, in the first of the name before it."""
    for name in path:
        found = next((part for part in walk(file, start, end) if part.name == name), None)
        if found is None:
            return None
        start, end = found.start, end if found.end is None else min(end, found.end)
    return start, end


def content(file: BinaryIO, part: Element, most: int = 1 << 10) -> bytes:
    """The bytes of a part, no more than `most` of them."""
    file.seek(part.start)
    return file.read(most if part.end is None else min(most, part.end - part.start))
