"""Image and video codec whose bitstream is a small neural network.

`encode`, `decode` and `inspect` work on arrays and bytes; `python -m tcnn_codec` on files.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from tcnn_codec.errors import BackendUnavailable, BitstreamError, CodecError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tcnn_codec.bitstream.header import StreamInfo

__all__ = ["BackendUnavailable", "BitstreamError", "CodecError", "decode", "encode", "inspect"]
__version__ = "0.1.0"

# Imports wait for the call: decoding loads no fitting code, and asking for the version loads
# nothing at all.


def encode(array: NDArray[np.uint8], *, frame_rate: float = 25, **options: Any) -> bytes:
    """Encode pixels in memory into a .tcnn stream.

    array: uint8, an image [height, width] or [height, width, 1|3|4], or a video
    [frames, height, width, 1|3|4] at frame_rate frames per second. options: those of
    the command line (width, bytes, bpp, psnr, preset, steps, bits, seed, threads …), its
    --lambda as lambda_; `config.EncodeConfig` and the options of its model describe them.
    Raises CodecError for a value that is not allowed.
    """
    from tcnn_codec.config import make_config
    from tcnn_codec.encoding.encoder import encode_source
    from tcnn_codec.io import array_source

    return encode_source(array_source(array, frame_rate), make_config(**options)).stream


def decode(
    stream: bytes,
    *,
    frames: tuple[int, int] | None = None,
    scale: float = 1.0,
    threads: int = 0,
    max_pixels: int | None = None,
) -> NDArray[np.uint8]:
    """Decode a .tcnn stream: uint8 [height, width, channels], or [frames, …] for a video.

    frames: half-open range of a video's frames; only their chunks are decoded. scale: factor on
    height and width. max_pixels: limit on the pixels of a chunk, 2**28 if left out. Raises
    BitstreamError for a damaged stream, CodecError for a value that is not allowed.
    """
    import numpy as np

    from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS, read_header
    from tcnn_codec.decoding.decoder import decode_frames

    file = BytesIO(stream)
    limit = DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels
    info = read_header(file, max_pixels=limit)
    first, stop = frames if frames is not None else (0, None)
    found = [f.pixels for f in decode_frames(file, info, first, stop, scale, threads, limit)]
    return found[0] if info.kind == "image" else np.stack(found)


def inspect(stream: bytes) -> StreamInfo:
    """What a .tcnn stream says of itself; decodes nothing. Raises BitstreamError."""
    from tcnn_codec.bitstream.header import read_header

    return read_header(BytesIO(stream))
