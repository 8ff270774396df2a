"""Still images, animations and folders of frames, read and written with Pillow."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from tcnn_codec.errors import CodecError
from tcnn_codec.io.frames import Frame, Source, broken_at, check_selection, check_size

# No format that runs other programs (EPS) or is recognised by a weak signature (TGA).
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000")
_ANIMATED = {"PNG", "WEBP", "GIF", "AVIF"}
_FRAME_EXTENSIONS = {
    *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff"),
    *(".bmp", ".ppm", ".pgm", ".pnm", ".avif", ".jp2"),
}
_FOLDER_RATE = 25
_ORIENTATION = 0x0112


def open_image(path: Path, first: int, last: int | None, *, max_pixels: int) -> Source | None:
    """An image, or an animation as a video; None where Pillow does not know the content.

    A still image is decoded here, upright by its EXIF orientation, and held: it is one frame.
    gAMA chunks and colour profiles are not applied. Raises CodecError for damage, for more
    than `max_pixels` pixels (before any is decoded) and for an empty selection.
    """
    image = _open(path)
    if image is None:
        return None
    with image, _reading(path):
        check_size(path, image.height, image.width, max_pixels)
        pages = int(getattr(image, "n_frames", 1))
        if pages > 1 and image.format in _ANIMATED:
            return _open_animation(path, first, last, image, pages)
        check_selection(path, first, last, 1)
        notes = _notes(image)
        if pages > 1:
            notes.append(f"only the first of {pages} pages is read")
        pixels = _pixels(ImageOps.exif_transpose(image), path)

    def read() -> Generator[Frame, None, None]:
        yield Frame(pixels, 0)

    height, width, channels = pixels.shape
    return Source("image", height, width, channels, Fraction(1), Fraction(1), 1, tuple(notes), read)


def open_folder(path: Path, first: int, last: int | None, *, max_pixels: int) -> Source:
    """A folder of images as a video of 25 frames per second, in natural order of the names.

    Only names with a known image extension count, and of an animation the first frame. Sizes
    and channels are compared here, from the headers; the pixels are decoded one frame at a time.
    """
    try:
        names = [name for name in os.listdir(path) if _is_frame_name(name)]
    except OSError as error:
        raise CodecError(f"cannot read folder '{path}': {error.strerror}") from error
    if not names:
        known = " ".join(sorted(_FRAME_EXTENSIONS))
        raise CodecError(f"folder '{path}' has no frames: none of its files is one of {known}")
    files = [path / name for name in sorted(names, key=_natural_key)]
    check_selection(path, first, last, len(files))
    files = files[first:last]
    layout, notes = _layout(files[0], max_pixels)
    for file in files[1:]:
        _check_same(file, _layout(file, max_pixels)[0], files[0], layout)

    def read() -> Generator[Frame, None, None]:
        for index, file in enumerate(files, first):
            with _open_known(file) as image, _reading(file):
                pixels = _pixels(ImageOps.exif_transpose(image), file)
            _check_same(file, pixels.shape, files[0], layout)
            yield Frame(pixels, index)

    height, width, channels = layout
    notes.append(f"a folder of frames has no frame rate: {_FOLDER_RATE} per second assumed")
    rate = Fraction(_FOLDER_RATE)
    return Source("video", height, width, channels, 1 / rate, rate, len(files), tuple(notes), read)


def save_image(path: Path, pixels: NDArray[np.uint8], format: str) -> None:
    """Write uint8 [height, width, 1|3|4] losslessly as format "PNG" or "WEBP"."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if format == "WEBP":
        # exact: keep the colour below fully transparent pixels.
        image.save(path, format, lossless=True, exact=True)
    else:
        image.save(path, format)


def _open(path: Path) -> Image.Image | None:
    """The image with only its header read, or None where Pillow does not know the content."""
    with _reading(path):
        try:
            Image.init()
            return Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN])
        except UnidentifiedImageError:
            return None


def _open_known(path: Path) -> Image.Image:
    image = _open(path)
    if image is None:
        raise CodecError(
            f"'{path}' is not an image, by its content; remove it from the folder or replace it"
        )
    return image


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn Pillow's failures into a CodecError, and its warnings into nothing."""
    try:
        with _quietly():
            yield
    except CodecError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything for damaged data
        if isinstance(error, OSError) and error.errno is not None:
            raise CodecError(f"cannot read '{path}': {error.strerror}") from error
        raise CodecError(
            f"image '{path}' is damaged or truncated ({_one_line(error)}); replace or re-export it"
        ) from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Not to be held across a `yield` of frames: what it sets, and sets back, is the process's."""
    pillow_limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # `check_size` holds the limit instead
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = pillow_limit


def _layout(path: Path, max_pixels: int) -> tuple[tuple[int, int, int], list[str]]:
    """Upright (height, width, channels) and the notes of an image, from its header."""
    with _open_known(path) as image, _reading(path):
        check_size(path, image.height, image.width, max_pixels)
        height, width = image.height, image.width
        # Pillow gives the size of a TIFF, alone, with the orientation already applied; and asked
        # for the EXIF data of a PNG whose header has none, it decodes all pixels.
        asks = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
        if asks and image.getexif().get(_ORIENTATION) in (5, 6, 7, 8):
            height, width = width, height
        return (height, width, _channels(image)), _notes(image)


