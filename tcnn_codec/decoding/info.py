"""What a .tcnn file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS, VERSION, StreamInfo, read_header
from tcnn_codec.bitstream.records import read_chunk
from tcnn_codec.decoding.decoder import open_stream
from tcnn_codec.errors import BitstreamError


def info_file(
    path: Path, *, strict: bool = False, max_pixels: int = DEFAULT_MAX_PIXELS
) -> dict[str, Any]:
    """The keys of info --json.

    strict: encodes every payload again, which must give the same bytes. Raises CodecError for a
    damaged or cut-off file.
    """
    with open_stream(path) as stream:
        info = read_header(stream, max_pixels=max_pixels)
        for index in range(info.chunk_count):
            payload = read_chunk(stream, info, index)
            if strict:
                _check_payload(info, index, payload)
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
    facts["index"] = [
        {
            "frames": info.chunk_range(i),
            "offset": info.record_offsets[i],
            "bytes": info.chunk_bytes[i],
        }
        for i in range(info.chunk_count)
    ]
    return facts


def _check_payload(info: StreamInfo, index: int, payload: bytes) -> None:
    spec = info.networks[index]
    shortest = info.family.encode(spec, info.family.decode(spec, payload))
    if shortest != payload:
        raise BitstreamError(
            f"chunk {index} has {len(payload)} bytes for what takes {len(shortest)}",
            "allowed with `strict` is the shortest code alone",
            "its encoder was wasteful; decode it as it is, or encode the source again",
        )
