"""Cuts a sequence of frames into chunks: consecutive frames that share one network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.siren import Grid


@dataclass(frozen=True)
class Chunk:
    """pixels: uint8 [frames, height, width, channels]."""

    pixels: NDArray[np.uint8]

    @property
    def grid(self) -> Grid:
        frames, height, width, _ = self.pixels.shape
        return Grid(width=width, height=height, frames=frames)


def cut(frames: Iterable[NDArray[np.uint8]], chunk_frames: int) -> Iterator[Chunk]:
    """Chunks of chunk_frames frames [height, width, channels]; the last may be shorter.

    Holds the frames of one chunk at a time.
    """
    held: list[NDArray[np.uint8]] = []
    for frame in frames:
        held.append(frame)
        if len(held) == chunk_frames:
            yield _pop(held)
    if held:
        yield _pop(held)


def _pop(held: list[NDArray[np.uint8]]) -> Chunk:
    chunk = Chunk(np.stack(held))
    held.clear()
    return chunk
