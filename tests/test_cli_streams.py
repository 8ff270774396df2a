"""Standard streams on the command line, and `info --strict`."""

from __future__ import annotations

import functools
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from cli_calls import SMALL, assert_refusal, call, report, save, succeeds
from io_samples import ROOT, Pixels, make_video, picture
from PIL import Image

import tcnn_codec
from tcnn_codec.bitstream.header import StreamInfo, read_header
from tcnn_codec.bitstream.records import read_chunk, write_stream
from tcnn_codec.decoding import info as info_module

GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(tmp_path / "photo.png", picture(13, 21, 3))


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    path = tmp_path / "s.tcnn"
    tcnn_codec.encode(picture(13, 21, 3), path, width=8, steps=200)
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    make_video(path, frames=5, height=32, width=48)
    return path


class Ran(NamedTuple):
    """Exit status, and the bytes on stdout and stderr."""

    status: int
    out: bytes
    err: str


def run(*arguments: object, data: bytes | None = None, **options: Any) -> Ran:
    """`python -m tcnn_codec` in a process of its own. data: comes through a pipe, as its stdin."""
    command = [sys.executable, "-m", "tcnn_codec", *map(str, arguments)]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    if "stdin" not in options:
        streams["input"] = data or b""
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, **streams
    )
    return Ran(done.returncode, done.stdout or b"", (done.stderr or b"").decode())


def refused(ran: Ran, *words: str) -> None:
    """Status 2, nothing on stdout, and one line on stderr."""
    assert (ran.status, ran.out) == (2, b"")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    for word in words:
        assert word in ran.err


def test_encode_through_pipes(photo: Path, tmp_path: Path) -> None:
    succeeds("encode", photo, tmp_path / "x.tcnn", *SMALL)
    expected = (tmp_path / "x.tcnn").read_bytes()
    made = run("encode", "-", "-", *SMALL, data=photo.read_bytes())
    assert made == (0, expected, "")
    made = run("encode", photo, "-", *SMALL[:-1])
    assert (made.status, made.out) == (0, expected)
    assert made.err.startswith(f"-: {len(expected)} bytes, ")
    made = run("encode", "-", "-", *SMALL, "--json", data=photo.read_bytes())
    assert (made.status, made.out) == (0, expected)
    assert json.loads(made.err)["bytes"] == len(expected)
    made = run("encode", "-", tmp_path / "y.tcnn", *SMALL, "--json", data=photo.read_bytes())
    assert (made.status, made.err) == (0, "")
    assert json.loads(made.out)["bytes"] == len(expected)
    assert (tmp_path / "y.tcnn").read_bytes() == expected


def test_a_video_through_pipes(clip: Path, tmp_path: Path) -> None:
    succeeds("encode", clip, tmp_path / "c.tcnn", *SMALL, "--frames", "1:4")
    made = run("encode", "-", "-", *SMALL, "--frames", "1:4", data=clip.read_bytes())
    assert made == (0, (tmp_path / "c.tcnn").read_bytes(), "")
    succeeds("decode", tmp_path / "c.tcnn", tmp_path / "c.y4m")
    assert run("decode", "-", "-", data=made.out) == (0, (tmp_path / "c.y4m").read_bytes(), "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_encode_leaves_nothing(number: int, photo: Path, tmp_path: Path) -> None:
    """Neither on stdout nor of what came through stdin."""
    kept = tmp_path / "temporary"
    kept.mkdir()
    command = [sys.executable, "-m", "tcnn_codec", "encode", "-", "-", "--steps", "1000000"]
    # Tests that a shell runs in the background would hand on that interrupts are ignored.
    heed = functools.partial(signal.signal, number, signal.SIG_DFL)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(kept)}
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, env=environment, preexec_fn=heed, **streams) as process:
        assert process.stdin is not None
        process.stdin.write(photo.read_bytes())
        process.stdin.close()
        while not list(kept.glob("tcnn-*/input")):
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(number)
        assert process.wait(timeout=10) == 128 + number
        assert process.stdout is not None
        assert process.stdout.read() == b""
    assert list(kept.iterdir()) == []


def test_decode_and_info_through_pipes(stream: Path, tmp_path: Path) -> None:
    pixels = tcnn_codec.decode(stream.read_bytes())
    assert run("decode", "-", "x.png", data=stream.read_bytes(), cwd=tmp_path) == (0, b"", "")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "x.png")), pixels)
    shown = run("decode", stream, "-")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out == (tmp_path / "x.png").read_bytes()
    told = run("info", "-", "--json", data=stream.read_bytes())
    assert json.loads(told.out) == report("info", stream)
    with stream.open("rb") as file:
        assert run("decode", "-", "-", stdin=file) == shown


def test_a_file_called_dash(stream: Path, tmp_path: Path) -> None:
    (tmp_path / "-").write_bytes(stream.read_bytes())
    told = run("info", "./-", "--json", cwd=tmp_path)
    assert json.loads(told.out) == report("info", stream)


