"""Of the ways to round a network the encoder measures and takes the best, flat pictures too."""

from __future__ import annotations

import importlib
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tcnn_codec
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.config import make_config
from tcnn_codec.dtypes import F32, U8
from tcnn_codec.encoding.chunks import Chunk
from tcnn_codec.encoding.jobs import ChunkJob, ChunkResult, Tools, best_colour, do
from tcnn_codec.families.contract import Rounding, Tensors
from tcnn_codec.families.siren import fitter, rounding
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.families.siren.fitter import SirenFitter
from tcnn_codec.families.siren.quantise import (
    canonical,
    constant,
    dequantise,
    fold,
    quantise,
    step_size,
)
from tcnn_codec.families.siren.rounding import NOISE, balance_steps, deviation_from
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise

BACKEND = CpuBackend(1)
STEPS = 240
SMALL = (
    ("flat", "clear 40x30"),
    ("two-tone", "halves 32x32"),
    ("text", "64x24"),
    ("icon", "16x16"),
    ("gradient", "2x1"),
    ("checkerboard", "32x32 by 1"),
    ("noise", "3x3"),
    ("hot pixel", "16x16"),
)


@pytest.fixture(scope="module")
def synthetic() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "bench"))
        yield importlib.import_module("synthetic")


FITTER = SirenFitter(threads=1)
TOOLS = Tools.of(FITTER)


def chunk_of(pixels: U8) -> Chunk:
    """One chunk of pixels [height, width, channels] or [frames, height, width, channels]."""
    frames = pixels if pixels.ndim == 4 else pixels[None]
    return Chunk(0, frames, tuple(range(len(frames))))


def spec_of(chunk: Chunk) -> SirenSpec:
    return SirenSpec(width=8, frequencies=6, out_channels=chunk.pixels.shape[-1])


def fitted(chunk: Chunk) -> F32:
    return work(chunk, None, None).params


