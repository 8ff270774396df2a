"""Steps by what rounding costs, and rounding part by part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tcnn_codec.bitstream.limits import MAX_LEVEL
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.dtypes import F32
from tcnn_codec.errors import CodecError
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.families.siren.backends.reference import ReferenceBackend
from tcnn_codec.families.siren.fit import fit
from tcnn_codec.families.siren.payload import encode
from tcnn_codec.families.siren.quantise import (
    canonical,
    dequantise,
    quantise,
    step_sizes,
)
from tcnn_codec.families.siren.rounding import SAMPLES, _coarse, balance_steps, round_gradually
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid
from tcnn_codec.training.job import Job, Trainer
from tcnn_codec.training.optimiser import OptimiserState

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
    sizes = [len(encode(SPEC, canonical(SPEC, tensors))) for tensors in (after, before)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


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
    change = [
        t.values.size * np.log(t.multiplier / b.multiplier)
        for t, b in zip(after, before, strict=True)
    ]
    # Each is off by half the way to the next, an eighth, at most.
    assert abs(sum(change)) <= SPEC.parameter_count * np.log(9 / 8) / 2


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
    assert MAX_LEVEL * 8 / 9 <= max(tensor.largest for tensor in finest) <= MAX_LEVEL
    assert deviation(SPEC, params, finest) < 1e-4


@pytest.mark.parametrize(
    "grid", [Grid(1, 1), Grid(300, 200), Grid(1920, 1080), Grid(640, 360, 25), Grid(100_000, 1)]
)
def test_the_coarse_grid_is_small(grid: Grid) -> None:
    coarse = _coarse(grid)
    assert min(coarse.width, coarse.height, coarse.frames) >= 1
    assert coarse.pixels <= grid.pixels
    assert coarse.pixels <= SAMPLES or min(grid.width, grid.height) == 1


class Recorder:
    """A backend that notes what every call of a trainer's steps starts from and ends with."""

    def __init__(self) -> None:
        self.params: list[F32] = []
        self.scales: list[F32] = []
        self.after: list[F32] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(BACKEND, name)

    def trainer(self, job: Job[SirenSpec], state: OptimiserState) -> Any:
        return RecordedTrainer(self, BACKEND.trainer(job, state))


class RecordedTrainer:
    def __init__(self, notes: Recorder, trainer: Trainer) -> None:
        self._notes, self._trainer = notes, trainer
        self.load = trainer.load

    def steps(self, *arguments: Any) -> NDArray[np.float64]:
        before = self._trainer.state()
        assert before.scales is not None
        self._notes.params.append(before.params)
        self._notes.scales.append(before.scales)
        losses = self._trainer.steps(*arguments)
        self._notes.after.append(self.state().params)
        return losses

    def state(self) -> OptimiserState:
        return self._trainer.state()


SMALL, SMALL_GRID = SirenSpec(width=16, hidden_layers=1, frequencies=2), Grid(48, 32)


@pytest.fixture(scope="module")
def small_fit() -> tuple[F32, Job[SirenSpec], tuple[QuantisedTensor, ...]]:
    """Parameters of SMALL, what they were to learn, and them quantised to 5 bit."""
    y, x = np.mgrid[0:32, 0:48]
    pixels = np.stack([5 * x, 8 * y, 128 + 0 * x], axis=-1).astype(np.uint8)
    job = Job.of(SMALL, pixels[None], 0)
    params = fit(BACKEND, job, initialise(SMALL, 0), 400)
    tensors = quantise(SMALL, params, 5)
    return params, job, balance_steps(BACKEND, SMALL, params, SMALL_GRID, tensors)


