"""The one list of cases that every backend and instruction set must pass, and that bench times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from tcnn_codec.dtypes import F32, F64, U8, U32
from tcnn_codec.families.siren.backends.base import Backend, PlainTrainer
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.job import Job, Target
from tcnn_codec.training.optimiser import OptimiserState


@dataclass(frozen=True)
class Case:
    """A network, the grid it is evaluated on, and how many random pixels a batch has (0: all)."""

    name: str
    spec: SirenSpec
    grid: Grid
    batch: int = 0

    def params(self, seed: int) -> F32:
        params = initialise(self.spec, seed)
        codes = params[self.spec.layer_parameters :]
        codes[:] = np.random.default_rng(seed).integers(-9, 10, codes.size)
        return params

    def target(self, seed: int) -> U8:
        """Noise around a gradient, uint8 [pixels, out_channels]."""
        rng = np.random.default_rng(seed)
        shape = (self.grid.pixels, self.spec.out_channels)
        ramp = np.linspace(0, 200, self.grid.pixels)[:, None]
        return (ramp + rng.integers(0, 56, shape)).astype(np.uint8)

    def indices(self, seed: int) -> U32 | None:
        if not self.batch:
            return None
        rng = np.random.default_rng(seed)
        return rng.integers(0, self.grid.pixels, self.batch, dtype=np.uint32)


CASES = (
    Case("paper-32", SirenSpec(), Grid(37, 29)),
    Case("paper-48", SirenSpec(width=48), Grid(64, 48)),
    Case("paper-64-batch", SirenSpec(width=64), Grid(96, 64), batch=1000),
    Case("paper-128", SirenSpec(width=128), Grid(50, 31)),
    Case("many-slices", SirenSpec(width=16, hidden_layers=1), Grid(160, 150)),
    Case("coin-5x20", SirenSpec(frequencies=0, hidden_layers=4, width=20), Grid(33, 47)),
    Case("coin-5x30", SirenSpec(frequencies=0, hidden_layers=4, width=30), Grid(40, 30)),
    Case("coin-10x28", SirenSpec(frequencies=0, hidden_layers=9, width=28), Grid(40, 30)),
    Case("coin-10x40", SirenSpec(frequencies=0, hidden_layers=9, width=40), Grid(30, 20)),
    Case("coin-13x49", SirenSpec(frequencies=0, hidden_layers=12, width=49), Grid(40, 20)),
    Case("video", SirenSpec(axes=3, width=32), Grid(24, 17, 7)),
    Case("video-batch", SirenSpec(axes=3, frequencies=12, width=24), Grid(32, 20, 9), batch=777),
    Case("video-one-frame", SirenSpec(axes=3, frequencies=4, width=16), Grid(20, 10, 1)),
    Case("video-few-times", SirenSpec(axes=3, time_frequencies=3, width=24), Grid(24, 17, 7)),
    Case(
        "video-more-times",
        SirenSpec(axes=3, frequencies=5, time_frequencies=16, width=20),
        Grid(23, 11, 8),
        batch=500,
    ),
    Case("grey-56", SirenSpec(out_channels=1, width=56, hidden_layers=2), Grid(30, 30)),
    Case("rgba-80", SirenSpec(out_channels=4, width=80, hidden_layers=2), Grid(30, 30)),
    Case("odd-17", SirenSpec(width=17, hidden_layers=2), Grid(41, 23)),
    Case("odd-97", SirenSpec(width=97, hidden_layers=1), Grid(19, 53)),
    Case("odd-127", SirenSpec(width=127, hidden_layers=1), Grid(23, 31)),
    Case("thin-1", SirenSpec(width=1, hidden_layers=1), Grid(21, 13)),
    Case("thin-3", SirenSpec(width=3, hidden_layers=5), Grid(21, 13)),
    Case("no-hidden-layer", SirenSpec(hidden_layers=0), Grid(49, 5)),
    Case("one-row", SirenSpec(width=24), Grid(143, 1)),
    Case("one-column", SirenSpec(width=24), Grid(1, 97)),
    Case("one-pixel", SirenSpec(width=24), Grid(1, 1)),
    Case("low-w0", SirenSpec(width=24, w0=1.0, scale=2.0, frequencies=5), Grid(31, 31)),
)
#: Networks with codes of frames, which only the CPU and the reference train.
CODE_CASES = (
    Case("codes", SirenSpec(axes=3, time_frequencies=6, time_codes=8).of(7), Grid(24, 17, 7)),
    Case(
        "codes-batch",
        SirenSpec(axes=3, frequencies=12, time_frequencies=0, time_codes=13, width=40).of(5),
        Grid(32, 20, 5),
        batch=777,
    ),
    Case("codes-one-frame", SirenSpec(axes=3, time_codes=1, width=17).of(1), Grid(20, 10, 1)),
    Case("codes-64-grey", SirenSpec(axes=3, time_codes=64, out_channels=1).of(9), Grid(9, 7, 9)),
)
CPU_CASES = (*CASES, *CODE_CASES)


def case_of(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def relative(found: NDArray[np.floating], exact: NDArray[np.floating]) -> float:
    """The error's norm over that of the exact answer."""
    return float(np.linalg.norm(found.astype(np.float64) - exact) / np.linalg.norm(exact))


