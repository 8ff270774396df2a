"""Reading videos with PyAV and, where it is right, decord.

Both turn YUV into 8-bit RGB with FFmpeg's swscale, by the matrix and range that the stream is
tagged with, and BT.601 limited range where it is not; measured, they agree bit for bit wherever
`choose_decoder` picks decord.
"""

from __future__ import annotations

import importlib.util
from array import array
from collections.abc import Callable, Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.errors import CodecError
from tcnn_codec.io.containers import is_cut_short
from tcnn_codec.io.frames import Frame, Source, broken_at, check_selection, check_size

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Containers only: FFmpeg would also take playlists, which name other files, and plain text.
_DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,yuv4mpegpipe,mpegts,mpeg,mpegvideo,"
    "flv,asf,ogg,ivf,obu,h264,hevc,m4v,mxf,nut,dv"
)
_THREADS = 4  # frame threads each hold frames: bounded, whatever the machine
_LIMITED = 1  # FFmpeg's AVCOL_RANGE_MPEG
_HDR = {16: "PQ", 18: "HLG"}


_Pixels = Generator[NDArray[np.uint8], None, None]


@dataclass(frozen=True)
class StreamFacts:
    """What decides which library decodes a clip; see `choose_decoder`.

    `quarter_turns`, 0 to 3, counter-clockwise, set the frames upright. `orderly`: the packets
    start with a key frame, are intact, and their sorted pts are those of the frames.
    """

    demuxer: str
    codec: str
    bits: int
    channels: int
    video_streams: int
    quarter_turns: int
    interlaced: bool
    orderly: bool
    decord_installed: bool


@dataclass(frozen=True)
class _Survey:
    """A clip walked through once, unconverted: its facts and the pts of each frame so far."""

    facts: StreamFacts
    height: int
    width: int
    pts: array[int]
    time_base: Fraction
    frame_rate: Fraction
    notes: tuple[str, ...]


def choose_decoder(facts: StreamFacts) -> Literal["decord", "pyav"]:
    """The one rule: decord where it was measured to give PyAV's frames bit for bit."""
    if not facts.decord_installed:
        return "pyav"  # it is built for x86-64 only
    if facts.demuxer.split(",")[0] not in ("mov", "matroska"):
        return "pyav"  # MPEG-TS: it fails or repeats wrong frames; others: no gain
    if facts.codec not in ("h264", "hevc", "vp9"):
        return "pyav"  # no AV1; others not needed
    if facts.bits != 8:
        return "pyav"  # 10 bit comes out wrong, 26 to 32 dB off
    if facts.channels != 3:
        return "pyav"  # it gives RGB alone: no alpha, no single grey channel
    if facts.video_streams != 1:
        return "pyav"  # it picks the second of two
    if facts.quarter_turns != 0:
        return "pyav"  # some rotated clips come out with four channels
    if facts.interlaced:
        return "pyav"  # its chroma is 27 dB off
    if not facts.orderly:
        return "pyav"  # it counts packets, so it needs each to be one intact, shown frame
    return "decord"


def open_video(path: Path, first: int, last: int | None, *, max_pixels: int) -> Source:
    """A video file as frames first:last, upright, 8-bit grey, RGB or RGBA.

    Decodes the clip once here, up to `last`, without converting or keeping a frame: so the
    times and the count are exact, and damage is found before any work is spent on the clip.
    Reading goes strictly forward from the start. Missing or repeated timestamps are replaced
    by the previous one plus a frame's duration. Raises CodecError for content that is no
    video, damage, a change of size, too many pixels or an empty selection.
    """
    survey = _survey(path, last, max_pixels)
    count = len(survey.pts)
    check_selection(path, first, last, count)

    def read() -> Generator[Frame, None, None]:
        done = first
        if choose_decoder(survey.facts) == "decord":
            for pixels in _decord_frames(path, survey, first):
                yield Frame(pixels, survey.pts[done])
                done += 1
        if done < count:  # PyAV also takes over where decord gave up
            for pixels in _pyav_frames(path, survey, done):
                yield Frame(pixels, survey.pts[done])
                done += 1

    return Source(
        kind="video",
        height=survey.height,
        width=survey.width,
        channels=survey.facts.channels,
        time_base=survey.time_base,
        frame_rate=survey.frame_rate,
        frame_count=count - first,
        notes=survey.notes,
        read=read,
    )


