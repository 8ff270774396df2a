"""Paths, bytes and binary file objects in Python."""

from __future__ import annotations

import functools
import io
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from cli_calls import save
from io_samples import ROOT, fails, make_video, picture
from PIL import Image

import tcnn_codec

OPTIONS: dict[str, Any] = {"width": 8, "steps": 200}
GOLDEN = ROOT / "tests" / "golden"


class Dribble(io.RawIOBase):
    """A file that cannot be sought in, and gives or takes a few bytes at a time."""

    def __init__(self, data: bytes = b"") -> None:
        self.data, self.taken = data, b""

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece, self.data = self.data[: min(7, len(buffer))], self.data[min(7, len(buffer)) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def write(self, data: Any) -> int:
        self.taken += bytes(data[:7])
        return min(7, len(data))


class Endless(io.RawIOBase):
    """Like /dev/zero, and counts what was read of it."""

    count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.count += 1
        assert 0 < size < 10**8
        return bytes(size)


class Failing(io.RawIOBase):
    """A file of which no byte can be read or written."""

    name = "failing"

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        raise OSError(5, "Input/output error")

    def write(self, data: Any) -> int:
        raise OSError(5, "Input/output error")


class Handed(NamedTuple):
    """One content by way of everything that it may be handed in as."""

    path: Path
    data: bytes

    def ways(self) -> list[Any]:
        shifted = io.BytesIO(b"before" + self.data)
        shifted.seek(6)
        return [
            self.path,
            str(self.path),
            self.data,
            bytearray(self.data),
            memoryview(self.data),
            io.BytesIO(self.data),
            shifted,
            Dribble(self.data),
            io.BufferedReader(Dribble(self.data)),
        ]


@pytest.fixture
def stream(tmp_path: Path) -> Handed:
    path = tmp_path / "s.tcnn"
    tcnn_codec.encode(picture(13, 21, 3), path, **OPTIONS)
    return Handed(path, path.read_bytes())


@pytest.fixture
def photo(tmp_path: Path) -> Handed:
    path = save(tmp_path / "photo.png", picture(13, 21, 3))
    return Handed(path, path.read_bytes())


@pytest.fixture
def clip(tmp_path: Path) -> Handed:
    path = tmp_path / "clip.mp4"
    make_video(path, frames=5, height=32, width=48)
    return Handed(path, path.read_bytes())


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_stream_in_every_form(stream: Handed) -> None:
    expected = tcnn_codec.decode(stream.data)
    for way in stream.ways():
        np.testing.assert_array_equal(tcnn_codec.decode(way), expected)
    for way in stream.ways():
        assert tcnn_codec.inspect(way) == tcnn_codec.inspect(stream.data)


@pytest.mark.parametrize("name", ["photo", "clip"])
def test_a_source_in_every_form(name: str, request: pytest.FixtureRequest, kept: Path) -> None:
    source: Handed = request.getfixturevalue(name)
    expected = tcnn_codec.encode(source.path, **OPTIONS)
    for way in source.ways():
        assert tcnn_codec.encode(way, **OPTIONS) == expected
        assert list(kept.iterdir()) == []


def test_a_picture_from_a_file_and_from_an_array(photo: Handed) -> None:
    pixels = np.asarray(Image.open(photo.path))
    assert tcnn_codec.encode(photo.data, **OPTIONS) == tcnn_codec.encode(pixels, **OPTIONS)


def test_a_folder_of_frames(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    frames = [picture(9, 14, 3, index) for index in range(3)]
    for index, pixels in enumerate(frames):
        save(folder / f"{index}.png", pixels)
    found = tcnn_codec.encode(folder, **OPTIONS)
    assert found == tcnn_codec.encode(np.stack(frames), frame_rate=25, **OPTIONS)


def test_frames_and_limit_of_a_file(clip: Handed) -> None:
    for way in clip.ways():
        info = tcnn_codec.inspect(tcnn_codec.encode(way, frames=(1, 3), **OPTIONS))
        assert (info.frames, len(info.timestamps)) == (2, 2)
    fails(lambda: tcnn_codec.encode(clip.data, frames=(5, 9)), "`frames` 5:9", "'<bytes>'", "0:5")
    limit = 48 * 32 * 5
    fixed = {"chunk_frames": 5, **OPTIONS}
    fails(lambda: tcnn_codec.encode(clip.data, max_pixels=limit - 1, **fixed), f"is {limit - 1}")
    assert tcnn_codec.encode(clip.data, max_pixels=limit, **fixed)
    # Left to the encoder, the chunks keep to the limit as long as a frame does.
    short = tcnn_codec.inspect(tcnn_codec.encode(clip.data, max_pixels=limit - 1, **OPTIONS))
    assert short.chunk_frames == (2, 3)
    least = 48 * 32
    fails(lambda: tcnn_codec.encode(clip.data, max_pixels=least - 1), f"limit is {least - 1}")


def test_encode_into_every_form(photo: Handed, tmp_path: Path) -> None:
    expected = tcnn_codec.encode(photo.path, **OPTIONS)
    for source in (photo.path, photo.data, np.asarray(Image.open(photo.path))):
        for target in (tmp_path / "x.tcnn", str(tmp_path / "y.tcnn")):
            assert tcnn_codec.encode(source, target, **OPTIONS) is None
            assert Path(target).read_bytes() == expected
        held, dribble = io.BytesIO(b"before"), Dribble()
        held.seek(6)
        for file in (held, dribble):
            assert tcnn_codec.encode(source, file, **OPTIONS) is None
            assert not file.closed
        assert held.getvalue() == b"before" + expected
        assert dribble.taken == expected


def test_decode_an_image_into_every_form(stream: Handed, tmp_path: Path) -> None:
    expected = tcnn_codec.decode(stream.data)
    for target in (tmp_path / "x.npy", str(tmp_path / "y.npy")):
        assert tcnn_codec.decode(stream.data, target) is None
        np.testing.assert_array_equal(np.load(target), expected)
    held, dribble = io.BytesIO(), Dribble()
    for file in (held, dribble):
        assert tcnn_codec.decode(stream.path, file) is None
    for written in (held.getvalue(), dribble.taken):
        shown = Image.open(io.BytesIO(written))
        assert shown.format == "PNG"
        np.testing.assert_array_equal(np.asarray(shown), expected)


@pytest.mark.parametrize("name", ["v3_video", "v3_grey_video"])
def test_decode_a_video_into_a_file_object(name: str, tmp_path: Path) -> None:
    source, y4m = GOLDEN / f"{name}.tcnn", tmp_path / "x.y4m"
    for options in ({}, {"frames": (2, 3)}, {"scale": 2}):
        held = io.BytesIO()
        tcnn_codec.decode(source, held, **options)
        tcnn_codec.decode(source, y4m, **options)
        assert held.getvalue() == y4m.read_bytes()


def test_a_video_with_alpha_has_no_form_there() -> None:
    held = io.BytesIO()
    source = GOLDEN / "v3_rgba_video.tcnn"
    fails(lambda: tcnn_codec.decode(source, held), "'<file>'", "no alpha", ".mkv .npy")
    assert held.getvalue() == b""


def test_what_is_no_input(tmp_path: Path) -> None:
    allowed = "allowed are a path, bytes and a binary file object"
    for value, words in (
        (3, "the input is 3 of type int"),
        (None, "the input is None of type NoneType"),
        ([1, 2], "the input is [1, 2] of type list"),
    ):
        for read in (tcnn_codec.decode, tcnn_codec.inspect):
            fails(lambda read=read, value=value: read(value), words, allowed)
    for read in (tcnn_codec.decode, tcnn_codec.inspect, tcnn_codec.encode):
        fails(functools.partial(read, "a\0b"), r"'a\x00b' is no path", "name a file")
        fails(functools.partial(read, "\ud800"), r"'\ud800' is no path", "name a file")
        fails(functools.partial(read, io.StringIO("x")), "'<file>' is opened as text", "'rb'")
        with open(tmp_path / "w", "wb") as file:
            fails(functools.partial(read, file), f"'{tmp_path / 'w'}' is not readable", "'rb'")
        fails(functools.partial(read, file), f"'{tmp_path / 'w'}' is closed", "'rb'")
        fails(functools.partial(read, Failing()), "cannot read 'failing': Input/output error")
        fails(functools.partial(read, str(tmp_path / "nope.png")), "nope.png'")
    with tempfile.NamedTemporaryFile("w+") as text:
        fails(lambda: tcnn_codec.decode(text), "is opened as text")  # type: ignore[call-overload]


def test_what_is_no_output(photo: Handed, stream: Handed, tmp_path: Path) -> None:
    """All of it is told before any fitting."""
    encode = functools.partial(tcnn_codec.encode, photo.data, steps=10**6)
    decode = functools.partial(tcnn_codec.decode, stream.data)
    source = (tmp_path / "r").open("xb")
    source.close()
    for write in (encode, decode):
        fails(lambda write=write: write(3), "the output is 3 of type int", "a path and a binary")
        fails(lambda write=write: write(b"x"), "the output is b'x' of type bytes", "a path and a")
        fails(lambda write=write: write(io.StringIO()), "opened as text", "open it with 'wb'")
        with open(tmp_path / "r", "rb") as file:
            fails(lambda write=write, file=file: write(file), "is not writable", "'wb'")
        fails(lambda write=write: write(source), "is closed", "open it with 'wb'")
    fails(lambda: encode(tmp_path / "x.png"), "x.png' is no .tcnn file", "name it 'x.tcnn'")
    fails(lambda: decode(tmp_path / "x.tcnn"), "extension '.tcnn'")
    array = np.zeros((2, 3, 3), np.uint8)
    fails(lambda: tcnn_codec.encode(array, tmp_path / "x.png"), "is no .tcnn file")
    fails(lambda: decode(Failing()), "cannot write to 'failing': Input/output error")


def test_a_broken_pipe_is_the_callers(stream: Handed) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb", buffering=0) as file, pytest.raises(BrokenPipeError):
        tcnn_codec.decode(stream.data, file)


def test_what_is_no_stream_is_not_read_to_its_end() -> None:
    for read in (tcnn_codec.decode, tcnn_codec.inspect):
        endless = Endless()
        fails(lambda read=read, endless=endless: read(endless), "begins with 00 00 00 00")
        assert endless.count == 1


def test_a_frame_rate_is_for_arrays(photo: Handed) -> None:
    fails(lambda: tcnn_codec.encode(photo.path, frame_rate=25), "`frame_rate` is 25", "leave it")


def test_errors_name_what_was_handed_in(stream: Handed, photo: Handed, kept: Path) -> None:
    cut = stream.data[:-1]
    for broken, name in ((cut, "<bytes>"), (io.BytesIO(cut), "<file>")):
        fails(lambda broken=broken: tcnn_codec.decode(broken), f"'{name}': chunk 0 ", "cut off")
    stream.path.write_bytes(cut)
    with stream.path.open("rb") as file:
        fails(lambda: tcnn_codec.decode(file), f"'{stream.path}': chunk 0 ", "cut off")
    for broken, words in (
        (b"", "input '<bytes>' is empty (0 bytes)"),
        (b"no picture" * 9, "'<bytes>' is neither an image nor a video"),
        (photo.data[: len(photo.data) // 2], "image '<bytes>' is damaged or truncated"),
    ):
        message = fails(lambda broken=broken: tcnn_codec.encode(broken), words)
        assert str(kept) not in message
        assert list(kept.iterdir()) == []


def test_no_folder_for_temporary_files(photo: Handed, kept: Path) -> None:
    kept.rmdir()
    fails(lambda: tcnn_codec.encode(photo.data), "cannot keep '<bytes>'", "TMPDIR")
