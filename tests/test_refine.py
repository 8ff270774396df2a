"""Steps by what rounding costs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tcnn_codec.backends.cpu import CpuBackend
from tcnn_codec.entropy import encode_tensors
from tcnn_codec.fit import fit
from tcnn_codec.quantise import MAX_LEVEL, QuantisedTensor, dequantise, quantise
from tcnn_codec.refine import SAMPLES, _coarse, balance_steps, train_rounded
from tcnn_codec.siren import F32, Grid, SirenSpec, initialise

BACKEND = CpuBackend()
SPEC, GRID = SirenSpec(width=24), Grid(64, 48)


def deviation(spec: SirenSpec, params: F32, tensors: tuple[QuantisedTensor, ...]) -> float:
    exact = BACKEND.evaluate(spec, params, GRID)
    found = BACKEND.evaluate(spec, dequantise(spec, tensors), GRID)
    return float(np.mean(np.square(found - exact)))


def shares(params: F32, tensors: tuple[QuantisedTensor, ...]) -> NDArray[np.float64]:
    """What rounding each tensor alone costs, per parameter."""
    rounded, costs = dequantise(SPEC, tensors), []
    for tensor in SPEC.tensors:
        alone = params.copy()
        alone[tensor.place] = rounded[tensor.place]
        exact, found = (BACKEND.evaluate(SPEC, p, GRID) for p in (params, alone))
        costs.append(np.mean(np.square(found - exact)) / tensor.size)
    return np.array(costs)


@pytest.mark.parametrize("bits", [6, 7, 8])
def test_balanced_steps_cost_less_at_the_same_rate(bits: int) -> None:
    params = initialise(SPEC, 0)
    before = quantise(SPEC, params, bits)
    after = balance_steps(BACKEND, SPEC, params, GRID, before)
    assert deviation(SPEC, params, after) < 0.8 * deviation(SPEC, params, before)
    assert len(encode_tensors(after)) == pytest.approx(len(encode_tensors(before)), rel=0.02)


def test_every_parameter_has_about_the_same_share() -> None:
    params = initialise(SPEC, 0)
    before = quantise(SPEC, params, 7)
    after = balance_steps(BACKEND, SPEC, params, GRID, before)
    # The three biases of the output are too few to follow an average.
    assert (
        np.log(shares(params, after)[:-1]).std() < 0.5 * np.log(shares(params, before)[:-1]).std()
    )


def test_steps_stay_as_fine_on_average() -> None:
    params = initialise(SPEC, 0)
    before = quantise(SPEC, params, 6)
    after = balance_steps(BACKEND, SPEC, params, GRID, before)
    change = [t.values.size * np.log(t.step / b.step) for t, b in zip(after, before, strict=True)]
    # Steps are bfloat16: each is off by 2^-8 at most.
    assert abs(sum(change)) <= SPEC.parameter_count * 2**-8


def test_zeros_and_extremes_are_kept() -> None:
    params = np.zeros(SPEC.parameter_count, np.float32)
    before = quantise(SPEC, params, 8)
    for kept, tensor in zip(
        balance_steps(BACKEND, SPEC, params, GRID, before), before, strict=True
    ):
        assert kept.step == tensor.step
        assert not kept.values.any()
    params = initialise(SPEC, 0)
    finest = balance_steps(BACKEND, SPEC, params, GRID, quantise(SPEC, params, 12))
    assert MAX_LEVEL * (1 - 2**-7) <= max(tensor.largest for tensor in finest) <= MAX_LEVEL
    assert deviation(SPEC, params, finest) < 1e-4


@pytest.mark.parametrize(
    "grid", [Grid(1, 1), Grid(300, 200), Grid(1920, 1080), Grid(640, 360, 25), Grid(100_000, 1)]
)
def test_the_coarse_grid_is_small(grid: Grid) -> None:
    coarse = _coarse(grid)
    assert min(coarse.width, coarse.height, coarse.frames) >= 1
    assert coarse.pixels <= grid.pixels
    assert coarse.pixels <= SAMPLES or min(grid.width, grid.height) == 1


def test_training_the_rounded_network_wins_back_what_rounding_lost() -> None:
    grid = Grid(48, 32)
    y, x = np.mgrid[0:32, 0:48]
    target = np.stack([5 * x, 8 * y, 128 + 0 * x], axis=-1).astype(np.uint8).reshape(-1, 3)
    spec = SirenSpec(width=16, hidden_layers=1, frequencies=2)
    params = fit(BACKEND, spec, grid, target, steps=400, seed=0)

    def loss(tensors: tuple[QuantisedTensor, ...]) -> float:
        return BACKEND.loss_and_grad(spec, dequantise(spec, tensors), grid, target)[0]

    tensors = balance_steps(BACKEND, spec, params, grid, quantise(spec, params, 5))
    seen: list[int] = []
    arguments = BACKEND, spec, params, grid, target, tensors
    trained = train_rounded(
        *arguments, steps=300, seed=0, progress=lambda step, _: seen.append(step)
    )
    exact = BACKEND.loss_and_grad(spec, params, grid, target)[0]
    assert loss(trained) - exact < 0.5 * (loss(tensors) - exact)
    assert [t.step for t in trained] == [t.step for t in tensors]
    assert seen == [200, 300]
    again = train_rounded(*arguments, steps=300, seed=0)
    assert all(np.array_equal(a.values, b.values) for a, b in zip(trained, again, strict=True))
