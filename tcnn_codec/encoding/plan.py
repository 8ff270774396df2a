"""How a source is parted into chunks: where each begins, its network's size, its key chunk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

from tcnn_codec.bitstream.limits import MAX_CHUNK_FRAMES, MAX_FRAMES
from tcnn_codec.config import AUTO, EncodeConfig
from tcnn_codec.encoding.chunks import chunk_lengths, fixed_lengths
from tcnn_codec.encoding.scenes import scene_lengths
from tcnn_codec.errors import CodecError
from tcnn_codec.families.contract import Fitter
from tcnn_codec.io import Source
from tcnn_codec.picture import PictureFormat

#: Pixels of a chunk are numbered in 32 bits.
MOST_PIXELS = 2**32 - 1
#: Of a chunk that is coded as a difference; that of a longer one saves nothing.
MOST_FRAMES_THAT_DIFFER = 16
#: From one key chunk to the next.
KEY_FRAMES = 250
#: How much of the largest network's size a chunk is given, so that the search has room.
LARGEST_FILL = 0.8


@dataclass(frozen=True)
class ChunkPlan:
    """lengths: frames of every chunk. shares: of every chunk its parameters, in units of the mean
    chunk's. key_interval: every so many chunks one is a key chunk. cuts: the first frames of scenes
    after the first, or None where the user has set the chunks.
    """

    lengths: tuple[int, ...]
    shares: tuple[float, ...]
    key_interval: int
    cuts: tuple[int, ...] | None

    def shorter(self, doublings: int) -> ChunkPlan | None:
        """With at most 2**-doublings of the longest chunk's frames in each, which then have more
        parameters each; None where that is less than a frame, or the user has set the chunks.
        """
        most = max(self.lengths) >> doublings
        if self.cuts is None or most < 1:
            return None
        ends = (0, *self.cuts, sum(self.lengths))
        lengths = chunk_lengths([end - start for start, end in pairwise(ends)], most)
        shares = _shares(lengths, self.key_interval)
        return replace(self, lengths=lengths, shares=shares)


def plan_chunks(
    source: Source, config: EncodeConfig, fitter: Fitter[Any], max_pixels: int
) -> ChunkPlan:
    """The plan that the configuration asks for; reads the source once where scenes are looked for.

    max_pixels: limit on the pixels of a chunk. Raises CodecError where no plan keeps to it.
    """
    picture = source.format
    most = _most_frames(picture, config, max_pixels)
    key_interval = _key_interval(config) if fitter.differs else 1
    if config.chunk_frames != AUTO:
        lengths = fixed_lengths(picture.frame_count, most)
        return ChunkPlan(lengths, _shares(lengths, key_interval), key_interval, None)
    scenes: tuple[int, ...] = (1,)
    if picture.frame_count > 1:
        scenes = scene_lengths(frame.pixels for frame in source.frames())
    lengths = chunk_lengths(scenes, min(most, _frames_of_largest(picture, config, fitter)))
    cuts = tuple(accumulate(scenes[:-1]))
    return ChunkPlan(lengths, _shares(lengths, key_interval), key_interval, cuts)


def _frames_of_largest(picture: PictureFormat, config: EncodeConfig, fitter: Fitter[Any]) -> int:
    """Frames whose share of the size asked for the largest network takes; all without a size."""
    if config.bytes is not None:
        size = float(config.bytes)
    elif config.bpp is not None:
        size = config.bpp * picture.pixels / 8
    else:
        return picture.frame_count
    ladder = fitter.ladder(picture)
    largest = ladder.spec(ladder.count).parameter_count * ladder.law.coded_bits / 8
    return max(1, int(LARGEST_FILL * largest * picture.frame_count / size))


def _shares(lengths: tuple[int, ...], key_interval: int) -> tuple[float, ...]:
    """Of every chunk its parameters, in units of the mean chunk's.

    PSNR is a mean over frames, and grows by about as much with every doubling of a network whatever
    the chunk shows; so the sum is greatest where parameters are as frames. Differences want equal
    networks.
    """
    if key_interval > 1:
        return (1.0,) * len(lengths)
    mean = sum(lengths) / len(lengths)
    return tuple(frames / mean for frames in lengths)


def _key_interval(config: EncodeConfig) -> int:
    """The number of chunks from one key chunk to the next, the first of them counted."""
    if config.key_interval is not None:
        return config.key_interval
    if isinstance(config.chunk_frames, int) and config.chunk_frames <= MOST_FRAMES_THAT_DIFFER:
        return KEY_FRAMES // config.chunk_frames
    return 1


def _most_frames(picture: PictureFormat, config: EncodeConfig, max_pixels: int) -> int:
    """Frames that share a network, at most. Raises CodecError where they are too many pixels."""
    limit = min(max_pixels, MOST_PIXELS)
    if isinstance(config.chunk_frames, int):
        chunk_frames = min(config.chunk_frames, picture.frame_count)
    else:
        chunk_frames = min(MAX_CHUNK_FRAMES, max(1, limit // (picture.height * picture.width)))
    held = picture.height * picture.width * chunk_frames
    if held > limit:
        raise CodecError(
            f"a chunk of {picture.width}x{picture.height}x{chunk_frames} is {held} pixels",
            f"the limit is {limit}",
            f"lower `chunk_frames` or raise `max_pixels`, at most to {MOST_PIXELS}",
        )
    if picture.frame_count > MAX_FRAMES:
        raise CodecError(
            f"the video has {picture.frame_count} frames",
            f"a file holds at most {MAX_FRAMES}",
            f"encode it in parts with `frames` 0:{MAX_FRAMES}",
        )
    return chunk_frames
