"""Samples of still images: what the file says they mean, and the way from there to 8 bits.

Pillow's mode tells neither the depth of the samples in the file nor whether 0 is black, and of
samples deeper than 8 bits in colour it keeps the upper bits only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tcnn_codec.errors import CodecError
from tcnn_codec.io.deep import DEEP_FORMATS, read_deep, read_deep_heic, read_deep_tiff
from tcnn_codec.io.geometry import Geometry
from tcnn_codec.io.pictures import OpenedImage, tiff_orientation
from tcnn_codec.io.silence import silent_library
from tcnn_codec.io.structure import box, content, png_chunks

U8 = NDArray[np.uint8]

#: Transfer functions of high dynamic range, as ITU-T H.273 numbers them.
HDR = {16: "PQ", 18: "HLG"}
_BITS, _PHOTOMETRIC, _EXTRA, _FORMAT = 258, 262, 338, 339  # tags of TIFF 6.0
_WHITE_IS_ZERO, _PREMULTIPLIED, _SIGNED = 0, 1, 2  # and values of theirs
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
_DEEPEST = 16


@dataclass(frozen=True)
class Samples:
    """What a file says of its samples.

    bits: of one, as stored; 32 for float. white_is_zero: so for grey. premultiplied: colour is
    stored times alpha. signed: samples may be below 0. transparent: the grey level, as stored,
    that is transparent as a whole, or None. transfer: as in ITU-T H.273; 2 where none is given.
    """

    bits: int = 8
    white_is_zero: bool = False
    premultiplied: bool = False
    signed: bool = False
    transparent: int | None = None
    transfer: int = 2


def describe(opened: OpenedImage) -> Samples:
    """What the header says, with no pixel decoded."""
    image, heif = opened.image, opened.heif
    match image.format:
        case "PNG":
            return _describe_png(opened.path)
        case "TIFF":
            tags: Any = image.tag_v2  # type: ignore[attr-defined]
            return Samples(
                bits=max(tags.get(_BITS, (1,))),
                white_is_zero=tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO,
                premultiplied=_PREMULTIPLIED in tags.get(_EXTRA, ()),
                signed=_SIGNED in tags.get(_FORMAT, ()),
            )
        case "JPEG2000":
            return _describe_jpeg2000(opened.path)
        case "PPM":
            # Pillow has scaled the samples to the range of its mode, 16 bits in mode I.
            return Samples(bits=16 if netpbm_maximum(image) > 255 else 8)
        case _:
            return Samples(bits=heif.bits, transfer=heif.transfer) if heif else Samples()


def netpbm_maximum(image: Image.Image) -> int:
    """The largest value that the header of a netpbm file states; to be asked before decoding."""
    tiles: Any = image.tile  # type: ignore[attr-defined]
    arguments = tiles[0].args if tiles else ""
    if isinstance(arguments, tuple):
        return int(arguments[1])
    return 65535 if arguments.startswith("I;16") else 255


def channels(image: Image.Image) -> int:
    """Of the pixels that `read_pixels` gives: 1 grey, 3 RGB, 4 RGBA."""
    if "transparency" in image.info or image.mode in _ALPHA_MODES:
        return 4
    return 1 if image.mode in ("L", "1", "F") or _deep_grey(image) else 3


def notes(image: Image.Image, samples: Samples) -> list[str]:
    """A line for everything that is lost on the way to 8-bit grey, RGB or RGBA."""
    found = []
    if image.mode == "F":
        found.append("float samples are rounded to 8 bit")
    elif samples.bits > 8:
        # libavif is up to 4 levels off where it turns deep YUV into 8-bit RGB.
        how = "cut" if image.mode == "CMYK" else "reduced" if image.format == "AVIF" else "rounded"
        found.append(f"{min(samples.bits, _DEEPEST)}-bit samples are {how} to 8 bit")
    converted = image.mode not in ("L", "RGB", "RGBA", "F") and not _deep_grey(image)
    if converted or "transparency" in image.info:
        target = {1: "8-bit grey", 3: "RGB", 4: "RGBA"}[channels(image)]
        kind = {"P": "palette", "PA": "palette", "1": "1-bit"}.get(image.mode, image.mode)
        kind = "grey" if _deep_grey(image) else kind
        found.append(f"{kind} pixels are converted to {target}")
    if samples.transfer in HDR:
        found.append(hdr_note(samples.transfer))
    profile = image.info.get("icc_profile") or b""
    if profile and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile:
        found.append("the colour profile is not sRGB and is dropped")
    return found


def hdr_note(transfer: int) -> str:
    """The line for samples of a transfer function of HDR."""
    return f"HDR ({HDR[transfer]}) is not tone-mapped"


def read_pixels(opened: OpenedImage, samples: Samples) -> U8:
    """uint8 [height, width, 1|3|4] as stored, not yet upright; decodes the image.

    Levels are round(255 v / white), with white the largest value that the file's samples can have.
    Raises CodecError for samples that are not in the range of black to white.
    """
    path, image = opened.path, opened.image
    count = channels(image)
    if samples.bits > 8 and image.mode in ("RGB", "RGBA", "LA") and image.format in DEEP_FORMATS:
        if image.format == "TIFF":
            with silent_library():
                deep, upright = read_deep_tiff(path, samples.bits)
            # Pillow, and Pillow alone, gives a TIFF upright.
            deep = deep if upright else Geometry(tiff_orientation(image)).apply(deep)
        else:
            deep = read_deep(path, image.format or "", samples.bits, image.size)
        if samples.premultiplied and deep.shape[2] in (2, 4):
            deep = _divide_by_alpha(deep, samples.bits)
        return _assemble(_levels(deep, 2**samples.bits - 1), count)
    if samples.bits > 8 and image.format == "HEIF":
        return _assemble(_levels(read_deep_heic(path), 2**samples.bits - 1), count)
    if image.format == "TIFF":
        with silent_library():
            image.load()
    if image.mode == "F" or _deep_grey(image):
        return _assemble(_read_grey(path, image, samples), count)
    pixels = np.asarray(image)
    if image.format == "JPEG2000" and samples.bits < 8 and image.mode != "P":
        stored = pixels >> (8 - samples.bits)  # where Pillow has put them at the top of 8 bits
        return _assemble(_levels(stored, 2**samples.bits - 1), count)
    if samples.transparent is not None:
        # Pillow compares grey levels that it has scaled with one that it has not.
        grey = np.asarray(image.convert("L"))[..., None]
        alpha = _opacity(grey, samples.transparent * 255, 2**samples.bits - 1)
        return _assemble(np.concatenate([grey, alpha], axis=2), count)
    converted = np.array(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[count]))
    return converted.reshape(image.height, image.width, count)


def as_channels(pixels: U8, count: int) -> U8:
    """uint8 [height, width, 1|3|4] with as many channels or more: grey becomes equal colours, and
    alpha is 255 where there was none."""
    return pixels if pixels.shape[2] == count else _assemble(pixels, count)


def _read_grey(path: Path, image: Image.Image, samples: Samples) -> U8:
    """Deep or float grey, and its alpha where a level is transparent: [height, width, 1|2]."""
    values = np.asarray(image)[..., None]
    white: float = 1 if image.mode == "F" else 2 ** min(samples.bits, _DEEPEST) - 1
    if image.format == "JPEG2000":
        values = values >> (_DEEPEST - samples.bits)  # where Pillow has put them at the top of 16
    low, high = values.min(), values.max()
    signed = samples.signed and samples.bits <= _DEEPEST
    if signed or not (low >= 0 and high <= white):  # so written, it refuses NaN too
        what = "signed samples" if signed else "samples"
        raise CodecError(
            f"image '{path}' has {what} from {low:g} to {high:g}",
            f"samples of its type must be in 0..{white:g}",
            "scale them, or save it with 8 or 16 bits, unsigned",
        )
    levels = _levels(white - values.astype(np.float64) if samples.white_is_zero else values, white)
    if samples.transparent is None:
        return levels
    return np.concatenate([levels, _opacity(values, samples.transparent, 1)], axis=2)


def _levels(values: NDArray[Any], white: float) -> U8:
    return np.rint(values.astype(np.float64) * (255 / white)).astype(np.uint8)


def _opacity(values: NDArray[Any], transparent: int, scale: int) -> U8:
    return np.where(values.astype(np.int64) * scale == transparent, 0, 255).astype(np.uint8)


def _divide_by_alpha(deep: NDArray[Any], bits: int) -> NDArray[Any]:
    white = 2**bits - 1
    colour, alpha = np.split(deep.astype(np.float64), [-1], axis=2)
    colour = np.minimum(white, colour * white / np.maximum(alpha, 1))
    return np.concatenate([colour, alpha], axis=2)


def _assemble(pixels: U8, count: int) -> U8:
    """[height, width, 1 grey | 2 grey, alpha | 3 RGB | 4 RGBA] as `count` channels."""
    height, width = pixels.shape[:2]
    pixels = pixels.reshape(height, width, -1)
    grey = pixels.shape[2] <= 2
    if grey and count == 1:
        return np.ascontiguousarray(pixels[..., :1])
    colour = np.repeat(pixels[..., :1], 3, axis=2) if grey else pixels[..., :3]
    if count == 3:
        return np.ascontiguousarray(colour)
    opaque = np.full((height, width, 1), 255, np.uint8)
    alpha = pixels[..., -1:] if pixels.shape[2] in (2, 4) else opaque
    return np.concatenate([colour, alpha], axis=2)


def _deep_grey(image: Image.Image) -> bool:
    return image.mode == "I" or image.mode.startswith("I;")


def _describe_png(path: Path) -> Samples:
    """By the chunks before the pixels (PNG specification, 11.2.2 and 11.3)."""
    bits, transfer, transparent, grey = 8, 2, None, False
    with path.open("rb") as file:
        for chunk in png_chunks(file):
            data = content(file, chunk, 16)
            if chunk.name == b"IHDR" and len(data) > 9:
                grey = data[9] == 0
                bits = 8 if data[9] == 3 else data[8]  # of palette indices it is no depth of colour
            elif chunk.name == b"tRNS" and grey:
                transparent = int.from_bytes(data[:2], "big") & (2**bits - 1)
            elif chunk.name == b"cICP" and len(data) > 1:
                transfer = data[1]
            elif chunk.name == b"IDAT":
                break
    return Samples(bits=bits, transfer=transfer, transparent=transparent)


def _describe_jpeg2000(path: Path) -> Samples:
    """By the SIZ segment at the start of the code stream (ISO 15444-1, A.5.1)."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        stream = box(file, 0, end, b"jp2c")
        file.seek(stream.start if stream else 0)
        head = file.read(64 + 3 * 16)
    components = min(16, int.from_bytes(head[40:42], "big"))
    depths = {head[42 + 3 * i] for i in range(components) if 42 + 3 * i < len(head)} or {7}
    if len(depths) > 1 or max(depths) > 127 or max(depths) >= _DEEPEST:
        shown = ", ".join(f"{d % 128 + 1}{'' if d < 128 else ' signed'}" for d in sorted(depths))
        raise CodecError(
            f"'{path}' is a JPEG 2000 of {shown} bits a sample",
            f"allowed are 1 to {_DEEPEST}, unsigned, the same for all channels",
            "save it as PNG or TIFF",
        )
    return Samples(bits=max(depths) + 1)