def work(
    chunk: Chunk,
    params: F32 | None,
    bits: float | None,
    *,
    steps: int = STEPS,
    lambda_: float | None = None,
    sized: bool = False,
    tools: Tools = TOOLS,
) -> ChunkResult:
    """A chunk fitted, or coded where there are bits."""
    job = ChunkJob(
        chunk=chunk,
        spec=spec_of(chunk),
        seed=0,
        fit_steps=STEPS - STEPS // 8,
        params=params,
        rounding=None if bits is None else Rounding(bits, lambda_, steps // 8),
        one_colour=not sized,
    )
    return do(job, tools, lambda *_: None)


def error_of(chunk: Chunk, tensors: Tensors) -> float:
    """Mean squared, of the 8-bit samples that a decoder puts out."""
    decoded = TOOLS.renderer.render(spec_of(chunk), tensors, chunk.grid)
    return float(np.mean(np.square(decoded.astype(int) - chunk.pixels)))


def tensors_of(chunk: Chunk, result: ChunkResult) -> Tensors:
    return FITTER.family.decode(spec_of(chunk), result.payload)


def checkers(side: int = 32) -> U8:
    y, x = np.mgrid[:side, :side]
    return np.uint8(255 * ((x + y) % 2))[..., None]


def hot_pixel(side: int = 16) -> U8:
    found = np.zeros((side, side, 3), np.uint8)
    found[side // 3, side // 2] = 255
    return found


def test_there_are_forty_pictures_of_every_kind_and_size(synthetic: Any) -> None:
    pictures = synthetic.pictures()
    every = [pixels for named in pictures.values() for pixels in named.values()]
    assert len(pictures) == 8
    assert len(every) == 40
    assert {pixels.dtype for pixels in every} == {np.dtype(np.uint8)}
    assert min(pixels.shape[:2] for pixels in every) == (1, 1)
    assert max(pixels.shape[:2] for pixels in every) == (512, 512)
    again = [pixels for named in synthetic.pictures().values() for pixels in named.values()]
    assert all(np.array_equal(a, b) for a, b in zip(every, again, strict=True))


@pytest.mark.parametrize("width", [4, 16])
@pytest.mark.parametrize(("kind", "name"), SMALL)
def test_nothing_simpler_decodes_better(synthetic: Any, kind: str, name: str, width: int) -> None:
    config = make_config(width=width, steps=STEPS, threads=1)
    found = synthetic.measure(synthetic.pictures()[kind][name], config)
    assert not found.violated, found


def test_the_benchmark_has_a_row_for_every_network(tmp_path: Path) -> None:
    script, file = Path(__file__).parents[1] / "bench" / "synthetic.py", tmp_path / "found.json"
    command = [sys.executable, script, "--quick", "--threads", "1", "--json", file]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["rows"]
    networks = [row for row in rows if row["part"] == "network"]
    summaries = [row for row in rows if row["part"] == "summary"]
    assert len(networks) == 32
    assert [row["networks"] for row in summaries] == [4] * 8 + [32]
    assert all(f"\n{row['kind']} " in done.stdout for row in summaries)
    assert not any(row["violations"] for row in summaries)


@pytest.mark.parametrize("bits", [4, 6, 9])
@pytest.mark.parametrize("steps", [5, STEPS])
def test_rounding_is_never_worse_than_equal_bits_at_once(bits: int, steps: int) -> None:
    for pixels in (checkers(), hot_pixel()):
        chunk = chunk_of(pixels)
        params = fitted(chunk)
        rounded = work(chunk, params, bits, steps=steps)
        spec = spec_of(chunk)
        plain = canonical(spec, quantise(spec, fold(spec, params), bits))
        error = error_of(chunk, tensors_of(chunk, rounded))
        assert error <= error_of(chunk, plain)
        assert np.mean(rounded.qualities) == pytest.approx(10 * np.log10(255**2 / error))


def test_a_job_and_its_result_can_be_sent_anywhere() -> None:
    """A job that went through pickle gives the same bytes as one that did not."""
    chunk = chunk_of(checkers())
    for params in (None, fitted(chunk)):
        job = ChunkJob(chunk, spec_of(chunk), 3, 40, params, Rounding(6, None, 5))
        sent = pickle.loads(pickle.dumps(job))
        here, there = (do(each, TOOLS, lambda *_: None) for each in (job, sent))
        back = pickle.loads(pickle.dumps(there))
        assert back.payload == here.payload
        assert back.qualities == here.qualities
        assert np.array_equal(back.params, here.params)


def whole_changes(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> Tensors:
    with monkeypatch.context() as patch:
        patch.setattr(rounding, "SHARES", (1.0,))
        return balance_steps(*arguments)


def test_changes_that_do_harm_are_scaled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a matrix that is on its grid but for a hair: rounding it costs nothing as it is, and by
    the square law next to nothing with a step of 64 times, which leaves it no more than signs."""
    spec, grid = SirenSpec(width=16, hidden_layers=1), chunk_of(checkers()).grid
    params = initialise(spec, 0)
    place = spec.tensors[2].place
    tensor = quantise(spec, params, 6)[2]
    step = step_size(spec, 2, tensor.step)
    hair = np.random.default_rng(0).uniform(-1e-3, 1e-3, tensor.values.size)
    hair[np.abs(tensor.values) == np.abs(tensor.values).max()] = 0  # the step stays the same
    params[place] = ((tensor.values + hair) * step).astype(np.float32)
    before = quantise(spec, params, 6)
    arguments = BACKEND, spec, params, grid, before
    deviation = deviation_from(BACKEND, spec, params, grid)
    plain, whole, chosen = (
        deviation(dequantise(spec, tensors))
        for tensors in (before, whole_changes(monkeypatch, *arguments), balance_steps(*arguments))
    )
    assert whole > NOISE * plain, "the network no longer shows what this is about"
    assert chosen <= NOISE * plain


def test_changes_that_do_good_are_made_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, grid = SirenSpec(width=24), chunk_of(checkers()).grid
    params = initialise(spec, 0)
    arguments = BACKEND, spec, params, grid, quantise(spec, params, 7)
    for a, b in zip(whole_changes(monkeypatch, *arguments), balance_steps(*arguments), strict=True):
        assert a.step == b.step
        assert np.array_equal(a.values, b.values)


def test_a_price_decides_between_the_shares() -> None:
    spec, grid = SirenSpec(width=24), chunk_of(checkers()).grid
    params = initialise(spec, 0)
    before = quantise(spec, params, 7)

    def price(tensors: Sequence[QuantisedTensor]) -> float:
        return 0.0 if all(a is b for a, b in zip(tensors, before, strict=True)) else 100.0

    assert balance_steps(BACKEND, spec, params, grid, before, price=price) == before


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_constant_network_is_exactly_its_colour(channels: int) -> None:
    spec = SirenSpec(width=5, out_channels=channels)
    for level in range(256):
        colour = np.array([level, 255 - level, 0, 128][:channels], np.uint8)
        tensors = constant(spec, colour)
        decoded = TOOLS.renderer.render(spec, tensors, chunk_of(checkers(2)).grid)
        assert (decoded == colour).all()
    assert len(FITTER.family.encode(spec, tensors)) < 60


def test_a_network_poorer_than_one_colour_becomes_that_colour() -> None:
    chunk = chunk_of(hot_pixel())
    count = spec_of(chunk).parameter_count
    noise = np.random.default_rng(0).normal(0, 1, count).astype(np.float32)
    rounded = work(chunk, noise, 6)
    mean = np.rint(chunk.pixels.reshape(-1, 3).mean(axis=0))
    error = np.mean(np.square(chunk.pixels - mean))
    assert error_of(chunk, tensors_of(chunk, rounded)) == error
    assert len(rounded.payload) < 60
    # A size asked for is one to be kept.
    assert len(work(chunk, noise, 6, sized=True).payload) > 60


@pytest.mark.parametrize("colour", [[0], [255], [200, 30, 99], [12, 34, 56, 0]])
@pytest.mark.parametrize("options", [{"width": 32}, {"preset": "best"}, {"lambda_": 100.0}])
def test_one_colour_is_exact_and_takes_no_fit(
    monkeypatch: pytest.MonkeyPatch, colour: list[int], options: dict[str, Any]
) -> None:
    monkeypatch.setattr(fitter, "fit", None)
    for height, width in ((1, 1), (30, 20)):
        pixels = np.broadcast_to(np.uint8(colour), (height, width, len(colour)))
        stream = tcnn_codec.encode(pixels, **options)
        assert np.array_equal(tcnn_codec.decode(stream), pixels)
        assert len(stream) < 150


def test_a_black_chunk_of_a_video_is_exact() -> None:
    clip = np.zeros((4, 16, 16, 3), np.uint8)
    clip[2:] = np.random.default_rng(0).integers(0, 256, clip[2:].shape)
    stream = tcnn_codec.encode(clip, width=8, chunk_frames=2, steps=40, threads=1)
    decoded = tcnn_codec.decode(stream)
    assert not decoded[:2].any()
    assert decoded[2:].any()


@pytest.mark.parametrize("value", [1e-3, 1.0, 100.0, 1e5])
def test_lambda_weighs_what_it_says(value: float) -> None:
    for pixels in (checkers(), hot_pixel()):
        chunk = chunk_of(pixels)
        params, spec = fitted(chunk), spec_of(chunk)

        def cost(tensors: Tensors, chunk: Chunk = chunk, spec: SirenSpec = spec) -> float:
            size = len(FITTER.family.encode(spec, tensors))
            return error_of(chunk, tensors) + value * 8 * size / chunk.grid.pixels

        rounded = work(chunk, params, 6, lambda_=value)
        plain = canonical(spec, quantise(spec, fold(spec, params), 6))
        colour = np.rint(chunk.pixels.reshape(-1, pixels.shape[-1]).mean(axis=0)).astype(np.uint8)
        for other in (plain, constant(spec, colour)):
            assert cost(tensors_of(chunk, rounded)) <= cost(other) * (1 + 1e-12)


class Renders:
    """A decoder that counts what it renders."""

    def __init__(self) -> None:
        self.count = 0

    def render(self, *arguments: Any) -> U8:
        self.count += 1
        return TOOLS.renderer.render(*arguments)


@pytest.mark.parametrize(("deviations", "renders"), [((1, 2, 3), 1), ((2, 1, 3), 2)])
def test_of_a_long_chunk_only_what_may_be_better_is_rendered(
    monkeypatch: pytest.MonkeyPatch, deviations: tuple[float, ...], renders: int
) -> None:
    """Where a picture has more pixels than the steps of rounding saw."""
    scripted = iter(deviations)
    monkeypatch.setattr(fitter, "deviation_from", lambda *_: lambda _: next(scripted))
    chunk, renderer = chunk_of(checkers(128)), Renders()
    params = initialise(spec_of(chunk), 0)
    spent = work(chunk, params, 6, steps=8, tools=Tools(FITTER, renderer))
    is_one_colour = error_of(chunk, tensors_of(chunk, spent)) == best_colour(chunk.pixels)[1]
    assert renderer.count == renders + is_one_colour
