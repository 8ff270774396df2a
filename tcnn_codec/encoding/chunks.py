"""Cuts a source into chunks: consecutive frames that share one network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from tcnn_codec.dtypes import U8
from tcnn_codec.grid import Grid
from tcnn_codec.io import Frame, Source


@dataclass(frozen=True, eq=False)
class Chunk:
    """pixels: uint8 [frames, height, width, channels]. timestamps: of its frames, in ticks."""

    index: int
    pixels: U8
    timestamps: tuple[int, ...]

    @property
    def grid(self) -> Grid:
        return Grid.of(self.pixels)


def cut(frames: Iterable[Frame], chunk_frames: int) -> Iterator[Chunk]:
    """Chunks of chunk_frames frames; the last may be shorter.

    Holds the frames of one chunk at a time.
    """
    held: list[Frame] = []
    index = 0
    for frame in frames:
        held.append(frame)
        if len(held) == chunk_frames:
            yield _pop(index, held)
            index += 1
    if held:
        yield _pop(index, held)


def _pop(index: int, held: list[Frame]) -> Chunk:
    pixels = np.stack([frame.pixels for frame in held])
    chunk = Chunk(index, pixels, tuple(frame.pts for frame in held))
    held.clear()
    return chunk


class ChunkReader:
    """The chunks of a source, as often as they are asked for.

    The source is read anew each time, unless all of it is one chunk, which is kept.
    """

    def __init__(self, source: Source, chunk_frames: int) -> None:
        self._source, self._chunk_frames = source, chunk_frames
        self.count = -(-source.format.frame_count // chunk_frames)
        self._only: Chunk | None = None

    def __iter__(self) -> Iterator[Chunk]:
        if self._only is not None:
            yield self._only
            return
        for chunk in cut(self._source.frames(), self._chunk_frames):
            if self.count == 1:
                self._only = chunk
            yield chunk
            del chunk  # before the next one is read
