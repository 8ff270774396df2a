"""A video file's stream, opened and decoded with PyAV: which one, and its frames one by one."""

from __future__ import annotations

import math
import os
import struct
from array import array
from bisect import insort
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcnn_codec.errors import CodecError
from tcnn_codec.io.endings import cut_tail, is_cut_short
from tcnn_codec.io.frames import broken_at
from tcnn_codec.io.geometry import orientation_of_matrix
from tcnn_codec.io.tracks import Track, read_track

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Disposition
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Containers only: FFmpeg would also take playlists, which name other files, and plain text.
_DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,yuv4mpegpipe,mpegts,mpeg,mpegvideo,"
    "flv,asf,ogg,ivf,obu,h264,hevc,m4v,mxf,nut,dv"
)
_THREADS = 4  # bounded, whatever the machine
_STILL_CODECS = ("mjpeg", "png", "gif", "bmp", "tiff", "webp", "jpeg2000")


def import_av() -> Any:
    """PyAV, or a CodecError that says how to get it."""
    try:
        import av
    except ImportError as error:
        raise CodecError(
            f"videos need PyAV ({error})", remedy="install it with: pip install av"
        ) from error
    return av


def open_container(path: Path) -> InputContainer:
    """A file that FFmpeg takes for a video or audio file; CodecError for all others."""
    av = import_av()
    options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
    try:
        container: InputContainer = av.open(
            str(path.resolve()),
            options=options,
            metadata_errors="replace",  # titles are not used, whatever their encoding
        )
    except av.FFmpegError as error:
        if is_cut_short(path):
            raise broken_at(path, 0, "the file ends too early") from error
        raise CodecError(
            f"'{path}' is neither an image nor a video, or is damaged beyond recognition: Pillow "
            f"and FFmpeg cannot open it ({reason_of(error)})",
            remedy="give a PNG, JPEG, WebP, MP4, MKV, ...",
        ) from error
    return container


def select_stream(path: Path, container: InputContainer) -> tuple[VideoStream, int, Track]:
    """The stream to read, the number of video streams, and what the file says of that one.

    Of several it is the first that is marked as default and is no thumbnail. Cover pictures and
    the thumbnails of chapters do not count. Raises CodecError where there is no video stream,
    or no decoder for it.
    """
    from av.stream import Disposition

    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & pictures]
    if not streams:
        raise CodecError(f"'{path}' has no video stream", remedy="give an image or a video")
    largest = max(_area(stream) for stream in streams)
    stream = min(streams, key=lambda stream: _rank(stream, Disposition, largest))
    place = streams.index(stream)
    track = read_track(path, container.format.name, stream.id, place, len(streams))
    if stream.codec_context is None:
        name = f"coded as {track.codec}" if track.codec else "of a kind"
        raise CodecError(
            f"'{path}' is {name}, for which this FFmpeg has no decoder",
            remedy="convert it to H.264, HEVC, VP9, AV1 or FFV1",
        )
    stream.thread_count = _THREADS
    # Threads that decode a frame each report damage too late: PyAV drops what comes up as the
    # decoder is emptied at the end, and the frames behind it.
    stream.thread_type = "SLICE"
    return stream, len(streams), track


def _area(stream: VideoStream) -> int:
    """Pixels of a frame; 0 where the stream has no decoder."""
    return 0 if stream.codec_context is None else stream.height * stream.width


def _rank(
    stream: VideoStream, disposition: type[Disposition], largest: int
) -> tuple[bool, bool, bool]:
    """Smallest for the stream to read; equal ones are taken in their order.

    largest: of the areas of all. A still picture, or a track of stills smaller than the rest, is a
    thumbnail.
    """
    context = stream.codec_context
    aside = disposition.still_image | disposition.dependent
    small = context is not None and context.name in _STILL_CODECS and _area(stream) < largest
    return (
        stream.frames == 1 or bool(stream.disposition & aside) or small,
        context is None,
        not stream.disposition & disposition.default,
    )


