"""The command line as a program: its status, its streams, and files that are no files."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_calls import SMALL, assert_refusal, decoded, run_process, save, succeeds
from io_samples import picture
from PIL import Image

import tcnn_codec


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture, with its stream beside it."""
    path = save(tmp_path / "photo.png", picture(13, 21, 3))
    succeeds("encode", path, path.with_suffix(".tcnn"), *SMALL)
    return path


def test_encode_decode_and_no_command(photo: Path, tmp_path: Path) -> None:
    stream, out = tmp_path / "s.tcnn", tmp_path / "s.png"
    made = run_process("encode", photo, stream, "--width", 8, "--steps", 10, "--json")
    assert (made.status, made.err) == (0, "")
    assert json.loads(made.out)["bytes"] == stream.stat().st_size
    assert run_process("decode", stream, out) == (0, "", "")
    np.testing.assert_array_equal(np.asarray(Image.open(out)), decoded(stream))
    assert_refusal(run_process())


def test_fault_of_ours_exits_1(photo: Path, tmp_path: Path) -> None:
    fault = """
from tcnn_codec.families.siren import fitter
def fault(*arguments, **options):
    raise RuntimeError("a fault of ours")
fitter.fit = fault
"""
    called = run_process("encode", photo, tmp_path / "x.tcnn", before=fault)
    assert called.status == 1
    assert "a fault of ours" in called.err
    assert sorted(tmp_path.iterdir()) == [photo, photo.with_suffix(".tcnn")]


@pytest.mark.parametrize("command", ["decode pipe x.png", "info pipe", "eval photo.png pipe"])
def test_named_pipe_does_not_hang(command: str, photo: Path) -> None:
    os.mkfifo(photo.with_name("pipe"))
    called = run_process(*command.split(), cwd=photo.parent, timeout=10)
    assert_refusal(called)
    assert "'pipe' is no regular file" in called.err


def test_stream_piped_into_decode(photo: Path) -> None:
    data = photo.with_suffix(".tcnn").read_bytes()
    called = run_process("decode", "/dev/stdin", "x.png", cwd=photo.parent, input=data)
    assert_refusal(called)
    assert "'/dev/stdin' is no regular file" in called.err


