"""What the benchmarks conclude from their times; that they run is `make bench`'s to show."""

from __future__ import annotations

import importlib
import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tcnn_codec.config import make_config
from tcnn_codec.decoding.decoder import decode_file
from tcnn_codec.dtypes import F32
from tcnn_codec.encoding.encoder import encode_source
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.families.siren.fit import fit
from tcnn_codec.families.siren.quantise import quantise, step_sizes
from tcnn_codec.families.siren.rounding import balance_steps
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.io import open_source
from tcnn_codec.metrics import psnr
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.job import Job
from tcnn_codec.training.optimiser import OptimiserState

ROOT = Path(__file__).parents[1]


def compare(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "bench" / "compare.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def result(path: Path, **times: tuple[float, float, float]) -> Path:
    """A result file: per contestant (fastest, median, slowest) in ms, eager taking 100."""
    rows: list[dict[str, Any]] = [
        {
            "operation": "step",
            "network": "paper 32",
            "contestant": name,
            "fastest": fastest,
            "milliseconds": median,
            "slowest": slowest,
            "times_eager": 100 / median,
            "times_eager_range": (100 / slowest, 100 / fastest),
        }
        for name, (fastest, median, slowest) in {
            "torch eager": (90, 100, 110),
            "torch compile": (40, 50, 60),
            **times,
        }.items()
    ]
    path.write_text(json.dumps({"environment": {}, "rows": rows}))
    return path


def test_only_a_clear_slowdown_is_a_regression(tmp_path: Path) -> None:
    old = result(tmp_path / "old.json", same=(9, 10, 11), slow=(9, 10, 11), noisy=(9, 10, 14))
    new = result(tmp_path / "new.json", same=(9, 10, 11), slow=(12, 13, 14), noisy=(12, 13, 14))
    done = compare(old, new, "--json", tmp_path / "out.json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = {row["name"]: row for row in json.loads((tmp_path / "out.json").read_text())["rows"]}
    assert {name: row["regression"] for name, row in rows.items()} == {
        "paper 32  same": False,
        "paper 32  slow": True,
        "paper 32  noisy": False,
    }
    assert rows["paper 32  slow"]["new_over_old"] == pytest.approx(1.3)
    assert done.stdout.count("REGRESSION") == 1
    assert compare(old, new, "--fail").returncode == 1
    assert compare(old, old, "--fail").returncode == 0


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    done = compare(bad, bad)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: '{bad}' is no result of bench/kernels.py")
    one = result(tmp_path / "one.json", ours=(9, 10, 11))
    done = compare(one, result(tmp_path / "other.json", theirs=(9, 10, 11)))
    assert done.returncode == 1
    assert done.stderr.startswith("error: the two have nothing in common")
    done = compare("no-such-revision")
    assert done.returncode == 1
    assert done.stderr.startswith("error: 'no-such-revision' is neither a file nor a revision")


# bench/rounding.py and bench/ablation.py

STEPS = 400


@pytest.fixture(scope="module")
def rounding() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        yield importlib.import_module("rounding")


def waves(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 5), np.cos(y / 7), np.sin((x + y) / 9)]
    return (127.5 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


@dataclass(frozen=True)
class Small:
    """A small picture's job, its network's parameters, and coarse steps for them."""

    backend: CpuBackend
    job: Job[SirenSpec]
    params: F32
    step: F32

    @property
    def arguments(self) -> tuple[CpuBackend, Job[SirenSpec], F32, F32]:
        """Of both ways to learn rounding, but for the number of steps."""
        return self.backend, self.job, self.params, self.step

    def loss(self, levels: NDArray[Any]) -> float:
        params = (levels * self.step).astype(np.float32)
        return self.backend.loss_and_grad(self.job, params)[0]

    @property
    def nearest(self) -> NDArray[Any]:
        return np.rint(self.params / self.step)


@pytest.fixture(scope="module")
def small() -> Small:
    spec, backend = SirenSpec(width=16, hidden_layers=1, frequencies=4), CpuBackend(1)
    job = Job.of(spec, waves(32, 48)[None], seed=0)
    params = fit(backend, job, initialise(spec, 0), STEPS)
    tensors = balance_steps(backend, spec, params, job.grid, quantise(spec, params, 5))
    return Small(backend, job, params, step_sizes(spec, tensors))


def test_adaround_goes_up_or_down_for_good(rounding: Any, small: Small) -> None:
    floor, h = rounding.up_or_down(*small.arguments, STEPS)
    assert np.isin(h, (0, 1)).mean() > 0.99
    np.testing.assert_array_equal(floor, np.floor(small.params / small.step))
    levels = rounding.adaround(*small.arguments, STEPS)
    np.testing.assert_array_equal(levels, floor + np.rint(h))
    assert small.loss(levels) < small.loss(small.nearest)


def test_adaround_starts_from_the_exact_weights(rounding: Any, small: Small) -> None:
    floor, h = rounding.up_or_down(*small.arguments, 0)
    np.testing.assert_allclose(floor + h, small.params / small.step, atol=1e-5)
    with pytest.raises(ValueError, match="a level would be above 2047"):
        rounding.up_or_down(small.backend, small.job, small.params, small.step / 2048, 0)


def test_adarounds_slopes_are_those_of_its_functions(rounding: Any) -> None:
    v, step = np.linspace(-2, 2, 41, dtype=np.float32), np.float32(1e-2)
    h, slope = rounding.rectified_sigmoid(v)
    difference = rounding.rectified_sigmoid(v + step)[0] - rounding.rectified_sigmoid(v - step)[0]
    np.testing.assert_allclose(slope, difference / (2 * step), atol=1e-4)
    assert rounding.rectified_sigmoid(np.float32([-9, 9]))[0].tolist() == [0, 1]
    assert rounding.rectified_sigmoid(np.float32([-9, 9]))[1].tolist() == [0, 0]
    for beta in (2.0, 4.0):
        above, below = (np.abs(2 * (h + sign * step) - 1) ** beta for sign in (1, -1))
        found = rounding.decisiveness_slope(h, beta)
        np.testing.assert_allclose(found, (above - below) / (2 * step), atol=1e-2)


def test_straight_through_training_beats_rounding_at_once(rounding: Any, small: Small) -> None:
    levels = rounding.straight_through(*small.arguments, STEPS)
    assert small.loss(levels) < small.loss(small.nearest)


@pytest.mark.parametrize("way", ["adaround", "straight_through"])
def test_learnt_rounding_is_deterministic(rounding: Any, small: Small, way: str) -> None:
    first, again = (getattr(rounding, way)(*small.arguments, 20) for _ in range(2))
    assert first.dtype == np.int32
    np.testing.assert_array_equal(first, again)


def test_the_penalty_takes_the_place_of_the_rate_term(rounding: Any, small: Small) -> None:
    def one_step(backend: CpuBackend, rate_weight: float) -> F32:
        trainer = backend.trainer(small.job, OptimiserState.start(small.params, rate_weight))
        trainer.steps(Batches([(0, 1)], 64), np.float32([1e-3]))
        return trainer.state().params

    plain = one_step(small.backend, 0.0)
    without = one_step(rounding.PenalisedBackend(0.0, 1, "float32"), 0.5)
    penalised = one_step(rounding.PenalisedBackend(1.0, 1, "float32"), 0.5)
    np.testing.assert_allclose(without, plain, atol=1e-6)
    # A penalty of this weight drowns the picture: every bias goes straight towards zero.
    bias = small.job.spec.tensors[1].place
    moved = penalised[bias] - small.params[bias]
    np.testing.assert_array_equal(np.sign(moved), -np.sign(small.params[bias]))


def ablation(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "bench" / "ablation.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_ablation_measures_every_row_once(tmp_path: Path) -> None:
    Image.fromarray(waves(32, 48)).save(tmp_path / "waves.png")
    file = tmp_path / "ablation.json"
    options = ("--widths", 8, 16, "--steps", 64, "--threads", 1, "--json", file)
    done = ablation(tmp_path, *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("measured: waves.png") == 2
    found = json.loads(file.read_text())
    assert [(m["image"], m["width"]) for m in found["measured"]] == [
        ("waves.png", 8),
        ("waves.png", 16),
    ]
    rows = {(row["width"], row["name"]): row for row in found["table"]}
    for width in (8, 16):
        base = rows[width, "one step per tensor, 6 bit"]
        assert (base["at_equal_rate"], base["won_back"]) == (0, 0)
        exact = rows[width, "float32"]
        assert (exact["bpp"], exact["at_equal_rate"], exact["won_back"]) == (None, None, 1)
        for name in (
            "float32, all steps",
            "one step per tensor, 8 bit",
            "one step per tensor, 7 bit",
            "+ steps by cost",
            "without rate term, + in parts",
            "L1 1e-05 instead, + in parts",
            "+ AdaRound",
            "+ AdaRound, straight-through",
            "+ straight-through",
        ):
            assert (width, name) in rows
            assert f"\n{name}  " in done.stdout
        coders = [row for (w, name), row in rows.items() if w == width and "in parts: " in name]
        assert len(coders) >= 5
        # The rows' own wiring: the last coder's is the file that the encoder makes.
        with open_source(tmp_path / "waves.png", max_pixels=10_000) as source:
            encoded = encode_source(source, make_config(width=width, steps=64, threads=1))
        product = rows[width, "+ in parts"]
        assert product["bpp"] == coders[-1]["bpp"] == encoded.bits_per_pixel
        assert product["psnr_db"] == pytest.approx(encoded.psnr_db, abs=1e-9)
    again = ablation(tmp_path, *options)
    assert (again.stderr, again.stdout) == ("", done.stdout)
    other = ablation(tmp_path, "--steps", 72, *options[:3], "--json", file)
    assert other.returncode == 2
    assert "is of {'steps': 64, 'seed': 0, 'commit': '" in other.stderr


# ---- rate and distortion ---------------------------------------------------------------------

COLUMNS = "image,codec,setting,bytes,bpp,psnr_db,seconds,preset,commit"


def rd(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "bench" / "rd.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def pictures(folder: Path, *names: str, side: int = 136) -> Path:
    """A folder of smooth pictures with a little noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    for name in names:
        smooth = np.stack([x, y, np.sin(6 * x * y)], -1) * 200 + 20
        pixels = (smooth + rng.normal(0, 3, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def pixels_of(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_rd_goes_on_after_a_line_that_was_cut_off(tmp_path: Path) -> None:
    folder, out = pictures(tmp_path / "in", "a.png"), tmp_path / "out"
    drawn = tmp_path / "plot.png"
    arguments = (folder, "--quick", "--out", out, "--plot", drawn, "--json", tmp_path / "o.json")
    done = rd(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    header, ours, *others = (out / "rows.csv").read_text().splitlines()
    assert header == COLUMNS
    (stream,) = (out / "streams").iterdir()
    cells = dict(zip(COLUMNS.split(","), ours.split(","), strict=True))
    assert (cells["codec"], cells["setting"], cells["preset"]) == ("tcnn_codec", "bpp 0.4", "fast")
    assert int(cells["bytes"]) == stream.stat().st_size
    assert float(cells["bpp"]) == stream.stat().st_size * 8 / 128**2 <= 0.4
    decoded = tmp_path / "decoded.png"
    decode_file(stream, decoded)
    (crop,) = out.glob("*.png")
    assert float(cells["psnr_db"]) == psnr(pixels_of(crop), pixels_of(decoded))
    assert any(line.startswith("a-middle128.png,JPEG 4:2:0,quality 2,") for line in others)
    assert pixels_of(drawn).shape[1] > 500

    # What is there stays, to the byte; the row cut off is made again, and it only.
    marked = ours.replace(cells["commit"], "older")
    whole = "\n".join((header, marked, *others[:-1])) + "\n"
    (out / "rows.csv").write_text(whole + others[-1][:-9])
    again = rd(*arguments)
    assert (again.returncode, again.stderr) == (0, "")
    assert f"1 rows of other commits are kept: {out / 'rows.csv'}" in again.stdout
    text = (out / "rows.csv").read_text()
    assert text.startswith(whole)
    (made,) = text[len(whole) :].splitlines()
    assert made.split(",")[:6] == others[-1].split(",")[:6]


def test_rd_takes_means_over_the_images_and_compares(tmp_path: Path) -> None:
    """Rows are given, so that nothing is left to encode with tcnn_codec."""
    folder, out = pictures(tmp_path / "in", "a.png", "b.png", side=128), tmp_path / "out"
    out.mkdir()
    rates, means = (0.1, 0.2, 0.4), (30.0, 32.0, 33.0)
    rows = [
        f"{image},tcnn_codec,bpp {rate},100,{rate},{mean + sign},{2 + sign},fast,none"
        for rate, mean in zip(rates, means, strict=True)
        for image, sign in (("a.png", -1), ("b.png", 1))
    ]
    (out / "rows.csv").write_text("\n".join((COLUMNS, *rows)) + "\n")
    # The same quality at twice the rate.
    codec = {"label": "x", "kind": "neural", "bpp": [0.2, 0.4, 0.8], "psnr_db": means}
    anchors, report = tmp_path / "anchors.json", tmp_path / "report.json"
    anchors.write_text(json.dumps({"codecs": {"strumpler-basic-8bit": codec}}))
    options = ("--preset", "fast", "--rates", *rates, "--out", out, "--anchors", anchors)
    done = rd(folder, *options, "--json", report)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (out / "streams").exists()
    found = json.loads(report.read_text())["rows"]
    ours = [row for row in found if row.get("codec") == "tcnn_codec"]
    assert [row["bpp"] for row in ours] == pytest.approx(rates)
    assert [row["psnr_db"] for row in ours] == pytest.approx(means)
    assert [row["seconds"] for row in ours] == pytest.approx([2, 2, 2])
    theirs = [row["paper_psnr_db"] for row in ours]
    assert theirs[0] is None
    assert theirs[1:] == pytest.approx([30, 32])
    (against,) = (row for row in found if row.get("against") == "x")
    assert against["bd_rate_percent"] == pytest.approx(-50)
    assert against["psnr_db"] == [30, 33]
    assert 1 < against["bd_psnr_db"] < 2
    assert "3 points of ours; 4 are wanted" in done.stdout


def test_rd_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, empty = pictures(tmp_path / "in", "a.png"), tmp_path / "empty"
    empty.mkdir()
    out, bad = tmp_path / "out", tmp_path / "bad.json"
    out.mkdir()
    (out / "rows.csv").write_text(f"{COLUMNS}\na.png,JPEG\n")
    monkeypatch.syspath_prepend(ROOT / "bench")
    bad.write_text('{"codecs": {"x": {"label": "x", "kind": "neural", "bpp": [1]}}}')
    for arguments, message in (
        ((tmp_path / "none",), f"'{tmp_path / 'none'}' is no folder"),
        ((empty,), f"no image in '{empty}'"),
        ((folder, "--rates", 0), "`bpp` is 0"),
        ((folder, "--images", 0), "--images is 0"),
        ((folder, "--anchors", bad), f"'{bad}' holds no published curves"),
        ((folder, "--out", out), f"line 2 of '{out / 'rows.csv'}' is no row"),
    ):
        monkeypatch.setattr(sys, "argv", ["rd.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / "bench" / "rd.py"), run_name="__main__")
        assert stopped.value.code == 2
        printed = capsys.readouterr()
        assert printed.err.splitlines()[-1].startswith(f"rd.py: error: {message}")
        assert printed.out == ""
