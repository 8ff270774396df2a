"""The sampling positions of a chunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tcnn_codec.dtypes import F64, U8


@dataclass(frozen=True)
class Grid:
    """Sampling positions of one chunk: pixel centres, each axis on (-1, 1).

    Pixels are ordered frame, row, column: pixel index = (t * height + y) * width + x.
    """

    width: int
    height: int
    frames: int = 1

    @classmethod
    def of(cls, pixels: U8) -> Grid:
        """That of a chunk's pixels, uint8 [frames, height, width, channels]."""
        frames, height, width, _ = pixels.shape
        return cls(width, height, frames)

    @property
    def pixels(self) -> int:
        return self.width * self.height * self.frames

    def axis_sizes(self, axes: int) -> tuple[int, ...]:
        """Sizes of the first `axes` of the axes x, y, t."""
        return (self.width, self.height, self.frames)[:axes]


def axis_coordinates(size: int) -> F64:
    """Pixel centres p_i = (2i + 1)/size - 1, float64 [size]."""
    return (2.0 * np.arange(size) + 1.0) / size - 1.0
