"""Files that end too early, files whose sizes are left open, and which of the two it is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from io_samples import (
    Pipe,
    encode_packets,
    make_video,
    mux_packets,
    notes_of,
    packet_places,
    picture,
    read_all,
    refuses,
)

from tcnn_codec.io.elements import ebml_elements, riff_chunks
from tcnn_codec.io.endings import is_cut_short

OPEN = b"\xff\xff\xff\xff"


def write_pipe(path: Path, format: str, codec: str, options: dict[str, str] | None = None) -> None:
    """Eight frames, 64x48, as they go into a pipe."""
    import av

    pipe = Pipe()
    with av.open(pipe, "w", format=format, options=options or {}) as container:
        track: Any = container.add_stream(codec, rate=25)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for index in range(8):
            frame = av.VideoFrame.from_ndarray(picture(48, 64, 3, index), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    path.write_bytes(pipe.data)


FRAGMENTS = {"movflags": "frag_every_frame+empty_moov+default_base_moof"}


@pytest.mark.parametrize(
    ("format", "codec", "options"),
    [
        ("avi", "mpeg4", {}),
        ("matroska", "libx264", {}),
        ("matroska", "libx264", {"live": "1"}),
        ("webm", "libvpx", {"cluster_time_limit": "80"}),
        ("mp4", "libx264", FRAGMENTS),
        ("nut", "ffv1", {}),
        ("flv", "flv", {}),
        ("mpegts", "libx264", {}),
        ("ogg", "libvpx", {}),
        ("ivf", "libvpx", {}),
        ("asf", "msmpeg4v3", {}),
    ],
)
def test_piped_files_are_whole(
    tmp_path: Path, format: str, codec: str, options: dict[str, str]
) -> None:
    path = tmp_path / "a"
    write_pipe(path, format, codec, options)
    assert len(read_all(path)) == 8
    assert not notes_of(path)


@pytest.mark.parametrize(
    ("format", "codec", "options"),
    [
        ("avi", "mpeg4", {}),
        ("matroska", "libx264", {}),
        ("matroska", "libx264", {"live": "1"}),
        ("mp4", "libx264", FRAGMENTS),
    ],
)
def test_a_piped_file_that_is_cut_is_told(
    tmp_path: Path, format: str, codec: str, options: dict[str, str]
) -> None:
    path = tmp_path / "a"
    write_pipe(path, format, codec, options)
    place, size = packet_places(path)[5]
    path.write_bytes(path.read_bytes()[: place + size // 2])
    refuses(path, "cut short", "`frames` 0:")


def avi(*, riff: bytes | int = 0, movi: bytes | int = 0, more: int = 0) -> bytes:
    """An AVI file with sizes as given, bytes or what is added to the right ones, and `more` lists
    of a further gigabyte."""
    frame = b"00dc\x05\0\0\0abcde\0"
    body = b"LIST" + _size(4 + 3 * len(frame), movi) + b"movi" + 3 * frame
    first = b"RIFF" + _size(4 + len(body), riff) + b"AVI " + body
    body = b"LIST" + _size(4 + len(frame), 0) + b"movi" + frame
    return first + more * (b"RIFF" + _size(4 + len(body), 0) + b"AVIX" + body)


def _size(right: int, given: bytes | int) -> bytes:
    return given if isinstance(given, bytes) else (right + given).to_bytes(4, "little")


def test_sizes_of_avi(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"

    def cut(data: bytes, dropped: int = 0) -> bool:
        path.write_bytes(data[: len(data) - dropped])
        return is_cut_short(path)

    for whole in (
        avi(),
        avi(more=2),
        avi(riff=8),  # by writers that count the header too
        avi(riff=OPEN, movi=OPEN),
        avi(riff=bytes(4), movi=bytes(4)),
        avi(riff=OPEN),
        avi(riff=OPEN, movi=OPEN) + b"idx1" + bytes(4),
        avi() + b"\0appended",
    ):
        assert not cut(whole)
    assert not cut(avi(riff=OPEN, movi=OPEN), 1)  # that is only padding
    for whole in (avi(), avi(more=1), avi(riff=8), avi(riff=OPEN, movi=OPEN), avi(riff=OPEN)):
        assert cut(whole, 2)
        assert cut(whole, 10)
    assert cut(avi(riff=14))  # a whole chunk is missing
    assert not cut(avi(riff=OPEN, movi=OPEN), 14)  # which nothing tells here


def test_sizes_of_mp4(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_video(path, frames=8, muxing={"movflags": "faststart"}, options={"bf": "0"})
    data = path.read_bytes()
    media = data.index(b"mdat") - 4
    place, size = packet_places(path)[6]
    for changed in (
        data,
        data[:media] + bytes(4) + data[media + 4 :],  # to the end of the file
        data + bytes(5),
        data + b"\0\x10\0\0SEFT" + b"what a camera appends",
        data + b"\0\0\0\x0csidx1234",
    ):
        path.write_bytes(changed)
        assert len(read_all(path)) == 8
        path.write_bytes(changed[: place + size - 1])
        refuses(path, "cut short", "6 of its frames")
    path.write_bytes(b"\0\0\0\x0csidx1234".join((data[:media], data[media : place + 1])))
    assert is_cut_short(path)


def test_an_mp4_without_its_index_is_said_to_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_video(path, frames=8)
    path.write_bytes(path.read_bytes()[:600])
    refuses(path, "no frame", "cut short")


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "note"),
    [
        ("a.y4m", "wrapped_avframe", "yuv420p", "its last frame has 2304 of 4608 bytes"),
        ("a.ivf", "libvpx", "yuv420p", "of its last frame "),
        ("a.flv", "flv", "yuv420p", "of its last frame "),
        ("a.mxf", "mpeg2video", "yuv420p", "of its last frame "),
        ("a.ts", "mpeg2video", "yuv420p", " of 188 bytes, and frames may be missing"),
        ("a.obu", "libsvtav1", "yuv420p", " bytes, and frames may be missing"),
    ],
)
def test_a_last_frame_that_is_not_whole_is_left_out_and_noted(
    tmp_path: Path, name: str, codec: str, pixel_format: str, note: str
) -> None:
    path = tmp_path / name
    made = make_video(path, codec=codec, pixel_format=pixel_format, frames=8)
    whole = read_all(path)
    assert len(whole) == len(made)
    place, size = packet_places(path)[-1]
    path.write_bytes(path.read_bytes()[: place + size // 2])
    read = read_all(path)
    assert len(read) == 7
    for frame, expected in zip(read, whole, strict=False):
        assert (frame.pixels == expected.pixels).all()
    notes = notes_of(path)
    assert len(notes) == 1
    assert notes[0].startswith("the file is cut short: ")
    assert note in notes[0]
    assert len(read_all(path, 0, 5)) == 5


def test_a_cut_dv_file(tmp_path: Path) -> None:
    """FFmpeg would fill the last frame with the one before."""
    path = tmp_path / "a.dv"
    make_video(path, codec="dvvideo", height=576, width=720, frames=3)
    path.write_bytes(path.read_bytes()[: 2 * 144_000 + 99])
    assert len(read_all(path)) == 2
    assert "its last frame has 99 of 144000 bytes and is left out" in " ".join(notes_of(path))


def test_a_cut_ogg_page(tmp_path: Path) -> None:
    path = tmp_path / "a.ogv"
    make_video(path, codec="libvpx", frames=8, muxing={"page_duration": "1"})
    path.write_bytes(path.read_bytes()[:-3])
    assert len(read_all(path)) == 7
    assert "and frames may be missing" in notes_of(path)[0]


def test_a_y4m_cut_in_its_first_frame_or_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.y4m"
    make_video(path, codec="wrapped_avframe", frames=2)
    data = path.read_bytes()
    start = data.index(b"FRAME", data.index(b"FRAME") + 1)
    path.write_bytes(data[: start + 3])
    assert len(read_all(path)) == 1
    assert "its last frame has 3 of 4608 bytes" in notes_of(path)[0]
    path.write_bytes(data[:start])
    assert not notes_of(path)
    path.write_bytes(data[: start - 100])
    refuses(path, "no video frame")


def test_the_last_frame_s_damage_is_told_where_decoders_report_late(tmp_path: Path) -> None:
    """Frame threads would report it as the decoder is emptied, where PyAV drops it."""
    path = tmp_path / "a.nut"
    make_video(path, codec="ffv1", frames=8)
    place, size = packet_places(path)[-1]
    path.write_bytes(path.read_bytes()[: place + size // 2])
    refuses(path, "7 of its frames", "`frames` 0:7")


def test_walks_end(tmp_path: Path) -> None:
    for data in (
        b"",
        b"\0",
        bytes(64),
        b"\xff" * 64,
        b"LIST" * 16,
        b"\xec\x80" * 40,
        b"ab\0\0" * 9,
    ):
        path = tmp_path / "a"
        path.write_bytes(data)
        with path.open("rb") as file:
            for walk in (ebml_elements, riff_chunks):
                found = list(walk(file, 0, len(data)))
                assert all(not a.open and a.end >= a.start for a in found[:-1])


def test_a_frame_that_claims_more_than_the_file_has(tmp_path: Path) -> None:
    path = tmp_path / "a.ivf"
    packets = encode_packets("libvpx", [picture(48, 64, 3, i) for i in range(4)], "yuv420p")
    mux_packets(path, "libvpx", packets, pixel_format="yuv420p")
    data = bytearray(path.read_bytes())
    place = data.index(packets[1][:20]) - 12  # the frame's size, 4 bytes
    data[place : place + 4] = (1 << 20).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    assert len(read_all(path)) == 1
    assert "cut short" in notes_of(path)[0]
