"""What containers say of the geometry of their pictures: display matrices and crops."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from io_samples import (
    Pipe,
    Pixels,
    encode_onto,
    encode_packets,
    insert_box,
    make_video,
    mux_packets,
    notes_of,
    picture,
    psnr,
    read_all,
    refuses,
    video_track,
)

from tcnn_codec.io.geometry import Geometry
from tcnn_codec.io.tracks import Track, read_track

ONE = 1 << 16
#: By orientation, as EXIF numbers them: FFmpeg's a, b, c, d, and what becomes of the pixels.
ORIENTATIONS: dict[int, tuple[tuple[int, int, int, int], Any]] = {
    1: ((1, 0, 0, 1), lambda p: p),
    2: ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    3: ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
    4: ((1, 0, 0, -1), lambda p: p[::-1]),
    5: ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
    6: ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    7: ((0, -1, -1, 0), lambda p: np.rot90(p, 2).swapaxes(0, 1)),
    8: ((0, -1, 1, 0), lambda p: np.rot90(p)),
}
SAMPLE_ENTRY = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"]


def write_lossless(path: Path, matrix: tuple[float, ...] = (1, 0, 0, 1)) -> list[Pixels]:
    """Three frames, 64x48, with a display matrix a, b, c, d; returns them as they are stored."""
    import av

    frames = [picture(48, 64, 3, index) for index in range(3)]
    with av.open(str(path), "w") as container:
        track = video_track(container, "libx264rgb", "rgb24", options={"qp": "0"})
        a, b, c, d = (round(ONE * number) for number in matrix)
        track.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        encode_onto(container, track, frames)
    return frames


def clap(width: Fraction, height: Fraction, x: Fraction, y: Fraction) -> bytes:
    """A clean aperture box, ISO 14496-12, 12.1.4."""
    numbers = [n for value in (width, height, x, y) for n in value.as_integer_ratio()]
    return struct.pack(">I4sIIIIiIiI", 40, b"clap", *numbers)


def write_matroska(path: Path, crops: dict[int, int]) -> list[Pixels]:
    """Three frames, 64x48; crops: pixels by the second byte of the name of PixelCrop's element."""
    import av

    pipe = Pipe()
    frames = [picture(48, 64, 3, index) for index in range(3)]
    with av.open(pipe, "w", format="matroska", options={"live": "1"}) as container:
        encode_onto(container, video_track(container, "ffv1", "bgr0"), frames)
    data = bytes(pipe.data)
    added = b"".join(bytes((0x54, name, 0x81, crop)) for name, crop in crops.items())
    tracks = data.index(b"\x16\x54\xae\x6b", data.index(b"\xec"))  # behind what points to it
    entry = data.index(b"\xae\x01\0\0\0\0\0", tracks + 4)
    video = data.index(b"\xe0", data.index(b"\x83\x81\x01\x23\xe3\x83", entry) + 10)
    changed = bytearray(data)
    changed[video + 1] += len(added)
    changed[entry + 8] += len(added)
    length = data[video + 1] & 0x7F
    changed[video + 2 + length : video + 2 + length] = added
    size_bytes = 9 - data[tracks + 4].bit_length()
    size = int.from_bytes(data[tracks + 4 : tracks + 4 + size_bytes], "big")
    size = size - (1 << 7 * size_bytes) + len(added) + (1 << 7 * 8)
    changed[tracks + 4 : tracks + 4 + size_bytes] = size.to_bytes(8, "big")
    path.write_bytes(bytes(changed))
    return frames


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_all_orientations_of_mp4(tmp_path: Path, name: str, orientation: int) -> None:
    matrix, shown = ORIENTATIONS[orientation]
    frames = write_lossless(tmp_path / name, matrix)
    for frame, pixels in zip(read_all(tmp_path / name), frames, strict=True):
        np.testing.assert_array_equal(frame.pixels, shown(pixels))
    assert not notes_of(tmp_path / name)


# Matroska has turns about an axis, so those orientations that FFmpeg writes as such.
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_all_orientations_of_matroska(tmp_path: Path, orientation: int) -> None:
    matrix, shown = ORIENTATIONS[orientation]
    frames = write_lossless(tmp_path / "a.mkv", matrix)
    for frame, pixels in zip(read_all(tmp_path / "a.mkv"), frames, strict=True):
        np.testing.assert_array_equal(frame.pixels, shown(pixels))


def test_other_angles_are_rounded_and_noted(tmp_path: Path) -> None:
    for degrees, orientation, off in ((30, 1, 30), (100, 6, 10), (-80, 8, 10), (179, 3, 1)):
        angle = np.deg2rad(degrees)
        matrix = (np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle))
        frames = write_lossless(tmp_path / "a.mp4", matrix)
        shown = ORIENTATIONS[orientation][1]
        np.testing.assert_array_equal(read_all(tmp_path / "a.mp4")[0].pixels, shown(frames[0]))
        note = f"a rotation is rounded to quarter turns, by {off} degrees"
        assert notes_of(tmp_path / "a.mp4") == (note,)


def turned_after(path: Path, index: int, *, quarters: int, mirrored: bool = False) -> None:
    """Raw H.264 of six frames, 64x48, with a display orientation SEI from one of them on."""
    packets = encode_packets(
        "libx264",
        [picture(48, 64, 3, i) for i in range(6)],
        "yuv420p",
        {"bf": "0", "g": "1", "qp": "10", "annexb": "1", "x264-params": "repeat-headers=1"},
    )
    # ITU-T H.264, D.1.27: cancel 0, mirrors, angle of 16 bits, repeat 1 as ue(v), extension 0.
    bits = f"0{int(mirrored)}0{quarters << 14:016b}0100"
    bits += "1" + "0" * (-(len(bits) + 1) % 8)
    payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
    sei = b"\0\0\0\1\x06" + bytes([47, len(payload)])
    # Zeros are kept apart, as no start code may appear.
    escaped = payload.replace(b"\0\0", b"\0\0\3")
    unit = sei + escaped + b"\x80"
    packets[index:] = [unit + packet for packet in packets[index:]]
    path.write_bytes(b"".join(packets))


