"""Codes of frames: learned by every instruction set as by the plain trainer, and what they cost."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from cases import CODE_CASES, Case

from tcnn_codec.errors import BackendUnavailable
from tcnn_codec.families.siren.backends.base import PlainTrainer, refuse_codes
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.families.siren.fit import code_learning, fit
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.codes import EVERY, CodeLearner, CodeLearning, rate_gradient
from tcnn_codec.training.job import Job
from tcnn_codec.training.optimiser import OptimiserState

LEARNING = CodeLearning(
    steps=10, noisy=2, rounded=6, learning_rate=8.0, price=1e-4, most=31, seed=3
)


def shaky(frames: int = 12, size: int = 24) -> np.ndarray:
    """A picture that jumps about, as no smooth function of time does; uint8 [frames, …, 3]."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[: size + 8, : size + 8]
    picture = 128 + 60 * np.sin(0.5 * x) + 60 * np.sin(0.37 * y + 0.2 * x)
    places = rng.integers(0, 9, (frames, 2))
    cut = [picture[a : a + size, b : b + size] for a, b in places]
    return np.repeat(np.stack(cut)[..., None], 3, axis=3).astype(np.uint8)


@pytest.mark.parametrize("case", CODE_CASES, ids=[case.name for case in CODE_CASES])
def test_fused_steps_learn_as_plain_ones(native: CpuBackend, case: Case) -> None:
    order = np.random.default_rng(0).permutation(np.arange(case.grid.pixels, dtype=np.uint32))
    job = Job(case.spec, case.grid, case.target(0), order)
    state = OptimiserState.start(case.params(0), 0.03)
    fused = native.trainer(job, state, LEARNING)
    plain = PlainTrainer(partial(native.loss_and_grad, job), job, state, LEARNING)
    batches = Batches(tuple((5 * step % order.size, 1) for step in range(9)), order.size // 2 + 1)
    rates = np.full(9, 1e-4, np.float32)
    assert fused.steps(batches, rates) == pytest.approx(plain.steps(batches, rates), rel=1e-4)
    first = case.spec.layer_parameters
    found, expected = fused.state().params[first:], plain.state().params[first:]
    assert not np.array_equal(found, state.params[first:])
    # Adam's first steps are of one size whatever the gradient's, up to its rounding near zero.
    assert np.median(np.abs(found - expected)) < 1e-5


def test_without_learning_codes_stay(native: CpuBackend) -> None:
    case = CODE_CASES[0]
    order = np.arange(case.grid.pixels, dtype=np.uint32)
    job = Job(case.spec, case.grid, case.target(0), order)
    trainer = native.trainer(job, OptimiserState.start(case.params(0)))
    trainer.steps(Batches(((0, 1),) * 3, order.size), np.full(3, 1e-3, np.float32))
    first = case.spec.layer_parameters
    assert np.array_equal(trainer.state().params[first:], case.params(0)[first:])


def test_the_network_sees_codes_then_noise_then_whole_numbers() -> None:
    codes = np.linspace(-3, 3, 12, dtype=np.float32)
    state = OptimiserState.start(codes)
    learner = CodeLearner(LEARNING, state, (4, 3))
    assert np.array_equal(learner.shown().ravel(), codes)
    state.steps_done = LEARNING.noisy
    noise = learner.shown().ravel() - codes
    assert 0.2 < np.abs(noise).max() <= 0.5
    state.steps_done = LEARNING.rounded
    assert np.array_equal(learner.shown().ravel(), np.rint(codes))


def test_rate_gradient_is_that_of_the_rate() -> None:
    """With the scale held, as a decoder's contexts have it before a value."""
    codes = np.random.default_rng(2).normal(0, 3, (7, 2)).astype(np.float32)
    change = np.diff(codes, axis=0, prepend=0)
    scale = np.abs(change).mean(axis=0) + 0.25

    def bits(codes: np.ndarray) -> float:
        return float((np.abs(np.diff(codes, axis=0, prepend=0)) / scale / np.log(2)).sum())

    gradient = rate_gradient(codes)
    for frame in range(7):
        for column in range(2):
            moved = codes.astype(np.float64)
            moved[frame, column] += 1e-4
            slope = (bits(moved) - bits(codes.astype(np.float64))) / 1e-4
            assert gradient[frame, column] == pytest.approx(slope, abs=1e-3)


def test_codes_pay_where_motion_is_not_smooth() -> None:
    pixels = shaky(40, 32)
    grid, backend = Grid.of(pixels), CpuBackend(1)
    plain = SirenSpec(axes=3, frequencies=8, width=16, hidden_layers=2)
    coded = replace(plain, time_frequencies=6, time_codes=4).of(grid.frames)
    errors = []
    for spec in (plain, coded):
        job = Job.of(spec, pixels, 0)
        params = fit(backend, job, initialise(spec, 0), 1000)
        codes = params[spec.layer_parameters :]
        assert np.array_equal(codes, np.rint(codes))
        shown = backend.render(spec, params, grid).astype(int)
        errors.append(np.square(shown - pixels).mean())
    assert errors[1] < 0.7 * errors[0], errors


def test_the_same_codes_every_time(native: CpuBackend) -> None:
    pixels = shaky(5, 12)
    spec = SirenSpec(axes=3, frequencies=4, width=8, time_codes=2).of(5)
    job = Job.of(spec, pixels, 7)
    found = [fit(native, job, initialise(spec, 7), 30) for _ in range(2)]
    assert np.array_equal(*found)


def test_learning_counts_in_steps_and_pixels() -> None:
    job = Job.of(SirenSpec(axes=3, time_codes=2).of(2), np.zeros((2, 4, 5, 3), np.uint8), 1)
    learning = code_learning(job, 1000)
    assert 0 < learning.noisy < learning.rounded < learning.steps == 1000
    assert learning.price == pytest.approx(1000 / (127.5**2 * 40))
    assert EVERY == 2


def test_a_backend_without_codes_says_so() -> None:
    refuse_codes(SirenSpec(axes=3), "cuda")
    with pytest.raises(BackendUnavailable, match="`time_codes` is 4; `backend` 'cuda' has none"):
        refuse_codes(SirenSpec(axes=3, time_codes=4), "cuda")