def import_av() -> Any:
    """PyAV, or a CodecError that says how to get it."""
    try:
        import av
    except ImportError as error:
        raise CodecError(f"videos need PyAV ({error}); install it with: pip install av") from error
    return av


def _open(path: Path) -> InputContainer:
    av = import_av()
    options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
    try:
        container: InputContainer = av.open(str(path.resolve()), options=options)
    except av.FFmpegError as error:
        raise CodecError(
            f"'{path}' is neither an image nor a video, or is damaged beyond recognition: Pillow "
            f"and FFmpeg cannot open it ({_reason(error)}); give a PNG, JPEG, WebP, MP4, MKV, ..."
        ) from error
    return container


def _select_stream(path: Path, container: InputContainer) -> tuple[VideoStream, int]:
    """The first stream marked as default, else the first; and how many there are."""
    from av.stream import Disposition

    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not streams:
        raise CodecError(f"'{path}' has no video stream; give an image or a video")
    marked = [stream for stream in streams if stream.disposition & Disposition.default]
    stream = (marked or streams)[0]
    stream.thread_count = _THREADS
    stream.thread_type = "AUTO"
    return stream, len(streams)


def _decode(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    on_packet: Callable[[Packet[VideoStream]], None] = lambda packet: None,
) -> Generator[VideoFrame, None, None]:
    """Every frame in presentation order; CodecError at the first that is damaged or missing."""
    av = import_av()
    readable = 0
    try:
        for packet in container.demux(stream):
            on_packet(packet)
            for frame in packet.decode():
                if frame.is_corrupt:  # FFmpeg has painted over damage
                    raise broken_at(path, readable, "damaged frame")
                yield frame
                readable += 1
    except av.FFmpegError as error:
        raise broken_at(path, readable, _reason(error)) from error
    if is_cut_short(path):
        raise broken_at(path, readable, "the file ends too early")


def _survey(path: Path, last: int | None, max_pixels: int) -> _Survey:
    packet_pts: array[int] = array("q")
    intact = True

    def on_packet(packet: Packet[VideoStream]) -> None:
        nonlocal intact
        if packet.pts is None:
            intact &= packet.size == 0  # the packet that flushes the decoder has neither
            return
        intact &= not (packet.is_corrupt or packet.is_discard)
        intact &= packet.is_keyframe or len(packet_pts) > 0
        packet_pts.append(packet.pts)

    with _open(path) as container:
        stream, video_streams = _select_stream(path, container)
        check_size(path, stream.height, stream.width, max_pixels)
        rate, time_base = _rates(stream)
        step = max(1, round(1 / (rate * time_base)))
        pts: array[int] = array("q")
        interlaced = False
        first: VideoFrame | None = None
        for frame in _decode(path, container, stream, on_packet):
            first = first or frame
            if (frame.width, frame.height) != (first.width, first.height):
                raise CodecError(
                    f"frame {len(pts)} of '{path}' is {frame.width}x{frame.height} and the first "
                    f"{first.width}x{first.height}: one size is needed; re-encode it, or take "
                    f"--frames 0:{len(pts)}"
                )
            interlaced |= frame.interlaced_frame
            stamped = frame.pts is not None and (not pts or frame.pts > pts[-1])
            pts.append(cast("int", frame.pts) if stamped else pts[-1] + step if pts else 0)
            if len(pts) == last:
                break
        if first is None:
            raise CodecError(f"'{path}' holds no video frame; give a video with at least one")
        check_size(path, first.height, first.width, max_pixels)
        # The packets run ahead of the frames, so only as many as frames came out are compared.
        in_order = array("q", sorted(packet_pts)[: len(pts)]) == pts
        quarter_turns = round(first.rotation / 90) % 4
        turned = quarter_turns % 2 == 1
        return _Survey(
            facts=StreamFacts(
                demuxer=container.format.name,
                codec=stream.codec_context.name,
                bits=max(component.bits for component in first.format.components),
                channels=_channels(first),
                video_streams=video_streams,
                quarter_turns=quarter_turns,
                interlaced=interlaced,
                orderly=intact and in_order and packet_pts[0] == min(packet_pts),
                decord_installed=importlib.util.find_spec("decord") is not None,
            ),
            height=first.width if turned else first.height,
            width=first.height if turned else first.width,
            pts=pts,
            time_base=time_base,
            frame_rate=rate,
            notes=tuple(_notes(container, stream, video_streams, first)),
        )


