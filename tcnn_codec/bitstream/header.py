"""The header of a .tcnn file: what it says of itself, with an index, checked as it is read.

docs/format.md is the normative description.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import accumulate, groupby, pairwise
from typing import Any, BinaryIO

from tcnn_codec.bitstream.limits import (
    MAX_CHUNK_FRAMES,
    MAX_FRAMES,
    MAX_PTS,
    MAX_RATIONAL,
    MAX_SIDE,
)
from tcnn_codec.bitstream.varint import MAX_VARINT_BYTES, read_varint, write_varint
from tcnn_codec.errors import BitstreamError, CodecError
from tcnn_codec.families import family_of
from tcnn_codec.families.contract import Family
from tcnn_codec.grid import Grid
from tcnn_codec.layout import Spec
from tcnn_codec.picture import Kind, PictureFormat

MAGIC = b"\x89TCN"
#: Of the streams written; those of every version before are read.
VERSION = 2
#: Most pixels a decoder holds at once unless told otherwise: height * width * frames of a chunk.
DEFAULT_MAX_PIXELS = 2**28
CRC_BYTES = 4
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

    height, width: 1 to 65,536 pixels. channels: 1, 3 or 4, and spec.out_channels is the same.
    frames: 1 to 1,048,576, cut into chunks of chunk_frames, of which the last may be shorter.
    time_base: seconds per tick, frame_rate: frames per second, both positive. timestamps: the
    presentation time of every frame in ticks, strictly increasing. An image has one frame,
    timestamps (0,) and both rates 1. family, spec: the network of every chunk, axes 2 for an image
    and 3 for a video. chunk_bytes: the payload length of every chunk, and header_bytes: where the
    first record begins; both are known once the stream is written. version: of the format. Raises
    CodecError for a value out of range.
    """

    kind: Kind
    height: int
    width: int
    channels: int
    spec: Spec
    frames: int = 1
    chunk_frames: int = 1
    time_base: Fraction = Fraction(1)
    frame_rate: Fraction = Fraction(1)
    timestamps: tuple[int, ...] = (0,)
    chunk_bytes: tuple[int, ...] = ()
    header_bytes: int = 0
    version: int = VERSION
    family: Family[Any] = field(default_factory=lambda: family_of(0))

    def __post_init__(self) -> None:
        _require("height", self.height, 1, MAX_SIDE)
        _require("width", self.width, 1, MAX_SIDE)
        _require("frames", self.frames, 1, MAX_FRAMES)
        _require("chunk_frames", self.chunk_frames, 1, min(self.frames, MAX_CHUNK_FRAMES))
        for name, rate in (("time_base", self.time_base), ("frame_rate", self.frame_rate)):
            _require(f"{name} numerator", rate.numerator, 1, MAX_RATIONAL)
            _require(f"{name} denominator", rate.denominator, 1, MAX_RATIONAL)
        _require("number of timestamps", len(self.timestamps), self.frames, self.frames)
        _require("first timestamp", self.timestamps[0], -MAX_PTS, MAX_PTS)
        _require("last timestamp", self.timestamps[-1], -MAX_PTS, MAX_PTS)
        if any(after <= before for before, after in pairwise(self.timestamps)):
            raise CodecError(
                "timestamps do not increase from frame to frame", remedy="remux the source"
            )
        timing = (self.frames, self.time_base, self.frame_rate, self.timestamps)
        if self.kind == "image" and timing != (1, Fraction(1), Fraction(1), (0,)):
            raise CodecError("an image has several frames or a time", remedy="write it as a video")
        axes = 3 if self.kind == "video" else 2
        if (self.spec.axes, self.spec.out_channels) != (axes, self.channels):
            raise CodecError(
                f"the network has {self.spec.axes} axes and {self.spec.out_channels} outputs",
                f"allowed are {axes} axes (kind {self.kind}) and {self.channels} outputs "
                "(channels)",
                "give the network the shape of the picture",
            )

    @property
    def chunk_count(self) -> int:
        return -(-self.frames // self.chunk_frames)

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
        first = index * self.chunk_frames
        return first, min(first + self.chunk_frames, self.frames)

    def grid(self, index: int) -> Grid:
        """Sampling positions of chunk `index` at the coded size."""
        first, stop = self.chunk_range(index)
        return Grid(self.width, self.height, stop - first)

    def bits_per_pixel(self, size: int) -> float:
        """Rate of a file of `size` bytes, over the pixels of all frames."""
        return 8 * size / (self.height * self.width * self.frames)

    @cached_property
    def record_offsets(self) -> tuple[int, ...]:
        """Byte position of every record, and last the length of the whole file."""
        sizes = (size + CRC_BYTES for size in self.chunk_bytes)
        return tuple(accumulate(sizes, initial=self.header_bytes))


def write_header(info: StreamInfo, chunk_bytes: Sequence[int]) -> bytes:
    """The header with its checksum, of a file whose payloads have these lengths."""
    fields = b"".join(map(write_varint, _header_fields(info, chunk_bytes)))
    header = MAGIC + bytes([info.version]) + write_varint(len(fields)) + fields
    return header + crc(header)


def read_header(
    stream: BinaryIO,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    families: Callable[[int], Family[Any]] = family_of,
) -> StreamInfo:
    """Read and check the header of a seekable stream that begins at position 0.

    families: what a family's number stands for; versions 1 and 2 know number 0 alone. Reads no
    record, so a file cut off later still has its header and first chunks. Raises
    BitstreamError for a stream that has no intact header of a known version or that goes on behind
    its last record, and CodecError if a chunk has more than max_pixels pixels.
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
        raise _bad_field(str(error)) from None
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
    info = _parse_fields(header[begin:], end + CRC_BYTES, start[len(MAGIC)], families(0))
    if size > info.record_offsets[-1]:
        raise BitstreamError(
            f"{size - info.record_offsets[-1]} bytes follow the last chunk",
            f"a stream ends with its last chunk, at byte {info.record_offsets[-1]}",
            "cut the rest off",
        )
    pixels = info.height * info.width * info.chunk_frames
    if pixels > max_pixels:
        raise CodecError(
            f"a chunk of {info.width}x{info.height}x{info.chunk_frames} is {pixels} pixels",
            f"the limit is {max_pixels}",
            "raise it with `max_pixels` if you trust the file",
        )
    return info


def _header_fields(info: StreamInfo, chunk_bytes: Sequence[int]) -> Iterator[int]:
    """The header as unsigned integers, in stream order; `_parse_fields` is the inverse."""
    yield from (_KINDS.index(info.kind), info.height, info.width, info.channels)
    if info.kind == "video":
        yield from (info.frames, info.chunk_frames)
        yield from (info.time_base.numerator, info.time_base.denominator)
        yield from (info.frame_rate.numerator, info.frame_rate.denominator)
        first = info.timestamps[0]
        yield 2 * first if first >= 0 else -2 * first - 1
        for ticks, run in groupby(after - before for before, after in pairwise(info.timestamps)):
            yield from (sum(1 for _ in run), ticks)
    yield from info.family.header_fields(info.spec)
    yield from chunk_bytes


class _Fields:
    """Reads one varint after the other from the header's fields."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, name: str) -> int:
        try:
            value, self.at = read_varint(self.data, self.at)
        except IndexError:
            raise _bad_field(f"the fields end before {name}") from None
        except ValueError as error:
            raise _bad_field(str(error)) from None
        return value

    def take_rational(self, name: str) -> Fraction:
        numerator, denominator = self.take(name), self.take(name)
        if denominator == 0:
            raise _bad_field(f"{name} is {numerator}/0")
        value = Fraction(numerator, denominator)
        if value.denominator != denominator:
            raise _bad_field(f"{name} is {numerator}/{denominator}, not in lowest terms")
        return value

    def take_timestamps(self, frames: int) -> tuple[int, ...]:
        start = self.take("first timestamp")
        stamps = [start // 2 if start % 2 == 0 else -(start // 2) - 1]
        ticks_before = 0
        while len(stamps) < frames:
            count, ticks = self.take("frames in a run"), self.take("ticks in a run")
            if not 1 <= count <= frames - len(stamps):
                raise _bad_field(f"a run of {count} frames, {frames - len(stamps)} are left")
            if ticks == 0 or ticks == ticks_before:
                raise _bad_field(f"a run of {ticks} ticks after one of {ticks_before}")
            stamps += [stamps[-1] + ticks * (i + 1) for i in range(count)]
            ticks_before = ticks
        return tuple(stamps)


def _parse_fields(data: bytes, header_bytes: int, version: int, family: Family[Any]) -> StreamInfo:
    fields = _Fields(data)
    kind_number = fields.take("kind")
    if kind_number >= len(_KINDS):
        raise _bad_field(f"kind is {kind_number}, allowed are 0 (image) and 1 (video)")
    kind = _KINDS[kind_number]
    height, width, channels = (fields.take(name) for name in ("height", "width", "channels"))
    frames = chunk_frames = 1
    time_base = frame_rate = Fraction(1)
    timestamps: tuple[int, ...] = (0,)
    try:
        if kind == "video":
            frames, chunk_frames = fields.take("frames"), fields.take("chunk_frames")
            _require("frames", frames, 1, MAX_FRAMES)
            time_base = fields.take_rational("time_base")
            frame_rate = fields.take_rational("frame_rate")
            timestamps = fields.take_timestamps(frames)
        spec = family.read_spec(fields.take, 3 if kind == "video" else 2, channels)
        _require("chunk_frames", chunk_frames, 1, min(frames, MAX_CHUNK_FRAMES))
        chunk_count = -(-frames // chunk_frames)
        _require("index bytes", len(data) - fields.at, chunk_count, MAX_VARINT_BYTES * chunk_count)
        chunk_bytes = tuple(fields.take("chunk length") for _ in range(chunk_count))
        info = StreamInfo(
            kind=kind,
            height=height,
            width=width,
            channels=channels,
            spec=spec,
            frames=frames,
            chunk_frames=chunk_frames,
            time_base=time_base,
            frame_rate=frame_rate,
            timestamps=timestamps,
            chunk_bytes=chunk_bytes,
            header_bytes=header_bytes,
            version=version,
            family=family,
        )
    except BitstreamError:
        raise
    except CodecError as error:
        # The remedy is for one who writes; one who reads has another.
        raise _bad_field("; ".join(filter(None, (error.value, error.allowed)))) from error
    if fields.at != len(data):
        raise _bad_field(f"{len(data) - fields.at} bytes follow the last field")
    return info


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
    if version > VERSION:
        raise BitstreamError(
            f"the stream has format version {version}",
            f"this program reads versions 1 to {VERSION}",
            "upgrade tcnn_codec",
        )
    if version < 1:
        raise BitstreamError(
            f"the stream has format version {version}",
            "the first version is 1",
            "the file is damaged, fetch it again",
        )


def crc(data: bytes) -> bytes:
    """CRC-32, little-endian."""
    return zlib.crc32(data).to_bytes(CRC_BYTES, "little")


def _require(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        allowed = f"{least} to {most}" if least < most else f"only {most}"
        raise CodecError(f"{name} is {value}", f"allowed is {allowed}", "change the source to fit")


def _truncated_header(size: int) -> BitstreamError:
    return BitstreamError(
        f"the file ends inside its header, after {size} bytes",
        remedy="it is cut off, fetch it again",
    )


def _bad_field(what: str) -> BitstreamError:
    return BitstreamError(
        f"a header field is out of range: {what}", remedy="the file was made by a faulty encoder"
    )
