"""Still images and folders of frames, read and written with Pillow."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tcnn_codec.errors import CodecError
from tcnn_codec.io import samples
from tcnn_codec.io.animations import ANIMATED, open_animation
from tcnn_codec.io.arrays import ArrayReader
from tcnn_codec.io.frames import Frame, Source, check_selection, check_size
from tcnn_codec.io.geometry import Geometry
from tcnn_codec.io.heif import crop_of
from tcnn_codec.io.pictures import OpenedImage, open_known, open_picture, orientation, reading
from tcnn_codec.io.structure import jpeg_end, png_chunks
from tcnn_codec.picture import PictureFormat

_FRAME_EXTENSIONS = {
    *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff"),
    *(".bmp", ".ppm", ".pgm", ".pnm", ".avif", ".jp2", ".heic", ".heif"),
}
_FOLDER_RATE = 25
_LOOKED_AT_BEHIND = 4096  # bytes behind a picture in which another is looked for


@dataclass(frozen=True)
class FolderReader:
    """A folder's frames, decoded one at a time; the pts are first, first + 1, ...

    size: (height, width), upright, of every frame. channels: of the frames that are given, at
    least as many as each file has.
    """

    files: tuple[Path, ...]
    first: int
    size: tuple[int, int]
    channels: int

    def frames(self) -> Generator[Frame, None, None]:
        for index, file in enumerate(self.files, self.first):
            opened = open_known(file)
            with opened.image, reading(file):
                upright = _read_upright(opened, samples.describe(opened))
                pixels = samples.as_channels(upright, self.channels)
            _check_same(file, pixels.shape[:2], self.files[0], self.size)
            yield Frame(pixels, index)


def open_image(path: Path, first: int, stop: int | None, *, max_pixels: int) -> Source | None:
    """An image, or an animation as a video; None where Pillow does not know the content.

    A still image is decoded here, upright by its EXIF orientation, and held: it is one frame.
    gAMA chunks and colour profiles are not applied. Raises CodecError for damage, for more
    than `max_pixels` pixels (before any is decoded) and for an empty selection.
    """
    opened = open_picture(path)
    if opened is None:
        return None
    with opened.image as image, reading(path):
        check_size(path, image.height, image.width, max_pixels)
        pages = int(getattr(image, "n_frames", 1))
        found = samples.describe(opened)
        if pages > 1 and image.format in ANIMATED:
            lost = tuple(_depth_notes(samples.notes(image, found)))
            shown = _geometry(opened)
            return open_animation(opened, shown, lost, first, stop, max_pixels=max_pixels)
        check_selection(path, first, stop, 1)
        notes = _notes(opened, found)
        pixels = _read_upright(opened, found)
    return Source(PictureFormat("image", *pixels.shape), tuple(notes), ArrayReader(pixels[None]))


def open_folder(path: Path, first: int, stop: int | None, *, max_pixels: int) -> Source:
    """A folder of images as a video of 25 frames per second, in natural order of the names.

    Only names with a known image extension count, and of an animation the first frame. Sizes
    are compared here, from the headers, and the channels are those that hold all frames; the
    pixels are decoded one frame at a time.
    """
    try:
        names = [name for name in os.listdir(path) if _is_frame_name(name)]
    except OSError as error:
        raise CodecError(
            f"cannot read folder '{path}': {error.strerror}", remedy="check its name and rights"
        ) from error
    if not names:
        known = " ".join(sorted(_FRAME_EXTENSIONS))
        raise CodecError(
            f"folder '{path}' has no frames",
            f"none of its files is one of {known}",
            "name a folder of pictures",
        )
    files = [path / name for name in sorted(names, key=_natural_key)]
    check_selection(path, first, stop, len(files))
    files = files[first:stop]
    height, width, channels, notes = _layout(files[0], max_pixels)
    for file in files[1:]:
        *size, count, found = _layout(file, max_pixels)
        _check_same(file, size, files[0], (height, width))
        channels = max(channels, count)
        notes += found
    notes.append(f"a folder of frames has no frame rate: {_FOLDER_RATE} per second assumed")
    rate = Fraction(_FOLDER_RATE)
    return Source(
        PictureFormat("video", height, width, channels, len(files), 1 / rate, rate),
        tuple(dict.fromkeys(notes)),
        FolderReader(tuple(files), first, (height, width), channels),
    )


def save_image(path: Path | BinaryIO, pixels: NDArray[np.uint8], format: str) -> None:
    """Write uint8 [height, width, 1|3|4] losslessly as format "PNG" or "WEBP"."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if format == "WEBP":
        # exact: keep the colour below fully transparent pixels.
        image.save(path, format, lossless=True, exact=True)
    else:
        image.save(path, format)


