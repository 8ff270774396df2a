"""--bytes, --bpp, --psnr and --lambda: what they promise, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_calls import call, report, save
from io_samples import Pixels, picture

import tcnn_codec
from tcnn_codec.errors import CodecError

STEPS = 240


def rough(height: int, width: int) -> Pixels:
    """A picture that small networks cannot hold."""
    noise = np.random.default_rng(0).integers(-40, 40, (height, width, 3))
    return np.clip(picture(height, width, 3).astype(int) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("photo") / "photo.png", rough(60, 80))


@pytest.mark.parametrize("most", [400, 1000, 3000])
def test_bytes(photo: Path, tmp_path: Path, most: int) -> None:
    out = tmp_path / "x.tcnn"
    made = report("encode", photo, out, "--bytes", most, "--steps", STEPS, "--quiet")
    assert 0.97 * most <= made["bytes"] == out.stat().st_size <= most


@pytest.mark.parametrize("most", [0.7, 2.0])
def test_bpp(photo: Path, tmp_path: Path, most: float) -> None:
    made = report("encode", photo, tmp_path / "x.tcnn", "--bpp", most, "--steps", STEPS, "--quiet")
    assert 0.97 * most <= made["bits_per_pixel"] <= most


@pytest.mark.parametrize("least", [20.5, 22.0, 24.0])
def test_psnr(photo: Path, tmp_path: Path, least: float) -> None:
    out = tmp_path / "x.tcnn"
    made = report("encode", photo, out, "--psnr", least, "--steps", STEPS, "--quiet")
    assert least <= made["psnr_db"] <= least + 0.1
    assert report("eval", photo, out)["psnr_db"] == pytest.approx(made["psnr_db"], abs=1e-6)


def test_targets_of_a_video_are_those_of_the_whole_file() -> None:
    clip = np.stack([np.roll(rough(24, 32), 2 * index, axis=1) for index in range(7)])
    options = {"chunk_frames": 3, "steps": STEPS, "threads": 1}
    stream = tcnn_codec.encode(clip, bytes=2000, **options)
    assert 0.97 * 2000 <= len(stream) <= 2000
    assert tcnn_codec.inspect(stream).chunk_count == 3
    least = 21.0
    found = tcnn_codec.decode(tcnn_codec.encode(clip, psnr=least, **options)).astype(int)
    errors = np.mean(np.square(found - clip), axis=(1, 2, 3))
    assert least <= float(np.mean(10 * np.log10(255**2 / errors))) <= least + 0.1


def test_the_same_target_gives_the_same_bytes_whatever_the_threads() -> None:
    streams = [
        tcnn_codec.encode(rough(40, 30), psnr=22, steps=STEPS, threads=threads)
        for threads in (1, 2)
    ]
    assert streams[0] == streams[1]


@pytest.mark.parametrize(
    ("option", "value", "asked"),
    [
        ("--bytes", 40, "40 bytes"),
        ("--bytes", 10**7, "10000000 bytes"),
        ("--bpp", 1e-6, "1e-06 bpp"),
        ("--psnr", 3, "3 dB"),
        ("--psnr", 99, "99 dB"),
    ],
)
def test_what_cannot_be_reached_exits_2_with_the_nearest(
    photo: Path, tmp_path: Path, option: str, value: float, asked: str
) -> None:
    out = tmp_path / "x.tcnn"
    called = call("encode", photo, out, option, value, "--steps", 40, "--quiet")
    assert called.status == 2
    assert called.err.startswith(f"error: {asked} cannot be reached; the nearest that can be is ")
    assert called.err.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bytes": 900, "bpp": 1.0}, "`bytes` and `bpp` exclude each other"),
        ({"psnr": 20, "width": 32}, "`psnr` and `width` exclude each other"),
        ({"bpp": 1, "bits": 6}, "`bpp` and `bits` exclude each other"),
        ({"bits": 6, "lambda_": 10.0}, "`bits` and `lambda_` exclude each other"),
        ({"bytes": 0}, "`bytes` is 0; allowed are 1 to "),
        ({"bytes": 1.5}, "`bytes` is 1.5; allowed are 1 to "),
        ({"bpp": -1}, "`bpp` is -1; allowed are "),
        ({"bpp": float("nan")}, "`bpp` is nan; allowed are "),
        ({"psnr": "30"}, "`psnr` is 30; allowed are 1 to 100"),
        ({"psnr": True}, "`psnr` is True; allowed are 1 to 100"),
        ({"lambda_": 0.0}, "`lambda_` is 0.0; allowed are "),
    ],
)
def test_options_that_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(CodecError) as caught:
        tcnn_codec.encode(rough(8, 8), steps=5, **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("most", [7.2, 8.4, 10.8])
def test_bpp_of_a_tiny_picture_counts_parts_of_bytes(most: float) -> None:
    stream = tcnn_codec.encode(picture(10, 12, 3), bpp=most, steps=40)
    assert 0.97 * most <= 8 * len(stream) / 120 <= most


def test_a_quality_is_found_where_narrow_networks_are_erratic() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 24), np.uint8)
    found = tcnn_codec.decode(tcnn_codec.encode(noise, psnr=13, steps=STEPS))
    error = float(np.mean(np.square(found[..., 0].astype(int) - noise)))
    assert 13 <= 10 * np.log10(255**2 / error) <= 13.1


def test_a_plain_picture_is_too_good_at_every_width() -> None:
    with pytest.raises(CodecError, match=r"^45 dB cannot be reached; "):
        tcnn_codec.encode(np.full((20, 30, 3), 77, np.uint8), psnr=45, steps=400)


def test_larger_lambda_gives_smaller_files() -> None:
    sizes = [
        len(tcnn_codec.encode(rough(40, 50), width=16, steps=STEPS, lambda_=value))
        for value in (1.0, 10.0, 100.0, 1000.0)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.5 * sizes[-1]


@pytest.mark.parametrize("most", [200, 600])
def test_a_flat_picture_has_the_size_asked_for(most: int) -> None:
    stream = tcnn_codec.encode(np.full((20, 30, 3), 77, np.uint8), bytes=most, steps=STEPS)
    assert 0.97 * most <= len(stream) <= most
    error = tcnn_codec.decode(stream).astype(float) - 77
    assert np.sqrt(np.mean(error**2)) <= 1  # a level, which nobody sees; 48 dB
