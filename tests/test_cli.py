"""The command line, from an input file to numbers and pixels: what is asked for is what comes."""

from __future__ import annotations

import argparse
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_calls import SMALL, Terminal, call, decoded, report, save, succeeds
from io_samples import ROOT, Pixels, make_video, picture, psnr
from PIL import Image

from tcnn_codec import progress
from tcnn_codec.arguments import make_parser
from tcnn_codec.bitstream.header import read_header
from tcnn_codec.bitstream.records import read_chunk
from tcnn_codec.families.siren import backends
from tcnn_codec.families.siren.quantise import dequantise
from tcnn_codec.families.siren.renderer import SirenRenderer

PHOTO = ROOT / "demo" / "photo.png"
ENCODE_KEYS = {
    *("bytes", "bits_per_pixel", "psnr_db", "encode_seconds", "fit_steps", "backend", "device"),
    "precision",
    *("hidden_width", "hidden_layers", "frequencies", "parameters"),
    *("chunks", "cuts", "frames", "height", "width"),
}
VIDEO_KEYS = {*ENCODE_KEYS, "time_frequencies", "time_codes"}
EVAL_KEYS = {"psnr_db", "ms_ssim", "bits_per_pixel", "bytes"}
STAMPS = [0, 1, 2, 4, 5, 6, 9, 10, 11, 12, 13, 15]


def video_frames(path: Path) -> tuple[Pixels, list[Fraction], Fraction]:
    """Frames [frames, height, width, 3], times in seconds and frame rate, by PyAV alone."""
    import av

    with av.open(str(path)) as container:
        stream: Any = container.streams.video[0]
        frames: list[Any] = list(container.decode(stream))
        times = [frame.pts * Fraction(frame.time_base) for frame in frames]
        pixels: Pixels = np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
        return pixels, times, Fraction(stream.average_rate)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of H.264, 64x48, at uneven times."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    make_video(path, pts=STAMPS)
    return path


@pytest.fixture(scope="module")
def clip_stream(clip: Path) -> Path:
    """The clip in three chunks."""
    stream = clip.with_suffix(".tcnn")
    succeeds("encode", clip, stream, *SMALL, "--chunk-frames", 5)
    return stream


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return save(tmp_path / "small.png", picture(13, 21, 3))


def test_photo_from_encode_to_eval(tmp_path: Path) -> None:
    stream, png, plot = (tmp_path / name for name in ("p.tcnn", "p.png", "plot.png"))
    made = report("encode", PHOTO, stream, "--width", 16, "--steps", 300)
    size = stream.stat().st_size
    assert set(made) == ENCODE_KEYS
    assert (made["bytes"], made["bits_per_pixel"]) == (size, 8 * size / (384 * 256))
    shape = (made["height"], made["width"], made["frames"], made["chunks"], made["hidden_width"])
    assert shape == (256, 384, 1, 1, 16)
    assert (made["fit_steps"], made["backend"]) == (300, "cpu")
    assert made["device"] in ("avx512", "avx2", "scalar")
    assert made["encode_seconds"] > 0

    assert call("decode", stream, png) == (0, "", "")
    found, original = np.asarray(Image.open(png)), np.asarray(Image.open(PHOTO).convert("RGB"))
    assert found.shape == (256, 384, 3)
    assert made["psnr_db"] == pytest.approx(psnr(original, found), abs=1e-6)
    assert made["psnr_db"] > 15  # a flat picture of the mean colour has 12.4

    judged = report("eval", PHOTO, stream, "--plot", plot)
    assert set(judged) == EVAL_KEYS
    assert judged["psnr_db"] == made["psnr_db"]
    assert 0 < judged["ms_ssim"] < 1
    assert (judged["bytes"], judged["bits_per_pixel"]) == (size, made["bits_per_pixel"])
    shown = np.asarray(Image.open(plot))
    np.testing.assert_array_equal(shown[:, :384], original)
    np.testing.assert_array_equal(shown[:, 392:776], found)

    told = report("info", stream)
    assert {told[key] for key in ("kind", "channels", "height", "width")} == {"image", 3, 256, 384}
    assert (told["bytes"], told["bits_per_pixel"]) == (size, made["bits_per_pixel"])
    (chunk,) = told["index"]
    assert chunk["offset"] + chunk["bytes"] + 4 == size


