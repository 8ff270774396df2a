"""Decoding, top to bottom: bitstream → the family's payload → its renderer → frames.

Imports neither torch nor anything that fits.
"""

from __future__ import annotations

import numbers
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS, MAGIC, StreamInfo, read_header
from tcnn_codec.bitstream.limits import MAX_SIDE
from tcnn_codec.bitstream.records import read_chunk
from tcnn_codec.checks import frame_numbers, shown
from tcnn_codec.errors import BitstreamError, CodecError
from tcnn_codec.families.contract import Tensors
from tcnn_codec.grid import Grid
from tcnn_codec.io import Frame, Pipe, Place, check_sink, open_sink

MAX_SCALE = 64
#: What a pixel costs beside its network's parameters, in multiply-adds: what writing it does.
PIXEL_WORK = 1024
#: Multiply-adds that every byte of payload may cost for each of max_pixels, and bytes for nothing.
#: A byte of an honest payload holds about two parameters.
BYTE_WORK, FREE_BYTES = 4, 4096
#: Parameters that every byte of payload may hold, and bytes for nothing. Zeros alone, which are the
#: cheapest there is, come to 1,430 in a byte.
BYTE_PARAMETERS, FREE_PARAMETER_BYTES = 2048, 8192


def decode_file(
    path: Place,
    output: Place,
    *,
    first: int = 0,
    stop: int | None = None,
    scale: float = 1.0,
    threads: int = 0,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> StreamInfo:
    """Decode frames first:stop of a .tcnn file into an image, a video or a folder of PNGs.

    scale: factor on height and width, the network being defined between pixels too. Only the
    chunks that hold the wanted frames are read of a path, and all of a pipe. Raises CodecError; no
    file is written then, and a pipe may have got the first frames of a video.
    """
    with open_stream(path) as stream:
        info = read_header(stream, max_pixels=max_pixels)
        first, stop = frame_range(info, first, stop)
        grid = scaled_grid(info, scale, max_pixels)
        picture = replace(
            info.picture, height=grid.height, width=grid.width, frame_count=stop - first
        )
        check_sink(output, picture, reads=None if isinstance(path, Pipe) else path)
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
    chunks = info.chunks_of(first, stop)
    check_parameters(info, range(info.key_of(chunks.start), chunks.stop))
    check_work(info, chunks, size, max_pixels)
    renderer = info.family.renderer(threads)
    for index, tensors in decode_networks(stream, info, chunks):
        begin, end = info.chunk_range(index)
        grid = Grid(size.width, size.height, end - begin)
        pixels = renderer.render(info.networks[index], tensors, grid)
        for frame in range(max(first, begin), min(stop, end)):
            yield Frame(pixels[frame - begin], info.timestamps[frame])


def decode_networks(
    stream: BinaryIO, info: StreamInfo, chunks: range
) -> Iterator[tuple[int, Tensors]]:
    """The networks of some chunks, with their numbers; reads from the key chunk of the first on."""
    before: Tensors | None = None
    for index in range(info.key_of(chunks.start), chunks.stop):
        payload = read_chunk(stream, info, index)
        if not info.is_difference(index):
            before = None
        before = info.family.decode(info.networks[index], payload, before)
        if index in chunks:
            yield index, before


@contextmanager
def open_stream(path: Place) -> Iterator[BinaryIO]:
    """Open a .tcnn file for reading, seekable; errors of the stream then name the file.

    Raises CodecError where there is no such file, or where a pipe cannot be read.
    """
    with _take(path) if isinstance(path, Pipe) else _open(path) as stream:
        try:
            yield stream
        except BitstreamError as error:
            raise BitstreamError(f"'{path}': {error.value}", error.allowed, error.remedy) from error


def _take(pipe: Pipe) -> BinaryIO:
    """All that the pipe holds; but only the start of what is no .tcnn stream and may not end."""
    data = bytearray()
    for piece in pipe.pieces():
        data += piece
        if len(data) >= len(MAGIC) and not data.startswith(MAGIC):
            break
    return BytesIO(data)


def _open(path: Path) -> BinaryIO:
    if os.path.exists(path) and not os.path.isfile(path):
        raise CodecError(f"'{path}' is no regular file", remedy="name an existing .tcnn file")
    try:
        stream = open(path, "rb")  # noqa: SIM115  closed by the caller
        stream.peek(1)
    except OSError as error:
        raise CodecError(
            f"cannot read '{path}': {error.strerror or error}", remedy="name an existing .tcnn file"
        ) from None
    return stream


def frame_range(info: StreamInfo, first: int, stop: int | None) -> tuple[int, int]:
    """The half-open range of frames that first:stop selects; `stop` beyond the end means the end.

    Raises CodecError where that is no frame.
    """
    first, stop = frame_numbers(first, stop, f" in 0:{info.frames}")
    end = info.frames if stop is None else min(stop, info.frames)
    if not 0 <= first < end:
        raise CodecError(
            f"`frames` {first}:{('' if stop is None else stop)} selects nothing",
            f"the file has frames 0:{info.frames}",
            "choose a range A:B inside",
        )
    return first, end


def scaled_grid(info: StreamInfo, scale: float, max_pixels: int) -> Grid:
    """The sampling positions of the longest chunk at `scale` times the coded size."""
    known = isinstance(scale, numbers.Real) and not isinstance(scale, bool)
    if not known or not 1 / MAX_SCALE <= scale <= MAX_SCALE:
        raise CodecError(
            f"`scale` is {f'{scale:g}' if isinstance(scale, float) else shown(scale, repr)}",
            f"allowed are {1 / MAX_SCALE:g} to {MAX_SCALE}",
            f"1 is the size that was encoded, {info.width}x{info.height}",
        )
    grid = Grid(
        max(1, round(info.width * scale)),
        max(1, round(info.height * scale)),
        max(info.chunk_frames),
    )
    if max(grid.width, grid.height) > MAX_SIDE:
        raise CodecError(
            f"`scale` {float(scale):g} makes {grid.width}x{grid.height} pixels",
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


def check_parameters(info: StreamInfo, chunks: range) -> None:
    """Raises CodecError where these chunks have far more parameters than their bytes can hold.

    A code goes on behind its end, so that a few bytes decode to as many integers as a network has
    (docs/format.md, section 9).
    """
    parameters = sum(info.networks[i].parameter_count for i in chunks)
    size = sum(info.chunk_bytes[i] for i in chunks)
    if parameters > (most := BYTE_PARAMETERS * (size + FREE_PARAMETER_BYTES)):
        raise CodecError(
            f"{parameters} parameters are in {size} bytes",
            f"the limit is {most}, which grows with the bytes",
            "select fewer `frames`; no encoder makes such files",
        )


def check_work(info: StreamInfo, chunks: range, size: Grid, max_pixels: int) -> None:
    """Raises CodecError where these chunks' pixels take far more work than their bytes warrant.

    A network of a few bytes can have as many parameters and pixels as any; so what a file can make
    a decoder do is bounded by its length and max_pixels (docs/format.md, section 9).
    """
    area = size.width * size.height
    work = sum(
        area * info.chunk_frames[i] * (info.networks[i].parameter_count + PIXEL_WORK)
        for i in chunks
    )
    free = sum(info.chunk_bytes[i] for i in chunks) + FREE_BYTES
    if work > BYTE_WORK * max_pixels * free:
        raise CodecError(
            f"decoding takes {work:.1e} multiply-adds, of {free - FREE_BYTES} bytes",
            f"the limit is {BYTE_WORK * max_pixels * free:.1e}, which grows with both the bytes "
            "and `max_pixels`",
            "select fewer `frames`, or raise `max_pixels` if you trust the file",
        )
