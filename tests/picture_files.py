"""Still images written byte by byte, with what Pillow cannot write: deep colour, grids, crops."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.io.structure import PNG_SIGNATURE, box, content

#: Of a PNG, by the number of channels.
PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def deep_picture(channels: int, bits: int) -> NDArray[Any]:
    """Every kind of value, black and white among them: [24, 40, channels]."""
    rng = np.random.default_rng(channels)
    samples = rng.integers(0, 2**bits, (24, 40, channels))
    samples[0, 0], samples[0, 1] = 0, 2**bits - 1
    return samples


def rounded(samples: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """round(255 v / white), which is what 8 bits are to be."""
    return np.rint(samples * (255 / (2**bits - 1))).astype(np.uint8)


def png_chunk(name: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(name + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + name + data + checksum


def write_png(path: Path, samples: NDArray[Any], bits: int = 16, *chunks: bytes) -> Path:
    """samples: [height, width, channels], 0 to 2**bits - 1. chunks: between header and pixels."""
    height, width, channels = samples.shape
    if bits == 16:
        rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    else:
        ones = np.unpackbits(samples.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
        rows = np.packbits(ones.reshape(height, -1), axis=1)
    header = struct.pack(">IIBBBBB", width, height, bits, PNG_COLOUR_TYPES[channels], 0, 0, 0)
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    path.write_bytes(
        PNG_SIGNATURE
        + png_chunk(b"IHDR", header)
        + b"".join(chunks)
        + png_chunk(b"IDAT", zlib.compress(pixels))
        + png_chunk(b"IEND", b"")
    )
    return path


def write_tiff(
    path: Path,
    samples: NDArray[Any],
    bits: int,
    *,
    white_is_zero: bool = False,
    order: str = "<",
    separate: bool = False,
    tile: int = 0,
    tags: dict[int, int] | None = None,
) -> Path:
    """An uncompressed TIFF of one strip, or of one for each channel, or of tiles.

    samples: [height, width, channels]; packed, highest bit first, where bits is not 16 or 32.
    order: of the bytes, < or >. tile: side of the tiles, 0 for strips. tags: more of them, by
    number, each one short.
    """
    height, width, channels = samples.shape
    planes = np.moveaxis(samples, 2, 0)[..., None] if separate else samples[None]
    kind = {16: f"{order}u2", 32: f"{order}u4"}.get(bits)
    if tile:
        down, across = -(-height // tile), -(-width // tile)
        room = ((0, 0), (0, down * tile - height), (0, across * tile - width), (0, 0))
        cells = np.pad(planes, room).reshape(len(planes), down, tile, across, tile, -1)
        planes = cells.swapaxes(2, 3).reshape(-1, tile, tile, cells.shape[-1])
    strips = []
    for plane in planes:
        if kind is not None:
            strips.append(plane.astype(kind).tobytes())
            continue
        digits = plane.reshape(height, -1, 1) >> np.arange(bits)[::-1] & 1
        strips.append(np.packbits(digits.reshape(height, -1).astype(np.uint8), axis=1).tobytes())
    places, lengths = (324, 325) if tile else (273, 279)
    photometric = 2 if channels >= 3 else 0 if white_is_zero else 1
    entries: dict[int, list[int]] = {
        256: [width],
        257: [height],
        258: [bits] * channels,
        259: [1],
        262: [photometric],
        277: [channels],
        **({322: [tile], 323: [tile]} if tile else {278: [height]}),
        places: [],
        lengths: [len(strip) for strip in strips],
        284: [2 if separate else 1],
        **({338: [2]} if channels in (2, 4) else {}),
        **{number: [value] for number, value in (tags or {}).items()},
    }
    start = 8 + 2 + 12 * len(entries) + 4
    outside = bytearray()
    longs = places, lengths

    def place(number: int, values: list[int]) -> bytes:
        code, kind = ("I", 4) if number in longs else ("H", 3)
        data = struct.pack(f"{order}{len(values)}{code}", *values)
        head = struct.pack(f"{order}HHI", number, kind, len(values))
        if len(data) <= 4:
            return head + data.ljust(4, b"\0")
        at = start + len(outside)
        outside.extend(data)
        return head + struct.pack(f"{order}I", at)

    def directory(first_strip: int) -> bytes:
        outside.clear()
        starts = [first_strip + sum(map(len, strips[:i])) for i in range(len(strips))]
        found = {**entries, places: starts}
        body = b"".join(place(number, found[number]) for number in sorted(found))
        return struct.pack(f"{order}H", len(found)) + body + bytes(4) + outside

    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    size = len(directory(0))
    path.write_bytes(head + directory(8 + size) + b"".join(strips))
    return path


def make_box(name: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return (8 + len(data)).to_bytes(4, "big") + name + data


def full_box(name: bytes, *parts: bytes) -> bytes:
    """A box of version 0, without flags."""
    return make_box(name, bytes(4), *parts)


def coded_item(path: Path) -> tuple[bytes, bytes]:
    """The configuration box (hvcC or av1C) and the code of the one item of a HEIF file."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        meta = box(file, 0, end, b"meta")
        data = box(file, 0, end, b"mdat")
        assert meta is not None
        assert data is not None
        properties = box(file, meta.start + 4, meta.end, b"iprp", b"ipco")
        assert properties is not None
        for name in (b"hvcC", b"av1C"):
            found = box(file, properties.start, properties.end, name)
            if found is not None:
                return make_box(name, content(file, found)), content(file, data, 1 << 30)
    raise AssertionError(f"no item in {path}")


