"""The parts of Matroska and AVI files, walked without decoding, as `structure.py` walks others.

Every walk moves forward at each part, and ends at the first that cannot be one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from tcnn_codec.io.structure import Part, Walk

_LISTS = (b"RIFF", b"LIST")
_OPEN_SIZES = (0, 0xFFFFFFFF)  # what a writer leaves that cannot go back to fill in a size


def ebml_elements(file: BinaryIO, start: int, end: int) -> Iterator[Part]:
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
        if size == unknown:
            yield Part(head[:name_length], start + content, end, open=True)
            return
        yield Part(head[:name_length], start + content, start + content + size)
        start += content + size


def riff_chunks(file: BinaryIO, start: int, end: int) -> Iterator[Part]:
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
            yield Part(name, start + 8, start + 8 + size)
        elif size in _OPEN_SIZES:
            yield Part(head[8:12], start + 12, end, open=True)
            return
        elif size >= 4 and len(head) == 12:
            yield Part(head[8:12], start + 12, start + 8 + size)
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
            reached = last.start if last.open else last.end
        if last is None or not last.open:
            return reached
        start = last.start