def _read_upright(opened: OpenedImage, found: samples.Samples) -> NDArray[np.uint8]:
    """uint8 [height, width, 1|3|4], decoded and as it is to be shown."""
    return _geometry(opened).apply(samples.read_pixels(opened, found))


def _geometry(opened: OpenedImage) -> Geometry:
    """How the pixels that Pillow gives are shown."""
    found, image, heif = Geometry(), opened.image, opened.heif
    if heif is not None and heif.avif and heif.aperture is not None:
        # Of HEIC, the library itself shows the aperture alone.
        found = crop_of(heif.aperture, image.height, image.width)
    return replace(found, orientation=orientation(opened))


def _layout(path: Path, max_pixels: int) -> tuple[int, int, int, list[str]]:
    """Upright height and width, channels and notes of an image, from its header."""
    opened = open_known(path)
    with opened.image as image, reading(path):
        check_size(path, image.height, image.width, max_pixels)
        found = samples.describe(opened)
        notes, channels = _notes(opened, found), samples.channels(image)
        # Pillow gives the size of a TIFF, alone, with the orientation already applied.
        geometry = Geometry() if image.format == "TIFF" else _geometry(opened)
        return (*geometry.shown_size(image.height, image.width), channels, notes)


def _notes(opened: OpenedImage, found: samples.Samples) -> list[str]:
    """A line for everything of a still image that is not kept, without decoding it."""
    image = opened.image
    notes = samples.notes(image, found)
    pages = int(getattr(image, "n_frames", 1))
    if pages > 1:
        which = "the primary" if image.format == "HEIF" else "the first"
        what = "pictures" if image.format in ("HEIF", "MPO") else "pages"
        what = "frames" if image.format in ANIMATED else what
        notes.append(f"only {which} of {pages} {what} is read")
    else:
        notes += _behind(opened)
    if opened.heif is not None and opened.heif.tracks:
        notes.append("the sequence of pictures in the same file is not read")
    return notes


def _depth_notes(notes: Iterable[str]) -> list[str]:
    """Of an animation, whose pixels are RGB or RGBA whatever the file has."""
    return [note.replace("rounded", "cut") for note in notes if "converted" not in note]


def _behind(opened: OpenedImage) -> list[str]:
    """A note where another picture, or a video, follows the one that is read."""
    image = opened.image
    with opened.path.open("rb") as file:
        if image.format == "PNG":
            *_, last = png_chunks(file)
            end: int | None = last.end + 4  # its checksum
        elif image.format == "JPEG":
            end = jpeg_end(file)
        elif image.format == "PPM":
            end = _netpbm_end(image)
        else:
            end = None
        if end is None:
            return []
        file.seek(0)
        signature = file.read(3 if image.format == "JPEG" else 2)
        file.seek(end)
        rest = file.read(_LOOKED_AT_BEHIND)
    if rest.lstrip(b"\0\n\r ").startswith(signature):
        return ["only the first of several pictures in the file is read"]
    return ["the video behind the picture is not read"] if rest[4:8] == b"ftyp" else []


def _netpbm_end(image: Image.Image) -> int | None:
    """Where the samples of a binary netpbm file end; None for the formats in text."""
    tiles: Any = image.tile  # type: ignore[attr-defined]
    bits = {"1": 1, "L": 8, "I": 8, "RGB": 24}.get(image.mode)
    if not tiles or tiles[0].codec_name == "ppm_plain" or bits is None:
        return None
    bits *= 2 if samples.netpbm_maximum(image) > 255 else 1
    return int(tiles[0].offset + -(-image.width * bits // 8) * image.height)


def _check_same(file: Path, size: Sequence[int], reference: Path, expected: Sequence[int]) -> None:
    if tuple(size) != tuple(expected):
        raise CodecError(
            f"frame '{file}' is {size[1]}x{size[0]} and the first, '{reference.name}', is "
            f"{expected[1]}x{expected[0]}",
            "all frames of a folder must be alike",
            remedy="convert or remove it",
        )


def _is_frame_name(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in _FRAME_EXTENSIONS


def _natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    """Digits compare as numbers, so that frame2 comes before frame10."""
    parts = re.split(r"([0-9]+)", name)  # every second part is a number, and ASCII digits alone
    keys = [(int(p), "") if i % 2 else (-1, p.lower()) for i, p in enumerate(parts) if p]
    return keys, name
