"""Training with every instruction set: trajectories against the reference, fused steps against the
plain optimiser, and the gradient of any loss (`vjp`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from cases import (
    CPU_CASES,
    Case,
    case_of,
    check_scaled_steps,
    check_vjp,
    fit_steps,
    relative,
    rounding_scales,
)
from numpy.typing import NDArray
from reference_errors import (
    EXACT,
    REFERENCE,
    compute_gradient,
    compute_output,
    reference_gradient_error,
)

from tcnn_codec.dtypes import F32
from tcnn_codec.families.siren.backends.base import Backend
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.families.siren.backends.reference import forward
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.job import Job
from tcnn_codec.training.optimiser import OptimiserState, optimise

STEPS = 10
RATE_WEIGHT = 0.03
by_name = pytest.mark.parametrize("case", CPU_CASES, ids=[case.name for case in CPU_CASES])


def trajectory(
    backend: Backend, case: Case, seed: int, scales: F32 | None = None
) -> tuple[NDArray, NDArray]:
    """Losses of ten steps over overlapping batches, and how the parameters moved."""
    params = case.params(seed)
    rng = np.random.default_rng(seed)
    pixels = case.grid.pixels
    order = rng.permutation(np.arange(pixels, dtype=np.uint32))
    starts = tuple((7 * step % pixels, 1) for step in range(STEPS))
    batches = Batches(starts, max(1, pixels // 2))
    rates = np.full(STEPS, 1e-4, np.float32)
    job = Job(case.spec, case.grid, case.target(seed), order)
    start = OptimiserState.start(params, RATE_WEIGHT, scales)
    losses, state = fit_steps(backend, job, start, batches, rates)
    assert state.steps_done == STEPS
    assert np.array_equal(start.params, params), "the state handed in is copied"
    return losses, state.params.astype(np.float64) - params


def trajectory_errors(backend: Backend) -> tuple[NDArray, NDArray]:
    """Largest relative loss error and relative error of the parameters' way, [case, seed]."""
    loss_errors, way_errors = [], []
    for case in CPU_CASES:
        for seed in range(3):
            exact_losses, exact_way = exact_trajectory(case, seed)
            losses, way = trajectory(backend, case, seed)
            loss_errors.append(np.abs(losses / exact_losses - 1).max())
            way_errors.append(relative(way, exact_way))
    shape = (len(CPU_CASES), 3)
    return np.reshape(loss_errors, shape), np.reshape(way_errors, shape)


exact_trajectory = cache(lambda case, seed: trajectory(EXACT, case, seed))
reference_trajectory_errors = cache(lambda: trajectory_errors(REFERENCE))


def test_trajectory_is_as_accurate_as_the_reference(native: CpuBackend) -> None:
    reference_loss, reference_way = reference_trajectory_errors()
    loss, way = trajectory_errors(native)
    assert (loss.max(axis=1) <= 2 * reference_loss.max(axis=1)).all()
    # Adam divides each gradient by its own size and Muon by singular values, so one that is nearly
    # zero may step either way: single trajectories scatter tenfold, their median over the case
    # list does not.
    assert np.median(way) <= 2 * np.median(reference_way)


