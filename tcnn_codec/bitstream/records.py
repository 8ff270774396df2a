"""The records of a .tcnn file: one per chunk, behind the header, each readable without the others.

docs/format.md is the normative description.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO

from tcnn_codec.bitstream.header import CRC_BYTES, StreamInfo, crc, write_header
from tcnn_codec.errors import BitstreamError


def write_stream(info: StreamInfo, payloads: Sequence[bytes]) -> bytes:
    """The whole file. payloads: one per chunk; info's chunk_bytes and header_bytes are not used."""
    if len(payloads) != info.chunk_count:
        raise ValueError(f"{len(payloads)} payloads for {info.chunk_count} chunks")
    parts = [write_header(info, [len(payload) for payload in payloads])]
    for index, payload in enumerate(payloads):
        parts += [payload, _record_crc(index, payload)]
    return b"".join(parts)


def read_chunk(stream: BinaryIO, info: StreamInfo, index: int) -> bytes:
    """The payload of chunk `index`, read without the others.

    stream, info: as given to and by `read_header`; 0 ≤ index < info.chunk_count, else IndexError.
    Raises BitstreamError if the record is cut off or its checksum does not match.
    """
    if not 0 <= index < info.chunk_count:
        raise IndexError(f"chunk {index} of {info.chunk_count}")
    begin, end = info.record_offsets[index : index + 2]
    size = stream.seek(0, os.SEEK_END)
    if end > size:
        raise BitstreamError(
            f"{_name_chunk(info, index)} is cut off, {end - max(begin, size)} of its "
            f"{end - begin} bytes are missing",
            remedy="fetch the file again, or decode earlier frames with `frames`",
        )
    stream.seek(begin)
    payload = stream.read(info.chunk_bytes[index])
    if stream.read(CRC_BYTES) != _record_crc(index, payload):
        raise BitstreamError(
            f"the checksum (CRC-32) of {_name_chunk(info, index)} does not match",
            remedy="fetch the file again, or decode other frames with `frames`",
        )
    return payload


def _record_crc(index: int, payload: bytes) -> bytes:
    """Covers the index too, so that records that changed places are found."""
    return crc(index.to_bytes(4, "little") + payload)


def _name_chunk(info: StreamInfo, index: int) -> str:
    first, stop = info.chunk_range(index)
    return f"chunk {index} (frames {first}:{stop})"