def test_clip_from_encode_to_eval(clip: Path, tmp_path: Path) -> None:
    stream = tmp_path / "c.tcnn"
    made = report("encode", clip, stream, *SMALL, "--chunk-frames", 5)
    size = stream.stat().st_size
    assert set(made) == VIDEO_KEYS
    assert (made["frames"], made["chunks"], made["bytes"]) == (12, 3, size)
    assert made["bits_per_pixel"] == 8 * size / (12 * 48 * 64)
    pixels = decoded(stream)
    originals, times, _ = video_frames(clip)
    mean = sum(map(psnr, originals, pixels)) / 12
    assert made["psnr_db"] == pytest.approx(mean, abs=1e-6)
    judged = report("eval", clip, stream)
    assert set(judged) == EVAL_KEYS
    assert (judged["psnr_db"], judged["ms_ssim"]) == (made["psnr_db"], None)

    for name in ("c.mkv", "c.mp4", "c.y4m"):
        assert call("decode", stream, tmp_path / name) == (0, "", "")
    lossless, mkv_times, _ = video_frames(tmp_path / "c.mkv")
    np.testing.assert_array_equal(lossless, pixels)
    assert [round(1000 * time) for time in mkv_times] == [round(1000 * time) for time in times]
    lossy, mp4_times, _ = video_frames(tmp_path / "c.mp4")
    assert mp4_times == times == [Fraction(stamp, 25) for stamp in STAMPS]
    assert psnr(lossy, pixels) > 30
    assert psnr(video_frames(tmp_path / "c.y4m")[0], pixels) > 40

    told = report("info", stream)
    assert [chunk["frames"] for chunk in told["index"]] == [[0, 5], [5, 10], [10, 12]]
    assert (told["kind"], told["frames"], told["chunks"]) == ("video", 12, 3)


def test_frame_rate_survives(tmp_path: Path) -> None:
    source, stream, out = tmp_path / "s.y4m", tmp_path / "s.tcnn", tmp_path / "out.mp4"
    frames = (b"FRAME\n" + bytes([level]) * 3 * 16 * 16 for level in (50, 90, 130, 170))
    source.write_bytes(b"YUV4MPEG2 W16 H16 F30000:1001 C444\n" + b"".join(frames))
    succeeds("encode", source, stream, *SMALL)
    assert report("info", stream)["frame_rate"] == "30000/1001"
    succeeds("decode", stream, out)
    _, times, rate = video_frames(out)
    assert times == [Fraction(1001 * index, 30000) for index in range(4)]
    assert rate == Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("height", "width", "channels"),
    [(11, 17, 1), (11, 17, 4), (1, 1, 3), (1, 1, 1), (19, 1, 3), (1, 19, 4)],
)
def test_any_picture(height: int, width: int, channels: int, tmp_path: Path) -> None:
    pixels = picture(height, width, channels)
    source, stream = save(tmp_path / "s.png", pixels), tmp_path / "s.tcnn"
    made = report("encode", source, stream, *SMALL)
    found = decoded(stream)
    assert found.shape == pixels.shape
    exact = (height, width) == (1, 1)  # a single colour
    expected = psnr(pixels[..., :3], found[..., :3])
    assert made["psnr_db"] == (None if exact else pytest.approx(expected, abs=1e-6))
    assert exact == (expected == float("inf"))
    assert report("eval", source, stream)["psnr_db"] == made["psnr_db"]
    for name in ("out.png", "out.webp"):
        succeeds("decode", stream, tmp_path / name)
    shown = np.asarray(Image.open(tmp_path / "out.png")).reshape(pixels.shape)
    np.testing.assert_array_equal(shown, found)


def test_exact_pixels_have_no_psnr(tmp_path: Path) -> None:
    source, stream = save(tmp_path / "s.png", picture(1, 1, 3)), tmp_path / "s.tcnn"
    made = report("encode", source, stream, "--width", 16, "--steps", 3000, "--bits", 12)
    np.testing.assert_array_equal(decoded(stream), picture(1, 1, 3))
    assert made["psnr_db"] is report("eval", source, stream)["psnr_db"] is None
    assert " exact, " in call("eval", source, stream).out


def test_folder_of_frames(tmp_path: Path) -> None:
    folder, stream, out = tmp_path / "frames", tmp_path / "f.tcnn", tmp_path / "out"
    folder.mkdir()
    for index in (0, 2, 10):
        save(folder / f"f{index}.png", picture(9, 14, 3, index))
    made = call("encode", folder, stream, *SMALL[:-1])
    assert (made.status, made.err) == (
        0,
        "note: a folder of frames has no frame rate: 25 per second assumed\n",
    )
    succeeds("decode", stream, out)
    files = sorted(out.iterdir())
    assert [file.name for file in files] == [f"frame_0000{index}.png" for index in range(3)]
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    np.testing.assert_array_equal(pixels, decoded(stream))
    originals = [picture(9, 14, 3, index) for index in (0, 2, 10)]
    mean = sum(map(psnr, originals, pixels)) / 3
    assert report("eval", folder, stream)["psnr_db"] == pytest.approx(mean, abs=1e-6)