def test_reader_that_leaves_early(photo: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    called = run_process("info", photo.with_suffix(".tcnn"), stdout=writer)
    os.close(writer)
    assert (called.status, called.err) == (1, "")


def test_full_disk_under_stdout(photo: Path) -> None:
    with open("/dev/full", "w") as full:
        called = run_process("info", photo.with_suffix(".tcnn"), stdout=full)
    assert_refusal(called)
    assert "No space left" in called.err


def test_closed_stderr(photo: Path, tmp_path: Path) -> None:
    close = "import os, sys; os.close(2); sys.stderr = None"
    options = ("--width", 8, "--steps", 5, "--json")
    made = run_process("encode", photo, tmp_path / "x.tcnn", *options, before=close)
    assert made.status == 0
    assert json.loads(made.out)["bytes"] == (tmp_path / "x.tcnn").stat().st_size
    assert run_process("info", "nope.tcnn", before=close) == (2, "", "")


def test_name_that_is_not_utf_8(photo: Path, tmp_path: Path) -> None:
    name = b"\xff".decode("utf-8", "surrogateescape")
    source, stream = tmp_path / f"{name}.png", tmp_path / f"{name}.tcnn"
    shutil.copy(photo, source)
    made = run_process("encode", source, stream, "--width", 8, "--steps", 5)
    assert (made.status, made.err) == (0, "")
    assert f"{stream.stat().st_size} bytes" in made.out
    assert run_process("eval", source, stream).status == 0
    assert_refusal(run_process("encode", tmp_path / f"{name}2.png", tmp_path / "x.tcnn"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_encode_leaves_nothing(number: int, photo: Path) -> None:
    """Stopped while it fits, and again within seconds of the signal."""
    before = sorted(photo.parent.iterdir())
    command = [sys.executable, "-m", "tcnn_codec", "encode", photo, photo.parent / "x.tcnn"]
    command += ["--steps", "1000000"]
    # Tests that a shell runs in the background would hand on that interrupts are ignored.
    heed = functools.partial(signal.signal, number, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=heed) as process:
        # On a busy machine imports alone take seconds, and may swallow an interrupt.
        while b"/_cpu." not in Path(f"/proc/{process.pid}/maps").read_bytes():
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(number)
        assert process.wait(timeout=10) == 128 + number
    assert sorted(photo.parent.iterdir()) == before


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_decode_leaves_nothing(number: int, tmp_path: Path) -> None:
    """Stopped while its output grows under a temporary name."""
    clip = np.zeros((2, 8, 8, 3), np.uint8)
    stream = tmp_path / "clip.tcnn"
    stream.write_bytes(tcnn_codec.encode(clip, width=128, steps=1, hidden_layers=32))
    command = [sys.executable, "-m", "tcnn_codec", "decode", stream, tmp_path / "x.npy"]
    command += ["--scale", "64"]
    heed = functools.partial(signal.signal, number, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=heed) as process:
        while not list(tmp_path.glob(".tcnn-*")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(timeout=20) == 128 + number
    assert list(tmp_path.iterdir()) == [stream]


def test_a_library_that_makes_a_panic_of_a_signal(photo: Path) -> None:
    """As code does that a foreign language calls back: the status is still the signal's."""
    before = """
import os, signal
import tcnn_codec.cli as cli
def run(arguments):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    except SystemExit as error:
        raise BaseException("a panic") from error
cli.run = run
"""
    called = run_process("info", photo.with_suffix(".tcnn"), before=before)
    assert called == (128 + signal.SIGTERM, "", "")


def test_a_hangup_that_is_ignored_stays_so(photo: Path) -> None:
    """As under nohup."""
    before = """
import os, signal
import tcnn_codec.cli as cli
signal.signal(signal.SIGHUP, signal.SIG_IGN)
run = cli.run
def hang_up(arguments):
    os.kill(os.getpid(), signal.SIGHUP)
    return run(arguments)
cli.run = hang_up
"""
    called = run_process("info", photo.with_suffix(".tcnn"), before=before)
    assert called.status == 0


@pytest.mark.parametrize("module", ["_coders", "_cpu"])
@pytest.mark.parametrize("command", ["decode s.tcnn x.png", "encode photo.png x.tcnn", "doctor"])
def test_without_a_native_module(photo: Path, command: str, module: str) -> None:
    """A line with the remedy, and no traceback."""
    shutil.copy(photo.with_suffix(".tcnn"), photo.with_name("s.tcnn"))
    before = f"import sys; sys.modules['tcnn_codec.{module}'] = None"
    called = run_process(*command.split(), before=before, cwd=photo.parent)
    if command == "doctor":
        assert (called.status, called.err) == (0, "")
        assert "cannot be loaded" in called.out
        return
    assert_refusal(called)
    assert "cannot be loaded" in called.err
    assert "rebuild them with `pip install -e .`" in called.err


def test_without_torch(photo: Path) -> None:
    """An extra: only what needs it says so."""
    before = "import sys; sys.modules['torch'] = sys.modules['pytorch_msssim'] = None"
    run = functools.partial(run_process, before=before, cwd=photo.parent)
    small = ("--width", 8, "--steps", 5)
    assert run("encode", photo, "x.tcnn", *small, "--quiet") == (0, "", "")
    assert run("decode", "x.tcnn", "x.png") == (0, "", "")
    assert run("doctor").status == 0
    judged = run("eval", photo, "x.tcnn")
    assert judged.status == 0
    assert "MS-SSIM not measured" in judged.out
    assert judged.err == (
        "note: MS-SSIM is not measured: it needs torch; pip install torch pytorch-msssim\n"
    )
    for backend in ("torch", "tinycudann"):
        called = run("encode", photo, "y.tcnn", *small, "--quiet", "--backend", backend)
        assert_refusal(called)
        assert f"'{backend}' keeps its arrays in torch" in called.err
        assert "install it with: pip install torch" in called.err


def test_a_working_folder_that_is_deleted_meanwhile(photo: Path) -> None:
    """Deleted before, it is told before any fitting; deleted during the fit, on one line too."""
    gone = photo.parent / "gone"
    for during in (False, True):
        gone.mkdir()
        remove = f"import os; os.rmdir({str(gone)!r})"
        before = (
            remove
            if not during
            else f"""
from tcnn_codec.families.siren import fitter
fit = fitter.fit
def remove(*arguments, **options):
    {remove}
    return fit(*arguments, **options)
fitter.fit = remove
"""
        )
        called = run_process(
            "encode", photo, "x.tcnn", "--steps", 3, "--quiet", before=before, cwd=gone
        )
        assert_refusal(called)
        assert "the working folder does not exist any more" in called.err


def test_errors_name_the_file_and_show_odd_names_safely(tmp_path: Path) -> None:
    path = tmp_path / "a\n\x1b[31mb.tcnn"
    path.write_bytes(b"")
    called = run_process("info", path)
    assert_refusal(called)
    assert "a\\n\\x1b[31mb.tcnn': the file is empty" in called.err
