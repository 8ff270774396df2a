"""encode, decode and inspect: arrays in, bytes out and back, and what they refuse."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from io_samples import ROOT, Pixels, fails, picture, psnr

import tcnn_codec
from tcnn_codec.cli import run
from tcnn_codec.errors import BackendUnavailable, BitstreamError, CodecError

GOLDEN = ROOT / "tests" / "golden"


def encode(array: object, **options: Any) -> bytes:
    """A stream of hardly any quality, of a network that has learnt more than a single colour."""
    stream = tcnn_codec.encode(array, **{"width": 8, "steps": 200, **options})  # type: ignore[arg-type]
    colours = tcnn_codec.decode(stream).reshape(-1, tcnn_codec.inspect(stream).channels)
    assert (colours != colours[0]).any()
    return stream


def clip(frames: int, channels: int = 3) -> Pixels:
    return np.stack([picture(9, 14, channels, index) for index in range(frames)])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_image_round_trip(channels: int) -> None:
    pixels = picture(20, 30, channels)
    stream = encode(pixels, width=24, steps=400, bits=8)
    found = tcnn_codec.decode(stream)
    assert (found.dtype, found.shape) == (np.uint8, (20, 30, channels))
    assert psnr(pixels, found) > 30
    info = tcnn_codec.inspect(stream)
    assert (info.kind, info.height, info.width, info.channels) == ("image", 20, 30, channels)
    assert (info.networks[0].width, info.record_offsets[-1]) == (24, len(stream))


def test_grey_may_lack_the_channel_axis() -> None:
    pixels = picture(20, 30, 1)
    stream = encode(pixels[..., 0])
    assert stream == encode(pixels)
    assert tcnn_codec.decode(stream).shape == (20, 30, 1)


def test_memory_layout_does_not_matter() -> None:
    pixels = picture(12, 15, 3)
    stream = encode(pixels)
    assert encode(np.asfortranarray(pixels)) == stream
    assert encode(pixels[::-1, ::-1].copy()[::-1, ::-1]) == stream
    pixels.flags.writeable = False
    assert encode(pixels) == stream


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_video_round_trip(channels: int) -> None:
    pixels = clip(7, channels)
    stream = encode(pixels, chunk_frames=3, frame_rate=50, width=24, steps=1000)
    info = tcnn_codec.inspect(stream)
    assert (info.kind, info.frames, info.chunk_count) == ("video", 7, 3)
    assert (info.frame_rate, info.time_base) == (50, Fraction(1, 50))
    assert info.timestamps == tuple(range(7))
    found = tcnn_codec.decode(stream)
    assert (found.dtype, found.shape) == (np.uint8, (7, 9, 14, channels))
    assert psnr(pixels, found) > 25
    for frames, part in (((0, 7), slice(0, 7)), ((2, 4), slice(2, 4)), ((6, 7), slice(6, 7))):
        np.testing.assert_array_equal(tcnn_codec.decode(stream, frames=frames), found[part])


def test_one_frame_of_video_stays_a_video() -> None:
    stream = encode(clip(1))
    assert tcnn_codec.inspect(stream).kind == "video"
    assert tcnn_codec.decode(stream).shape == (1, 9, 14, 3)


def test_scale() -> None:
    stream = encode(clip(4))
    found = tcnn_codec.decode(stream)
    assert tcnn_codec.decode(stream, scale=0.5).shape == (4, 4, 7, 3)
    tripled = tcnn_codec.decode(stream, scale=3)
    np.testing.assert_array_equal(tripled[:, 1::3, 1::3], found)


def test_threads_change_nothing() -> None:
    pixels = picture(40, 50, 3)
    stream = encode(pixels, threads=1, steps=80)
    assert encode(pixels, threads=3, steps=80) == stream
    np.testing.assert_array_equal(
        tcnn_codec.decode(stream, threads=1), tcnn_codec.decode(stream, threads=3)
    )


def test_seed_and_backend() -> None:
    pixels = picture(12, 15, 3)
    assert encode(pixels, seed=1) == encode(pixels, seed=1) != encode(pixels, seed=2)
    torch, cpu = (tcnn_codec.decode(encode(pixels, backend=name)) for name in ("torch", "cpu"))
    assert psnr(torch, cpu) > 30  # five steps in float32, then rounded to six bits


def test_same_as_the_command_line(tmp_path: Any) -> None:
    source, stream, out = (str(tmp_path / name) for name in ("s.npy", "s.tcnn", "out.npy"))
    golden = GOLDEN / "v3_rgb.tcnn"
    assert run(["decode", str(golden), out]) == 0
    np.testing.assert_array_equal(np.load(out), tcnn_codec.decode(golden.read_bytes()))
    from PIL import Image

    source = str(tmp_path / "s.png")
    Image.fromarray(picture(12, 15, 3)).save(source)
    assert run(["encode", source, stream, "--width", "8", "--steps", "200", "--quiet"]) == 0
    assert (tmp_path / "s.tcnn").read_bytes() == encode(picture(12, 15, 3))


def test_frame_rates() -> None:
    for given, kept in (
        (25, Fraction(25)),
        (29.97, Fraction(2997, 100)),
        (Fraction(30000, 1001), Fraction(30000, 1001)),
        (30000 / 1001, Fraction(30000, 1001)),
        (np.float32(12.5), Fraction(25, 2)),
    ):
        assert tcnn_codec.inspect(encode(clip(2), frame_rate=given)).frame_rate == kept


@pytest.mark.parametrize("rate", [0, -25, float("nan"), float("inf"), 1e-9, 1e12, "x"])
def test_impossible_frame_rate(rate: float) -> None:
    fails(lambda: encode(clip(2), frame_rate=rate), "frame_rate", f"{rate}")


def test_frame_rate_that_has_no_float() -> None:
    fails(lambda: encode(clip(2), frame_rate=10**400), "`frame_rate` is 1000", "0.001 to 1000")
    fails(lambda: encode(clip(2), frame_rate=np.ones(2)), "`frame_rate` is [1. 1.];")


def test_numbers_too_long_to_be_shown() -> None:
    fails(lambda: encode(picture(5, 6, 3), seed=10**5000), "`seed` is int;", "0 to ")
    stream = encode(clip(2))
    fails(lambda: tcnn_codec.decode(stream, frames=(10**5000, "x")), "`frames` are int to 'x';")


def test_frames_of_an_array() -> None:
    pixels = clip(7)
    assert encode(pixels, frames=(2, 5)) == encode(pixels[2:5])
    assert encode(pixels, frames=(4, None)) == encode(pixels[4:])


def test_scale_of_any_kind_that_is_too_large() -> None:
    stream = tcnn_codec.encode(np.zeros((1, 2000, 3), np.uint8), width=1, steps=1)
    for scale in (40, 40.0, Fraction(40)):
        fails(
            lambda scale=scale: tcnn_codec.decode(stream, scale=scale), "`scale` 40 makes 80000x40"
        )


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (np.zeros((5, 6, 3), np.float32), "float32 (5, 6, 3)"),
        (np.zeros((5, 6, 3), np.uint16), "uint16 (5, 6, 3)"),
        (np.zeros((5, 6, 3), np.int8), "int8 (5, 6, 3)"),
        (np.zeros((5, 6), bool), "bool (5, 6)"),
        (np.zeros(5, np.uint8), "uint8 (5,)"),
        (np.zeros((), np.uint8), "uint8 ()"),
        (np.zeros((1, 2, 5, 6, 3), np.uint8), "uint8 (1, 2, 5, 6, 3)"),
        (np.zeros((5, 6, 2), np.uint8), "uint8 (5, 6, 2)"),
        (np.zeros((5, 6, 5), np.uint8), "uint8 (5, 6, 5)"),
        (np.zeros((0, 6, 3), np.uint8), "uint8 (0, 6, 3)"),
        (np.zeros((5, 0), np.uint8), "uint8 (5, 0)"),
        (np.zeros((0, 5, 6, 3), np.uint8), "uint8 (0, 5, 6, 3)"),
        (None, "object ()"),
        ([[1, 2], [3, 4]], "int64 (2, 2)"),
        ([[1, 2], [3]], "object ()"),
    ],
)
def test_array_that_is_no_picture(array: object, got: str) -> None:
    fails(lambda: encode(array), got, "allowed is uint8", "convert it with astype(numpy.uint8)")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("wdith", 8, ("'wdith'", "allowed are width, ", "leave it out")),
        ("width", 0, ("`width` is 0;", "1 to 128")),
        ("width", 129, ("`width` is 129;", "1 to 128")),
        ("width", 8.0, ("`width` is 8.0;", "1 to 128")),
        ("width", True, ("`width` is True;", "1 to 128")),
        ("width", "wide", ("`width` is wide;", "1 to 128")),
        ("seed", None, ("`seed` is None;", "0 to ")),
        ("threads", None, ("`threads` is None;", "0 to 1024")),
        ("chunk_frames", None, ("`chunk_frames` is None;", "1 to 4096")),
        ("bits", 13, ("`bits` is 13;", "4 to 12")),
        ("steps", 0, ("`steps` is 0;", "1 to 10000000")),
        ("threads", -1, ("`threads` is -1;", "0 to 1024")),
        ("preset", "slow", ("`preset` is 'slow'", "fast, balanced, best")),
        ("width", np.arange(3), ("`width` is [0 1 2];", "1 to 128")),
        ("preset", np.array(["fast", "best"]), ("`preset` is '['fast' 'best']'", "balanced")),
        ("psnr", np.array([20.0, 30.0]), ("`psnr` is [20. 30.];", "1 to 100")),
        ("frames", 3, ("`frames` is 3;", "a pair (A, B)")),
        ("frames", (0.0, 2), ("`frames` are 0.0 to 2;", "whole numbers A:B")),
        ("frames", (1, 2), ("`frames` 1:2 select", "'<array>'", "frames 0:1")),
        ("max_pixels", 0, ("`max_pixels` is 0;", "1 to ")),
        ("max_pixels", 29, ("6x5x1 is 30 pixels", "limit is 29", "raise `max_pixels`")),
        ("backend", "gpu", ("`backend` is 'gpu'", "auto, cpu, cuda, tinycudann, torch")),
    ],
)
def test_option_that_is_not_allowed(option: str, value: object, words: tuple[str, ...]) -> None:
    fails(lambda: encode(picture(5, 6, 3), **{option: value}), *words)


def test_numpy_integers_are_integers() -> None:
    pixels = picture(5, 6, 3)
    assert encode(pixels, width=np.int64(8), seed=np.uint8(3)) == encode(pixels, width=8, seed=3)


def test_numpy_numbers_are_numbers_when_decoding() -> None:
    stream = encode(clip(7))
    expected = tcnn_codec.decode(stream, scale=0.5, frames=(1, 3), threads=1)
    scale, threads, frames = np.float32(0.5), np.int64(1), (np.int32(1), np.uint8(3))
    for factor in (scale, np.float64(0.5), Fraction(1, 2)):
        found = tcnn_codec.decode(stream, scale=factor, frames=frames, threads=threads)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        tcnn_codec.decode(stream, scale=np.int64(2)), tcnn_codec.decode(stream, scale=2)
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": True}, ("`scale` is True;", "0.015625 to 64")),
        ({"scale": "2"}, ("`scale` is '2';", "0.015625 to 64")),
        ({"scale": 0}, ("`scale` is 0;", "0.015625 to 64")),
        ({"scale": float("nan")}, ("`scale` is nan;", "0.015625 to 64")),
        ({"scale": 10**400}, ("`scale` is 1000", "0.015625 to 64")),
        ({"scale": None}, ("`scale` is None;", "0.015625 to 64")),
        ({"scale": np.ones((2, 2))}, ("`scale` is array([[1., 1.], [1., 1.]]);",)),
        ({"frames": (0.5, 2)}, ("`frames` are 0.5 to 2;", "whole numbers", "0:7")),
        ({"frames": (0, "2")}, ("`frames` are 0 to '2';", "whole numbers", "0:7")),
        ({"frames": (True, 2)}, ("`frames` are True to 2;", "whole numbers", "0:7")),
        ({"frames": 3}, ("`frames` is 3;", "a pair (A, B)", "(3, 4) is one frame")),
        ({"frames": slice(3, 4)}, ("`frames` is slice(3, 4, None);", "a pair (A, B)")),
        ({"frames": (1, 2, 3)}, ("`frames` is (1, 2, 3);", "a pair (A, B)")),
        ({"frames": "1:3"}, ("`frames` is 1:3;", "a pair (A, B)")),
        ({"frames": (2, 2)}, ("`frames` 2:2", "0:7")),
        ({"frames": (-1, 3)}, ("`frames` -1:3", "0:7")),
        ({"frames": (7, 9)}, ("`frames` 7:9", "0:7")),
        ({"threads": -1}, ("`threads` is -1;", "0 to 1024")),
        ({"threads": np.array([1, 2])}, ("`threads` is [1 2];", "0 to 1024")),
        ({"max_pixels": 881}, ("14x9x7", "882", "881")),
        ({"max_pixels": 0}, ("`max_pixels` is 0;", "allowed are 1 to ", "leave it out")),
        ({"max_pixels": "x"}, ("`max_pixels` is x;", "allowed are 1 to ", "leave it out")),
        ({"max_pixels": 1e9}, ("`max_pixels` is 1000000000.0;", "allowed are 1 to ")),
        ({"max_pixels": np.zeros((2, 3))}, ("`max_pixels` is [[0. 0. 0.] [0. 0. 0.]];",)),
        ({"scale": 2, "max_pixels": 3527}, ("28x18x7", "3528", "3527")),
    ],
)
def test_decode_refuses(options: dict[str, Any], words: tuple[str, ...]) -> None:
    stream = encode(clip(7))
    fails(lambda: tcnn_codec.decode(stream, **options), *words)


def test_instruction_set_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = encode(picture(5, 6, 3))
    monkeypatch.setenv("TCNN_CODEC_CPU_ISA", "neon")
    with pytest.raises(BackendUnavailable, match="'neon' is not available"):
        encode(picture(5, 6, 3))
    with pytest.raises(BackendUnavailable, match="'neon' is not available"):
        tcnn_codec.decode(stream)


@pytest.mark.parametrize("name", ["v3_grey", "v3_rgb", "v3_rgba"])
def test_every_damaged_byte_and_every_truncation_is_found(name: str) -> None:
    good = (GOLDEN / f"{name}.tcnn").read_bytes()
    for place in range(len(good)):
        flipped = good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :]
        for damaged in (good[:place], flipped):
            with pytest.raises(BitstreamError) as caught:
                tcnn_codec.decode(damaged)
            assert "\n" not in str(caught.value)


def test_any_bytes_like_object_decodes() -> None:
    stream = encode(picture(5, 6, 3))
    expected = tcnn_codec.decode(stream)
    for same in (bytearray(stream), memoryview(stream)):
        np.testing.assert_array_equal(tcnn_codec.decode(same), expected)  # type: ignore[arg-type]
    for nothing in (b"", b"\x89TCN", b"\x89TCN\3"):
        with pytest.raises(BitstreamError):
            tcnn_codec.inspect(nothing)


def test_errors_are_value_errors() -> None:
    assert issubclass(BitstreamError, CodecError)
    assert issubclass(BackendUnavailable, CodecError)
    assert issubclass(CodecError, ValueError)