def rms(errors: Sequence[float] | NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


def loss_and_grad(
    backend: Backend,
    spec: SirenSpec,
    params: F32,
    grid: Grid,
    target: Target,
    indices: U32 | None = None,
) -> tuple[float, F32]:
    return backend.loss_and_grad(Job(spec, grid, target), params, indices)


def fit_steps(
    backend: Backend, job: Job[SirenSpec], state: OptimiserState, batches: Batches, rates: F32
) -> tuple[F64, OptimiserState]:
    """The losses of some steps, and the state behind them."""
    trainer = backend.trainer(job, state)
    losses = trainer.steps(batches, rates)
    return losses, trainer.state()


def rounding_scales(spec: SirenSpec, params: F32, kept: NDArray[np.bool_]) -> F32:
    """Scales of Adam as rounding has them: a quantisation step of 6 bits, and 0 where kept."""
    scales = np.empty_like(params)
    for tensor in spec.layer_tensors:
        scales[tensor.place] = np.abs(params[tensor.place]).max() / 31
    scales[kept] = 0
    scales[spec.layer_parameters :] = 0
    return scales


def check_scaled_steps(
    backend: Backend, job: Job[SirenSpec], state: OptimiserState, batches: Batches, rates: F32
) -> tuple[F32, F32]:
    """Adam on every parameter in units of its scale, against the plain trainer.

    The parameters then, the backend's and the plain trainer's.
    """
    assert state.scales is not None
    losses, fused = fit_steps(backend, job, state, batches, rates)
    trainer = PlainTrainer(partial(backend.loss_and_grad, job), job, state)
    assert losses == pytest.approx(trainer.steps(batches, rates), rel=1e-5)
    plain, kept = trainer.state(), state.scales == 0
    assert np.array_equal(fused.params[kept], state.params[kept])
    # Adam's first steps are of one size whatever the gradient's, up to its rounding near zero.
    apart = np.abs(fused.params - plain.params)[~kept] / state.scales[~kept]
    assert np.median(apart) < 1e-5
    return fused.params, plain.params


def check_vjp(backend: Backend, exact: Backend, case: Case, bound: float) -> None:
    """The gradient of the mean squared error is the vjp of its gradient by the output.

    exact: in float64. bound: relative error of the backend's gradients.
    """
    params, target = case.params(4), case.target(4)
    output = exact.evaluate(case.spec, params, case.grid)
    given = (2 / output.size * (output - (target * (2 / 255) - 1))).astype(np.float32)
    _, expected = loss_and_grad(exact, case.spec, params, case.grid, target)
    found = backend.vjp(case.spec, params, case.grid, given)
    assert found.dtype == np.float32
    assert relative(found, expected.astype(np.float64)) <= bound
    nothing = backend.vjp(case.spec, params, case.grid, np.zeros_like(given))
    assert not nothing.any()


def check_render(backend: Backend, case: Case) -> None:
    """render is evaluate's output, rounded."""
    params = case.params(2)
    levels = (backend.evaluate(case.spec, params, case.grid).astype(np.float64) + 1) * 127.5
    rendered = backend.render(case.spec, params, case.grid)
    grid = case.grid
    assert rendered.shape == (grid.frames, grid.height, grid.width, case.spec.out_channels)
    assert np.abs(np.clip(levels, 0, 255).reshape(rendered.shape) - rendered).max() <= 0.5 + 1e-4


def check_float_targets(backend: Backend, tolerance: float) -> None:
    """Float targets are taken as they are. tolerance: relative, of the gradient's roundings."""
    case = CASES[0]
    target = case.target(0)
    as_float = (target * np.float32(2 / 255) - 1).astype(np.float32)
    call = case.spec, case.params(0), case.grid
    loss, gradient = loss_and_grad(backend, *call, target)
    other, other_gradient = loss_and_grad(backend, *call, as_float)
    assert abs(other / loss - 1) < 1e-6
    assert relative(other_gradient, gradient.astype(np.float64)) < tolerance
