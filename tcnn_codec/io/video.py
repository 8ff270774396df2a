"""Reading videos with PyAV and, where it is right, decord.

Both turn YUV into 8-bit RGB with FFmpeg's swscale, by the matrix and range that the stream is
tagged with, and BT.601 limited range where it is not; measured, they agree bit for bit wherever
`choose_decoder` picks decord.
"""

from __future__ import annotations

import importlib.util
import sys
from array import array
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.errors import CodecError
from tcnn_codec.io.frames import Frame, Source, check_selection, check_size
from tcnn_codec.io.geometry import Geometry
from tcnn_codec.io.samples import HDR, hdr_note
from tcnn_codec.io.silence import silent_library
from tcnn_codec.io.streams import Frames, open_container, orientation, select_stream
from tcnn_codec.io.timing import complete_times, declared_rate, nominal_rate
from tcnn_codec.io.tracks import Track
from tcnn_codec.picture import PictureFormat

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

_LIMITED = 1  # FFmpeg's AVCOL_RANGE_MPEG
_ALPHA_BYTE = 3 if sys.byteorder == "little" else 0
#: Limited-range grey to full range, which swscale takes every grey for.
_EXPANDED = np.rint(((np.arange(256) - 16) * (255 / 219)).clip(0, 255)).astype(np.uint8)
#: Kinds of streams beside video.
_LEFT_OUT = {
    "audio": "audio is not kept",
    "subtitles": "subtitles are not kept",
    "attachments": "attachments are not kept",
}


_Pixels = Generator[NDArray[np.uint8], None, None]


@dataclass(frozen=True)
class StreamFacts:
    """What decides which library decodes a clip; see `choose_decoder`.

    bits, channels: the most of any frame. geometry: of a frame that is not shown as it is stored,
    if there is one. interlaced: any frame is. uniform: all frames have the same pixel format,
    matrix and range. orderly: the packets start with a key frame, are intact, and their sorted pts
    are those of the frames.
    """

    demuxer: str
    codec: str
    bits: int
    channels: int
    video_streams: int
    geometry: Geometry
    interlaced: bool
    uniform: bool
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


@dataclass
class _Seen:
    """What the frames of a clip were so far; all of them count, as any may be the odd one."""

    channels: int = 1
    bits: int = 1
    interlaced: bool = False
    kinds: set[tuple[str, int, int]] = field(default_factory=set)
    transfers: set[int] = field(default_factory=set)
    tilts: set[int] = field(default_factory=set)
    geometries: set[Geometry] = field(default_factory=set)

    def add(self, frame: VideoFrame, geometry: Geometry) -> None:
        self.channels = max(self.channels, _channels(frame))
        self.bits = max(self.bits, *(component.bits for component in frame.format.components))
        self.interlaced |= frame.interlaced_frame
        self.kinds.add((frame.format.name, frame.colorspace, frame.color_range))
        self.transfers.add(frame.color_trc)
        self.tilts.add(abs(orientation(frame)[1]))
        self.geometries.add(geometry)


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
    if facts.geometry != Geometry():
        return "pyav"  # it knows no crops, and some rotated clips come out with four channels
    if not facts.uniform:
        return "pyav"  # it converts all frames as the first, so nothing may change
    if facts.interlaced:
        return "pyav"  # its chroma is 27 dB off
    if not facts.orderly:
        return "pyav"  # it counts packets, so it needs each to be one intact, shown frame
    return "decord"


def open_video(path: Path, first: int, stop: int | None, *, max_pixels: int) -> Source:
    """A video file as frames first:stop, upright, 8-bit grey, RGB or RGBA.

    Decodes the clip once here, up to `stop`, without converting or keeping a frame: so the
    times and the count are exact, and damage is found before any work is spent on the clip.
    Reading goes strictly forward from the start. `complete_times` replaces timestamps that are
    missing or repeated, and `nominal_rate` takes the frame rate from all. Raises CodecError for
    content that is no video, damage, a change of size, too many pixels or an empty selection.
    """
    survey = _survey(path, stop, max_pixels)
    count = len(survey.pts)
    check_selection(path, first, stop, count)
    format = PictureFormat(
        kind="video",
        height=survey.height,
        width=survey.width,
        channels=survey.facts.channels,
        frame_count=count - first,
        time_base=survey.time_base,
        frame_rate=survey.frame_rate,
    )
    return Source(format, survey.notes, VideoReader(path, survey, first))


