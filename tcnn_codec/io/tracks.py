"""What a container says of a video track and no library tells: the name of its codec, its crop.

Read from the file's own bytes. What is malformed counts as absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from tcnn_codec.io.elements import ebml_elements, riff_chunks
from tcnn_codec.io.geometry import Geometry
from tcnn_codec.io.heif import clean_aperture, crop_of
from tcnn_codec.io.structure import Part, box, boxes, content, find

# Matroska (RFC 9559): names of elements.
_SEGMENT, _TRACKS, _TRACK = b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae"
_TRACK_TYPE, _CODEC, _VIDEO = b"\x83", b"\x86", b"\xe0"
_CROPS = {b"\x54\xcc": "left", b"\x54\xbb": "top", b"\x54\xdd": "right", b"\x54\xaa": "bottom"}
# ISO 14496-12: bytes before the boxes in a sample description box, and in a visual sample entry.
_STSD_HEAD, _ENTRY_HEAD = 8, 78
_MOST_PARTS = 4096  # of one level: no header of a real file has as many


@dataclass(frozen=True)
class Track:
    """codec: as the container names it, "" where it is not known.

    edges: pixels that are cut off each side of the stored picture. aperture: what is shown of it,
    as `crop_of` takes it, or None. A container states one of the two, or neither.
    """

    codec: str = ""
    edges: Geometry = field(default_factory=Geometry)
    aperture: tuple[Fraction, Fraction, Fraction, Fraction] | None = None

    def crop(self, height: int, width: int) -> Geometry:
        """The crop of a stored picture of that size; none where it would leave nothing of it."""
        if self.aperture is not None:
            return crop_of(self.aperture, height, width)
        try:
            self.edges.shown_size(height, width)
        except ValueError:
            return Geometry()
        return self.edges


def read_track(path: Path, demuxer: str, id: int, place: int, count: int) -> Track:
    """What the file says of a video track.

    demuxer: FFmpeg's name. id: the stream's. place: the stream's among the `count` video streams
    that FFmpeg found, from 0. An empty Track where the track cannot be told from others.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        match demuxer.split(",")[0]:
            case "mov":
                return _mp4_track(file, size, id) or Track()
            case "matroska":
                found = list(islice(_matroska_tracks(file, size), _MOST_PARTS))
            case "avi":
                found = list(islice(_avi_tracks(file, size), _MOST_PARTS))
            case _:
                found = []
    return found[place] if len(found) == count else Track()


def _mp4_track(file: BinaryIO, size: int, id: int) -> Track | None:
    movie = box(file, 0, size, b"moov")
    if movie is None:
        return None
    for track in islice(boxes(file, movie.start, movie.end), _MOST_PARTS):
        if track.name != b"trak" or _mp4_id(file, track) != id:
            continue
        table = box(file, track.start, track.end, b"mdia", b"minf", b"stbl", b"stsd")
        if table is None:
            return None
        # A track may have several sample entries, but pictures of one size have one aperture.
        entry = next(boxes(file, table.start + _STSD_HEAD, table.end), None)
        if entry is None:
            return None
        aperture = box(file, entry.start + _ENTRY_HEAD, entry.end, b"clap")
        return Track(
            codec=_text(entry.name),
            aperture=clean_aperture(content(file, aperture)) if aperture else None,
        )
    return None


def _mp4_id(file: BinaryIO, track: Part) -> int | None:
    header = box(file, track.start, track.end, b"tkhd")
    if header is None:
        return None
    data = content(file, header, 24)
    at = 20 if data[:1] == b"\1" else 12  # behind two times, of 64 bits in version 1
    return int.from_bytes(data[at : at + 4], "big")


def _matroska_tracks(file: BinaryIO, size: int) -> Iterator[Track]:
    """The video tracks that FFmpeg makes streams of, which all have a codec."""
    tracks = find(ebml_elements, file, 0, size, _SEGMENT, _TRACKS)
    for entry in ebml_elements(file, tracks.start, tracks.end) if tracks else ():
        if entry.name != _TRACK or entry.open:
            continue
        parts = {part.name: part for part in _inside(file, entry)}
        kind, codec = parts.get(_TRACK_TYPE), parts.get(_CODEC)
        if kind is None or codec is None or content(file, kind) != b"\1":
            continue
        video = parts.get(_VIDEO)
        edges = {}
        for part in _inside(file, video) if video else ():
            if part.name in _CROPS:
                edges[_CROPS[part.name]] = int.from_bytes(content(file, part, 8), "big")
        yield Track(_text(content(file, codec)), Geometry(1, **edges))


def _inside(file: BinaryIO, element: Part) -> Iterator[Part]:
    """Nothing where the size of the element is left open."""
    end = element.start if element.open else element.end
    return islice(ebml_elements(file, element.start, end), _MOST_PARTS)


def _avi_tracks(file: BinaryIO, size: int) -> Iterator[Track]:
    """By the headers of the streams, type and code of the compressor."""
    header = find(riff_chunks, file, 0, size, b"AVI ", b"hdrl")
    for stream in riff_chunks(file, header.start, header.end) if header else ():
        if stream.name != b"strl" or stream.open:
            continue
        parts = {part.name: part for part in riff_chunks(file, stream.start, stream.end)}
        kind, form = parts.get(b"strh"), parts.get(b"strf")
        if kind is not None and form is not None and content(file, kind, 4) == b"vids":
            yield Track(_text(content(file, form, 20)[16:20]))


def _text(name: bytes) -> str:
    """A codec's name as part of a line."""
    return "".join(c for c in name.decode("latin-1") if c.isprintable()).strip()[:40]
