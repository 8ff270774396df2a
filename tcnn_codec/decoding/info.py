"""What a .tcnn file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS, read_header
from tcnn_codec.bitstream.records import read_chunk
from tcnn_codec.decoding.decoder import open_stream


def info_file(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> dict[str, Any]:
    """The keys of info --json. Raises CodecError for a damaged or cut-off file."""
    with open_stream(path) as stream:
        info = read_header(stream, max_pixels=max_pixels)
        for index in range(info.chunk_count):
            read_chunk(stream, info, index)
    size = info.record_offsets[-1]
    facts: dict[str, Any] = {
        "format_version": info.version,
        "kind": info.kind,
        "height": info.height,
        "width": info.width,
        "channels": info.channels,
        "frames": info.frames,
        "bytes": size,
        "bits_per_pixel": info.bits_per_pixel(size),
        **info.family.describe(info.spec),
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