@dataclass(frozen=True)
class VideoReader:
    """The frames of a surveyed clip from `first` on."""

    path: Path
    survey: _Survey
    first: int

    def frames(self) -> Generator[Frame, None, None]:
        pts, done = self.survey.pts, self.first
        if choose_decoder(self.survey.facts) == "decord":
            for pixels in _decord_frames(self.path, self.survey, done):
                yield Frame(pixels, pts[done])
                done += 1
        if done < len(pts):  # PyAV also takes over where decord gave up
            for pixels in _pyav_frames(self.path, self.survey, done):
                yield Frame(pixels, pts[done])
                done += 1


def _survey(path: Path, stop: int | None, max_pixels: int) -> _Survey:
    with open_container(path) as container:
        stream, video_streams, track = select_stream(path, container)
        check_size(path, stream.height, stream.width, max_pixels)
        seen = _Seen()
        stamps: list[int | None] = []
        size = (0, 0)
        frames = Frames(path, container, stream)
        for frame, stamp in frames:
            check_size(path, frame.height, frame.width, max_pixels)
            geometry = _geometry(frame, track)
            shown = geometry.shown_size(frame.height, frame.width)
            size = size if stamps else shown
            if shown != size:
                raise CodecError(
                    f"frame {len(stamps)} of '{path}' is {shown[1]}x{shown[0]} and the first "
                    f"{size[1]}x{size[0]}",
                    "one size is needed",
                    remedy=f"re-encode it, or take `frames` 0:{len(stamps)}",
                )
            seen.add(frame, geometry)
            stamps.append(stamp)
            if len(stamps) == stop:
                break
        if not stamps:
            short = f"; {frames.cut_note}" if frames.cut_note else ""
            raise CodecError(
                f"'{path}' holds no video frame{short}", remedy="give a video with at least one"
            )
        demuxer = container.format.name
        pts, time_base, rate = _times(demuxer, stream, frames, stamps, len(stamps) == stop)
        # The packets run ahead of the frames, so only as many as frames came out are compared.
        packet_pts = frames.packet_pts
        in_order = array("q", sorted(packet_pts)[: len(pts)]) == pts
        turned = seen.geometries - {Geometry()}
        return _Survey(
            facts=StreamFacts(
                demuxer=demuxer,
                codec=stream.codec_context.name,
                bits=seen.bits,
                channels=seen.channels,
                video_streams=video_streams,
                geometry=next(iter(turned), Geometry()),
                interlaced=seen.interlaced,
                uniform=len(seen.kinds) == 1,
                orderly=frames.intact and in_order and packet_pts[0] == min(packet_pts),
                decord_installed=importlib.util.find_spec("decord") is not None,
            ),
            height=size[0],
            width=size[1],
            pts=pts,
            time_base=time_base,
            frame_rate=rate,
            notes=tuple(_notes(container, stream, video_streams, seen, frames.cut_note)),
        )


def _times(
    demuxer: str,
    stream: VideoStream,
    frames: Frames,
    stamps: Sequence[int | None],
    stopped: bool,
) -> tuple[array[int], Fraction, Fraction]:
    """(pts of the surveyed frames, time base, frame rate); stopped: there may be more frames."""
    declared = [stream.average_rate, stream.guessed_rate, stream.base_rate]
    # The average is that of FFmpeg's clock where a file has none, and twice that of the frames
    # where packets hold fields; the guess looks into the frames too.
    likeliest = [stream.guessed_rate, *declared]
    if all(stamp is None for stamp in stamps):
        likeliest.insert(0, stream.codec_context.framerate)
    rate = declared_rate(likeliest)
    time_base = Fraction(stream.time_base or 1 / rate)
    slots = sorted(frames.packet_dts)
    if demuxer == "avi" and (stopped or len(slots) == len(stamps)) and len(slots) >= len(stamps):
        # AVI has a place for each frame and no times: FFmpeg's pts are guessed from those places,
        # and out of order where B-frames are.
        stamps = slots[: len(stamps)]
    pts = complete_times(stamps, 1 / (rate * time_base))
    if len(pts) > 1:
        rate = nominal_rate(pts, time_base, [rate, *declared])
    return array("q", pts), time_base, rate


