"""Cuts a source into chunks: consecutive frames that share one network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

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


def cut(frames: Iterable[Frame], lengths: Sequence[int]) -> Iterator[Chunk]:
    """Chunks of so many frames, one length for each; holds the frames of one at a time."""
    remaining = iter(frames)
    for index, length in enumerate(lengths):
        held = list(islice(remaining, length))
        pixels = np.stack([frame.pixels for frame in held])
        chunk = Chunk(index, pixels, tuple(frame.pts for frame in held))
        del held
        yield chunk
        del pixels, chunk  # before the next one is read


def chunk_lengths(scenes: Sequence[int], most: int) -> tuple[int, ...]:
    """Frames of every chunk: scenes, and those of more than `most` frames in pieces that are about
    equal."""
    found: list[int] = []
    for frames in scenes:
        pieces = -(-frames // most)
        found += [frames * (i + 1) // pieces - frames * i // pieces for i in range(pieces)]
    return tuple(found)


def fixed_lengths(frames: int, chunk_frames: int) -> tuple[int, ...]:
    """Frames of every chunk where each but the last has chunk_frames."""
    whole, rest = divmod(frames, chunk_frames)
    return (chunk_frames,) * whole + ((rest,) if rest else ())


class ChunkReader:
    """The chunks of a source, as often as they are asked for. lengths: the frames of each.

    The source is read anew each time, unless all of it is one chunk, which is kept.
    """

    def __init__(self, source: Source, lengths: tuple[int, ...]) -> None:
        self._source, self.lengths = source, lengths
        self._only: Chunk | None = None

    @property
    def count(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[Chunk]:
        if self._only is not None:
            yield self._only
            return
        for chunk in cut(self._source.frames(), self.lengths):
            if self.count == 1:
                self._only = chunk
            yield chunk
            del chunk  # before the next one is read
