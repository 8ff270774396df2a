"""Files that are valid, or nearly, and made to cost a reader as much as they can."""

from __future__ import annotations

from collections.abc import Sequence

from tcnn_codec.bitstream.header import MAGIC, VERSION, crc
from tcnn_codec.bitstream.limits import MAX_CHUNKS, MAX_FRAMES, MAX_NETWORKS
from tcnn_codec.bitstream.varint import write_varint

#: Frequencies, scale, hidden layers and width of the largest network there is.
LARGEST = (32, 1000, 32, 128)
#: A code that goes on behind its end for all integers of the largest network of 3 axes and 4
#: channels, and is the one encoding of them.
ENDLESS = bytes.fromhex("bf7fdca1e701")


def file_of(numbers: Sequence[int], payloads: Sequence[bytes] = ()) -> bytes:
    """A file with these header fields, whose length and checksums are right."""
    fields = b"".join(map(write_varint, numbers))
    header = MAGIC + bytes([VERSION]) + write_varint(len(fields)) + fields
    records = [p + crc(i.to_bytes(4, "little") + p) for i, p in enumerate(payloads)]
    return b"".join([header, crc(header), *records])


def image(
    height: int,
    width: int,
    network: tuple[int, ...],
    payload: bytes,
    channels: int = 3,
) -> bytes:
    return file_of([0, height, width, channels, 0, *network, len(payload)], [payload])


def video(
    frames: int,
    chunks: int,
    network: tuple[int, ...] = (0, 1000, 0, 1),
    payload: bytes = b"",
    side: int = 1,
    channels: int = 1,
) -> bytes:
    """Chunks of `frames` frames each, all of one network and one payload."""
    total = frames * chunks
    ticks = [total - 1, 1] if total > 1 else []
    numbers = [1, side, side, channels, total, 1, 25, 25, 1, 0, *ticks, 0, chunks, frames]
    # As many frequencies of t as of the others, and no codes.
    numbers += [1, *network, network[0], 0]
    # The chunk kinds, whose count is absent where one is left.
    numbers += {1: [], 2: [0]}.get(chunks, [chunks - 1, 0])
    return file_of([*numbers, *[len(payload)] * chunks], [payload] * chunks)


def longest_header() -> bytes:
    """As many chunks, frames and networks as a file may have, and no two alike in a row."""
    frames = MAX_FRAMES // MAX_CHUNKS
    numbers = [1, 9, 16, 1, MAX_FRAMES, 1, 25, 25, 1, 0]
    for i in range(MAX_FRAMES - 1):
        numbers += [1, 1000 + i % 2]
    numbers.append(0)
    for i in range(MAX_CHUNKS):
        numbers += [1, frames - 1 + 2 * (i % 2)]
    numbers.append(MAX_NETWORKS)
    for i in range(MAX_NETWORKS):
        numbers += [2, 1000 + i, 0, 1 + i % 128, 2, 0]
    for i in range(MAX_CHUNKS):
        numbers += [1, i % MAX_NETWORKS] if i < MAX_CHUNKS - 1 else [i % MAX_NETWORKS]
    numbers += [MAX_CHUNKS - 1, 0, *[0] * MAX_CHUNKS]
    return file_of(numbers)
