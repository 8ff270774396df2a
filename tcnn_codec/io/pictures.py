"""Opening files with Pillow: what it may open, and what its failures mean to a user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from tcnn_codec.errors import CodecError
from tcnn_codec.io.heif import HeifFacts, read_heif
from tcnn_codec.io.silence import quietly
from tcnn_codec.io.structure import png_chunks

# No format that runs other programs (EPS) or is recognised by a weak signature (TGA).
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000")
_ORIENTATION = 0x0112
_PREFIX = 16  # bytes by which Pillow's plugins tell whether a file is theirs


@dataclass(frozen=True)
class OpenedImage:
    """An image with only its header read.

    heif: what an AVIF or HEIC file says beside its pixels; None for other formats.
    """

    path: Path
    image: Image.Image
    heif: HeifFacts | None = None


def open_picture(path: Path) -> OpenedImage | None:
    """An image file, or None where it is none that Pillow knows; to be closed by the caller.

    Raises CodecError for an image that is damaged, or that would need a library that is not there.
    """
    with reading(path):
        item = read_heif(path)
        if item is not None and not item.avif:
            return OpenedImage(path, _open_heic(path), item) if item.still else None
        Image.init()
        formats = [name for name in _FORMATS if name in Image.OPEN]
        try:
            image = Image.open(path, formats=formats)
            return OpenedImage(path, image, item if image.format == "AVIF" else None)
        except UnidentifiedImageError:
            _refuse_image(path, formats)
        if item is not None:
            raise CodecError(
                f"'{path}' is an AVIF image, and this Pillow cannot read it",
                remedy="upgrade Pillow to one with AVIF (pip install -U pillow), or save the image "
                "as PNG",
            )
        return None


def open_known(path: Path) -> OpenedImage:
    """As `open_picture`, but CodecError where the file is no image."""
    opened = open_picture(path)
    if opened is None:
        raise CodecError(
            f"'{path}' is not an image, by its content",
            remedy="remove it from the folder or replace it",
        )
    return opened


def orientation(opened: OpenedImage) -> int:
    """The EXIF or XMP orientation of the pixels that the image gives, 1 to 8.

    Decodes the pixels only where the file says so behind them, as PNG may.
    """
    image = opened.image
    if image.format == "TIFF":
        return 1  # Pillow turns it upright as it loads it
    if image.format == "PNG" and not {"exif", "xmp", "XML:com.adobe.xmp"} & image.info.keys():
        # Pillow would decode all pixels to look for EXIF data behind them.
        with opened.path.open("rb") as file:
            if not any(chunk.name in (b"eXIf", b"iTXt", b"zTXt") for chunk in png_chunks(file)):
                return 1
    return _known(image.getexif().get(_ORIENTATION))


def tiff_orientation(image: Image.Image) -> int:
    """Of a TIFF's pixels as the file stores them, 1 to 8; to be asked before they are decoded."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    return _known(tags.get(_ORIENTATION))


def _known(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn Pillow's failures into a CodecError, and its warnings into nothing."""
    try:
        with quietly():
            yield
    except (CodecError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything for damaged data
        if isinstance(error, OSError) and error.errno is not None:
            raise CodecError(
                f"cannot read '{path}': {error.strerror}", remedy="check its name and rights"
            ) from error
        raise CodecError(
            f"image '{path}' is damaged or truncated ({one_line(error)})",
            remedy="replace or re-export it",
        ) from error


def one_line(error: BaseException) -> str:
    """What an exception says, as part of a line."""
    return " ".join(str(error).split())[:160] or type(error).__name__


def _open_heic(path: Path) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise CodecError(
            f"'{path}' is a HEIC image, which needs pillow-heif ({error})",
            remedy="install it with: pip install pillow-heif, or save the image as PNG",
        ) from error
    image: Image.Image = HeifImageFile(path)  # type: ignore[no-untyped-call]
    return image


def _refuse_image(path: Path, formats: list[str]) -> None:
    """Raise CodecError, with its cause, where a file is an image by its first bytes.

    Pillow alone says of it no more than that it cannot identify it.
    """
    with path.open("rb") as file:
        prefix = file.read(_PREFIX)
    for name in formats:
        factory, accept = Image.OPEN[name]
        if accept is None or accept(prefix) is not True:
            continue
        try:
            with path.open("rb") as file:
                factory(file, str(path))
        except Exception as error:
            raise CodecError(
                f"'{path}' is a {name} image that is damaged, or of a kind that Pillow cannot "
                f"read ({one_line(error)})",
                remedy="re-export it, or give a PNG",
            ) from error
