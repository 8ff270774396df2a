"""Whatever a user gets wrong: status 2, one line that says what to do, and nothing written."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_calls import SMALL, Terminal, assert_refusal, call, save, succeeds
from io_samples import ROOT, make_video, overwrite, packet_places, picture

from tcnn_codec import progress
from tcnn_codec.families.siren import fitter, payload

GOLDEN = ROOT / "tests" / "golden" / "v3_grey.tcnn"
SHAPE = (0, 12, 1400, 3, 8)  # family, frequencies, 1000 scale, hidden layers, width

Snapshot = dict[str, bytes | None]


def snapshot(folder: Path) -> Snapshot:
    """Every name under a folder, with the content of each file."""
    names = sorted(folder.rglob("*"))
    return {str(name): name.read_bytes() if name.is_file() else None for name in names}


def varint(value: int) -> bytes:
    digits = bytearray()
    while value >= 128:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def header(*fields: int) -> bytes:
    """The header of a version 3 stream with valid checksum, after docs/format.md."""
    body = b"".join(map(varint, fields))
    head = b"\x89TCN\x03" + varint(len(body)) + body
    return head + zlib.crc32(head).to_bytes(4, "little")


def sealed(payload: bytes) -> bytes:
    """The record of chunk 0."""
    return payload + zlib.crc32(bytes(4) + payload).to_bytes(4, "little")


def png_of_size(width: int, height: int) -> bytes:
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    chunks = ((b"IHDR", size + b"\x08\x02\0\0\0"), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    parts = (
        len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good and bad inputs; nothing in it may change."""
    folder = tmp_path_factory.mktemp("made")
    photo = save(folder / "photo.png", picture(20, 30, 3)).read_bytes()
    save(folder / "photo4.png", picture(20, 30, 4))
    save(folder / "wide.png", np.zeros((1, 65537, 3), np.uint8))
    make_video(folder / "clip.mp4", frames=6, height=32, width=32)
    succeeds("encode", folder / "photo.png", folder / "photo.tcnn", *SMALL)
    succeeds("encode", folder / "clip.mp4", folder / "clip.tcnn", *SMALL, "--chunk-frames", 2)
    shutil.copy(folder / "photo.tcnn", folder / "stream.png")
    (folder / "link.tcnn").symlink_to("photo.png")
    for name in ("hollow", "texts", "mixed", "folder.tcnn"):
        (folder / name).mkdir()
    save(folder / "mixed" / "0.png", picture(8, 8, 3))
    save(folder / "mixed" / "1.png", picture(8, 9, 3))
    for name, data in (
        ("texts/a.txt", b"text"),
        ("empty.png", b""),
        ("empty.tcnn", b""),
        ("text.png", b"no picture at all\n" * 9),
        ("cut.png", photo[: len(photo) // 2]),
        ("zero.png", png_of_size(0, 5)),
        ("zero.y4m", b"YUV4MPEG2 W16 H16 F25:1 C444\n"),
        ("broken.mp4", (folder / "clip.mp4").read_bytes()),
        ("giant.tcnn", header(0, 10**9, 10**9, 3, *SHAPE, 9) + sealed(bytes(9))),
        ("large.tcnn", header(0, 65536, 65536, 3, *SHAPE, 9) + sealed(bytes(9))),
        ("long.tcnn", header(0, 16, 16, 3, *SHAPE, 2**62)),
        ("noise.tcnn", header(0, 16, 16, 3, *SHAPE, 900) + sealed(b"x" * 900)),
        ("version.tcnn", GOLDEN.read_bytes()[:4] + b"\4" + GOLDEN.read_bytes()[5:]),
        ("older.tcnn", GOLDEN.read_bytes()[:4] + b"\2" + GOLDEN.read_bytes()[5:]),
    ):
        (folder / name).write_bytes(data)
    position, size = packet_places(folder / "clip.mp4")[0]
    overwrite(folder / "broken.mp4", position + 8, b"\xff" * (size - 8))
    return folder


@pytest.fixture
def refused(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """refused(*arguments): the one line, after the checks that every refusal has to pass."""
    monkeypatch.chdir(made)
    before = snapshot(made)

    def check(*arguments: object) -> str:
        called = call(*arguments)
        assert_refusal(called)
        return called.err

    yield check
    assert snapshot(made) == before


ENCODE = "encode photo.png x.tcnn --steps 1 "
DECODE = "decode photo.tcnn x.png "
EVAL = "eval photo.png photo.tcnn "
HELP = "see `python -m tcnn_codec --help`"

# The value, what is allowed, and the remedy.
CASES = {
    "encode nope.png x.tcnn": ("'nope.png'", "does not exist", "check the path"),
    "encode hollow x.tcnn": ("'hollow'", "no frames", "none of its files is one of", ".png"),
    "encode texts x.tcnn": ("'texts'", "no frames", "none of its files is one of", ".png"),
    "encode mixed x.tcnn": ("'mixed/1.png'", "9x8", "8x8", "must be alike", "convert or remove"),
    "encode text.png x.tcnn": ("'text.png'", "neither an image nor a video", "give a PNG"),
    "encode empty.png x.tcnn": ("'empty.png'", "0 bytes", "give an image or a video"),
    "encode cut.png x.tcnn": ("'cut.png'", "damaged or truncated", "replace or re-export"),
    "encode zero.png x.tcnn": ("'zero.png'", "give a PNG"),
    "encode zero.y4m x.tcnn": ("'zero.y4m'", "no video frame", "at least one"),
    "encode broken.mp4 x.tcnn": ("'broken.mp4'", "damaged or cut short"),
    "encode photo.tcnn x.tcnn": ("'photo.tcnn'", "a stream already", "decode it"),
    "encode /dev/zero x.tcnn": ("'/dev/zero'", "no regular file", "give a file"),
    "encode photo.png photo.png": ("'photo.png'", "no .tcnn file", "name it 'photo.tcnn'"),
    "encode photo.png photo4.png": ("'photo4.png'", "no .tcnn file", "name it 'photo4.tcnn'"),
    "encode photo.png link.tcnn": ("'link.tcnn'", "the input itself", "another output name"),
    "encode photo.png ./hollow/../link.tcnn": ("the input itself", "another output name"),
    "encode photo.png no/x.tcnn": ("'no/x.tcnn'", "'no' does not exist", "create it"),
    "encode photo.png clip.mp4/x.tcnn": ("'clip.mp4' is not a folder", "create it"),
    "encode photo.png /proc/x.tcnn": ("'/proc/x.tcnn'", "choose another name or folder"),
    "encode photo.png hollow": ("'hollow'", "no .tcnn file", "name it 'hollow.tcnn'"),
    "encode photo.png /dev/full": ("'/dev/full'", "no .tcnn file", "name it 'full.tcnn'"),
    "encode photo.png folder.tcnn": ("'folder.tcnn'", "is a folder", "name a file"),
    f"encode photo.png {'x' * 300}.tcnn": ("too long", "choose another name"),
    ENCODE + "--width 0": ("--width is 0;", "1 to 128", "32 suits small files"),
    ENCODE + "--width 129": ("--width is 129;", "1 to 128", "32 suits small files"),
    ENCODE + "--width -1": ("--width is -1;", "1 to 128", "32 suits small files"),
    ENCODE + "--width wide": ("--width", "'wide'", "not a whole number", "such as 32", HELP),
    ENCODE + "--width 8.5": ("--width", "'8.5'", "not a whole number", "such as 32", HELP),
    ENCODE + "--bits 3": ("--bits is 3;", "4 to 12", "6 is usual"),
    ENCODE + "--bits 13": ("--bits is 13;", "4 to 12", "6 is usual"),
    ENCODE + "--steps 0": ("--steps is 0;", "1 to 10000000", "choose a --preset"),
    ENCODE + "--hidden-layers 33": ("--hidden-layers is 33;", "0 to 32", "3 is usual"),
    ENCODE + "--frequencies 33": ("--frequencies is 33;", "0 to 32", "leave it out"),
    ENCODE + "--chunk-frames 0": ("--chunk-frames is 0;", "1 to 4096", "leave it out for 'auto'"),
    ENCODE + "--seed -1": ("--seed is -1;", "0 to 9223372036854775807", "0 is usual"),
    ENCODE + "--threads -1": ("--threads is -1;", "0 to 1024", "0 takes every core"),
    ENCODE + "--preset slow": ("--preset is 'slow'", "fast, balanced, best", "usual"),
    ENCODE + "--backend gpu": ("--backend is 'gpu'", "auto", "torch", "cpu, cuda", "usual"),
    ENCODE + "--frames 2:2": ("--frames", "'2:2'", "0 <= A < B", "such as 0:25", HELP),
    ENCODE + "--frames 7": ("--frames", "'7'", "0 <= A < B", "such as 0:25", HELP),
    ENCODE + "--frames -1:2": ("--frames", "'-1:2'", "0 <= A < B", "such as 0:25", HELP),
    ENCODE + "--frames -3:": ("--frames", "'-3:'", "0 <= A < B", "such as 0:25", HELP),
    ENCODE + "--frames 1:": ("--frames 1:", "'photo.png'", "A below 1"),
    "encode clip.mp4 x.tcnn --frames 6:9": ("--frames 6:9", "'clip.mp4'", "A below 6"),
    ENCODE + "--max-pixels 599": (
        "30x20 = 600 pixels",
        "limit is 599",
        "--max-pixels",
    ),
    ENCODE + "--max-pixels 0": ("--max-pixels is 0;", "1 to ", "leave it out"),
    ENCODE + "--max-pixels -1": ("--max-pixels is -1;", "1 to ", "leave it out"),
    "encode clip.mp4 x.tcnn --chunk-frames 6 --max-pixels 6143": (
        "32x32x6",
        "6144",
        "6143",
        "--chunk-frames",
    ),
    ENCODE + "--speed 9": ("--speed", HELP),
    ENCODE + "--widt 9": ("--widt", HELP),
    "decode nope.tcnn x.png": ("'nope.tcnn'", "No such file", "name an existing .tcnn file"),
    "decode hollow x.png": ("'hollow'", "name an existing .tcnn file"),
    "decode /dev/zero x.png": ("'/dev/zero'", "no regular file", "name"),
    "decode photo.png x.png": ("89 50 4e 47", "89 54 43 4e", "a PNG image", "run encode"),
    "decode clip.mp4 x.mp4": ("an MP4 video", "run encode"),
    "decode empty.tcnn x.png": ("empty", "header", "encode again"),
    "decode version.tcnn x.png": ("format version 4", "reads version 3", "upgrade"),
    "decode older.tcnn x.png": ("format version 2", "reads version 3", "encode the source again"),
    "decode giant.tcnn x.png": ("height is 1000000000", "1 to 65536"),
    "decode large.tcnn x.png": ("4294967296 pixels", "limit is 268435456", "--max-pixels"),
    "decode long.tcnn x.png": ("chunk 0", "cut off", "fetch the file again"),
    "decode noise.tcnn x.png": ("malformed chunk payload", "encode the source again"),
    "decode photo.tcnn photo.tcnn": ("'photo.tcnn'", "'.tcnn'", ".png .webp .npy"),
    "decode stream.png stream.png": ("'stream.png'", "the input itself", "another output name"),
    "decode photo.tcnn x.jpeg": ("'x.jpeg'", "'.jpeg'", ".png .webp .npy"),
    "decode photo.tcnn x.mp4": ("'x.mp4'", "'.mp4'", ".png .webp .npy"),
    "decode photo.tcnn x": ("'x'", "no extension", ".png .webp .npy"),
    "decode photo.tcnn hollow": ("'hollow'", "is a folder", ".png .webp .npy"),
    "decode photo.tcnn no/x.png": ("'no/x.png'", "'no' does not exist", "create it"),
    "decode photo.tcnn /proc/x.png": ("'/proc/x.png'", "choose another name or folder"),
    "decode clip.tcnn x.png": ("6 frames", "'x.png'", ".mkv", "--frames N:N+1"),
    "decode clip.tcnn x.avi": ("'x.avi'", "'.avi'", ".mp4 .mkv .y4m .npy"),
    "decode clip.tcnn texts": ("'texts'", "not empty", "name a new or empty folder"),
    "decode clip.tcnn x.mkv --frames 8:9": ("--frames 8:9", "0:6", "choose a range"),
    "decode clip.tcnn x.mkv --frames 6:": ("--frames 6:", "0:6", "choose a range"),
    "decode clip.tcnn x.mkv --frames 3:3": ("--frames", "'3:3'", "0 <= A < B", HELP),
    DECODE + "--scale 0": ("--scale is 0;", "0.015625 to 64", "1 is the size"),
    DECODE + "--scale -1": ("--scale is -1;", "0.015625 to 64", "1 is the size"),
    DECODE + "--scale -1e5": ("--scale is -100000;", "0.015625 to 64", "1 is the size"),
    DECODE + "--scale nan": ("--scale is nan;", "0.015625 to 64", "1 is the size"),
    DECODE + "--scale inf": ("--scale is inf;", "0.015625 to 64", "1 is the size"),
    DECODE + "--scale 1e9": ("--scale is 1e+09;", "0.015625 to 64", "1 is the size"),
    DECODE + "--scale big": ("--scale", "'big'", "not a number", "such as 2", HELP),
    DECODE + "--scale 2 --max-pixels 2399": ("60x40x1", "2400", "2399", "lower --scale"),
    DECODE + "--threads -1": ("threads is -1;", "0 to 1024", "0 takes every core"),
    DECODE + "--max-pixels 0": ("--max-pixels is 0;", "1 to ", "leave it out"),
    DECODE + "--max-pixels -1": ("--max-pixels is -1;", "1 to ", "leave it out"),
    DECODE + "--max-pixels 599": ("30x20x1", "600 pixels", "limit is 599", "--max-pixels"),
    "info nope.tcnn": ("'nope.tcnn'", "No such file", "name an existing .tcnn file"),
    "info photo.png": ("a PNG image", "run encode"),
    "info long.tcnn": ("chunk 0", "cut off", "fetch the file again"),
    "eval nope.png photo.tcnn": ("'nope.png'", "does not exist", "check the path"),
    "eval photo.png nope.tcnn": ("'nope.tcnn'", "No such file", "name an existing .tcnn file"),
    "eval clip.mp4 photo.tcnn": ("'clip.mp4'", "32x32", "30x20", "name the input of encode"),
    "eval photo4.png photo.tcnn": ("'photo4.png'", "4 channels", "name the input of encode"),
    "eval clip.mp4 clip.tcnn --frames 0:5": ("has 5 frames", "has 6;", "--frames A:B"),
    "eval clip.mp4 clip.tcnn --frames 0:3 --plot x.png": ("has 3 frames", "has 6;", "--frames A:B"),
    "eval clip.mp4 clip.tcnn --frames 0:4 --plot x.png": ("has 4 frames", "has 6;", "--frames A:B"),
    EVAL + "--plot x.jpg": ("'x.jpg'", "allowed is a .png"),
    EVAL + "--plot no/x.png": ("'no/x.png'", "'no' does not exist", "create it"),
    EVAL + "--plot photo.png": ("'photo.png'", "the input itself", "another output name"),
    "eval photo.png stream.png --plot stream.png": ("'stream.png'", "the input itself"),
    EVAL + "--threads 1025": ("threads is 1025;", "0 to 1024", "0 takes every core"),
    "": ("required: COMMAND", HELP),
    "compress photo.png": (
        "'compress'",
        "'encode', 'decode', 'info', 'eval', 'view', 'doctor'",
        HELP,
    ),
    "encode photo.png": ("required: OUTPUT.tcnn", HELP),
    "info photo.tcnn more": ("more", HELP),
}


@pytest.mark.parametrize("line", CASES)
def test_refused(line: str, refused: Callable[..., str]) -> None:
    message = refused(*line.split())
    for words in CASES[line]:
        assert words in message


def test_more_frames_than_were_encoded(refused: Callable[..., str], tmp_path: Path) -> None:
    stream = tmp_path / "part.tcnn"
    succeeds("encode", "clip.mp4", stream, *SMALL, "--frames", "0:3")
    message = refused("eval", "clip.mp4", stream, "--plot", tmp_path / "x.png")
    assert "has 6 frames" in message
    assert list(tmp_path.iterdir()) == [stream]


def test_missing_instruction_set(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCNN_CODEC_CPU_ISA", "neon")
    for line in ("encode photo.png x.tcnn", "decode photo.tcnn x.png"):
        assert "'neon' is not available" in refused(*line.split())


def test_what_no_file_can_hold_is_told_before_fitting(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitter, "fit", fault)
    message = refused("encode", "wide.png", "x.tcnn")
    assert "65537" in message
    assert "65536" in message


def test_options_of_another_command_are_flags_too(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    """And a file's name is no option, whatever it is called."""
    cut = tmp_path / "`json`.tcnn"
    cut.write_bytes(GOLDEN.read_bytes()[:-9])
    text = refused("info", str(cut))
    assert "`json`.tcnn' " in text or "`json`.tcnn':" in text
    assert "decode earlier frames with --frames" in text


def test_damaged_streams(refused: Callable[..., str], tmp_path: Path) -> None:
    good = GOLDEN.read_bytes()
    stream = tmp_path / "s.tcnn"
    begin = good.index(zlib.crc32(good[: 6 + good[5]]).to_bytes(4, "little"))
    for place, words in (
        (0, "begins with"),
        (3, "begins with"),
        (4, "format version"),
        (5, "header"),
        (6, "checksum"),
        (begin - 1, "checksum"),
        (begin, "checksum"),
        (begin + 4, "chunk 0 (frames 0:1)"),
        (len(good) - 5, "chunk 0 (frames 0:1)"),
        (len(good) - 1, "chunk 0 (frames 0:1)"),
    ):
        stream.write_bytes(good[:place] + bytes([good[place] ^ 0x41]) + good[place + 1 :])
        assert words in refused("decode", stream, tmp_path / "x.png")
        assert words in refused("info", stream)
    stream.write_bytes(good + b"\0")
    assert "1 bytes follow" in refused("decode", stream, tmp_path / "x.png")
    for length in range(len(good)):
        stream.write_bytes(good[:length])
        refused("decode", stream, tmp_path / "x.png")
        if length % 8 == 0:
            refused("info", stream)
    assert list(tmp_path.iterdir()) == [stream]


def fault(*arguments: object, **options: object) -> None:
    raise RuntimeError("a fault of ours")


def interrupt(*arguments: object, **options: object) -> None:
    raise KeyboardInterrupt


def test_interrupted_encode_writes_nothing(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitter, "fit", interrupt)
    stream = tmp_path / "x.tcnn"
    stream.write_bytes(b"an older one")
    called = call("encode", made / "photo.png", stream)
    assert called == (130, "", "interrupted; no file was written\n")
    assert snapshot(tmp_path) == {str(stream): b"an older one"}


def test_interrupt_wipes_the_progress_line(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "TERMINAL_SECONDS", 0)
    monkeypatch.setattr(fitter, "quantise", interrupt)  # after a first line was drawn
    screen = Terminal()
    call("encode", made / "photo.png", tmp_path / "x.tcnn", "--steps", 5, err=screen)
    assert "step 5/5" in screen.getvalue()
    assert screen.shown() == ["interrupted; no file was written", ""]


@pytest.mark.parametrize("name", ["x.mkv", "x.mp4", "x.y4m", "x.npy", "x"])
@pytest.mark.parametrize("happening", [interrupt, fault])
def test_decode_that_stops_half_way_leaves_nothing(
    name: str,
    happening: Callable[..., None],
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def second_fails(*arguments: Any) -> object:
        monkeypatch.setattr(payload, "decode_tensors", happening)
        return decode_first(*arguments)

    decode_first = payload.decode_tensors
    monkeypatch.setattr(payload, "decode_tensors", second_fails)
    if happening is interrupt:
        called = call("decode", made / "clip.tcnn", tmp_path / name)
        assert called == (130, "", "interrupted; no file was written\n")
    else:
        with pytest.raises(RuntimeError, match="a fault of ours"):
            call("decode", made / "clip.tcnn", tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_memory_that_runs_out(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(fitter, "fit", greedy)
    assert "--chunk-frames" in refused("encode", "photo.png", "x.tcnn")