def test_rounding_gradually_wins_back_what_rounding_lost(
    small_fit: tuple[F32, Job[SirenSpec], tuple[QuantisedTensor, ...]],
) -> None:
    params, job, tensors = small_fit

    def loss(network: F32) -> float:
        return BACKEND.loss_and_grad(job, network)[0]

    seen: list[int] = []
    arguments = BACKEND, job, params, tensors, 150
    rounded = round_gradually(*arguments, lambda step, _: seen.append(step))
    lost = loss(dequantise(SMALL, tensors)) - loss(params)
    assert loss(dequantise(SMALL, rounded)) - loss(params) < 0.5 * lost
    assert [t.step for t in rounded] == [t.step for t in tensors]
    assert seen == list(range(2, 151, 2))
    again = round_gradually(*arguments)
    assert all(np.array_equal(a.values, b.values) for a, b in zip(rounded, again, strict=True))


@pytest.mark.parametrize("steps", [1, 7, 150])
def test_what_is_rounded_stays(
    small_fit: tuple[F32, Job[SirenSpec], tuple[QuantisedTensor, ...]], steps: int
) -> None:
    params, job, tensors = small_fit
    backend = Recorder()
    final = dequantise(SMALL, round_gradually(backend, job, params, tensors, steps))
    calls = len(backend.params)
    assert calls == min(steps, 75)
    before = np.zeros(params.size, bool)
    for call, (start, scales) in enumerate(zip(backend.params, backend.scales, strict=True)):
        rounded = scales == 0
        assert rounded[before].all()
        assert np.array_equal(start[rounded], final[rounded])
        assert rounded.mean() == pytest.approx((call / calls) ** 0.5, abs=1 / params.size)
        before = rounded


def test_the_nearest_are_rounded_first(
    small_fit: tuple[F32, Job[SirenSpec], tuple[QuantisedTensor, ...]],
) -> None:
    params, job, tensors = small_fit
    backend = Recorder()
    round_gradually(backend, job, params, tensors, 40)
    spacing = step_sizes(SMALL, tensors)
    for before, scales, after in zip(
        backend.after, backend.scales, backend.scales[1:], strict=False
    ):
        distance = np.abs(before / spacing - np.rint(before / spacing))
        rounded_now, still_free = (scales > 0) & (after == 0), after > 0
        assert distance[rounded_now].max() <= distance[still_free].min() + 1e-5


def test_every_backend_can_round_gradually(
    small_fit: tuple[F32, Job[SirenSpec], tuple[QuantisedTensor, ...]],
) -> None:
    params, job, tensors = small_fit
    cpu, torch = (
        round_gradually(backend, job, params, tensors, 10)
        for backend in (BACKEND, ReferenceBackend())
    )
    same = np.concatenate([a.values == b.values for a, b in zip(cpu, torch, strict=True)])
    # Which of two nearly equal distances is the smaller may differ, and with it what follows.
    assert same.mean() > 0.9


def test_a_parameter_that_is_not_finite_is_told(
    small_fit: tuple[F32, Job[SirenSpec], tuple[QuantisedTensor, ...]],
) -> None:
    params, job, tensors = small_fit

    class BrokenTrainer(RecordedTrainer):
        def state(self) -> OptimiserState:
            found = super().state()
            if found.steps_done:
                found.params[3] = np.nan
            return found

    class Broken(Recorder):
        def trainer(self, job: Job[SirenSpec], state: OptimiserState) -> Any:
            return BrokenTrainer(self, BACKEND.trainer(job, state))

    with pytest.raises(CodecError, match="fitting diverged at step 1: a parameter is not finite"):
        round_gradually(Broken(), job, params, tensors, 1)


def test_a_parameter_out_of_range_is_rounded_to_the_largest_level() -> None:
    params = initialise(SMALL, 0)
    job = Job.of(SMALL, np.zeros((1, 32, 48, 3), np.uint8), 0)
    tensors = tuple(replace(tensor, step=1) for tensor in quantise(SMALL, params, 5))
    rounded = round_gradually(BACKEND, job, params, tensors, 3)
    values = np.concatenate([tensor.values for tensor in rounded])
    far = np.abs(params) > 2 * MAX_LEVEL * step_sizes(SMALL, tensors)
    assert far.any()
    assert (values[far] == MAX_LEVEL * np.sign(params[far])).all()
