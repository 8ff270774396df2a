"""What HEIF files (HEIC and AVIF) say of their pictures, which are items and no streams.

ISO 23008-12. A demuxer shows the items of such a file, the tiles of a grid among them, as if each
were a video stream; so these files must never reach the video reader.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from tcnn_codec.io.geometry import Geometry
from tcnn_codec.io.structure import Part, box, boxes, content

_STILL_BRANDS = {b"mif1", b"mif2", b"miaf", b"avif", b"heic", b"heix", b"heim", b"heis"}
_SEQUENCE_BRANDS = {b"msf1", b"avis", b"hevc", b"hevx"}


@dataclass(frozen=True)
class HeifFacts:
    """Of a file and of its primary item.

    still: the file is to be shown as a picture, not as a sequence of pictures. tracks: whether it
    holds such a sequence too. avif: its pictures are coded as AV1. bits: of a sample, 8 where the
    file does not say. transfer: the number of the transfer function in ITU-T H.273, 2 where the
    file does not say. aperture: what is shown of the picture, as `crop_of` takes it, or None.
    """

    still: bool
    tracks: bool
    avif: bool
    bits: int
    transfer: int
    aperture: tuple[Fraction, Fraction, Fraction, Fraction] | None


def read_heif(path: Path) -> HeifFacts | None:
    """The facts of a HEIF file; None for every other file.

    HEIF is what its brands call so, and what has items and no tracks whatever its brands.
    """
    with path.open("rb") as file:
        end = file.seek(0, 2)
        parts = {part.name: part for part in boxes(file, 0, end)}
        kind, meta, tracks = parts.get(b"ftyp"), parts.get(b"meta"), b"moov" in parts
        brands = content(file, kind) if kind else b""
        major, names = brands[:4], {brands[i : i + 4] for i in range(0, len(brands), 4)}
        if not names & (_STILL_BRANDS | _SEQUENCE_BRANDS) and (meta is None or tracks):
            return None
        known: list[_Property] = []
        chosen: list[_Property] = []
        if meta is not None:
            meta = Part(meta.name, meta.start + 4, meta.end)  # behind its version and flags
            properties = box(file, meta.start, meta.end, b"iprp", b"ipco")
            known = _properties(file, properties) if properties else []
            chosen = _of_primary(file, meta, known)
        return HeifFacts(
            still=not tracks or (meta is not None and major not in _SEQUENCE_BRANDS),
            tracks=tracks,
            avif=b"avif" in names or any(name == b"av1C" for name, _ in known),
            # The item of a grid has no depth of its own, but its tiles have.
            bits=max([8, *map(_bits, chosen), *(_bits(p) for p in known if p[0] != b"pixi")]),
            transfer=next((t for p in chosen if (t := _transfer(p))), 2),
            aperture=next((clean_aperture(data) for name, data in chosen if name == b"clap"), None),
        )


def crop_of(
    aperture: tuple[Fraction, Fraction, Fraction, Fraction], height: int, width: int
) -> Geometry:
    """The crop that a clean aperture (width, height, offsets of its centre to the right and down)
    leaves of a picture of that size, in whole pixels; none where it leaves nothing.

    ISO 14496-12, section 12.1.4: the aperture's centre is the picture's, moved by the offsets.
    """
    inner_width, inner_height, x, y = aperture
    left = round((width - inner_width) / 2 + x)
    top = round((height - inner_height) / 2 + y)
    right, bottom = width - left - round(inner_width), height - top - round(inner_height)
    edges = [max(0, edge) for edge in (left, top, right, bottom)]
    found = Geometry(1, *edges)
    try:
        found.shown_size(height, width)
    except ValueError:
        return Geometry()
    return found


_Property = tuple[bytes, bytes]


def _properties(file: BinaryIO, container: Part) -> list[_Property]:
    parts = boxes(file, container.start, container.end)
    return [(part.name, content(file, part)) for part in parts]


def _of_primary(file: BinaryIO, meta: Part, known: list[_Property]) -> list[_Property]:
    """The properties that are associated with the primary item."""
    primary, table = (
        box(file, meta.start, meta.end, *names) for names in ((b"pitm",), (b"iprp", b"ipma"))
    )
    if primary is None or table is None:
        return []
    number = content(file, primary)
    item = int.from_bytes(number[4:6] if number[0] == 0 else number[4:8], "big")
    data = content(file, table)
    wide_items, wide_numbers = data[0] >= 1, data[3] & 1
    at, chosen = 8, []
    for _ in range(int.from_bytes(data[4:8], "big")):
        if at >= len(data):
            break
        size = 4 if wide_items else 2
        owner = int.from_bytes(data[at : at + size], "big")
        count = data[at + size] if at + size < len(data) else 0
        at += size + 1
        for _ in range(count):
            step = 2 if wide_numbers else 1
            index = int.from_bytes(data[at : at + step], "big") & (0x7FFF if wide_numbers else 0x7F)
            at += step
            if owner == item and 1 <= index <= len(known):
                chosen.append(known[index - 1])
    return chosen


def _bits(found: _Property) -> int:
    name, data = found
    if name == b"pixi" and len(data) > 5:
        return max(data[5 : 5 + data[4]])
    if name == b"av1C" and len(data) > 2:
        return 12 if data[2] & 0x20 else 10 if data[2] & 0x40 else 8
    if name == b"hvcC" and len(data) > 17:
        return 8 + (data[17] & 7)
    return 0


def _transfer(found: _Property) -> int | None:
    name, data = found
    if name == b"colr" and data[:4] == b"nclx" and len(data) >= 8:
        return int.from_bytes(data[6:8], "big")
    return None


def clean_aperture(data: bytes) -> tuple[Fraction, Fraction, Fraction, Fraction] | None:
    """The aperture, as `crop_of` takes it, in a clap box's content; None where it is malformed."""
    if len(data) < 32:
        return None
    numbers = struct.unpack(">IIIIiIiI", data[:32])
    if 0 in numbers[1::2]:
        return None
    width, height, x, y = map(Fraction, numbers[::2], numbers[1::2])
    return width, height, x, y
