"""For the tests of readers and writers: pictures and clips made on the spot, and short checks."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import textwrap
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tcnn_codec
from tcnn_codec.errors import CodecError
from tcnn_codec.io import Frame, Sink, open_sink, open_source
from tcnn_codec.picture import Kind, PictureFormat

LIMIT = 1_000_000
ROOT = Path(tcnn_codec.__file__).parents[1]

Pixels = NDArray[np.uint8]


def picture(height: int, width: int, channels: int, index: int = 0) -> Pixels:
    """Smooth, different in every channel and for every index; uint8 [height, width, channels]."""
    y, x = np.mgrid[:height, :width]
    waves = [
        128 + 90 * np.sin(x / 17 + index / 5),
        128 + 90 * np.cos(y / 13 - index / 7),
        128 + 100 * np.sin((x + y + 3 * index) / 29),
        (5 * x + 3 * y + index) % 256,
    ]
    return np.stack(waves[:channels], axis=-1).astype(np.uint8)


def psnr(a: Pixels, b: Pixels) -> float:
    """Decibels over all samples; infinite for equal arrays."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def video_track(
    container: Any,
    codec: str,
    pixel_format: str,
    *,
    height: int = 48,
    width: int = 64,
    rate: Fraction = Fraction(25),
    options: dict[str, str] | None = None,
) -> Any:
    """A video stream added to an output of PyAV."""
    track = container.add_stream(codec, rate=rate, options=options or {})
    track.width, track.height, track.pix_fmt = width, height, pixel_format
    return track


def encode_onto(container: Any, track: Any, frames: list[Pixels]) -> None:
    """The whole of a stream: uint8 [height, width, 3] each, 25 per second from time 0."""
    import av

    for index, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=track.pix_fmt)
        frame.pts, frame.time_base = index, Fraction(1, 25)
        container.mux(track.encode(frame))
    container.mux(track.encode(None))


def make_video(
    path: Path,
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    height: int = 48,
    width: int = 64,
    frames: int = 12,
    pts: list[int] | None = None,
    rate: Fraction = Fraction(25),
    time_base: Fraction = Fraction(1, 25),
    options: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
    streams: int = 1,
    rotation: int = 0,
    color_range: int = 0,
) -> list[Pixels]:
    """Write `picture` 0, 1, ... (stream s shows them inverted for odd s); returns the frames."""
    import av

    made = [picture(height, width, 3, index) for index in range(frames)]
    with av.open(str(path), "w", options=muxing or {}) as container:
        tracks: list[Any] = []
        for _ in range(streams):
            track = video_track(
                container,
                codec,
                pixel_format,
                height=height,
                width=width,
                rate=rate,
                options=options,
            )
            track.time_base = track.codec_context.time_base = time_base
            track.codec_context.color_range = color_range
            if rotation:
                track.set_display_rotation(rotation)
            tracks.append(track)
        for index, pixels in enumerate(made):
            for number, track in enumerate(tracks):
                shown = 255 - pixels if number % 2 else pixels
                frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
                frame = frame.reformat(format=pixel_format, dst_color_range=color_range or None)
                frame.pts, frame.time_base = (pts[index] if pts else index), time_base
                container.mux(track.encode(frame))
        for track in tracks:
            container.mux(track.encode(None))
    return made


def overwrite(path: Path, start: int, data: bytes) -> None:
    """Damage a file in place."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def packet_places(path: Path) -> list[tuple[int, int]]:
    """(position, size) in the file of every packet of the first video stream."""
    import av

    with av.open(str(path)) as container:
        packets = container.demux(container.streams.video[0])
        return [(packet.pos or 0, packet.size) for packet in packets if packet.size]


def read_all(path: Path, first: int = 0, stop: int | None = None) -> list[Frame]:
    """All frames, after checking them against what the source declares."""
    with open_source(path, first, stop, max_pixels=LIMIT) as source:
        frames = list(source.frames())
        shape = (source.format.height, source.format.width, source.format.channels)
        assert source.format.frame_count == len(frames)
    for frame in frames:
        assert frame.pixels.shape == shape
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.flags.c_contiguous
    assert all(a.pts < b.pts for a, b in pairwise(frames))
    return frames


def read_still(path: Path) -> Pixels:
    """The one frame of an image, or of a folder of one."""
    (frame,) = read_all(path)
    return frame.pixels


def notes_of(path: Path) -> tuple[str, ...]:
    """What opening the file says is lost."""
    with open_source(path, max_pixels=LIMIT) as source:
        return source.notes


def need_decord() -> None:
    """Skip where decord is not built for the machine; elsewhere it is a dependency."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("decord is built for x86-64 only")