@by_name
def test_fused_steps_equal_single_steps(native: CpuBackend, case: Case) -> None:
    """Trainer against loss_and_grad and the plain optimiser, batch by batch, every tensor."""
    pixels = case.grid.pixels
    order = np.random.default_rng(0).permutation(np.arange(pixels, dtype=np.uint32))
    stride = next(s for s in (3, 5, 7, 1) if s <= pixels and np.gcd(s, pixels) == 1)
    batches = Batches(((5 % pixels, stride), (0, 1)), max(1, pixels // 2))
    rates = np.array([1e-3, 2e-3], np.float32)
    plain = OptimiserState.start(case.params(0), RATE_WEIGHT)
    job = Job(case.spec, case.grid, case.target(0), order)
    losses, fused = fit_steps(native, job, plain, batches, rates)
    for step, rate in enumerate(rates):
        loss, grad = native.loss_and_grad(job, plain.params, batches.indices(order, step))
        assert losses[step] == pytest.approx(loss, rel=1e-5)
        optimise(case.spec.layer_tensors, plain, grad, float(rate))
    # Newton-Schulz amplifies the roundings of its products up to 485-fold.
    for tensor in case.spec.layer_tensors:
        way = plain.params[tensor.place] - case.params(0)[tensor.place]
        apart = fused.params[tensor.place] - plain.params[tensor.place]
        assert np.linalg.norm(apart) <= 485 * 2**-20 * np.linalg.norm(way), tensor.name


@by_name
def test_fused_scaled_steps_equal_single_steps(native: CpuBackend, case: Case) -> None:
    """Adam on every parameter in units of its scale, against the plain trainer."""
    pixels, spec = case.grid.pixels, case.spec
    rng = np.random.default_rng(0)
    order = rng.permutation(np.arange(pixels, dtype=np.uint32))
    batches = Batches(((0, 1), (3 % pixels, 1)), max(1, pixels // 2))
    rates = np.array([0.3, 0.2], np.float32)
    start = case.params(0)
    scales = rounding_scales(spec, start, rng.random(start.size) < 0.5)
    state = OptimiserState.start(start, scales=scales)
    job = Job(spec, case.grid, case.target(0), order)
    fused, plain = check_scaled_steps(native, job, state, batches, rates)
    assert (np.abs(fused - start) <= (0.5 + 1e-3) * scales).all()
    assert relative(fused, plain) < 1e-3


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("name", ["paper-64-batch", "many-slices", "video", "one-pixel"])
def test_threads_change_no_bit(trainer: CpuBackend, name: str, threads: int) -> None:
    case = case_of(name)
    other = CpuBackend(threads=threads, isa=trainer.device, precision=trainer.precision)
    assert other.threads == threads
    for compute in (compute_output, compute_gradient):
        assert np.array_equal(compute(trainer, case, 1), compute(other, case, 1))
    for scales in (None, np.full(case.spec.parameter_count, 0.1, np.float32)):
        ways = (trajectory(backend, case, 1, scales)[1] for backend in (trainer, other))
        assert np.array_equal(*ways)


def test_a_trainer_goes_on_from_what_it_is_given(native: CpuBackend) -> None:
    case = case_of("paper-64-batch")
    order = np.arange(case.grid.pixels, dtype=np.uint32)
    job = Job(case.spec, case.grid, case.target(0), order)
    batches, rates = Batches(((0, 1), (9, 1)), 500), np.full(2, 1e-3, np.float32)
    for scales in (None, np.full(case.spec.parameter_count, 0.1, np.float32)):
        whole = native.trainer(job, OptimiserState.start(case.params(0), RATE_WEIGHT, scales))
        whole.steps(batches, rates)
        middle = whole.state()
        parted = native.trainer(job, middle)
        for trainer in (whole, parted):
            trainer.steps(batches, rates)
        assert np.array_equal(whole.state().params, parted.state().params)
        back = native.trainer(job, whole.state())
        back.load(middle)
        assert np.array_equal(back.state().params, middle.params)
        assert np.array_equal(back.state().mean, whole.state().mean)
        other = replace(middle, scales=middle.params if scales is None else None)
        with pytest.raises(ValueError, match="began with scales, or without"):
            back.load(other)
    with pytest.raises(ValueError, match="no order"):
        native.trainer(Job(case.spec, case.grid, case.target(0)), middle)


@by_name
def test_vjp_is_as_accurate_as_the_reference(native: CpuBackend, case: Case) -> None:
    check_vjp(native, EXACT, case, 4 * reference_gradient_error(case))


def test_vjp_takes_gradients_in_float64(native: CpuBackend) -> None:
    spec, grid = SirenSpec(width=4), Grid(5, 4)
    given = np.random.default_rng(0).normal(size=(grid.pixels, spec.out_channels))
    params = initialise(spec, 0)
    found = native.vjp(spec, params, grid, given)  # type: ignore[arg-type]
    assert np.array_equal(found, native.vjp(spec, params, grid, given.astype(np.float32)))


def test_vjp_takes_what_it_is_given(trainer: CpuBackend) -> None:
    """A gradient by one channel of one pixel is that of this value alone."""
    case = case_of("rgba-80")
    params, given = case.params(0), np.zeros((case.grid.pixels, 4), np.float32)
    given[77, 2] = 3.0
    flat = torch.tensor(params, dtype=torch.float64, requires_grad=True)
    output = forward(
        case.spec, flat, EXACT._encoded(case.spec, flat, case.grid, torch.tensor([77]))
    )
    (expected,) = torch.autograd.grad(3 * output[0, 2], flat)
    bound = 0.02 if trainer.precision == "bfloat16" else 1e-5
    found = trainer.vjp(case.spec, params, case.grid, given)
    assert relative(found, expected.numpy()) < bound
    with pytest.raises(ValueError, match="output_gradient has 4 elements; expected 3600"):
        trainer.vjp(case.spec, params, case.grid, given[:1])