def test_stdin_that_is_refused(stream: Path, tmp_path: Path) -> None:
    for arguments, data, words in (
        (("decode", "-", "x.png"), b"", ("'-': the file is empty",)),
        (("info", "-"), b"", ("'-': the file is empty",)),
        (("encode", "-", "x.tcnn"), b"", ("input '-' is empty (0 bytes)",)),
        (("decode", "-", "-"), b"y\n" * 9, ("'-': the file begins with 79 0a",)),
        (("decode", "-", "-"), stream.read_bytes()[:-9], ("'-': chunk 0 ", "cut off")),
        (("encode", "-", "-"), b"y\n" * 9, ("'-' is neither an image nor a video",)),
        (("encode", "-", "x.png"), b"", ("output 'x.png' is no .tcnn file",)),
    ):
        refused(run(*arguments, data=data, cwd=tmp_path), *words)
    assert list(tmp_path.iterdir()) == [stream]
    with open("/dev/zero", "rb") as zeros:
        refused(run("decode", "-", "-", stdin=zeros), "'-': the file begins with 00 00")


def test_terminals_get_and_give_no_bytes(stream: Path, tmp_path: Path) -> None:
    leader, follower = os.openpty()
    for arguments in (("decode", "-", "x.png"), ("info", "-"), ("encode", "-", "x.tcnn")):
        ran = run(*arguments, stdin=follower, cwd=tmp_path)
        refused(ran, "standard input is a terminal", "pipe a file into it")
    for arguments in (("decode", stream, "-"), ("encode", stream, "-")):
        ran = run(*arguments, stdout=follower, cwd=tmp_path)
        refused(ran, "standard output is a terminal", "redirect it")
    os.close(leader)
    os.close(follower)
    assert list(tmp_path.iterdir()) == [stream]


@pytest.mark.parametrize("number", [0, 1])
def test_closed_standard_streams(number: int, stream: Path) -> None:
    close = functools.partial(os.close, number)
    if number == 0:
        ran = run("info", "-", preexec_fn=close, stdin=None)
        refused(ran, "standard input is closed")
    else:
        ran = run("decode", stream, "-", preexec_fn=close)
        refused(ran, "standard output is closed")


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_reader_that_leaves_early(command: str, photo: Path, stream: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    source = photo if command == "encode" else stream
    options = SMALL if command == "encode" else ()
    assert run(command, source, "-", *options, stdout=writer) == (1, b"", "")
    os.close(writer)


def test_a_reader_that_leaves_in_the_middle(tmp_path: Path) -> None:
    """More than a pipe holds, of which a few bytes are read."""
    script = '"$0" -m tcnn_codec decode "$1" - --scale 64 | head -c 10; echo ${PIPESTATUS[0]}'
    source = GOLDEN / "v3_video.tcnn"
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, str(source)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (b"YUV4MPEG2 1\n", b"")


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_full_disk_under_stdout(command: str, photo: Path, stream: Path) -> None:
    source = photo if command == "encode" else stream
    options = SMALL if command == "encode" else ()
    with open("/dev/full", "wb") as full:
        refused(run(command, source, "-", *options, stdout=full), "No space left on device")


def test_a_video_with_alpha_on_stdout() -> None:
    ran = run("decode", GOLDEN / "v3_rgba_video.tcnn", "-")
    refused(ran, "cannot write a video to '-'", "no alpha channel", ".mkv .npy")


def test_strict_accepts_what_encode_makes(stream: Path) -> None:
    for path in (stream, *sorted(GOLDEN.glob("*.tcnn"))):
        facts = report("info", path)
        assert report("info", path, "--strict") == {**facts, "canonical": True}
        assert "canonical: yes\n" in succeeds("info", path, "--strict").out
        assert "canonical" not in succeeds("info", path).out


def same_values(info: StreamInfo, payload: bytes, more: bytes) -> bool:
    """Whether a payload of chunk 1 has the same values with more bytes behind it."""
    spec = info.networks[1]
    return info.family.encode(spec, info.family.decode(spec, payload + more)) == payload


def test_strict_refuses_a_payload_that_is_not_canonical(tmp_path: Path) -> None:
    file = io.BytesIO((GOLDEN / "v3_video.tcnn").read_bytes())
    info = read_header(file)
    payloads = [read_chunk(file, info, index) for index in range(info.chunk_count)]
    pixels: Pixels = tcnn_codec.decode(file.getvalue())
    payloads[1] += next(
        bytes([last]) for last in range(1, 256) if same_values(info, payloads[1], bytes([last]))
    )
    stream = tmp_path / "s.tcnn"
    stream.write_bytes(write_stream(info, payloads))
    np.testing.assert_array_equal(tcnn_codec.decode(stream), pixels)
    succeeds("info", stream)
    called = call("info", stream, "--strict")
    assert_refusal(called)
    long, short = len(payloads[1]), len(payloads[1]) - 1
    assert f"s.tcnn': the payload of chunk 1, of {long} bytes, is not the" in called.err
    assert f"canonical one, of {short}; allowed with --strict is" in called.err


def test_strict_refuses_a_header_that_is_not_canonical(
    stream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Today the reader takes no other, so that the writer has to change."""
    write = info_module.write_header
    monkeypatch.setattr(info_module, "write_header", lambda *given: write(*given) + b"x")
    succeeds("info", stream)
    called = call("info", stream, "--strict")
    assert_refusal(called)
    size = tcnn_codec.inspect(stream.read_bytes()).header_bytes
    assert f"the header, of {size} bytes, is not the canonical one, of {size + 1};" in called.err


def test_strict_refuses_a_damaged_payload(stream: Path) -> None:
    file = io.BytesIO(stream.read_bytes())
    info = read_header(file)
    stream.write_bytes(write_stream(info, [read_chunk(file, info, 0) + b"x" * 99]))
    succeeds("info", stream)
    called = call("info", stream, "--strict")
    assert_refusal(called)
    assert "malformed chunk payload" in called.err