def sink(path: Path, frames: list[Pixels], *, kind: Kind = "video") -> Sink:
    """A sink for just these frames, at 25 per second."""
    height, width, channels = frames[0].shape
    format = PictureFormat(
        kind, height, width, channels, len(frames), Fraction(1, 25), Fraction(25)
    )
    return open_sink(path, format)


def write_all(path: Path, frames: list[Pixels], *, kind: Kind = "video") -> None:
    """Write the frames with pts 0, 1, 2, ..."""
    with sink(path, frames, kind=kind) as output:
        for index, pixels in enumerate(frames):
            output.write(Frame(pixels, index))


def fails(call: Callable[[], object], *words: str) -> str:
    """The message of the CodecError that `call` raises: one line that has all the words."""
    with pytest.raises(CodecError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


def refuses(path: Path, *words: str) -> str:
    """The message with which reading the file fails."""
    return fails(lambda: read_all(path), *words)


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, in the given folder."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def encode_packets(
    codec: str, frames: list[Pixels], pixel_format: str, options: dict[str, str] | None = None
) -> list[bytes]:
    """The frames, uint8 [height, width, 3], coded one after another; pixel_format: FFmpeg's."""
    import av

    context: Any = av.CodecContext.create(codec, "w")
    context.height, context.width = frames[0].shape[:2]
    context.pix_fmt, context.framerate = pixel_format, 25
    context.time_base, context.options = Fraction(1, 25), options or {}
    packets = []
    for index, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pixel_format)
        frame.pts, frame.time_base = index, Fraction(1, 25)
        packets += context.encode(frame)
    return [bytes(packet) for packet in packets + context.encode(None)]


def mux_packets(
    path: Path,
    codec: str,
    packets: list[bytes],
    *,
    height: int = 48,
    width: int = 64,
    times: list[int] | None = None,
    pixel_format: str = "yuvj420p",
) -> None:
    """Write packets, all key frames, some of them perhaps empty, 25 per second or at `times`."""
    import av

    with av.open(str(path), "w") as container:
        track = video_track(container, codec, pixel_format, height=height, width=width)
        for index, data in enumerate(packets):
            packet = av.Packet(data) if data else av.Packet(0)
            packet.stream, packet.time_base = track, Fraction(1, 25)
            packet.pts = packet.dts = times[index] if times else index
            packet.is_keyframe = True
            container.mux(packet)


class Pipe:
    """What a muxer writes that cannot go back, as into a pipe."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


def insert_box(data: bytes, path: list[bytes], box: bytes) -> bytes:
    """An MP4 file with a box added at the end of the first box that `path` leads to.

    The file must have its moov behind its mdat, so that no offset changes.
    """
    start, end, opened = 0, len(data), []
    for level, name in enumerate(path):
        inner = {b"stsd": 8}.get(path[level - 1], 0) if level else 0
        at = start + inner
        while data[at + 4 : at + 8] != name:
            at += int.from_bytes(data[at : at + 4], "big")
            assert at < end, name
        opened.append(at)
        start, end = at + 8, at + int.from_bytes(data[at : at + 4], "big")
    changed = bytearray(data[:end] + box + data[end:])
    for at in opened:
        size = int.from_bytes(changed[at : at + 4], "big") + len(box)
        changed[at : at + 4] = size.to_bytes(4, "big")
    return bytes(changed)
