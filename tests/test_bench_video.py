"""The video benchmark: what it counts, what it decodes, and what it writes."""

from __future__ import annotations

import dataclasses
import importlib
import json
import runpy
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tcnn_codec.errors import CodecError
from tcnn_codec.io import Frame, array_source, open_sink

BENCH = Path(__file__).parents[1] / "bench"
Patch, Capture = pytest.MonkeyPatch, pytest.CaptureFixture[str]
FRAMES, HEIGHT, WIDTH = 8, 64, 80
SHORT, LONG = b"\0\0\1", b"\0\0\0\1"


@pytest.fixture(scope="module", autouse=True)
def path() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        yield


@pytest.fixture(scope="module")
def codecs(path: None) -> Any:
    return importlib.import_module("video_codecs")


@pytest.fixture(scope="module")
def video(path: None) -> Any:
    return importlib.import_module("video")


def waves(frames: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """A smooth picture that moves, uint8 [frames, height, width, 3]."""
    t, y, x = np.mgrid[:frames, :height, :width]
    shapes = [np.sin((x + 2 * t) / 7), np.cos((y - t) / 9), np.sin((x + y + t) / 11)]
    return (127.5 + 90 * np.stack(shapes, axis=-1)).astype(np.uint8)


@pytest.fixture(scope="module")
def clip(codecs: Any) -> Any:
    return codecs.Clip("waves", waves(), Fraction(25))


# ---- bytes -----------------------------------------------------------------------------------


def h264(kind: int, body: bytes = b"\x80abc") -> bytes:
    return bytes([0x60 | kind]) + body


def hevc(kind: int, body: bytes = b"\x01abc") -> bytes:
    return bytes([kind << 1]) + body


@pytest.mark.parametrize(
    ("sei", "unit", "kept", "dropped"),
    [("h264_sei", h264, (1, 5, 7, 8, 9), (6,)), ("hevc_sei", hevc, (0, 19, 32, 38), (39, 40))],
)
def test_sei_goes_whatever_its_start_code(
    codecs: Any, sei: str, unit: Any, kept: tuple[int, ...], dropped: tuple[int, ...]
) -> None:
    unwanted = getattr(codecs, sei)
    first, last = LONG + unit(kept[0]), SHORT + unit(kept[-1])
    middle = b"".join(SHORT + unit(kind) for kind in kept)
    for kind in dropped:
        for code in (SHORT, LONG, b"\0" + LONG):
            one = code + unit(kind, b"\x05\x10 version \0\0\3\1 options\x80")
            assert codecs.without_nals(first + one + last, unwanted) == first + last
            assert codecs.without_nals(one + first + one + one, unwanted) == first
            assert codecs.without_nals(one, unwanted) == b""
    assert codecs.without_nals(first + middle + last, unwanted) == first + middle + last
    assert codecs.without_nals(SHORT, unwanted) == SHORT
    for bad in (b"", b"\0\0\0\5" + unit(kept[0]), b"x" + first):
        with pytest.raises(ValueError, match="no start code"):
            codecs.without_nals(bad, unwanted)


@pytest.mark.parametrize("name", ["x264", "x265"])
def test_a_stream_without_its_sei_shows_the_same(codecs: Any, name: str) -> None:
    codec, clip = codecs.CODECS[name], codecs.Clip("tall", waves(height=128), Fraction(25))
    packets = codec.encode(clip, 31, 2)
    stripped = codec.stripped(packets)
    assert len(packets) == len(stripped) == FRAMES
    units = [p[s.end() : s.end() + 1] for p in packets for s in codecs.START_CODE.finditer(p)]
    assert sum(map(codec.sei, units)) == 1
    # Two threads share frames among them and not one frame: every frame is one slice.
    assert all(len(codecs.START_CODE.findall(packet)) == 1 for packet in packets[1:])
    # What goes is one unit, with the encoder's name in it, and its start code.
    only = codecs.without_nals(packets[0], lambda nal: not codec.sei(nal))
    assert name.encode() in only
    assert sum(map(len, packets)) - sum(map(len, stripped)) == len(only) > 300
    assert stripped[1:] == packets[1:]
    shown, whole = (codec.decode(p, clip, 1) for p in (stripped, packets))
    np.testing.assert_array_equal(shown, whole)


# ---- quality ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x264", "x265", "svtav1-6", "svtav1-3"])
def test_finer_costs_more_and_looks_better(codecs: Any, clip: Any, name: str) -> None:
    codec = codecs.CODECS[name]
    coarse, fine = (codec.measure(clip, crf, 2) for crf in (codec.crfs[1], codec.crfs[-1]))
    assert 50 < coarse.bytes < fine.bytes < clip.pixels.size
    # The greater includes what 4:2:0 costs, without which it would be well above.
    assert 15 < coarse.psnr_db < fine.psnr_db < 50
    assert fine.psnr_db > 34
    assert min(coarse.encode_seconds, coarse.decode_seconds) > 0
    assert codec.crfs == tuple(sorted(codec.crfs, reverse=True))


def test_bytes_are_those_of_the_stream_that_is_decoded(codecs: Any, clip: Any) -> None:
    codec = codecs.CODECS["x265"]
    stripped = codec.stripped(codec.encode(clip, 31, 2))
    measured = codec.measure(clip, 31, 2)
    assert measured.bytes == sum(map(len, stripped))
    assert measured.psnr_db == codecs.quality(clip, codec.decode(stripped, clip, 2))
    with pytest.raises(ValueError, match="shorter"):
        codecs.quality(clip, codec.decode(stripped[:-1], clip, 2))


@pytest.mark.parametrize("name", ["x264", "svtav1-6"])
def test_odd_sides_are_padded_and_cut_again(codecs: Any, name: str) -> None:
    codec = codecs.CODECS[name]
    odd = codecs.Clip("odd", waves(4, 65, 79), Fraction(25))
    for frame in codecs.converted(odd):
        assert (frame.height, frame.width) == (66, 80)
        luma = frame.to_ndarray()[:66]
        np.testing.assert_array_equal(luma[-1], luma[-2])
        np.testing.assert_array_equal(luma[:, -1], luma[:, -2])
    packets = codec.encode(odd, codec.crfs[-1], 1)
    shown = codec.decode(codec.stripped(packets), odd, 1)
    assert {frame.shape for frame in shown} == {(65, 79, 3)}
    assert codecs.quality(odd, shown) > 34


def test_chroma_comes_back_where_it_was(codecs: Any) -> None:
    """Fine waves of colour: half a sample aside, they would be at 29 dB."""
    waves = 60 * np.sin(np.mgrid[:2, :64, :64][2] / 2)
    pixels = np.stack([127 + waves, np.full_like(waves, 127), 127 - waves], -1).astype(np.uint8)
    colours = codecs.Clip("colours", pixels, Fraction(25))
    assert codecs.CODECS["x264"].measure(colours, 1, 1).psnr_db > 38


def test_ours_is_measured_from_its_file(codecs: Any, clip: Any) -> None:
    measured = codecs.measure_ours(clip, {"width": 8, "steps": 50, "threads": 1, "chunk_frames": 4})
    assert measured.chunks == 2
    assert 100 < measured.bytes < 2000
    assert 10 < measured.psnr_db < 45
    assert codecs.quality(clip, clip.pixels) == 100


# ---- the table -------------------------------------------------------------------------------


def run(monkeypatch: Patch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["video.py", *map(str, arguments)])
    runpy.run_path(str(BENCH / "video.py"), run_name="__main__")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The clip as a file that is read back bit for bit."""
    target = tmp_path / "waves.mkv"
    with open_sink(target, array_source(waves(), 25).format) as sink:
        for number, pixels in enumerate(waves()):
            sink.write(Frame(pixels, number))
    return target


def test_results_are_written_and_drawn_again(
    file: Path, tmp_path: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    result, drawn, again = (tmp_path / name for name in ("a.json", "a.png", "b.png"))
    codecs = ("--codecs", "x264", "x265")
    run(monkeypatch, file, "--quick", *codecs, "--json", result, "--plot", drawn, "--threads", 1)
    report = json.loads(result.read_text())
    assert {"processor", "av", "ffmpeg", "commit", "command"} <= report["environment"].keys()
    rates = [row for row in report["rows"] if row["part"] == "rate"]
    assert {row["codec"] for row in rates} == {"tcnn_codec", "x264", "x265"}
    assert [row["settings"] for row in rates if row["codec"] == "x264"] == [
        f"preset slow, tune psnr, crf {crf}" for crf in (51, 46, 41)
    ]
    for row in rates:
        assert row["clip"] == "waves middle"
        assert row["bpp"] == 8 * row["bytes"] / (FRAMES * HEIGHT * WIDTH)
        assert 10 < row["psnr_db"] < 60
        assert min(row["seconds_per_frame"], row["decode_seconds_per_frame"]) > 0
    against = [row["against"] for row in report["rows"] if row["part"] == "bjontegaard"]
    assert against == ["x264", "x265"]
    printed = capsys.readouterr().out
    # With one point of ours there is no curve to compare.
    assert printed.count("one point") == 2
    run(monkeypatch, "--from", result, "--plot", again)
    table = "clip, codec, setting"
    assert capsys.readouterr().out.partition(table)[2].startswith(printed.partition(table)[2][:900])
    assert again.read_bytes() == drawn.read_bytes()


def points(codec: str, bpp: tuple[float, ...], psnr_db: tuple[float, ...], **names: Any) -> Any:
    return [
        {"part": "rate", "clip": "c", "codec": codec, "bpp": b, "psnr_db": q, **names}
        for b, q in zip(bpp, psnr_db, strict=True)
    ]


def test_bjontegaards_rate_of_known_curves(video: Any, capsys: Capture) -> None:
    rates, qualities = (0.1, 0.2, 0.4, 0.8), (28.0, 31.0, 33.0, 34.0)
    rows = points("tcnn_codec", rates, qualities, preset="fast")
    rows += points("x264", rates, qualities)
    rows += points("x265", tuple(r / 2 for r in rates), qualities)
    rows += points("svtav1-6", rates, (41.0, 42.0, 43.0, 44.0))
    # Rows come in any order, and what was not measured is no point.
    rows = [*rows[::-1], {"part": "rate", "clip": "c", "codec": "svtav1-3", "not_measured": "x"}]
    found = {row["against"]: row for row in video.report_bjontegaard(video.curves(rows))}
    assert list(found) == ["x264", "x265", "svtav1-6"]
    assert found["x264"]["bd_rate_percent"] == pytest.approx(0, abs=1e-9)
    assert found["x265"]["bd_rate_percent"] == pytest.approx(100)
    assert found["svtav1-6"]["bd_rate_percent"] is None
    assert found["x264"]["ours"] == "tcnn_codec fast"
    assert capsys.readouterr().out.splitlines()[-1].split()[-3:] == ["no", "overlap", "-"]


def test_what_is_missing_is_a_row(
    video: Any, codecs: Any, clip: Any, monkeypatch: Patch, capsys: Capture
) -> None:
    absent = dataclasses.replace(codecs.CODECS["x264"], encoder="no_such_encoder")
    refusing = SimpleNamespace(available=lambda: True, settings="s", crfs=(5, 4), measure=refuse)
    assert not absent.available()
    for name, codec in (("x264", absent), ("x265", refusing)):
        monkeypatch.setitem(codecs.CODECS, name, codec)
    monkeypatch.setattr(video, "measure_ours", refuse)
    asked = [{"bpp": 0.1, "preset": "fast", "threads": 1}]
    rows = list(video.measure_rates(clip, asked, ["x264", "x265"], None))
    assert [(row["codec"], row["not_measured"]) for row in rows] == [
        ("tcnn_codec", "too small"),
        ("x264", "not available in this PyAV"),
        ("x265", "failed: too small"),
        ("x265", "failed: too small"),
    ]
    assert not any("bpp" in row for row in rows)
    for row in rows:
        video.show(None, row)
    assert capsys.readouterr().out.count("not measured: ") == 4
    assert video.curves(rows) == {}


class Refusal(CodecError, ValueError):
    pass


def refuse(*_: object) -> Any:
    raise Refusal("too small")


def test_a_ladder_ends_beyond_rate_and_quality(
    video: Any, codecs: Any, clip: Any, monkeypatch: Patch
) -> None:
    """1 is dearer than ours and not as good; 0 is both."""

    def measured(bpp: float, psnr_db: float) -> Any:
        return codecs.Measured(int(bpp * clip.area / 8), psnr_db, 1.0, 1.0)

    codec = dataclasses.replace(codecs.CODECS["x264"], settings="s", crfs=(4, 3, 2, 1, 0, -1))
    monkeypatch.setattr(
        codecs.VideoCodec, "measure", lambda _, c, crf, t: measured(0.2 / (1 + crf), 33 - 2 * crf)
    )
    monkeypatch.setitem(codecs.CODECS, "x264", codec)
    monkeypatch.setattr(video, "measure_ours", lambda *_: measured(0.09, 32.0))
    asked = [{"bpp": 0.09, "preset": "fast", "threads": 1}]
    rows = list(video.measure_rates(clip, asked, ["x264"], None))
    settings = [row["settings"] for row in rows if row["codec"] == "x264"]
    assert settings == [f"s, crf {crf}" for crf in (4, 3, 2, 1, 0)]


def test_the_structure_tries_every_way_once(
    video: Any, codecs: Any, clip: Any, monkeypatch: Patch
) -> None:
    seen = []

    def measure(_: object, options: dict[str, Any]) -> Any:
        seen.append(options)
        return codecs.Measured(1000, 30.0, 1.0, 1.0, 2)

    monkeypatch.setattr(video, "measure_ours", measure)
    options = {"bpp": 0.1, "preset": "fast", "threads": 1}
    rows = list(video.measure_structure(clip, options))
    # Eight frames: 10 hold all, so that 25 and 50 would be the same again.
    ways = [(row["chunk_frames"], row["key_interval"], row["time_codes"]) for row in rows]
    assert len(set(ways)) == len(ways) == 12
    assert {way[0] for way in ways} == {5, 10, "auto"}
    assert {way[1:] for way in ways} == {(1, 0), (1, None), (None, 0), (None, None)}
    for made, asked in zip(rows, seen, strict=True):
        names = ("chunk_frames", "key_interval", "time_codes")
        assert asked == {**options, **{name: made[name] for name in names}}
        assert (made["part"], made["bytes"], made["chunks"]) == ("structure", 1000, 2)
    assert rows[0]["settings"] == "bpp 0.1, chunk_frames 5, differences no, time codes no"
    assert video.curves(rows) == {}


def test_bad_usage_is_one_line(tmp_path: Path, monkeypatch: Patch, capsys: Capture) -> None:
    none, bad = tmp_path / "none.mp4", tmp_path / "bad.json"
    bad.write_text("[]")
    for arguments, message in (
        ((), "give clips, or results with --from"),
        ((none,), f"input '{none}'"),
        ((none, "--from", bad), "give clips, or results with --from"),
        (("--from", bad), f"'{bad}' is no result of bench/video.py"),
        ((none, none, "--structure"), "--structure takes one clip"),
        ((none, "--structure", "--bpp", 1, 2), "--structure takes one clip"),
        ((none, "--width", 8), "--width is for --structure"),
        ((none, "--structure", "--plot", "x.png"), "--plot is of rates"),
        ((none, "--bpp", 0), "`bpp` is 0"),
        ((none, "--frames", "5"), "argument --frames: '5' is no range A:B"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run(monkeypatch, *arguments)
        assert stopped.value.code == 2
        printed = capsys.readouterr()
        assert printed.err.splitlines()[-1].startswith(f"video.py: error: {message}")
        assert printed.out == ""