def _rates(stream: VideoStream) -> tuple[Fraction, Fraction]:
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
    return Fraction(rate), Fraction(stream.time_base or 1 / rate)


def _channels(frame: VideoFrame) -> int:
    components = frame.format.components
    if frame.format.has_palette:
        return 3
    if any(component.is_alpha for component in components):
        return 4
    return 1 if len(components) == 1 else 3


def _notes(
    container: InputContainer, stream: VideoStream, video_streams: int, frame: VideoFrame
) -> list[str]:
    notes = []
    bits = max(component.bits for component in frame.format.components)
    if bits > 8:
        notes.append(f"{bits}-bit samples are rounded to 8 bit")
    if frame.color_trc in _HDR:
        notes.append(f"HDR ({_HDR[frame.color_trc]}) is not tone-mapped")
    if stream.metadata.get("alpha_mode") == "1" and _channels(frame) != 4:
        notes.append("the alpha channel is dropped")
    if stream.sample_aspect_ratio not in (None, 0, 1):
        notes.append(f"the pixel aspect ratio {stream.sample_aspect_ratio} is not kept")
    if video_streams > 1:
        notes.append(f"stream {stream.index}, one of {video_streams} video streams, is read")
    if container.streams.audio:
        notes.append("sound is not kept")
    return notes


def _pyav_frames(path: Path, survey: _Survey, first: int) -> _Pixels:
    """Frames from `first` to the last surveyed, uint8 [height, width, channels], upright."""
    name = {1: "gray", 3: "rgb24", 4: "rgba"}[survey.facts.channels]
    with _open(path) as container:
        from av.video.reformatter import VideoReformatter

        reformatter = VideoReformatter()  # one for all: setting it up costs more than its work
        stream, _ = _select_stream(path, container)
        for index, frame in enumerate(_decode(path, container, stream)):
            if index >= first:
                pixels = np.asarray(reformatter.reformat(frame, format=name).to_ndarray())
                if name == "gray" and frame.color_range == _LIMITED:
                    # swscale takes every grey for full range.
                    full = (pixels.astype(np.float32) - 16) * (255 / 219)
                    pixels = np.rint(full.clip(0, 255)).astype(np.uint8)
                pixels = pixels.reshape(frame.height, frame.width, survey.facts.channels)
                yield np.ascontiguousarray(np.rot90(pixels, survey.facts.quarter_turns))
            if index + 1 == len(survey.pts):
                return


def _decord_frames(path: Path, survey: _Survey, first: int) -> _Pixels:
    """As `_pyav_frames`, but it ends early, without an exception, where decord fails.

    Strictly `next()`: decord seeks wrongly in some files.
    """
    expected = (survey.height, survey.width, survey.facts.channels)
    try:
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        # One thread: its memory then stays the same however long the clip.
        reader = decord.VideoReader(str(path.resolve()), ctx=decord.cpu(0), num_threads=1)
        for index in range(len(survey.pts)):
            pixels = reader.next().asnumpy()
            if pixels.shape != expected or pixels.dtype != np.uint8:
                return
            if index >= first:
                yield pixels
    except Exception:
        # A library that fails to load, a name that is not UTF-8, a native failure: whatever the
        # cause, PyAV reads on and is the one to judge the file.
        return


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