class Frames:
    """Every frame of a stream in presentation order, and what its packets told so far.

    Iterating gives (frame, pts or None) and raises CodecError at the first frame that is damaged
    or missing. An empty packet shows the frame before it once more.

    packet_pts, packet_dts: of the packets with data, in coded order. intact: they start with a key
    frame, each has a pts, data that are whole, and a frame to show. cut_note: a line where
    the file ends inside a frame, which is then left out; None as long as the end is not reached.
    """

    def __init__(self, path: Path, container: InputContainer, stream: VideoStream) -> None:
        self.packet_pts: array[int] = array("q")
        self.packet_dts: array[int] = array("q")
        self.intact = True
        self.cut_note: str | None = None
        self._path, self._container, self._stream = path, container, stream
        self._demuxer = container.format.name.split(",")[0]
        self._bytes = os.path.getsize(path)
        self._last: VideoFrame | None = None
        self._repeats: list[int] = []
        self._partial: Packet[VideoStream] | None = None

    def __iter__(self) -> Iterator[tuple[VideoFrame, int | None]]:
        av = import_av()
        count = packet_size = 0
        try:
            for packet in self._container.demux(self._stream):
                if packet.size == 0 and not _is_end(packet):
                    self._repeat(packet)
                    continue
                if self._partial is not None and packet.size > 0:
                    raise broken_at(self._path, count, "damaged frame")
                if self._is_partial(packet):
                    self._partial = packet
                    continue
                self._note(packet)
                packet_size = packet.size or packet_size
                for frame in packet.decode():
                    if frame.is_corrupt:  # FFmpeg has painted over damage
                        raise broken_at(self._path, count, "damaged frame")
                    for shown in (*self._repeated(frame.pts), (frame, frame.pts)):
                        yield shown
                        count += 1
                    self._last = frame
            for shown in self._repeated(None):
                yield shown
                count += 1
        except av.FFmpegError as error:
            raise broken_at(self._path, count, reason_of(error)) from error
        index = self._stream.index_entries if self._demuxer == "mov" else ()
        needed = max((entry.pos + entry.size for entry in index), default=0)
        if is_cut_short(self._path, needed):
            raise broken_at(self._path, count, "the file ends too early")
        self.cut_note = cut_tail(self._path, self._demuxer, packet_size)
        if self.cut_note is None and self._partial is not None:
            there = self._partial.size
            self.cut_note = (
                f"the file is cut short: of its last frame {there} bytes are there and are left out"
            )

    def _is_partial(self, packet: Packet[VideoStream]) -> bool:
        """Whether the file ends inside the packet."""
        if self._demuxer == "dv":  # whose packets are made whole with what was there before
            return (packet.pos or 0) + packet.size > self._bytes
        # Of MPEG-TS, the mark stands for any packet that is missing.
        return packet.is_corrupt and self._demuxer != "mpegts"

    def _note(self, packet: Packet[VideoStream]) -> None:
        if packet.size == 0:
            return  # it flushes the decoder
        if packet.dts is not None:
            self.packet_dts.append(packet.dts)
        if packet.pts is None:
            self.intact = False
            return
        self.intact &= not (packet.is_corrupt or packet.is_discard)
        self.intact &= packet.is_keyframe or len(self.packet_pts) > 0
        self.packet_pts.append(packet.pts)

    def _repeat(self, packet: Packet[VideoStream]) -> None:
        self.intact = False
        pts = packet.dts if packet.pts is None else packet.pts
        if pts is not None:
            insort(self._repeats, pts)

    def _repeated(self, before: int | None) -> list[tuple[VideoFrame, int]]:
        """The last frame once for each time, below `before`, at which it is shown again."""
        shown = []
        while self._repeats and (before is None or self._repeats[0] < before):
            pts = self._repeats.pop(0)
            if self._last is not None:
                shown.append((self._last, pts))
        return shown


def _is_end(packet: Packet[VideoStream]) -> bool:
    """Whether it is the one behind the last, with which PyAV empties the decoder.

    The decoder takes every packet without data for that.
    """
    return (packet.size, packet.pos, packet.pts, packet.dts) == (0, None, None, None)


def orientation(frame: VideoFrame) -> tuple[int, int]:
    """(as EXIF numbers it, the nearest to the display matrix; degrees, clockwise, that it is off).

    Of a matrix that is a mirror, a turn by quarters, or both, the second is 0.
    """
    from av.sidedata import sidedata

    # Not `frame.side_data`: the frame would keep that, and that the frame, until a collection of
    # cycles, and many frames of a clip would be held.
    container: Any = sidedata.SideDataContainer
    data = container(frame).get(sidedata.Type.DISPLAYMATRIX)
    if data is None:
        return 1, 0
    # FFmpeg's rows are a b u, c d v, x y w, and (p, q) is shown at (a p + c q + x, b p + d q + y).
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data)[:36])
    found = orientation_of_matrix(a, c, b, d)
    # The first column is where the stored x axis points to; a shear or a scale is no turn.
    turned = math.degrees(math.atan2(b, a)) if a or b else 0.0
    return found, round((turned + 45) % 90 - 45)


def reason_of(error: Exception) -> str:
    """What FFmpeg says, in short."""
    return str(getattr(error, "strerror", None) or error)