def test_a_turn_in_mid_clip_is_honoured(tmp_path: Path) -> None:
    turned_after(tmp_path / "a.h264", 3, quarters=2)
    for index, frame in enumerate(read_all(tmp_path / "a.h264")):
        pixels = picture(48, 64, 3, index)
        assert psnr(frame.pixels, pixels if index < 3 else pixels[::-1, ::-1]) > 35
    turned_after(tmp_path / "a.h264", 3, quarters=1)
    refuses(tmp_path / "a.h264", "frame 3 of", "is 48x64 and the first 64x48", "`frames` 0:3")
    assert len(read_all(tmp_path / "a.h264", 0, 3)) == 3


@pytest.mark.parametrize(
    ("crops", "box"),
    [
        ({0xCC: 8, 0xDD: 2, 0xBB: 4, 0xAA: 6}, (slice(4, 42), slice(8, 62))),
        ({0xBB: 1}, (slice(1, 48), slice(0, 64))),
        ({}, (slice(0, 48), slice(0, 64))),
    ],
)
def test_matroska_crops(tmp_path: Path, crops: dict[int, int], box: tuple[slice, slice]) -> None:
    frames = write_matroska(tmp_path / "a.mkv", crops)
    for frame, pixels in zip(read_all(tmp_path / "a.mkv"), frames, strict=True):
        np.testing.assert_array_equal(frame.pixels, pixels[box])


def test_a_crop_that_leaves_nothing_counts_as_absent() -> None:
    assert Track(edges=Geometry(left=40, right=30)).crop(48, 64) == Geometry()


@pytest.mark.parametrize(
    ("numbers", "box"),
    [
        ((48, 32, 0, 0), (slice(8, 40), slice(8, 56))),
        ((48, 32, -8, 8), (slice(16, 48), slice(0, 48))),
        ((Fraction(95, 2), 32, Fraction(1, 4), 0), (slice(8, 40), slice(8, 56))),
        ((64, 48, 0, 0), (slice(0, 48), slice(0, 64))),
        ((0, 32, 0, 0), (slice(0, 48), slice(0, 64))),  # nothing
        ((48, 32, 500, 0), (slice(0, 48), slice(0, 64))),  # outside
    ],
)
@pytest.mark.parametrize("orientation", [1, 2, 6])
def test_clean_apertures(
    tmp_path: Path, numbers: tuple[Any, ...], box: tuple[slice, slice], orientation: int
) -> None:
    """They are cut from the stored picture, before it is turned."""
    matrix, shown = ORIENTATIONS[orientation]
    frames = write_lossless(tmp_path / "a.mp4", matrix)
    aperture = clap(*(Fraction(number) for number in numbers))
    path = tmp_path / "a.mp4"
    path.write_bytes(insert_box(path.read_bytes(), SAMPLE_ENTRY, aperture))
    for frame, pixels in zip(read_all(path), frames, strict=True):
        np.testing.assert_array_equal(frame.pixels, shown(pixels[box]))


@pytest.mark.parametrize(
    "box",
    [
        b"\0\0\0\x0cclap\0\0\0\1",  # too short
        struct.pack(">I4sIIIIiIiI", 40, b"clap", 48, 0, 32, 1, 0, 1, 0, 1),  # by zero
        struct.pack(">I4sIIIIiIiI", 0xFFFFFFF0, b"clap", 48, 1, 32, 1, 0, 1, 0, 0),
    ],
)
def test_malformed_apertures_count_as_absent(tmp_path: Path, box: bytes) -> None:
    path = tmp_path / "a.mp4"
    write_lossless(path)
    path.write_bytes(insert_box(path.read_bytes(), SAMPLE_ENTRY, box))
    track = read_track(path, "mov,mp4", 1, 0, 1)
    assert track.codec == "avc1"
    assert track.crop(48, 64) == Geometry()


def test_only_the_track_that_is_read_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_video(path, streams=2, frames=3)
    aperture = clap(Fraction(48), Fraction(32), Fraction(0), Fraction(0))
    path.write_bytes(insert_box(path.read_bytes(), SAMPLE_ENTRY, aperture))
    crops = [read_track(path, "mov,mp4", id, 0, 2).crop(48, 64) for id in (1, 2, 3)]
    assert crops == [Geometry(1, 8, 8, 8, 8), Geometry(), Geometry()]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_damaged_headers_end_the_search(tmp_path: Path, name: str) -> None:
    """Whatever the sizes say: every byte of the file set to 0 and to 255 in turn."""
    path = tmp_path / name
    packets = encode_packets("mjpeg", [picture(48, 64, 3)], "yuvj420p")
    mux_packets(path, "mjpeg", packets)
    data = path.read_bytes()
    demuxer = {"a.mp4": "mov,mp4", "a.mkv": "matroska,webm", "a.avi": "avi"}[name]
    for place in range(0, len(data), 5):
        for value in (0, 255):
            changed = bytearray(data)
            changed[place] = value
            path.write_bytes(bytes(changed))
            read_track(path, demuxer, 1, 0, 1).crop(48, 64)
