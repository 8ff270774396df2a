"""Video files written with PyAV: H.264 in MP4 and lossless FFV1 in Matroska."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from tcnn_codec.errors import CodecError
from tcnn_codec.io.frames import Frame, SinkSpec
from tcnn_codec.io.streams import import_av
from tcnn_codec.picture import PictureFormat

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_LIMITED, _FULL = 1, 2  # FFmpeg's AVCOL_RANGE_MPEG and _JPEG
_BT709 = 1  # the same number for FFmpeg's matrix, primaries and transfer


@contextmanager
def write_mp4(path: Path, spec: SinkSpec) -> Iterator[Callable[[Frame], None]]:
    """H.264 by libx264 at crf 12, nearly transparent, tagged and coded as BT.709 limited range.

    4:2:0, which every player takes; 4:4:4 where a side is odd, because 4:2:0 needs even ones.
    Grey is coded as RGB. The times of the frames are kept exactly.
    """
    av, format = import_av(), spec.format
    odd = format.height % 2 or format.width % 2
    pixel_format = "yuv444p" if odd else "yuv420p"
    # In these units MP4 keeps the start of the clip; by default they are milliseconds.
    scale = {"movie_timescale": str(format.time_base.denominator)}
    with _file(path, "mp4", spec, scale) as container:
        stream = _stream(
            container, "libx264", pixel_format, spec, {"crf": "12", "preset": "medium"}
        )
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED

        reformatter = av.video.reformatter.VideoReformatter()

        def convert(frame: Frame) -> VideoFrame:
            pixels = frame.pixels
            rgb = np.repeat(pixels, 3, axis=2) if format.channels == 1 else pixels
            picture: VideoFrame = reformatter.reformat(
                av.VideoFrame.from_ndarray(rgb, format="rgb24"),
                format=pixel_format,
                interpolation="BICUBIC",
                dst_colorspace=_BT709,
                dst_color_range=_LIMITED,
            )
            return picture

        yield _writer(container, stream, convert, format)


@contextmanager
def write_mkv(path: Path, spec: SinkSpec) -> Iterator[Callable[[Frame], None]]:
    """FFV1 version 3 with checksums: grey, RGB or RGBA, bit for bit.

    Matroska keeps the times of the frames to the millisecond.
    """
    av, format = import_av(), spec.format
    source, pixel_format = {1: ("gray", "gray"), 3: ("rgb24", "bgr0"), 4: ("rgba", "bgra")}[
        format.channels
    ]
    # Version 3 needs slices, and FFmpeg finds none for pictures one pixel wide.
    options = {"level": "3", "slicecrc": "1"} if format.width > 1 else {"level": "1"}
    with _file(path, "matroska", spec) as container:
        stream = _stream(container, "ffv1", pixel_format, spec, options)
        stream.codec_context.color_range = _FULL

        reformatter = av.video.reformatter.VideoReformatter()

        def convert(frame: Frame) -> VideoFrame:
            pixels = frame.pixels[:, :, 0] if format.channels == 1 else frame.pixels
            picture: VideoFrame = reformatter.reformat(
                av.VideoFrame.from_ndarray(pixels, format=source), format=pixel_format
            )
            return picture

        yield _writer(container, stream, convert, format)


@contextmanager
def _file(
    path: Path, muxer: str, spec: SinkSpec, options: dict[str, str] | None = None
) -> Iterator[OutputContainer]:
    av, format = import_av(), spec.format
    try:
        with av.open(str(path), "w", format=muxer, options=options) as container:
            yield container
    except (av.FFmpegError, OverflowError) as error:  # overflow: times beyond FFmpeg's 32 bits
        reason = getattr(error, "strerror", None) or error
        raise CodecError(
            f"FFmpeg cannot write '{spec.path}', {format.width}x{format.height}, time base "
            f"{format.time_base} ({reason})",
            remedy="write .npy or a folder of PNGs instead",
        ) from error


def _stream(
    container: OutputContainer,
    codec: str,
    pixel_format: str,
    spec: SinkSpec,
    options: dict[str, str],
) -> VideoStream:
    av, format = import_av(), spec.format
    if codec not in av.codecs_available:
        raise CodecError(
            f"this PyAV has no {codec} encoder, which '{spec.path.suffix}' needs",
            remedy="write .npy or a folder of PNGs, or install PyAV from PyPI",
        )
    rate = format.frame_rate.limit_denominator(1_000_000)
    stream = cast("VideoStream", container.add_stream(codec, rate=rate, options=options))
    stream.width, stream.height = format.width, format.height
    stream.pix_fmt = pixel_format
    stream.time_base = stream.codec_context.time_base = format.time_base
    return stream


def _writer(
    container: OutputContainer,
    stream: VideoStream,
    convert: Callable[[Frame], VideoFrame],
    format: PictureFormat,
) -> Callable[[Frame], None]:
    """Encodes frame by frame and, after the last one, what the encoder still holds back."""
    step = max(1, round(1 / (format.frame_rate * format.time_base)))
    written = shift = 0

    def write(frame: Frame) -> None:
        nonlocal written, shift
        if written == 0:
            shift = max(0, -frame.pts)  # players drop what lies before time zero
        picture = convert(frame)
        picture.pts, picture.time_base, picture.duration = frame.pts + shift, format.time_base, step
        container.mux(stream.encode(picture))
        written += 1
        if written == format.frame_count:
            container.mux(stream.encode(None))

    return write
