"""Pixels in memory as a source."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.errors import CodecError
from tcnn_codec.io.frames import Frame, Source

MAX_FRAME_RATE = 1000


def array_source(array: NDArray[np.uint8], frame_rate: float = 25) -> Source:
    """A source over pixels in memory, uint8: [height, width], [height, width, 1|3|4] for an image,
    [frames, height, width, 1|3|4] for a video at `frame_rate` frames per second.

    Raises CodecError for another dtype or shape.
    """
    pixels = np.asarray(array)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if (
        pixels.dtype != np.uint8
        or pixels.ndim not in (3, 4)
        or pixels.shape[-1] not in (1, 3, 4)
        or pixels.size == 0
    ):
        raise CodecError(
            f"the array is {np.asarray(array).dtype} {np.shape(array)}; allowed is uint8 "
            "[height, width], [height, width, 1|3|4] or [frames, height, width, 1|3|4], none of "
            "them 0; convert it with astype(numpy.uint8) and reshape"
        )
    kind: Literal["image", "video"] = "image" if pixels.ndim == 3 else "video"
    frames = pixels.reshape(-1, *pixels.shape[-3:])
    rate = _frame_rate(frame_rate) if kind == "video" else Fraction(1)
    return Source(
        kind=kind,
        height=frames.shape[1],
        width=frames.shape[2],
        channels=frames.shape[3],
        time_base=1 / rate,
        frame_rate=rate,
        frame_count=len(frames),
        notes=(),
        read=lambda: (Frame(np.ascontiguousarray(p), i) for i, p in enumerate(frames)),
    )


def _frame_rate(value: float) -> Fraction:
    try:
        exact = value if isinstance(value, Fraction) else float(value)
    except (TypeError, ValueError):
        exact = math.nan
    if not 1 / MAX_FRAME_RATE <= exact <= MAX_FRAME_RATE:
        raise CodecError(
            f"frame_rate is {value}; allowed are {1 / MAX_FRAME_RATE:g} to {MAX_FRAME_RATE} frames "
            "per second; 25 is usual"
        )
    return Fraction(exact).limit_denominator(1001)
