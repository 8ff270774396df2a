"""Image and video codec whose bitstream is a small neural network.

`encode`, `decode` and `inspect` take arrays, paths, bytes and binary file objects;
`python -m tcnn_codec` does the same on a command line.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, overload

from tcnn_codec.errors import BackendUnavailable, BitstreamError, CodecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tcnn_codec.bitstream.header import StreamInfo

    #: A file object is read from where it stands to its end, or written to; it stays open.
    Target = str | PathLike[str] | BinaryIO
    Stream = Target | bytes
    Frames = Sequence[int | None]

__all__ = ["BackendUnavailable", "BitstreamError", "CodecError", "decode", "encode", "inspect"]
__version__ = "0.1.0"

# Imports wait for the call: decoding loads no fitting code, and asking for the version loads
# nothing at all.


@overload
def encode(
    source: NDArray[np.uint8] | Stream,
    target: None = None,
    *,
    frames: Frames | None = None,
    frame_rate: float | None = None,
    max_pixels: int | None = None,
    **options: Any,
) -> bytes: ...
@overload
def encode(
    source: NDArray[np.uint8] | Stream,
    target: Target,
    *,
    frames: Frames | None = None,
    frame_rate: float | None = None,
    max_pixels: int | None = None,
    **options: Any,
) -> None: ...
def encode(
    source: NDArray[np.uint8] | Stream,
    target: Target | None = None,
    *,
    frames: Frames | None = None,
    frame_rate: float | None = None,
    max_pixels: int | None = None,
    **options: Any,
) -> bytes | None:
    """Encode a picture or a video into a .tcnn stream, which is returned, or written to `target`.

    source: a path of an image, a video or a folder of frames; the bytes of such a file, or a file
    object with them; or pixels, uint8, an image [height, width] or [height, width, 1|3|4], or a
    video [frames, height, width, 1|3|4] at frame_rate frames per second (25 if left out). target: a
    path that ends in .tcnn, or a file object; neither gets anything before the stream is complete.
    frames: half-open range (A, B) of the source's. max_pixels: limit on the pixels of a chunk,
    2**28 if left out. options: those of the command line (width, bytes, bpp, psnr, preset, steps,
    bits, seed, threads …), its --lambda as lambda_; `config.EncodeConfig` and the options of its
    model describe them. Raises CodecError for bad input and for a value that is not allowed.
    """
    from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS
    from tcnn_codec.checks import frame_numbers, frame_pair, pixel_limit, shown
    from tcnn_codec.config import make_config
    from tcnn_codec.encoding.encoder import (
        check_stream_output,
        encode_file,
        encode_source,
        write_stream_output,
    )
    from tcnn_codec.io import array_source, input_place, output_place

    config = make_config(**options)
    first, stop = frame_numbers(*frame_pair(frames))
    limit = DEFAULT_MAX_PIXELS if max_pixels is None else pixel_limit(max_pixels)
    output = None if target is None else output_place(target)
    if isinstance(source, (str, PathLike, bytes, bytearray, memoryview)) or hasattr(source, "read"):
        if frame_rate is not None:
            raise CodecError(
                f"`frame_rate` is {shown(frame_rate)}",
                "allowed for an array alone: a file has its own",
                "leave it out",
            )
        place = input_place(source)
        encoded = encode_file(place, output, config, first=first, stop=stop, max_pixels=limit)
    else:
        check_stream_output(output)
        pixels = array_source(source, 25 if frame_rate is None else frame_rate, first, stop)
        encoded = encode_source(pixels, config, max_pixels=limit)
        write_stream_output(output, encoded.stream)
    return encoded.stream if output is None else None


@overload
def decode(
    stream: Stream,
    target: None = None,
    *,
    frames: Frames | None = None,
    scale: float = 1.0,
    threads: int = 0,
    max_pixels: int | None = None,
) -> NDArray[np.uint8]: ...
@overload
def decode(
    stream: Stream,
    target: Target,
    *,
    frames: Frames | None = None,
    scale: float = 1.0,
    threads: int = 0,
    max_pixels: int | None = None,
) -> None: ...
def decode(
    stream: Stream,
    target: Target | None = None,
    *,
    frames: Frames | None = None,
    scale: float = 1.0,
    threads: int = 0,
    max_pixels: int | None = None,
) -> NDArray[np.uint8] | None:
    """Decode a .tcnn stream: uint8 [height, width, channels], or [frames, …] for a video.

    stream: its bytes, its path or a file object. target: a path, whose extension says what is
    written there (`io.open_sink`), or a file object, which gets an image as PNG and a video as Y4M;
    then nothing is returned. frames: half-open range (A, B) of a video's frames; only their chunks
    are decoded. scale: factor on height and width. threads: 0 takes every core. max_pixels: limit
    on the pixels of a chunk, 2**28 if left out. Raises BitstreamError for a damaged stream,
    CodecError for a value that is not allowed.
    """
    import numpy as np

    from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS, read_header
    from tcnn_codec.checks import frame_pair, pixel_limit
    from tcnn_codec.decoding.decoder import decode_file, decode_frames, open_stream
    from tcnn_codec.io import input_place, output_place

    place = input_place(stream)
    first, stop = frame_pair(frames)
    limit = DEFAULT_MAX_PIXELS if max_pixels is None else pixel_limit(max_pixels)
    if target is not None:
        decode_file(
            place,
            output_place(target),
            first=first,
            stop=stop,
            scale=scale,
            threads=threads,
            max_pixels=limit,
        )
        return None
    with open_stream(place) as file:
        info = read_header(file, max_pixels=limit)
        found = [f.pixels for f in decode_frames(file, info, first, stop, scale, threads, limit)]
    return found[0] if info.kind == "image" else np.stack(found)


def inspect(stream: Stream, *, max_pixels: int | None = None) -> StreamInfo:
    """What a .tcnn stream, its bytes, its path or a file object, says of itself; decodes nothing.

    max_pixels: limit on the pixels of a chunk, 2**28 if left out. Raises BitstreamError for a
    header that is damaged, CodecError for a value that is not allowed.
    """
    from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS, read_header
    from tcnn_codec.checks import pixel_limit
    from tcnn_codec.decoding.decoder import open_stream
    from tcnn_codec.io import input_place

    limit = DEFAULT_MAX_PIXELS if max_pixels is None else pixel_limit(max_pixels)
    with open_stream(input_place(stream)) as file:
        return read_header(file, max_pixels=limit)