def test_frames_of_decode(clip_stream: Path) -> None:
    everything = decoded(clip_stream)
    for chosen, part in (
        ("4:6", slice(4, 6)),
        (":3", slice(0, 3)),
        ("10:", slice(10, 12)),
        ("0:12", slice(0, 12)),
    ):
        np.testing.assert_array_equal(decoded(clip_stream, "--frames", chosen), everything[part])
    still = clip_stream.with_suffix(".png")
    succeeds("decode", clip_stream, still, "--frames", "7:8")
    np.testing.assert_array_equal(np.asarray(Image.open(still)), everything[7])


def test_frames_of_encode_and_eval(clip: Path, tmp_path: Path) -> None:
    stream, out = tmp_path / "part.tcnn", tmp_path / "part.mp4"
    made = report("encode", clip, stream, *SMALL, "--frames", "3:8")
    assert (made["frames"], made["chunks"]) == (5, 1)
    judged = report("eval", clip, stream, "--frames", "3:8")
    assert judged["psnr_db"] == made["psnr_db"]
    originals = video_frames(clip)[0][3:8]
    mean = sum(map(psnr, originals, decoded(stream))) / 5
    assert made["psnr_db"] == pytest.approx(mean, abs=1e-6)
    succeeds("decode", stream, out)
    assert video_frames(out)[1] == [Fraction(stamp, 25) for stamp in STAMPS[3:8]]


def test_max_pixels_counts_the_frames_there_are(clip: Path, tmp_path: Path) -> None:
    limit = ("--max-pixels", 3 * 48 * 64)
    succeeds("encode", clip, tmp_path / "c.tcnn", *SMALL, "--frames", "0:3", *limit)
    assert decoded(tmp_path / "c.tcnn", *limit).shape == (3, 48, 64, 3)


def test_scale(small: Path) -> None:
    stream = small.with_suffix(".tcnn")
    succeeds("encode", small, stream, *SMALL)
    pixels = decoded(stream)
    for scale, shape in (("2", (26, 42, 3)), ("0.5", (6, 10, 3)), ("0.02", (1, 1, 3))):
        assert decoded(stream, "--scale", scale).shape == shape
    # The middle one of three has the coordinates of the one it stands for.
    tripled = decoded(stream, "--scale", 3)
    assert tripled.shape == (39, 63, 3)
    np.testing.assert_array_equal(tripled[1::3, 1::3], pixels)


def test_seed_decides_the_bytes(small: Path, tmp_path: Path) -> None:
    streams = []
    for number, seed in enumerate((0, 0, 1)):
        path = tmp_path / f"{number}.tcnn"
        succeeds("encode", small, path, *SMALL, "--seed", seed)
        streams.append(path.read_bytes())
    assert streams[0] == streams[1] != streams[2]


def test_threads_change_no_byte(clip: Path, clip_stream: Path, tmp_path: Path) -> None:
    pixels = decoded(clip_stream)
    for threads in (1, 2, 3):
        path = tmp_path / f"{threads}.tcnn"
        succeeds("encode", clip, path, *SMALL, "--chunk-frames", 5, "--threads", threads)
        assert path.read_bytes() == clip_stream.read_bytes()
        np.testing.assert_array_equal(decoded(path, "--threads", threads), pixels)


