"""The codecs that bench/video.py measures: this one, and x264, x265 and SVT-AV1 through PyAV.

A clip is RGB. For the others it is converted to 4:2:0 of BT.601 in limited range by swscale,
bicubic and with accurate rounding, encoded at a constant rate factor with a key frame every 250
frames, decoded from the packets that were counted, and converted back in the same way. Seconds
include the conversion, because a user of these encoders starts from RGB too. Sides that are odd are
made even by repeating the last row or column, which is cut off again after decoding.

Bytes are those of the elementary stream, parameter sets included, and of no container. x264 and
x265 write their version and options into it as SEI, up to 2.3 kB, which no decoder needs and which
would count much in so short a clip; it is removed before anything is counted or decoded.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, cast

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

import tcnn_codec
from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS
from tcnn_codec.config import make_config
from tcnn_codec.encoding.encoder import encode_source
from tcnn_codec.errors import CodecError
from tcnn_codec.io import array_source, open_source
from tcnn_codec.metrics import PSNR_CAP, mean_psnr, psnr

#: SVT-AV1 reads it when it is first used, and reports every encode on stderr without it.
os.environ.setdefault("SVT_LOG", "1")

Pixels = NDArray[np.uint8]
GOP = 250
QUICK_FRAMES, QUICK_CROP = 8, 96
BT601, LIMITED = 5, 1
CONVERSION = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
#: Zeros before the last two belong to no NAL unit: none ends with a zero.
START_CODE = re.compile(rb"\x00{2,}\x01")


@dataclass(frozen=True, eq=False)
class Clip:
    """pixels: uint8 [frames, height, width, 3]; rate: frames per second."""

    name: str
    pixels: Pixels
    rate: Fraction

    @property
    def area(self) -> int:
        """Pixels of all frames."""
        return self.pixels[..., 0].size


@dataclass(frozen=True)
class Measured:
    """One encode: bytes of the file or stream, mean PSNR of the frames, seconds of the clip."""

    bytes: int
    psnr_db: float
    encode_seconds: float
    decode_seconds: float
    chunks: int | None = None


def quality(clip: Clip, decoded: Iterable[Pixels]) -> float:
    """Mean over the frames of their RGB PSNR in dB, at most PSNR_CAP.

    decoded: uint8 [height, width, 1|3] each. Raises ValueError where their number is another.
    """
    pairs = zip(clip.pixels, decoded, strict=True)
    return min(mean_psnr([psnr(frame, shown) for frame, shown in pairs]), PSNR_CAP)


def frame_range(text: str) -> tuple[int, int | None]:
    """first and stop of A:B, either of which may be left out."""
    first, colon, stop = text.partition(":")
    if not colon or not all(part.isdecimal() or not part for part in (first, stop)):
        raise ArgumentTypeError(f"'{text}' is no range A:B; give one such as 0:50")
    return int(first or 0), int(stop) if stop else None


def read(path: Path, first: int = 0, stop: int | None = None) -> Clip:
    """Frames first:stop of a video as RGB, grey repeated. Raises CodecError."""
    with open_source(path, first, stop, max_pixels=DEFAULT_MAX_PIXELS) as source:
        if source.format.kind != "video" or source.format.channels == 4:
            raise CodecError(f"'{path}' is an image or has alpha", remedy="give a video without")
        pixels = np.stack([frame.pixels for frame in source.frames()])
    return Clip(path.stem, np.repeat(pixels, 3 // pixels.shape[-1], -1), source.format.frame_rate)


def middle(clip: Clip) -> Clip:
    """The clip's first few frames, cropped."""
    top, left = (max(0, size - QUICK_CROP) // 2 for size in clip.pixels.shape[1:3])
    window = np.s_[:QUICK_FRAMES, top : top + QUICK_CROP, left : left + QUICK_CROP]
    return Clip(f"{clip.name} middle", np.ascontiguousarray(clip.pixels[window]), clip.rate)


def measure_ours(clip: Clip, options: dict[str, Any]) -> Measured:
    """tcnn_codec, encoded into a file and decoded from it.

    options: of encode, threads among them. Raises CodecError.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip.tcnn"
        encoded = encode_source(array_source(clip.pixels, float(clip.rate)), make_config(**options))
        file.write_bytes(encoded.stream)
        start = time.perf_counter()
        decoded = tcnn_codec.decode(file, threads=options["threads"])
        seconds = encoded.encode_seconds, time.perf_counter() - start
        size = file.stat().st_size
    return Measured(size, quality(clip, decoded), *seconds, encoded.info.chunk_count)


# ---- streams ---------------------------------------------------------------------------------


def h264_sei(nal: bytes) -> bool:
    return nal[0] & 0x1F == 6


def hevc_sei(nal: bytes) -> bool:
    return nal[0] >> 1 & 0x3F in (39, 40)


def without_nals(stream: bytes, unwanted: Callable[[bytes], bool]) -> bytes:
    """The NAL units of an Annex B stream but the unwanted ones, with their start codes as they are.

    unwanted: given a unit without its start code. Raises ValueError for bytes that begin with no
    start code.
    """
    starts = list(START_CODE.finditer(stream))
    if not starts or starts[0].start() != 0:
        raise ValueError("a packet begins with no start code; it is no Annex B stream")
    ends = [start.start() for start in starts[1:]] + [len(stream)]
    return b"".join(
        stream[start.start() : end]
        for start, end in zip(starts, ends, strict=True)
        if start.end() == end or not unwanted(stream[start.end() : end])
    )


# ---- encoders --------------------------------------------------------------------------------


@dataclass(frozen=True)
class VideoCodec:
    """An encoder of FFmpeg and the decoder for its streams.

    crfs: from coarse to fine. options: what the encoder is told beside the rate factor, for so many
    threads. sei: which NAL units say nothing that decoding needs, None for a stream of other units.
    """

    encoder: str
    decoder: str
    settings: str
    crfs: tuple[int, ...]
    options: Callable[[int], dict[str, str]]
    sei: Callable[[bytes], bool] | None

    def available(self) -> bool:
        """Whether this PyAV has both."""
        try:
            av.Codec(self.encoder, "w")
            av.Codec(self.decoder, "r")
        except ValueError:
            return False
        return True

    def encode(self, clip: Clip, crf: int, threads: int) -> list[bytes]:
        """The encoder's packets, in the order of decoding. Raises av.FFmpegError."""
        context = opened(self.encoder, "w", threads)
        frames = converted(clip)
        first = next(frames)
        context.width, context.height = first.width, first.height
        context.pix_fmt, context.color_range = "yuv420p", LIMITED
        context.time_base, context.framerate = 1 / clip.rate, clip.rate
        context.gop_size = GOP
        context.options = {**self.options(threads), "crf": str(crf)}
        packets = context.encode(first)
        for frame in frames:
            packets += context.encode(frame)
        return [bytes(packet) for packet in packets + context.encode(None)]

    def stripped(self, packets: Sequence[bytes]) -> list[bytes]:
        """The same packets without SEI."""
        return [without_nals(p, self.sei) if self.sei else p for p in packets]

    def decode(self, packets: Sequence[bytes], clip: Clip, threads: int) -> list[Pixels]:
        """RGB frames in the order of showing, uint8 [height, width, 3], in the clip's size."""
        context = opened(self.decoder, "r", threads)
        reformatter = VideoReformatter()
        height, width = clip.pixels.shape[1:3]
        shown = []
        for packet in [*map(av.Packet, packets), None]:
            for frame in context.decode(packet):
                # The decoder's frames are tagged with a place of chroma, which is none that the
                # encoder was given; with it, chroma would come back shifted by half a sample.
                planes = av.VideoFrame.from_ndarray(frame.to_ndarray(), format="yuv420p")
                rgb = reformatter.reformat(
                    planes,
                    format="rgb24",
                    interpolation=CONVERSION,
                    src_colorspace=BT601,
                    src_color_range=LIMITED,
                    threads=1,
                )
                shown.append(np.asarray(rgb.to_ndarray(), np.uint8)[:height, :width])
        return shown

    def measure(self, clip: Clip, crf: int, threads: int) -> Measured:
        """Raises av.FFmpegError for what the encoder refuses, ValueError for lost frames."""
        start = time.perf_counter()
        packets = self.encode(clip, crf, threads)
        encoded = time.perf_counter()
        stream = self.stripped(packets)
        removed = time.perf_counter()
        decoded = self.decode(stream, clip, threads)
        seconds = encoded - start, time.perf_counter() - removed
        return Measured(sum(map(len, stream)), quality(clip, decoded), *seconds)


def opened(name: str, mode: Literal["r", "w"], threads: int) -> av.VideoCodecContext:
    """A context with FFmpeg's own kinds of threads: PyAV's are slices alone, which cost x264 bytes.

    No encoder is asked for a global header, so that parameter sets are in the packets.
    """
    context = cast(av.VideoCodecContext, av.CodecContext.create(name, mode))
    context.thread_count, context.thread_type = threads, "AUTO"
    return context


def converted(clip: Clip) -> Iterator[av.VideoFrame]:
    """The clip's frames as yuv420p of even sides, numbered and timed."""
    height, width = clip.pixels.shape[1:3]
    margins = ((0, height % 2), (0, width % 2), (0, 0))
    reformatter = VideoReformatter()
    for number, pixels in enumerate(clip.pixels):
        even = np.pad(pixels, margins, mode="edge")
        frame = reformatter.reformat(
            av.VideoFrame.from_ndarray(even, format="rgb24"),
            format="yuv420p",
            interpolation=CONVERSION,
            dst_colorspace=BT601,
            dst_color_range=LIMITED,
            threads=1,
        )
        frame.pts, frame.time_base = number, 1 / clip.rate
        yield frame


def x264_options(threads: int) -> dict[str, str]:
    return {"preset": "slow", "tune": "psnr"}


def x265_options(threads: int) -> dict[str, str]:
    return {"preset": "slow", "tune": "psnr", "x265-params": f"log-level=error:pools={threads}"}


def svtav1(preset: int) -> VideoCodec:
    return VideoCodec(
        "libsvtav1",
        "libdav1d",
        f"preset {preset}",
        (63, 58, 53, 48, 42, 35, 28, 21, 14),
        lambda threads: {"preset": str(preset), "svtav1-params": f"lp={threads}"},
        None,
    )


SLOW = "preset slow, tune psnr"
X26_CRFS = (51, 46, 41, 36, 31, 26, 21, 16, 11)
CODECS = {
    "x264": VideoCodec("libx264", "h264", SLOW, X26_CRFS, x264_options, h264_sei),
    "x265": VideoCodec("libx265", "hevc", SLOW, X26_CRFS, x265_options, hevc_sei),
    "svtav1-6": svtav1(6),
    "svtav1-3": svtav1(3),
}