def write_heif(
    path: Path,
    item: tuple[bytes, bytes],
    height: int,
    width: int,
    *properties: bytes,
    grid: tuple[int, int] | None = None,
    brand: bytes = b"heic",
) -> Path:
    """A HEIF file of one picture: an item as `coded_item` gives it, of height x width pixels.

    properties: boxes of the picture, in the order in which they apply. grid: (rows, columns) of
    the picture, each place of which is an item of its own with the same code; then the properties
    are the grid's.
    """
    configuration, code = item
    kind = b"hvc1" if configuration[4:8] == b"hvcC" else b"av01"

    def extent(rows: int, columns: int) -> bytes:
        return full_box(b"ispe", struct.pack(">II", columns * width, rows * height))

    def information(number: int, kind: bytes, hidden: bool) -> bytes:
        flags = b"\2\0\0" + bytes([hidden])  # version 2 names the kind by four letters
        return make_box(b"infe", flags, struct.pack(">HH", number, 0), kind, b"\0")

    boxes = [configuration, extent(1, 1), *properties]
    rows, columns = grid or (1, 1)
    tiles = range(1, rows * columns + 1)
    owned = {number: [1, 2] if grid else [*range(1, len(boxes) + 1)] for number in tiles}
    infos = [information(number, kind, hidden=grid is not None) for number in tiles]
    primary, description = 1, b""
    if grid:
        primary = len(tiles) + 1
        boxes.append(extent(rows, columns))
        owned[primary] = [len(boxes), *range(3, len(boxes))]
        size = (columns * width, rows * height)
        description = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, *size)
        infos.append(information(primary, b"grid", hidden=False))

    def associations() -> bytes:
        parts = [len(owned).to_bytes(4, "big")]
        for number, found in owned.items():
            essential = [0x80 | index for index in found]
            parts.append(struct.pack(">HB", number, len(found)) + bytes(essential))
        return full_box(b"ipma", *parts)

    def meta(start: int) -> bytes:
        extents = [(number, start, len(code)) for number in tiles]
        if grid:
            extents.append((primary, start + len(code), len(description)))
        places = b"".join(struct.pack(">HHHII", n, 0, 1, at, size) for n, at, size in extents)
        references = b""
        if grid:
            link = struct.pack(f">HH{len(tiles)}H", primary, len(tiles), *tiles)
            references = full_box(b"iref", make_box(b"dimg", link))
        return full_box(
            b"meta",
            full_box(b"hdlr", bytes(4), b"pict", bytes(12), b"\0"),
            full_box(b"pitm", struct.pack(">H", primary)),
            full_box(b"iloc", b"\x44\0", struct.pack(">H", len(extents)), places),
            full_box(b"iinf", struct.pack(">H", len(infos)), *infos),
            references,
            make_box(b"iprp", make_box(b"ipco", *boxes), associations()),
        )

    kinds = make_box(b"ftyp", brand, bytes(4), b"mif1", brand)
    start = len(kinds) + len(meta(0)) + 8
    path.write_bytes(kinds + meta(start) + make_box(b"mdat", code, description))
    return path


def clean_aperture(width: int, height: int, right: int = 0, down: int = 0) -> bytes:
    """The box clap: the size of what is shown, and how far its centre lies off the picture's."""
    return make_box(b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, right, 1, down, 1))