def _geometry(frame: VideoFrame, track: Track) -> Geometry:
    """What the container cuts off, then what the display matrix says."""
    crop = track.crop(frame.height, frame.width)
    return replace(crop, orientation=orientation(frame)[0])


def _channels(frame: VideoFrame) -> int:
    components = frame.format.components
    if frame.format.has_palette:
        # FFmpeg's, 256 colours of 32 bits in the order of the machine, alpha on top.
        palette = bytes(frame.planes[1])
        return 4 if min(palette[_ALPHA_BYTE::4]) < 255 else 3
    if any(component.is_alpha for component in components):
        return 4
    return 1 if len(components) == 1 else 3


def _notes(
    container: InputContainer,
    stream: VideoStream,
    video_streams: int,
    seen: _Seen,
    cut_note: str | None,
) -> list[str]:
    notes = []
    if seen.bits > 8:
        notes.append(f"{seen.bits}-bit samples are rounded to 8 bit")
    notes += [hdr_note(t) for t in sorted(seen.transfers & HDR.keys())]
    if stream.metadata.get("alpha_mode") == "1" and seen.channels != 4:
        notes.append("the alpha channel is dropped")
    if stream.sample_aspect_ratio not in (None, 0, 1):
        notes.append(f"the pixel aspect ratio {stream.sample_aspect_ratio} is not kept")
    if max(seen.tilts) > 0:
        notes.append(f"a rotation is rounded to quarter turns, by {max(seen.tilts)} degrees")
    if cut_note is not None:
        notes.append(cut_note)
    if video_streams > 1:
        notes.append(f"stream {stream.index}, one of {video_streams} video streams, is read")
    return notes + [note for kind, note in _LEFT_OUT.items() if getattr(container.streams, kind)]


def _pyav_frames(path: Path, survey: _Survey, first: int) -> _Pixels:
    """Frames from `first` to the last surveyed, uint8 [height, width, channels], upright."""
    with open_container(path) as container:
        from av.video.reformatter import VideoReformatter

        reformatter = VideoReformatter()  # one for all: setting it up costs more than its work
        stream, _, track = select_stream(path, container)
        for index, (frame, _) in enumerate(Frames(path, container, stream)):
            if index >= first:
                pixels = _convert(reformatter, frame, survey.facts.channels)
                yield _geometry(frame, track).apply(pixels)
            if index + 1 == len(survey.pts):
                return


def _convert(reformatter: VideoReformatter, frame: VideoFrame, channels: int) -> NDArray[np.uint8]:
    """uint8 [height, width, channels] as stored; the frame has that many channels or fewer."""
    name = {1: "gray", 3: "rgb24", 4: "rgba"}[channels]
    shown = reformatter.reformat(frame, format=name).to_ndarray()
    pixels: NDArray[np.uint8] = np.asarray(shown, np.uint8)
    pixels = pixels.reshape(frame.height, frame.width, channels)
    grey = sum(not component.is_alpha for component in frame.format.components) == 1
    if grey and frame.color_range == _LIMITED and not frame.format.has_palette:
        expanded: NDArray[np.uint8] = _EXPANDED[pixels]
        expanded[..., 3:] = pixels[..., 3:]
        return expanded
    return pixels


def _decord_frames(path: Path, survey: _Survey, first: int) -> _Pixels:
    """As `_pyav_frames`, but it ends early, without an exception, where decord fails.

    Strictly `next()`: decord seeks wrongly in some files.
    """
    expected = (survey.height, survey.width, survey.facts.channels)
    try:
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        with silent_library():  # it reports what it cannot open there, quiet or not
            # One thread: its memory then stays the same however long the clip.
            reader = decord.VideoReader(str(path.resolve()), ctx=decord.cpu(0), num_threads=1)
        for index in range(len(survey.pts)):
            with silent_library():
                pixels = reader.next().asnumpy()
            if pixels.shape != expected or pixels.dtype != np.uint8:
                return
            if index >= first:
                yield pixels
    except Exception:
        # A library that fails to load, a name that is not UTF-8, a native failure: whatever the
        # cause, PyAV reads on and is the one to judge the file.
        return
