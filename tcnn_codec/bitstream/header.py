"""The header of a .tcnn file: what it says of itself, with an index, checked as it is read.

docs/format.md is the normative description.
"""

from __future__ import annotations

import os
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import accumulate, groupby, pairwise
from typing import Any, BinaryIO

import numpy as np

from tcnn_codec.bitstream.fields import Fields, bad_field
from tcnn_codec.bitstream.limits import (
    MAX_CHUNK_FRAMES,
    MAX_CHUNKS,
    MAX_FRAMES,
    MAX_NETWORKS,
    MAX_PTS,
    MAX_RATIONAL,
    MAX_SIDE,
)
from tcnn_codec.bitstream.varint import MAX_VARINT_BYTES, read_varint, write_varint
from tcnn_codec.errors import BackendUnavailable, BitstreamError, CodecError
from tcnn_codec.families import family_of
from tcnn_codec.families.contract import Family
from tcnn_codec.grid import Grid
from tcnn_codec.layout import Spec
from tcnn_codec.picture import Kind, PictureFormat

MAGIC = b"\x89TCN"
#: The only one there is: those before it were never released.
VERSION = 3
#: Most pixels a decoder holds at once unless told otherwise: height * width * frames of a chunk.
DEFAULT_MAX_PIXELS = 2**28
CRC_BYTES = 4
#: A chunk that refers to no other, and one whose network is a difference to that of the one before.
KEY_CHUNK, DIFFERENCE = 0, 1
_KINDS: tuple[Kind, ...] = ("image", "video")
_OTHER_FORMATS = (
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (8, b"WEBP", "a WebP image"),
    (4, b"ftyp", "an MP4 video or an AVIF or HEIF image"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (0, b"YUV4", "a Y4M video"),
)


@dataclass(frozen=True)
class StreamInfo:
    """All that a file says of itself before its first chunk.

    height, width: 1 to 65,536 pixels. channels: 1, 3 or 4. family, networks: the network of every
    chunk, for its number of frames, with axes 2 for an image and 3 for a video, and as many outputs
    as channels; 256 different ones at most, whatever the frames. chunk_kinds: of every chunk
    KEY_CHUNK or DIFFERENCE; empty where all are key chunks. chunk_frames: frames of every chunk, 1
    to 4,096 each, 1,048,576 in all, in 65,536 chunks at most. time_base: seconds per tick,
    frame_rate: frames per second, both positive. timestamps: the presentation time of every frame
    in ticks, strictly increasing. An image has one frame, timestamps (0,) and both rates 1.
    chunk_bytes: the payload length of every chunk, and header_bytes: where the first record begins;
    both are known once the stream is written. Raises CodecError for a value out of range.
    """

    kind: Kind
    height: int
    width: int
    channels: int
    networks: tuple[Spec, ...]
    chunk_frames: tuple[int, ...] = (1,)
    chunk_kinds: tuple[int, ...] = ()
    time_base: Fraction = Fraction(1)
    frame_rate: Fraction = Fraction(1)
    timestamps: tuple[int, ...] = (0,)
    chunk_bytes: tuple[int, ...] = ()
    header_bytes: int = 0
    family: Family[Any] = field(default_factory=lambda: family_of(0))

    def __post_init__(self) -> None:
        _require("height", self.height, 1, MAX_SIDE)
        _require("width", self.width, 1, MAX_SIDE)
        _require("frames", self.frames, 1, MAX_FRAMES)
        _require("number of chunks", self.chunk_count, 1, MAX_CHUNKS)
        for frames in (min(self.chunk_frames), max(self.chunk_frames)):
            _require("chunk frames", frames, 1, MAX_CHUNK_FRAMES)
        _require("frames in all chunks", sum(self.chunk_frames), self.frames, self.frames)
        _require("number of networks", len(self.networks), self.chunk_count, self.chunk_count)
        for name, rate in (("time base", self.time_base), ("frame rate", self.frame_rate)):
            _require(f"{name} numerator", rate.numerator, 1, MAX_RATIONAL)
            _require(f"{name} denominator", rate.denominator, 1, MAX_RATIONAL)
        _require("first timestamp", self.timestamps[0], -MAX_PTS, MAX_PTS)
        _require("last timestamp", self.timestamps[-1], -MAX_PTS, MAX_PTS)
        if not _increase(self.timestamps):
            raise CodecError(
                "timestamps do not increase from frame to frame", remedy="remux the source"
            )
        timing = (self.frames, self.time_base, self.frame_rate, self.timestamps)
        if self.kind == "image" and timing != (1, Fraction(1), Fraction(1), (0,)):
            raise CodecError("an image has several frames or a time", remedy="write it as a video")
        axes = 3 if self.kind == "video" else 2
        _require("number of different networks", len(self.network_places), 1, MAX_NETWORKS)
        if self.chunk_kinds:
            self._check_kinds()
        pairs = zip(self.networks, self.chunk_frames, strict=True)
        for spec, frames in {(id(spec), frames): (spec, frames) for spec, frames in pairs}.values():
            if spec.of(frames) != spec:
                raise ValueError(f"a network is not of its chunk's {frames} frames")
        for spec in self.network_places:
            if (spec.axes, spec.out_channels) != (axes, self.channels):
                raise CodecError(
                    f"a network has {spec.axes} axes and {spec.out_channels} outputs",
                    f"allowed are {axes} axes (kind {self.kind}) and {self.channels} outputs "
                    "(channels)",
                    "give the network the shape of the picture",
                )

    def _check_kinds(self) -> None:
        _require("number of chunk kinds", len(self.chunk_kinds), self.chunk_count, self.chunk_count)
        for kind in (min(self.chunk_kinds), max(self.chunk_kinds)):
            _require("kind of a chunk", kind, KEY_CHUNK, DIFFERENCE)
        _require("kind of the first chunk", self.chunk_kinds[0], KEY_CHUNK, KEY_CHUNK)
        places = list(self.chunk_places)
        for index, kind in enumerate(self.chunk_kinds):
            if kind == DIFFERENCE and places[index] != places[index - 1]:
                raise CodecError(
                    f"chunk {index} is a difference to one of another network",
                    "both must have the same",
                    "make it a key chunk",
                )

    @property
    def frames(self) -> int:
        return len(self.timestamps)

    @cached_property
    def network_places(self) -> dict[Spec, int]:
        """The different networks, as of one frame, in the order of their first chunk, and the place
        of each."""
        # First by identity: chunks share their networks, and to hash one takes long.
        objects = {id(spec): spec for spec in self.networks}.values()
        different = dict.fromkeys(spec.of(1) for spec in objects)
        return {spec: place for place, spec in enumerate(different)}

    @property
    def chunk_places(self) -> Iterator[int]:
        """Of every chunk the place of its network among the different ones."""
        objects = {id(spec): spec for spec in self.networks}
        places = {key: self.network_places[spec.of(1)] for key, spec in objects.items()}
        return (places[id(spec)] for spec in self.networks)

    @property
    def chunk_count(self) -> int:
        return len(self.chunk_frames)

    def is_difference(self, index: int) -> bool:
        """Whether chunk `index` is decoded with the one before."""
        return bool(self.chunk_kinds) and self.chunk_kinds[index] == DIFFERENCE

    def key_of(self, index: int) -> int:
        """The chunk with which decoding of chunk `index` begins."""
        while self.is_difference(index):
            index -= 1
        return index

    @property
    def picture(self) -> PictureFormat:
        return PictureFormat(
            kind=self.kind,
            height=self.height,
            width=self.width,
            channels=self.channels,
            frame_count=self.frames,
            time_base=self.time_base,
            frame_rate=self.frame_rate,
        )

    def chunk_range(self, index: int) -> tuple[int, int]:
        """Frames [first, stop) of chunk `index`, 0 ≤ index < chunk_count."""
        return self._boundaries[index], self._boundaries[index + 1]

    def chunks_of(self, first: int, stop: int) -> range:
        """The chunks that hold the frames first:stop, 0 ≤ first < stop ≤ frames."""
        begin = bisect_right(self._boundaries, first) - 1
        return range(begin, bisect_left(self._boundaries, stop))

    def grid(self, index: int) -> Grid:
        """Sampling positions of chunk `index` at the coded size."""
        return Grid(self.width, self.height, self.chunk_frames[index])

    def bits_per_pixel(self, size: int) -> float:
        """Rate of a file of `size` bytes, over the pixels of all frames."""
        return 8 * size / (self.height * self.width * self.frames)

    @cached_property
    def record_offsets(self) -> tuple[int, ...]:
        """Byte position of every record, and last the length of the whole file."""
        sizes = (size + CRC_BYTES for size in self.chunk_bytes)
        return tuple(accumulate(sizes, initial=self.header_bytes))

    @cached_property
    def _boundaries(self) -> tuple[int, ...]:
        """The first frame of every chunk, and last the number of frames."""
        return tuple(accumulate(self.chunk_frames, initial=0))


def write_header(info: StreamInfo, chunk_bytes: Sequence[int]) -> bytes:
    """The header with its checksum, of a file whose payloads have these lengths."""
    fields = b"".join(map(write_varint, _header_fields(info, chunk_bytes)))
    header = MAGIC + bytes([VERSION]) + write_varint(len(fields)) + fields
    return header + crc(header)


def read_header(
    stream: BinaryIO,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    families: Callable[[int], Family[Any]] = family_of,
) -> StreamInfo:
    """Read and check the header of a seekable stream that begins at position 0.

    families: what a family's number stands for. Reads no record, so a file cut off later still has
    its header and first chunks. Raises BitstreamError for a stream that has no intact header of
    this version or that goes on behind its last record, and CodecError if a chunk has more than
    max_pixels pixels.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    start = stream.read(min(size, len(MAGIC) + 1 + MAX_VARINT_BYTES))
    _check_start(start)
    try:
        length, begin = read_varint(start, len(MAGIC) + 1)
    except IndexError:
        raise _truncated_header(size) from None
    except ValueError as error:
        raise bad_field(str(error)) from None
    end = begin + length
    if end + CRC_BYTES > size:
        raise _truncated_header(size)
    stream.seek(0)
    header = stream.read(end)
    if stream.read(CRC_BYTES) != crc(header):
        raise BitstreamError(
            "the header's checksum (CRC-32) does not match",
            remedy="the file is damaged, fetch it again",
        )
    info = _parse_fields(Fields(header[begin:]), end + CRC_BYTES, families)
    if size > info.record_offsets[-1]:
        raise BitstreamError(
            f"{size - info.record_offsets[-1]} bytes follow the last chunk",
            f"a stream ends with its last chunk, at byte {info.record_offsets[-1]}",
            "cut the rest off",
        )
    frames = max(info.chunk_frames)
    pixels = info.height * info.width * frames
    if pixels > max_pixels:
        raise CodecError(
            f"a chunk of {info.width}x{info.height}x{frames} is {pixels} pixels",
            f"the limit is {max_pixels}",
            "raise it with `max_pixels` if you trust the file",
        )
    return info


def _header_fields(info: StreamInfo, chunk_bytes: Sequence[int]) -> Iterator[int]:
    """The header as unsigned integers, in stream order; `_parse_fields` is the inverse."""
    yield from (_KINDS.index(info.kind), info.height, info.width, info.channels)
    if info.kind == "video":
        yield info.frames
        yield from (info.time_base.numerator, info.time_base.denominator)
        yield from (info.frame_rate.numerator, info.frame_rate.denominator)
        first = info.timestamps[0]
        yield 2 * first if first >= 0 else -2 * first - 1
        for count, ticks in _runs(after - before for before, after in pairwise(info.timestamps)):
            yield from (count, ticks)
    yield info.family.number
    if info.kind == "video":
        for count, frames in _runs(info.chunk_frames):
            yield from (count, frames)
    places = info.network_places
    if info.kind == "video":
        yield len(places)
    for spec in places:
        yield from info.family.header_fields(spec)
    if len(places) > 1:
        yield from _spread_runs(info.chunk_places, info.chunk_count)
    kinds = info.chunk_kinds or (KEY_CHUNK,) * info.chunk_count
    yield from _spread_runs(kinds[1:], info.chunk_count - 1)
    yield from chunk_bytes


def _runs(values: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    for value, run in groupby(values):
        yield sum(1 for _ in run), value


def _spread_runs(values: Iterable[int], total: int) -> Iterator[int]:
    """Runs over so many chunks, with no count where only one is left."""
    left = total
    for count, value in _runs(values):
        if left > 1:
            yield count
        yield value
        left -= count


def _parse_fields(
    fields: Fields, header_bytes: int, families: Callable[[int], Family[Any]]
) -> StreamInfo:
    kind_number = fields.take("kind")
    if kind_number >= len(_KINDS):
        raise bad_field(f"kind is {kind_number}", "allowed are 0 (image) and 1 (video)")
    kind = _KINDS[kind_number]
    height, width, channels = (fields.take(name) for name in ("height", "width", "channels"))
    chunk_frames: tuple[int, ...] = (1,)
    time_base = frame_rate = Fraction(1)
    timestamps: tuple[int, ...] = (0,)
    try:
        if kind == "video":
            frames = fields.take("frames")
            _require("frames", frames, 1, MAX_FRAMES)
            time_base = fields.take_rational("time base")
            frame_rate = fields.take_rational("frame rate")
            timestamps = fields.take_timestamps(frames)
        family = families(fields.take("family"))
        if kind == "video":
            chunk_frames = fields.take_chunk_frames(frames)
        axes, count = 3 if kind == "video" else 2, len(chunk_frames)
        different = fields.take("number of networks") if kind == "video" else 1
        _require("number of networks", different, 1, min(MAX_NETWORKS, count))
        specs = [family.read_spec(fields.take, axes, channels) for _ in range(different)]
        places = fields.take_runs("chunk networks", count) if different > 1 else (0,) * count
        _check_places(specs, places)
        kinds = (KEY_CHUNK, *fields.take_runs("chunk kinds", count - 1))
        chunk_bytes = fields.take_all("chunk length", count)
        info = StreamInfo(
            kind=kind,
            height=height,
            width=width,
            channels=channels,
            networks=_of_frames(specs, places, chunk_frames),
            chunk_frames=chunk_frames,
            chunk_kinds=kinds if any(kinds) else (),
            time_base=time_base,
            frame_rate=frame_rate,
            timestamps=timestamps,
            chunk_bytes=chunk_bytes,
            header_bytes=header_bytes,
            family=family,
        )
    except (BitstreamError, BackendUnavailable):
        raise
    except CodecError as error:
        # The remedy is for one who writes; one who reads has another.
        raise bad_field(error.value, error.allowed) from error
    fields.end()
    return info


def _of_frames(
    specs: Sequence[Spec], places: Sequence[int], frames: Sequence[int]
) -> tuple[Spec, ...]:
    """The network of every chunk; the same object where place and frames are the same."""
    known = {
        (place, count): specs[place].of(count)
        for place, count in set(zip(places, frames, strict=True))
    }
    return tuple(known[key] for key in zip(places, frames, strict=True))


def _check_places(specs: Sequence[Spec], places: Sequence[int]) -> None:
    """That networks differ, are all used, and are listed in the order of their first use."""
    if len(set(specs)) < len(specs):
        raise bad_field("two networks are alike")
    known = 0
    for place in dict.fromkeys(places):
        if place != known:
            raise bad_field(f"a chunk has network {place}", f"the next one not yet used is {known}")
        known += 1
    if known < len(specs):
        raise bad_field(f"network {known} of {len(specs)} is not used")


def _check_start(start: bytes) -> None:
    """Tell an empty file, another format and another version apart; start: the first bytes."""
    if not start:
        raise BitstreamError(
            "the file is empty", "a .tcnn stream begins with a header", "encode again"
        )
    if not start.startswith(MAGIC) and not MAGIC.startswith(start):
        other = next(
            (name for at, mark, name in _OTHER_FORMATS if start[at:].startswith(mark)),
            "something else",
        )
        raise BitstreamError(
            f"the file begins with {start[:4].hex(' ')}, a .tcnn stream with {MAGIC.hex(' ')}",
            remedy=f"this looks like {other}, run encode on it first",
        )
    if len(start) <= len(MAGIC):
        raise _truncated_header(len(start))
    version = start[len(MAGIC)]
    if version != VERSION:
        known = version < VERSION
        raise BitstreamError(
            f"the stream has format version {version}",
            f"this program reads version {VERSION}",
            "encode the source again" if known else "upgrade tcnn_codec",
        )


def crc(data: bytes) -> bytes:
    """CRC-32, little-endian."""
    return zlib.crc32(data).to_bytes(CRC_BYTES, "little")


def _require(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        allowed = f"{least} to {most}" if least < most else f"only {most}"
        raise CodecError(f"{name} is {value}", f"allowed is {allowed}", "change the source to fit")


def _increase(timestamps: tuple[int, ...]) -> bool:
    try:
        ticks = np.array(timestamps, np.int64)
    except OverflowError:  # so that one of them is not between the first and the last
        return False
    return bool(np.all(ticks[1:] > ticks[:-1]))


def _truncated_header(size: int) -> BitstreamError:
    return BitstreamError(
        f"the file ends inside its header, after {size} bytes",
        remedy="it is cut off, fetch it again",
    )
