"""Writing frames: which outputs there are, and one function for each."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.errors import CodecError
from tcnn_codec.io.frames import Frame, SinkSpec
from tcnn_codec.io.images import save_image
from tcnn_codec.io.paths import (
    atomic_folder,
    atomic_path,
    check_output,
    check_output_folder,
    flush,
)
from tcnn_codec.io.pipes import Pipe, Place
from tcnn_codec.io.video_writers import write_mkv, write_mp4
from tcnn_codec.picture import PictureFormat

_STILL_ONLY = (".png", ".webp")
_VIDEO_ONLY = (".mp4", ".mkv", ".y4m")
_EITHER = (".npy",)
_WITHOUT_ALPHA = (".mp4", ".y4m")
_WEBP_SIDE = 16383

Write = Callable[[Frame], None]
Writer = Callable[[Path, SinkSpec], AbstractContextManager[Write]]


class Sink:
    """Takes exactly `frame_count` frames, in order; a context manager.

    Everything goes to a temporary name in the folder of the output, which takes the final name
    on a clean exit only; on an exception it is removed. A pipe gets each frame as it comes.
    """

    def __init__(self, place: Place, format: PictureFormat) -> None:
        self._place, self._format = place, format
        self._written = 0
        self._stack = ExitStack()
        self._write: Write | None = None

    def __enter__(self) -> Sink:
        place = self._place
        with ExitStack() as stack:
            if isinstance(place, Pipe):
                self._write = _pipe_writer(place, self._format)
            else:
                atomic = atomic_folder if is_folder_output(place) else atomic_path
                temporary = stack.enter_context(atomic(place))
                spec = SinkSpec(place, self._format)
                self._write = stack.enter_context(_choose_writer(place)(temporary, spec))
            stack.enter_context(self._complete())
            self._stack = stack.pop_all()
        return self

    def write(self, frame: Frame) -> None:
        """Append one frame: uint8 [height, width, channels], its pts above the one before."""
        format = self._format
        expected = (format.height, format.width, format.channels)
        if frame.pixels.shape != expected or frame.pixels.dtype != np.uint8:
            got = f"{frame.pixels.dtype} {frame.pixels.shape}"
            raise ValueError(f"frame {self._written} is {got}, expected uint8 {expected}")
        if self._write is None or self._written == format.frame_count:
            raise ValueError(f"the sink takes {format.frame_count} frames, inside a with block")
        self._write(Frame(np.ascontiguousarray(frame.pixels), frame.pts))
        self._written += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._write = None
        self._stack.__exit__(kind, error, trace)

    @contextmanager
    def _complete(self) -> Iterator[None]:
        yield
        count = self._format.frame_count
        if self._written != count:
            raise ValueError(f"{self._written} of {count} frames were written")


def open_sink(place: Place, format: PictureFormat) -> Sink:
    """A sink for `frame_count` frames of uint8 [height, width, channels].

    A pipe gets an image as PNG and a video as Y4M. Of a path, the extension decides: .png and .webp
    (lossless) for one frame; .mp4, .mkv, .y4m or a folder of PNGs for a video; .npy for both, uint8
    [frames, height, width, channels], or [height, width, channels] for an image. A path without an
    extension, or an existing folder, is a folder. WebP, MP4 and Y4M turn grey into RGB. MP4 keeps
    pts exactly, MKV to the millisecond, Y4M the frame rate only, the others nothing. Raises what
    `check_sink` raises.
    """
    check_sink(place, format)
    return Sink(place, format)


def check_sink(place: Place, format: PictureFormat, *, reads: Path | None = None) -> None:
    """Raise CodecError where `open_sink` could not write such frames to `place`.

    For an early answer, before any decoding: the extension against the kind, the alpha channel
    and the number of frames, then what `check_output` looks at, with `reads` the input, then the
    size against what the extension holds.
    """
    still = format.kind == "image"
    if isinstance(place, Pipe):
        if format.channels == 4 and not still:
            raise CodecError(
                f"cannot write a video to '{place}': it goes there as .y4m, which has no alpha "
                "channel, and the frames have",
                remedy="name a file ending in one of .mkv .npy, or a folder",
            )
        return
    path = place
    if is_folder_output(path):
        if still:
            what = "is a folder" if os.path.isdir(path) else "has no extension"
            raise CodecError(
                f"cannot write an image to '{path}': it {what}",
                remedy=f"name a file ending in one of {_list(_STILL_ONLY + _EITHER)}",
            )
        check_output_folder(path, reads=reads)
        return
    suffix = path.suffix.lower()
    allowed = _STILL_ONLY + _EITHER if still else _VIDEO_ONLY + _EITHER
    if suffix in _STILL_ONLY and not still and format.frame_count > 1:
        raise CodecError(
            f"cannot write {format.frame_count} frames to '{path}': {suffix} holds one",
            remedy=f"use {_list(allowed)} or a folder, or choose one frame with `frames` N:N+1",
        )
    if suffix not in allowed and not (suffix in _STILL_ONLY and format.frame_count == 1):
        folder = "" if still else " or a folder of PNGs (no extension)"
        what = "an image" if still else "a video"
        raise CodecError(
            f"cannot write {what} to '{path}': extension '{suffix}'",
            f"allowed are {_list(allowed)}{folder}",
            "name the output so",
        )
    if format.channels == 4 and suffix in _WITHOUT_ALPHA:
        raise CodecError(
            f"cannot write '{path}': {suffix} has no alpha channel and the frames have",
            remedy="use .mkv, .npy or a folder of PNGs",
        )
    check_output(path, reads=reads)
    if suffix == ".webp" and max(format.height, format.width) > _WEBP_SIDE:
        raise CodecError(
            f"cannot write '{path}': WebP holds {_WEBP_SIDE} pixels a side and the picture is "
            f"{format.width}x{format.height}",
            remedy="write .png or .npy",
        )


def is_folder_output(path: Path) -> bool:
    """Whether frames written to `path` become a folder: no extension, or a folder already."""
    return path.suffix == "" or os.path.isdir(path)


def _choose_writer(path: Path) -> Writer:
    if is_folder_output(path):
        return _write_folder
    match path.suffix.lower():
        case ".png" | ".webp":
            return _write_image
        case ".npy":
            return _write_npy
        case ".y4m":
            return _write_y4m
        case ".mp4":
            return write_mp4
        case _:
            return write_mkv


def _pipe_writer(pipe: Pipe, format: PictureFormat) -> Write:
    """One format for each kind: those that can be written from the first byte to the last."""
    if format.kind == "video":
        pipe.write(_y4m_header(format))
        return lambda frame: pipe.write(_y4m_frame(frame))

    def write(frame: Frame) -> None:
        held = io.BytesIO()
        save_image(held, frame.pixels, "PNG")
        pipe.write(held.getvalue())

    return write


@contextmanager
def _write_image(path: Path, spec: SinkSpec) -> Iterator[Write]:
    name = spec.path.suffix[1:].upper()
    yield lambda frame: save_image(path, frame.pixels, name)


@contextmanager
def _write_folder(path: Path, spec: SinkSpec) -> Iterator[Write]:
    digits = max(5, len(str(spec.format.frame_count - 1)))
    index = 0

    def write(frame: Frame) -> None:
        nonlocal index
        file = path / f"frame_{index:0{digits}}.png"
        save_image(file, frame.pixels, "PNG")
        flush(file)
        index += 1

    yield write


@contextmanager
def _write_npy(path: Path, spec: SinkSpec) -> Iterator[Write]:
    format = spec.format
    shape: tuple[int, ...] = (format.height, format.width, format.channels)
    if format.kind == "video":
        shape = (format.frame_count, *shape)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)

        def write(frame: Frame) -> None:
            file.write(frame.pixels.data)

        yield write


@contextmanager
def _write_y4m(path: Path, spec: SinkSpec) -> Iterator[Write]:
    with path.open("wb") as file:
        file.write(_y4m_header(spec.format))

        def write(frame: Frame) -> None:
            file.write(_y4m_frame(frame))

        yield write


def _y4m_header(format: PictureFormat) -> bytes:
    """Uncompressed 4:4:4 in BT.601 limited range, which readers assume of a Y4M file."""
    rate = format.frame_rate.limit_denominator(1_000_000)
    return (
        f"YUV4MPEG2 W{format.width} H{format.height} F{rate.numerator}:{rate.denominator} "
        "Ip A1:1 C444 XCOLORRANGE=LIMITED\n"
    ).encode()


def _y4m_frame(frame: Frame) -> bytes:
    """Rounding to 8-bit YUV loses a little: RGB comes back within about two levels."""
    return b"FRAME\n" + rgb_to_yuv(frame.pixels).tobytes()


def rgb_to_yuv(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [height, width, 1|3] to uint8 [3, height, width]: Y, Cb, Cr of BT.601 limited range."""
    rgb = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).astype(np.float32) / 255
    luma = rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    blue = (rgb[..., 2] - luma) / 1.772
    red = (rgb[..., 0] - luma) / 1.402
    planes = np.stack([16 + 219 * luma, 128 + 224 * blue, 128 + 224 * red])
    return np.rint(planes).astype(np.uint8)


def _list(extensions: tuple[str, ...]) -> str:
    return " ".join(extensions)
