"""Pixels in memory as a source."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.checks import shown
from tcnn_codec.errors import CodecError
from tcnn_codec.io.frames import Frame, Source, check_selection
from tcnn_codec.picture import PictureFormat

MAX_FRAME_RATE = 1000


@dataclass(frozen=True, eq=False)
class ArrayReader:
    """pixels: uint8 [frames, height, width, channels]; the pts are 0, 1, 2, ..."""

    pixels: NDArray[np.uint8]

    def frames(self) -> Generator[Frame, None, None]:
        for index, pixels in enumerate(self.pixels):
            yield Frame(np.ascontiguousarray(pixels), index)


def array_source(
    array: NDArray[np.uint8], frame_rate: float = 25, first: int = 0, stop: int | None = None
) -> Source:
    """A source over pixels in memory, uint8: [height, width], [height, width, 1|3|4] for an image,
    [frames, height, width, 1|3|4] for a video at `frame_rate` frames per second, of which the
    frames first:stop are taken.

    Raises CodecError for another dtype or shape, and where no frame is selected.
    """
    try:
        pixels = np.asarray(array)
    except ValueError:  # rows of different lengths
        pixels = np.asarray(None)
    given = pixels
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if (
        pixels.dtype != np.uint8
        or pixels.ndim not in (3, 4)
        or pixels.shape[-1] not in (1, 3, 4)
        or pixels.size == 0
    ):
        raise CodecError(
            f"the array is {given.dtype} {given.shape}",
            "allowed is uint8 [height, width], [height, width, 1|3|4] or [frames, height, "
            "width, 1|3|4], none of them 0",
            "convert it with astype(numpy.uint8) and reshape",
        )
    height, width, channels = pixels.shape[-3:]
    frames = pixels.reshape(-1, height, width, channels)
    check_selection("<array>", first, stop, len(frames))
    frames = frames[first:stop]
    if pixels.ndim == 3:
        format = PictureFormat("image", height, width, channels)
    else:
        rate = _frame_rate(frame_rate)
        format = PictureFormat("video", height, width, channels, len(frames), 1 / rate, rate)
    return Source(format, (), ArrayReader(frames))


def _frame_rate(value: float) -> Fraction:
    try:
        exact = value if isinstance(value, Fraction) else float(value)
    except (TypeError, ValueError, OverflowError):
        exact = math.nan
    if not 1 / MAX_FRAME_RATE <= exact <= MAX_FRAME_RATE:
        raise CodecError(
            f"`frame_rate` is {shown(value)}",
            f"allowed are {1 / MAX_FRAME_RATE:g} to {MAX_FRAME_RATE} frames per second",
            "25 is usual",
        )
    return Fraction(exact).limit_denominator(1001)