def _check_same(file: Path, shape: Sequence[int], reference: Path, expected: Sequence[int]) -> None:
    if tuple(shape) != tuple(expected):
        raise CodecError(
            f"frame '{file}' is {_describe(shape)} and the first, '{reference.name}', is "
            f"{_describe(expected)}: all frames of a folder must be alike; convert or remove it"
        )


def _describe(shape: Sequence[int]) -> str:
    return f"{shape[1]}x{shape[0]} with {shape[2]} channel{'s' if shape[2] > 1 else ''}"


def _channels(image: Image.Image) -> int:
    if _is_deep(image) or image.mode == "F":
        return 1
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        return 4
    return 1 if image.mode in ("L", "1") else 3


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "I" or image.mode.startswith("I;")


def _notes(image: Image.Image) -> list[str]:
    """What is lost on the way to 8-bit grey, RGB or RGBA, from the header alone."""
    notes = []
    mode = image.mode
    raw_modes = str([tile[3] for tile in getattr(image, "tile", [])])
    if _is_deep(image):
        notes.append("16-bit samples are rounded to 8 bit")
    elif ";16" in raw_modes:
        notes.append("16-bit samples are cut to 8 bit")
    elif mode == "F":
        notes.append("float samples are rounded to 8 bit")
    elif mode not in ("L", "RGB", "RGBA") or "transparency" in image.info:
        channels = {1: "8-bit grey", 3: "RGB", 4: "RGBA"}[_channels(image)]
        kind = {"P": "palette", "PA": "palette", "1": "1-bit"}.get(mode, mode)
        notes.append(f"{kind} pixels are converted to {channels}")
    profile = image.info.get("icc_profile") or b""
    if profile and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile:
        notes.append("the colour profile is not sRGB and is dropped")
    return notes


def _pixels(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """uint8 [height, width, 1|3|4] of an image in any mode."""
    channels = _channels(image)
    if image.mode == "F" or _is_deep(image):
        white = 1 if image.mode == "F" else 65535
        deep = np.asarray(image).astype(np.float64)
        low, high = deep.min(), deep.max()
        if not (low >= 0 and high <= white):  # so written, it refuses NaN too
            raise CodecError(
                f"image '{path}' has samples from {low:g} to {high:g}; samples of its type must "
                f"be in 0..{white}: scale them, or save it with 8 or 16 bits"
            )
        pixels = np.rint(deep * (255 / white)).astype(np.uint8)
    else:
        pixels = np.array(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]))
    return np.ascontiguousarray(pixels.reshape(image.height, image.width, channels))


def _open_animation(
    path: Path, first: int, last: int | None, image: Image.Image, pages: int
) -> Source:
    """A GIF, PNG, WebP or AVIF of several frames as a video with pts in milliseconds.

    Walked through once here, to learn the times and whether any pixel is transparent (RGBA
    then, RGB otherwise), and again by each reader; one frame is held at a time.
    """
    count = pages - bool(getattr(image, "default_image", False))
    check_selection(path, first, last, count)
    stop = count if last is None else min(last, count)
    starts = [0]
    transparent = False
    for picture, duration in _walk(path, image, stop):
        starts.append(starts[-1] + duration)
        if len(starts) - 2 >= first:
            transparent |= picture.getchannel("A").getextrema()[0] != 255

    def read() -> Generator[Frame, None, None]:
        with _open_known(path) as again:
            for index, (picture, _) in enumerate(_walk(path, again, stop)):
                if index >= first:
                    shown = picture if transparent else picture.convert("RGB")
                    yield Frame(np.array(shown), starts[index])

    return Source(
        kind="video",
        height=image.height,
        width=image.width,
        channels=4 if transparent else 3,
        time_base=Fraction(1, 1000),
        frame_rate=Fraction(1000 * stop, starts[stop]),
        frame_count=stop - first,
        notes=(),
        read=read,
    )


def _walk(
    path: Path, image: Image.Image, stop: int
) -> Generator[tuple[Image.Image, int], None, None]:
    """The first `stop` frames as RGBA, each with its duration in whole milliseconds, >= 1."""
    # An animated PNG may start with a picture that is no part of the animation.
    skipped = bool(getattr(image, "default_image", False))
    for index in range(stop):
        try:
            with _quietly():
                image.seek(index + skipped)
                image.load()
                picture = image.convert("RGBA")
        except Exception as error:
            raise broken_at(path, index, error) from error
        # A duration of zero means "as fast as possible", which browsers show at 10 per second.
        yield picture, max(1, math.floor(float(image.info.get("duration") or 100) + 0.5))


def _is_frame_name(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in _FRAME_EXTENSIONS


def _natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    """Digits compare as numbers, so that frame2 comes before frame10."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(p), "") if p.isdigit() else (-1, p.lower()) for p in parts if p], name


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
