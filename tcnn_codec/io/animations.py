"""Animations, GIF, PNG, WebP and AVIF of several frames, read with Pillow as videos."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from tcnn_codec.errors import CodecError
from tcnn_codec.io.frames import Frame, Source, broken_at, check_selection, check_size
from tcnn_codec.io.geometry import Geometry
from tcnn_codec.io.pictures import OpenedImage, open_known
from tcnn_codec.io.silence import quietly
from tcnn_codec.io.timing import nominal_rate
from tcnn_codec.picture import PictureFormat

ANIMATED = {"PNG", "WEBP", "GIF", "AVIF"}
#: Of a frame that is to be shown "as fast as possible", as browsers show it.
_DURATION = Fraction(1, 10)
_TIME_BASE = Fraction(1, 1000)
#: Files give a duration in milliseconds, or as a fraction of 16-bit numbers.
_LARGEST_DENOMINATOR = 65535


@dataclass(frozen=True)
class AnimationReader:
    """Frames first:stop of an animation, and no more than those in one walk.

    size: (width, height) of the screen. geometry: of every frame. starts: the pts of frame 0, 1,
    ... to `stop` at least. channels: 3 for RGB, 4 for RGBA.
    """

    path: Path
    first: int
    stop: int
    size: tuple[int, int]
    geometry: Geometry
    channels: int
    starts: tuple[int, ...]
    max_pixels: int

    def frames(self) -> Generator[Frame, None, None]:
        with open_known(self.path).image as image:
            walk = _walk(self.path, image, self.size, self.stop, self.max_pixels)
            for index, (picture, _) in enumerate(walk):
                if index >= self.first:
                    shown = picture if self.channels == 4 else picture.convert("RGB")
                    yield Frame(self.geometry.apply(np.array(shown)), self.starts[index])


def open_animation(
    opened: OpenedImage,
    geometry: Geometry,
    notes: tuple[str, ...],
    first: int,
    stop: int | None,
    *,
    max_pixels: int,
) -> Source:
    """Frames first:stop of an image of several, as a video with pts in milliseconds.

    Walked through once here, to learn the times and whether any pixel is transparent (RGBA then,
    RGB otherwise), and again by each reader; one frame is held at a time. geometry: of every frame.
    Raises CodecError for damage, an empty selection and a frame of more than max_pixels pixels.
    """
    path, image = opened.path, opened.image
    size = image.size  # which grows with the frames of a GIF that do not fit
    count = int(getattr(image, "n_frames", 1)) - bool(getattr(image, "default_image", False))
    check_selection(path, first, stop, count)
    stop = count if stop is None else min(stop, count)
    ends: list[Fraction] = []
    transparent = False
    for index, (picture, duration) in enumerate(_walk(path, image, size, stop, max_pixels)):
        ends.append((ends[-1] if ends else 0) + duration)
        if index >= first:
            transparent |= picture.getchannel("A").getextrema()[0] != 255
    starts = [0]
    for end in ends:  # rounded once they are summed, so that no rounding adds up
        starts.append(max(starts[-1] + 1, round(end / _TIME_BASE)))
    height, width = geometry.shown_size(size[1], size[0])
    format = PictureFormat(
        kind="video",
        height=height,
        width=width,
        channels=4 if transparent else 3,
        frame_count=stop - first,
        time_base=_TIME_BASE,
        frame_rate=nominal_rate(starts, _TIME_BASE, [stop / ends[-1]]),
    )
    reader = AnimationReader(
        path, first, stop, size, geometry, format.channels, tuple(starts), max_pixels
    )
    return Source(format, notes, reader)


def _walk(
    path: Path, image: Image.Image, size: tuple[int, int], stop: int, max_pixels: int
) -> Generator[tuple[Image.Image, Fraction], None, None]:
    """The first `stop` frames as RGBA, each with its duration in seconds, above 0.

    size: (width, height) of the screen, to which a GIF's larger frames are cut as players do.
    """
    # An animated PNG may start with a picture that is no part of the animation.
    skipped = bool(getattr(image, "default_image", False))
    end = Fraction(0)
    for index in range(stop):
        try:
            with quietly():
                image.seek(index + skipped)
                check_size(path, image.height, image.width, max_pixels)
                image.load()
                picture = image.convert("RGBA").crop((0, 0, *size))
                duration = _duration(image, end)
        except (CodecError, MemoryError):
            raise
        except Exception as error:  # Pillow's decoders raise nearly anything for damaged data
            raise broken_at(path, index, error) from error
        end += duration
        yield picture, duration


def _duration(image: Image.Image, start: Fraction) -> Fraction:
    """Of the current frame, in seconds; start: where it begins, by the durations before it."""
    milliseconds = Fraction(float(image.info.get("duration") or 0))
    if "timestamp" in image.info:  # AVIF: both rounded, but the times not summed
        end = Fraction(float(image.info["timestamp"])) + milliseconds
        milliseconds = end - start / _TIME_BASE
    exact = (milliseconds * _TIME_BASE).limit_denominator(_LARGEST_DENOMINATOR)
    return exact if exact > 0 else _DURATION