def renders_alike(stream: Path, backend: str) -> None:
    """Integers in plain C++ give what decode writes, and floats of another backend come within one
    level of it."""
    other = backends.create(backend)
    with stream.open("rb") as file:
        info = read_header(file)
        payload = read_chunk(file, info, 0)
    spec, grid = info.networks[0], info.grid(0)
    tensors = info.family.decode(spec, payload)
    expected = SirenRenderer(isa="scalar").render(spec, tensors, grid)
    pixels = other.render(spec, dequantise(spec, tensors), grid)
    assert np.abs(pixels.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(decoded(stream), expected[0])


@pytest.mark.parametrize("backend", ["auto", "cpu", "torch"])
def test_backend(backend: str, small: Path) -> None:
    stream = small.with_suffix(".tcnn")
    made = report("encode", small, stream, *SMALL, "--backend", backend)
    assert made["backend"] == ("cpu" if backend == "auto" else backend)
    renders_alike(stream, backend)


@pytest.mark.parametrize("isa", ["scalar", "avx2", "amx_emulated"])
def test_forced_instruction_set(
    isa: str, small: Path, monkeypatch: pytest.MonkeyPatch, need: Any
) -> None:
    from tcnn_codec import _cpu

    need(isa, isa in (*_cpu.available_isas(), "amx_emulated"))
    monkeypatch.setenv("TCNN_CODEC_CPU_ISA", isa)
    stream = small.with_suffix(".tcnn")
    assert report("encode", small, stream, *SMALL)["device"] == isa
    renders_alike(stream, "torch")


def test_what_is_printed_for_a_person(small: Path) -> None:
    stream = small.with_suffix(".tcnn")
    made = call("encode", small, stream, *SMALL[:-1])
    size = stream.stat().st_size
    assert (made.status, made.err) == (0, "")
    assert made.out.startswith(f"{stream}: {size} bytes, ")
    for words in (" bpp, ", " dB, ", "1 frame in 1 chunk", " s on cpu ("):
        assert words in made.out
    told = call("info", stream)
    assert (told.status, told.err) == (0, "")
    assert f"bytes: {size}\n" in told.out
    judged = call("eval", small, stream)
    assert (judged.status, judged.err) == (0, "")
    assert judged.out.startswith(f"{stream}: ")
    assert "MS-SSIM not defined below 161 pixels" in judged.out


def test_quiet_is_silent(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0)
    assert call("encode", small, small.with_suffix(".tcnn"), *SMALL) == (0, "", "")


def test_progress_in_a_log_is_plain_lines(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0)
    options = ("--width", 8, "--steps", 250, "--chunk-frames", 6, "--json")
    made = call("encode", clip, tmp_path / "c.tcnn", *options)
    lines = made.err.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [
        [f"chunk {chunk}/2", f"step {step}/250"]
        for chunk in (1, 2)
        for step in (200, *range(219, 251))
    ]
    assert all(" dB  ETA " in line for line in lines)
    assert lines[-1].endswith("ETA 0 s")
    assert "\r" not in made.err
    assert set(json.loads(made.out)) == VIDEO_KEYS


def test_progress_on_a_terminal_is_one_line_and_wiped(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "TERMINAL_SECONDS", 0)
    screen = Terminal()
    options = ("--width", 8, "--steps", 450)
    assert call("encode", small, small.with_suffix(".tcnn"), *options, err=screen).status == 0
    assert "\n" not in screen.getvalue()
    drawn = screen.getvalue().split("\r")
    assert [text.split("  ")[0] for text in drawn[1:4]] == [
        f"step {step}/450" for step in (200, 394, 395)
    ]
    assert screen.shown() == [""]


def test_notes_say_what_is_lost(tmp_path: Path) -> None:
    deep = picture(9, 9, 1)[..., 0].astype(np.uint16) * 257
    source = tmp_path / "deep.png"
    Image.fromarray(deep).save(source)
    made = call("encode", source, tmp_path / "d.tcnn", "--width", 8, "--steps", 5, "--json")
    assert made.err == "note: 16-bit samples are rounded to 8 bit\n"
    assert set(json.loads(made.out)) == ENCODE_KEYS


def test_doctor() -> None:
    facts = report("doctor")
    assert facts["backends"]["cpu"].startswith("available, ")
    assert facts["backends"]["torch"].startswith("available, torch ")
    assert facts["native modules"]["scalar"] == "available"
    text = call("doctor").out
    for group, lines in facts.items():
        assert f"{group}\n" in text
        assert all(f" {name} " in text for name in lines)


def test_doctor_where_the_forced_instruction_set_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TCNN_CODEC_CPU_ISA", "neon")
    told = call("doctor")
    assert told.status == 0
    (line,) = [line for line in told.out.splitlines() if line.startswith("  cpu ")]
    assert "unavailable" in line
    assert "'neon'" in line


def test_help_names_every_option() -> None:
    parser = make_parser()
    (commands,) = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    assert set(commands.choices) == {"encode", "decode", "info", "eval", "view", "doctor"}
    top = call("--help")
    assert (top.status, top.err) == (0, "")
    for name, command in commands.choices.items():
        assert name in top.out
        told = call(name, "--help")
        assert (told.status, told.err) == (0, "")
        for action in command._actions:
            assert (action.option_strings or [str(action.metavar)])[-1] in told.out
    options = [o for a in commands.choices["encode"]._actions for o in a.option_strings]
    wanted = ("width", "preset", "steps", "bits", "frames", "chunk-frames", "backend", "threads")
    assert {*(f"--{name}" for name in wanted), "--seed", "--json", "--quiet"} <= set(options)


def test_version() -> None:
    assert call("--version") == (0, "tcnn_codec 0.1.0\n", "")
