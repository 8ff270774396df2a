"""What a .tcnn file says of itself."""

from __future__ import annotations

from typing import Any, BinaryIO

from tcnn_codec.bitstream.header import (
    DEFAULT_MAX_PIXELS,
    VERSION,
    StreamInfo,
    read_header,
    write_header,
)
from tcnn_codec.bitstream.records import read_chunk
from tcnn_codec.decoding.decoder import check_parameters, open_stream
from tcnn_codec.errors import BitstreamError
from tcnn_codec.families.contract import Tensors
from tcnn_codec.io import Place


def info_file(
    path: Place, *, strict: bool = False, max_pixels: int = DEFAULT_MAX_PIXELS
) -> dict[str, Any]:
    """The keys of info --json.

    strict: encodes the header and every payload again, which must give the same bytes; the key
    canonical then says so. Raises CodecError for a damaged or cut-off file.
    """
    with open_stream(path) as stream:
        info = read_header(stream, max_pixels=max_pixels)
        if strict:
            _check_header(stream, info)
            check_parameters(info, range(info.chunk_count))
        before: Tensors | None = None
        for index in range(info.chunk_count):
            payload = read_chunk(stream, info, index)
            if strict:
                before = before if info.is_difference(index) else None
                before = _check_payload(info, index, payload, before)
    size = info.record_offsets[-1]
    facts: dict[str, Any] = {
        "format_version": VERSION,
        "kind": info.kind,
        "height": info.height,
        "width": info.width,
        "channels": info.channels,
        "frames": info.frames,
        "bytes": size,
        "bits_per_pixel": info.bits_per_pixel(size),
        "family": info.family.name,
        **info.family.describe(info.networks[0]),
        "chunks": info.chunk_count,
    }
    if info.kind == "video":
        facts["frame_rate"] = f"{info.frame_rate}"
        facts["seconds"] = float(
            (info.timestamps[-1] - info.timestamps[0]) * info.time_base + 1 / info.frame_rate
        )
    if strict:
        facts["canonical"] = True
    facts["index"] = [
        {
            "frames": info.chunk_range(i),
            "offset": info.record_offsets[i],
            "bytes": info.chunk_bytes[i],
            "kind": "difference" if info.is_difference(i) else "key",
            **info.family.describe(info.networks[i]),
        }
        for i in range(info.chunk_count)
    ]
    return facts


def _check_header(stream: BinaryIO, info: StreamInfo) -> None:
    canonical = write_header(info, info.chunk_bytes)
    stream.seek(0)
    if stream.read(info.header_bytes) != canonical:
        raise BitstreamError(
            f"the header, of {info.header_bytes} bytes, is not the canonical one, of "
            f"{len(canonical)}",
            "allowed with `strict` is the canonical one alone",
            "decode it as it is, or encode the source again",
        )


def _check_payload(info: StreamInfo, index: int, payload: bytes, before: Tensors | None) -> Tensors:
    """The network that the payload holds. before: that of the chunk before, for a difference."""
    spec = info.networks[index]
    tensors = info.family.decode(spec, payload, before)
    canonical = info.family.encode(spec, tensors, before)
    if canonical != payload:
        raise BitstreamError(
            f"the payload of chunk {index}, of {len(payload)} bytes, is not the canonical one, of "
            f"{len(canonical)}",
            "allowed with `strict` is the canonical one alone",
            "decode it as it is, or encode the source again",
        )
    return tensors
