"""Decoding, top to bottom: bitstream → the family's payload → its renderer → frames.

Imports neither torch nor anything that fits.
"""

from __future__ import annotations

import numbers
import operator
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS, StreamInfo, read_header
from tcnn_codec.bitstream.limits import MAX_SIDE
from tcnn_codec.bitstream.records import read_chunk
from tcnn_codec.dtypes import U8
from tcnn_codec.errors import BitstreamError, CodecError
from tcnn_codec.families.contract import Renderer
from tcnn_codec.grid import Grid
from tcnn_codec.io import Frame, check_sink, open_sink

MAX_SCALE = 64


def decode_file(
    path: Path,
    output: Path,
    *,
    first: int = 0,
    stop: int | None = None,
    scale: float = 1.0,
    threads: int = 0,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> StreamInfo:
    """Decode frames first:stop of a .tcnn file into an image, a video or a folder of PNGs.

    scale: factor on height and width, the network being defined between pixels too. Only the
    chunks that hold the wanted frames are read. Raises CodecError; writes nothing then.
    """
    with open_stream(path) as stream:
        info = read_header(stream, max_pixels=max_pixels)
        first, stop = frame_range(info, first, stop)
        grid = scaled_grid(info, scale, max_pixels)
        picture = replace(
            info.picture, height=grid.height, width=grid.width, frame_count=stop - first
        )
        check_sink(output, picture, reads=path)
        with open_sink(output, picture) as sink:
            for frame in decode_frames(stream, info, first, stop, scale, threads, max_pixels):
                sink.write(frame)
    return info


def decode_frames(
    stream: BinaryIO,
    info: StreamInfo,
    first: int = 0,
    stop: int | None = None,
    scale: float = 1.0,
    threads: int = 0,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Iterator[Frame]:
    """Frames first:stop of an opened stream; holds one chunk at a time. Raises CodecError."""
    first, stop = frame_range(info, first, stop)
    size = scaled_grid(info, scale, max_pixels)
    renderer = info.family.renderer(threads)
    for index in range(first // info.chunk_frames, -(-stop // info.chunk_frames)):
        begin, end = info.chunk_range(index)
        grid = Grid(size.width, size.height, end - begin)
        pixels = decode_chunk(renderer, info, read_chunk(stream, info, index), grid)
        for frame in range(max(first, begin), min(stop, end)):
            yield Frame(pixels[frame - begin], info.timestamps[frame])


def decode_chunk(renderer: Renderer[Any], info: StreamInfo, payload: bytes, grid: Grid) -> U8:
    """Pixels of one chunk on `grid`, uint8 [frames, height, width, channels]."""
    tensors = info.family.decode(info.spec, payload, info.version)
    return renderer.render(info.spec, tensors, grid)


@contextmanager
def open_stream(path: Path) -> Iterator[BinaryIO]:
    """Open a .tcnn file for reading; errors of the stream then name the file.

    Raises CodecError where there is no such file.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise CodecError(f"'{path}' is no regular file", remedy="name an existing .tcnn file")
    try:
        stream = open(path, "rb")  # noqa: SIM115  closed below; only opening is guarded here
        stream.peek(1)
    except OSError as error:
        raise CodecError(
            f"cannot read '{path}': {error.strerror or error}", remedy="name an existing .tcnn file"
        ) from None
    with stream:
        try:
            yield stream
        except BitstreamError as error:
            raise BitstreamError(f"'{path}': {error.value}", error.allowed, error.remedy) from error


def frame_range(info: StreamInfo, first: int, stop: int | None) -> tuple[int, int]:
    """The half-open range of frames that first:stop selects; `stop` beyond the end means the end.

    Raises CodecError where that is no frame.
    """
    try:
        first = operator.index(first)
        end = info.frames if stop is None else min(operator.index(stop), info.frames)
    except TypeError:
        raise CodecError(
            f"`frames` are {first!r} to {stop!r}",
            f"allowed are whole numbers A:B in 0:{info.frames}",
            "count from 0 and leave the last one out",
        ) from None
    if not 0 <= first < end:
        raise CodecError(
            f"`frames` {first}:{('' if stop is None else stop)} selects nothing",
            f"the file has frames 0:{info.frames}",
            "choose a range A:B inside",
        )
    return first, end


def scaled_grid(info: StreamInfo, scale: float, max_pixels: int) -> Grid:
    """The sampling positions of a full chunk at `scale` times the coded size."""
    known = isinstance(scale, numbers.Real) and not isinstance(scale, bool)
    if not known or not 1 / MAX_SCALE <= scale <= MAX_SCALE:
        shown = f"{float(scale):g}" if known else repr(scale)
        raise CodecError(
            f"`scale` is {shown}",
            f"allowed are {1 / MAX_SCALE:g} to {MAX_SCALE}",
            f"1 is the size that was encoded, {info.width}x{info.height}",
        )
    grid = Grid(
        max(1, round(info.width * scale)), max(1, round(info.height * scale)), info.chunk_frames
    )
    if max(grid.width, grid.height) > MAX_SIDE:
        raise CodecError(
            f"`scale` {scale:g} makes {grid.width}x{grid.height} pixels",
            f"allowed are {MAX_SIDE} a side",
            "lower `scale`",
        )
    if grid.pixels > max_pixels:
        raise CodecError(
            f"a chunk of {grid.width}x{grid.height}x{grid.frames} is {grid.pixels} pixels",
            f"the limit is {max_pixels}",
            "lower `scale` or raise `max_pixels`",
        )
    return grid
