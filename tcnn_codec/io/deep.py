"""Samples deeper than 8 bits that Pillow would cut, read with FFmpeg and pillow-heif."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tcnn_codec.errors import CodecError
from tcnn_codec.io.streams import import_av

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

#: The demuxer of each of Pillow's formats that may be deep in colour.
DEEP_FORMATS = {"PNG": "png_pipe", "TIFF": "tiff_pipe", "JPEG2000": "j2k_pipe"}
_PLANES, _TILE_WIDTH = 284, 322  # tags of TIFF 6.0
_SEPARATE = 2
_OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_PACKED = {"ya16": 2, "rgb48": 3, "rgba64": 4}
_PLANAR = {"gbrp16": (2, 0, 1), "gbrap16": (2, 0, 1, 3)}  # planes in the order of the channels
_DEPTH = 16
_MARGIN = 128  # pixels by which FFmpeg may enlarge either side of a picture for itself


def read_deep(path: Path, format: str, bits: int, size: tuple[int, int]) -> NDArray[np.uint16]:
    """Samples as stored, uint16 [height, width, channels] from 0 to 2**bits - 1.

    format: a key of DEEP_FORMATS. bits: 9 to 16, as the file states. size: (width, height)
    that it must have, in either order. Channels are those of the file: grey and alpha, RGB, or
    RGBA. Raises CodecError where FFmpeg cannot read the file.
    """
    av = import_av()
    try:
        with av.open(str(path.resolve()), format=DEEP_FORMATS[format]) as container:
            # Else FFmpeg allocates whatever a damaged header asks for.
            most = (size[0] + _MARGIN) * (size[1] + _MARGIN)
            container.streams.video[0].codec_context.options = {"max_pixels": str(most)}
            frame = next(container.decode(video=0))
    except (av.FFmpegError, StopIteration) as error:
        reason = getattr(error, "strerror", None) or "it holds no picture"
        raise _refused(path, format, bits, reason) from error
    samples = _samples(frame)
    if samples is None or sorted(samples.shape[:2]) != sorted(size):
        what = f"{frame.width}x{frame.height} in pixel format {frame.format.name}"
        raise _refused(path, format, bits, what)
    if bits < _DEPTH and not frame.format.name.startswith("ya16"):
        samples >>= _DEPTH - bits  # FFmpeg puts them at the top of 16 bits, except grey with alpha
    return samples


def read_deep_tiff(path: Path, bits: int) -> tuple[NDArray[np.uint16], bool]:
    """(samples as `read_deep` gives them, whether they are upright already).

    FFmpeg shows tiles as if they were strips, and Pillow confuses channels that are kept apart, so
    each reads what it reads right. Raises CodecError for tiles of channels kept apart.
    """
    with Image.open(path, formats=["TIFF"]) as image:
        tags: Any = image.tag_v2  # type: ignore[attr-defined]
        size, separate, tiled = image.size, tags.get(_PLANES) == _SEPARATE, _TILE_WIDTH in tags
    if separate and tiled:
        raise _refused(path, "TIFF", bits, "tiles, and channels kept apart")
    if separate:
        return read_deep(path, "TIFF", bits, size), False
    # Of 16 bits Pillow keeps the upper 8: read in the other byte order, those are the lower.
    upper, lower = (_read_bytes(path, other_order) for other_order in (False, True))
    return upper * np.uint16(256) + lower, True


def _read_bytes(path: Path, other_order: bool) -> NDArray[np.uint8]:
    """One byte of each sample of a TIFF, uint8 [height, width, 3|4], upright."""
    with Image.open(path, formats=["TIFF"]) as image:
        tiles = []
        pieces: Any = image.tile
        for piece in pieces:
            # Not divided by alpha: that is not done byte by byte.
            name = piece.args[0].replace("RGBa", "RGBA")
            order = _OTHER_ORDER[name[-1]] if other_order else name[-1]
            tiles.append(piece._replace(args=(name[:-1] + order, *piece.args[1:])))
        image.tile = tiles
        return np.asarray(image)


def read_deep_heic(path: Path) -> NDArray[np.uint16]:
    """The primary picture of a HEIC file, upright, uint16 [height, width, 1|3|4] as stored."""
    from pillow_heif import open_heif

    picture = open_heif(path, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    samples = np.asarray(picture)
    return samples.reshape(*samples.shape[:2], -1)


def _samples(frame: VideoFrame) -> NDArray[np.uint16] | None:
    name, order = frame.format.name[:-2], {"be": ">u2", "le": "<u2"}.get(frame.format.name[-2:])
    if order is None:
        return None
    if name in _PACKED:
        return _plane(frame.planes[0], frame, order, _PACKED[name])
    if name in _PLANAR:
        planes = [_plane(frame.planes[i], frame, order, 1) for i in _PLANAR[name]]
        return np.concatenate(planes, axis=2)
    return None


def _plane(plane: Any, frame: VideoFrame, order: str, channels: int) -> NDArray[np.uint16]:
    """[height, width, channels], without what lies between one row and the next."""
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height]
    samples = np.ascontiguousarray(rows[:, : 2 * channels * frame.width]).view(order)
    return samples.reshape(frame.height, frame.width, channels).astype(np.uint16)


def _refused(path: Path, format: str, bits: int, reason: str) -> CodecError:
    return CodecError(
        f"'{path}' is a {format} image of {bits} bits a sample that FFmpeg cannot read ({reason})",
        remedy="save it as PNG, or with 8 bits",
    )
