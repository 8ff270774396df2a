"""Decoding, top to bottom: bitstream → coders → quantise⁻¹ → evaluate → frames.

Imports neither torch nor anything that fits.
"""

from __future__ import annotations

import numbers
import operator
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tcnn_codec import backends
from tcnn_codec.backends.base import Backend
from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS, StreamInfo, read_header
from tcnn_codec.bitstream.limits import MAX_SIDE
from tcnn_codec.bitstream.records import read_chunk
from tcnn_codec.coders.payload import decode_tensors
from tcnn_codec.errors import BitstreamError, CodecError
from tcnn_codec.io import Frame, check_sink, open_sink
from tcnn_codec.quantise import dequantise
from tcnn_codec.siren import Grid

MAX_SCALE = 64


def decode_file(
    path: Path,
    output: Path,
    *,
    first: int = 0,
    last: int | None = None,
    scale: float = 1.0,
    threads: int = 0,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> StreamInfo:
    """Decode frames first:last of a .tcnn file into an image, a video or a folder of PNGs.

    scale: factor on height and width, the network being defined between pixels too. Only the
    chunks that hold the wanted frames are read. Raises CodecError; writes nothing then.
    """
    with open_stream(path) as stream:
        info = read_header(stream, max_pixels=max_pixels)
        first, last = frame_range(info, first, last)
        grid = scaled_grid(info, scale, max_pixels)
        count = last - first
        check_sink(output, kind=info.kind, channels=info.channels, frame_count=count, reads=path)
        with open_sink(
            output,
            kind=info.kind,
            height=grid.height,
            width=grid.width,
            channels=info.channels,
            frame_count=count,
            time_base=info.time_base,
            frame_rate=info.frame_rate,
        ) as sink:
            for frame in decode_frames(stream, info, first, last, scale, threads, max_pixels):
                sink.write(frame)
    return info


def decode_frames(
    stream: BinaryIO,
    info: StreamInfo,
    first: int = 0,
    last: int | None = None,
    scale: float = 1.0,
    threads: int = 0,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Iterator[Frame]:
    """Frames first:last of an opened stream; holds one chunk at a time. Raises CodecError."""
    first, last = frame_range(info, first, last)
    size = scaled_grid(info, scale, max_pixels)
    backend = backends.create("cpu", threads)
    for index in range(first // info.chunk_frames, -(-last // info.chunk_frames)):
        begin, end = info.chunk_range(index)
        grid = Grid(size.width, size.height, end - begin)
        pixels = decode_chunk(backend, info, read_chunk(stream, info, index), grid)
        for frame in range(max(first, begin), min(last, end)):
            yield Frame(pixels[frame - begin], info.timestamps[frame])


def decode_chunk(
    backend: Backend, info: StreamInfo, payload: bytes, grid: Grid
) -> NDArray[np.uint8]:
    """Pixels of one chunk on `grid`, uint8 [frames, height, width, channels]."""
    params = dequantise(info.spec, decode_tensors(info.spec, payload, info.version))
    return backend.render(info.spec, params, grid)


@contextmanager
def open_stream(path: Path) -> Iterator[BinaryIO]:
    """Open a .tcnn file for reading; errors of the stream then name the file.

    Raises CodecError where there is no such file.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise CodecError(f"'{path}' is no regular file; name an existing .tcnn file")
    try:
        stream = open(path, "rb")  # noqa: SIM115  closed below; only opening is guarded here
        stream.peek(1)
    except OSError as error:
        raise CodecError(
            f"cannot read '{path}': {error.strerror or error}; name an existing .tcnn file"
        ) from None
    with stream:
        try:
            yield stream
        except BitstreamError as error:
            raise BitstreamError(f"'{path}': {error}") from error


def frame_range(info: StreamInfo, first: int, last: int | None) -> tuple[int, int]:
    """The half-open range of frames that first:last selects; `last` beyond the end means the end.

    Raises CodecError where that is no frame.
    """
    try:
        first = operator.index(first)
        end = info.frames if last is None else min(operator.index(last), info.frames)
    except TypeError:
        raise CodecError(
            f"frames are {first!r} to {last!r}; allowed are whole numbers A:B in 0:{info.frames}; "
            "count from 0 and leave the last one out"
        ) from None
    if not 0 <= first < end:
        raise CodecError(
            f"--frames {first}:{'' if last is None else last} selects nothing; the file has "
            f"frames 0:{info.frames}; choose a range A:B inside"
        )
    return first, end


def scaled_grid(info: StreamInfo, scale: float, max_pixels: int) -> Grid:
    """The sampling positions of a full chunk at `scale` times the coded size."""
    known = isinstance(scale, numbers.Real) and not isinstance(scale, bool)
    if not known or not 1 / MAX_SCALE <= scale <= MAX_SCALE:
        shown = f"{float(scale):g}" if known else repr(scale)
        raise CodecError(
            f"--scale is {shown}; allowed are {1 / MAX_SCALE:g} to {MAX_SCALE}; 1 is the size "
            f"that was encoded, {info.width}x{info.height}"
        )
    grid = Grid(
        max(1, round(info.width * scale)), max(1, round(info.height * scale)), info.chunk_frames
    )
    if max(grid.width, grid.height) > MAX_SIDE:
        raise CodecError(
            f"--scale {scale:g} makes {grid.width}x{grid.height} pixels; allowed are "
            f"{MAX_SIDE} a side; lower --scale"
        )
    if grid.pixels > max_pixels:
        raise CodecError(
            f"a chunk of {grid.width}x{grid.height}x{grid.frames} is {grid.pixels} pixels; the "
            f"limit is {max_pixels}; lower --scale or raise --max-pixels"
        )
    return grid


def describe_file(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> dict[str, Any]:
    """The keys of info --json. Raises CodecError for a damaged or cut-off file."""
    with open_stream(path) as stream:
        info = read_header(stream, max_pixels=max_pixels)
        for index in range(info.chunk_count):
            read_chunk(stream, info, index)
    spec, size = info.spec, info.record_offsets[-1]
    facts: dict[str, Any] = {
        "format_version": info.version,
        "kind": info.kind,
        "height": info.height,
        "width": info.width,
        "channels": info.channels,
        "frames": info.frames,
        "bytes": size,
        "bits_per_pixel": info.bits_per_pixel(size),
        "hidden_width": spec.width,
        "hidden_layers": spec.hidden_layers,
        "frequencies": spec.frequencies,
        "parameters": spec.parameter_count,
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
