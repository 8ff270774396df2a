"""The CUDA backend, its kernels run on the CPU and on a GPU: the same cases as every other backend.

Products are in float16, so the error against float64 may be twice that of an oracle that rounds at
the same places.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from types import ModuleType

import numpy as np
import pytest
import torch
from cases import (
    CASES,
    Case,
    case_of,
    check_float_targets,
    check_render,
    check_scaled_steps,
    check_vjp,
    fit_steps,
    loss_and_grad,
    relative,
    rms,
    rounding_scales,
)
from conftest import REQUIRE_VARIABLE
from numpy.typing import NDArray
from rounding_oracle import Answer, Rounding, compute

from tcnn_codec.dtypes import F32
from tcnn_codec.errors import BackendUnavailable, CodecError
from tcnn_codec.families.siren.backends.cuda import Choices, CudaBackend
from tcnn_codec.families.siren.backends.reference import ReferenceBackend
from tcnn_codec.families.siren.fit import peak_learning_rate
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.job import Job
from tcnn_codec.training.learning_rates import learning_rates
from tcnn_codec.training.optimiser import OptimiserState

SEEDS = range(3)
RATE_WEIGHT = 0.03
#: Of a batch, and of the encode whose first learning rates are taken.
COUNT, ENCODE_STEPS = 100, 1000
EXACT = ReferenceBackend(torch.float64)
REFERENCE = ReferenceBackend()
FLOAT16 = Rounding(torch.float16, unit=1, scale=64, sums=True)
by_name = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@pytest.fixture(autouse=True)
def usual_device(cuda_emulated: ModuleType) -> Iterator[None]:
    cuda_emulated.play()
    cuda_emulated.schedule(cuda_emulated.Order.forward)
    yield
    cuda_emulated.play()
    cuda_emulated.schedule(cuda_emulated.Order.forward)


def gpu_is_there() -> bool:
    try:
        CudaBackend()
    except BackendUnavailable:
        return False
    return True


#: Without a GPU one test says so, not every one of them.
ON_GPU = gpu_is_there() or "cuda" in os.environ.get(REQUIRE_VARIABLE, "").split(",")


@pytest.fixture(params=["emulated", "gpu"] if ON_GPU else ["emulated"])
def native(request: pytest.FixtureRequest, cuda_emulated: ModuleType) -> ModuleType | None:
    """The kernels on the CPU; None for those on a GPU."""
    return cuda_emulated if request.param == "emulated" else None


def test_a_gpu_runs_these_tests_too(need: Callable[[str, bool], None]) -> None:
    need("cuda", gpu_is_there())
    assert CudaBackend().device.startswith("sm_")


def create(native: ModuleType | None, **choices: int) -> CudaBackend:
    return CudaBackend(choices=Choices(**choices), native=native)


@pytest.fixture
def cuda(native: ModuleType | None) -> CudaBackend:
    return create(native)


def arguments(case: Case, seed: int) -> tuple:
    return case.spec, case.params(seed), case.grid, case.target(seed), case.indices(seed)


exact_gradient = cache(lambda case, seed: loss_and_grad(EXACT, *arguments(case, seed)))
oracle = cache(lambda case, seed: compute(case, seed, FLOAT16))


def pixels_of(case: Case, output: NDArray, seed: int) -> NDArray:
    indices = case.indices(seed)
    return output if indices is None else output[indices]


@by_name
def test_forward_is_as_accurate_as_the_oracle(cuda: CudaBackend, case: Case) -> None:
    found, expected = [], []
    for seed in SEEDS:
        params = case.params(seed)
        exact = pixels_of(case, EXACT.evaluate(case.spec, params, case.grid), seed)
        output = cuda.evaluate(case.spec, params, case.grid)
        found.append(relative(pixels_of(case, output, seed), exact))
        expected.append(relative(oracle(case, seed).output, exact))
    assert rms(found) <= 2 * rms(expected)


@by_name
def test_gradient_is_as_accurate_as_the_oracle(cuda: CudaBackend, case: Case) -> None:
    found, expected = [], []
    for seed in SEEDS:
        exact = exact_gradient(case, seed)[1]
        found.append(relative(loss_and_grad(cuda, *arguments(case, seed))[1], exact))
        expected.append(relative(oracle(case, seed).gradient, exact))
    assert rms(found) <= 2 * rms(expected)


def test_loss_is_as_accurate_as_the_oracle(cuda: CudaBackend) -> None:
    """Over the whole list: one number's error is near zero by chance in some cases."""
    found, expected = [], []
    for case in CASES:
        for seed in SEEDS:
            exact = exact_gradient(case, seed)[0]
            found.append(loss_and_grad(cuda, *arguments(case, seed))[0] / exact - 1)
            expected.append(oracle(case, seed).loss / exact - 1)
    assert rms(found) <= 2 * rms(expected)


def start(
    case: Case, steps: int, count: int, scales: F32 | None = None
) -> tuple[Job[SirenSpec], OptimiserState, Batches, F32]:
    """A job, where it starts, overlapping batches of `count` pixels, and the encoder's rates."""
    pixels = case.grid.pixels
    order = np.random.default_rng(0).permutation(np.arange(pixels, dtype=np.uint32))
    stride = next(s for s in (3, 5, 7, 1) if s <= pixels and np.gcd(s, pixels) == 1)
    starts = tuple((7 * step % pixels, stride) for step in range(steps))
    state = OptimiserState.start(case.params(0), RATE_WEIGHT, scales)
    rates = learning_rates(ENCODE_STEPS, peak_learning_rate(case.spec, ENCODE_STEPS))[:steps]
    job = Job(case.spec, case.grid, case.target(0), order)
    return job, state, Batches(starts, min(pixels, count)), rates


def fit(
    backend: CudaBackend | ReferenceBackend,
    case: Case,
    steps: int = 2,
    count: int = COUNT,
) -> tuple[NDArray, OptimiserState]:
    return fit_steps(backend, *start(case, steps, count))


@by_name
def test_fifty_steps_stay_within_one_percent_of_float32(cuda: CudaBackend, case: Case) -> None:
    losses, _ = fit(cuda, case, steps=50)
    expected, _ = fit(REFERENCE, case, steps=50)
    assert np.abs(losses / expected - 1).max() <= 0.01
    assert losses[-1] < losses[0]


def assert_same_bits(a: OptimiserState, b: OptimiserState) -> None:
    for name in ("params", "mean", "variance"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert a.steps_done == b.steps_done


@by_name
def test_graph_and_one_launch_give_the_same_bits(native: ModuleType | None, case: Case) -> None:
    (losses, state), (graph_losses, graph_state), (again_losses, again) = (
        fit(create(native, group=2, graph=graph), case) for graph in (False, True, False)
    )
    assert_same_bits(state, graph_state)
    assert np.array_equal(losses, graph_losses)
    assert_same_bits(state, again)
    assert np.array_equal(losses, again_losses)


@pytest.mark.parametrize("name", ["paper-32", "paper-64-batch", "video", "rgba-80"])
def test_schedules_change_no_bit(cuda_emulated: ModuleType, name: str) -> None:
    case, found = case_of(name), []
    for order, seed in (("forward", 0), ("reverse", 0), ("random", 1)):
        cuda_emulated.schedule(getattr(cuda_emulated.Order, order), seed)
        found.append(fit(create(cuda_emulated, group=2), case)[1])
    for other in found[1:]:
        assert_same_bits(found[0], other)


@pytest.mark.parametrize(
    "choices",
    [
        {"group": 1},
        {"group": 3},
        {"block": 1},
        {"block": 3},
        {"warps": 1},
        {"tiles": 2},
        {"group": 7, "block": 5, "warps": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["paper-32", "paper-64-batch", "video", "coin-13x49", "odd-97"])
def test_choices_change_roundings_only(
    native: ModuleType | None, name: str, choices: dict[str, int]
) -> None:
    case = case_of(name)
    exact = exact_gradient(case, 0)[1]
    gradient = loss_and_grad(create(native, **choices), *arguments(case, 0))[1]
    assert relative(gradient, exact) <= 2 * relative(oracle(case, 0).gradient, exact)


@pytest.mark.parametrize("kibibytes", [48, 99, 163])
@pytest.mark.parametrize("name", ["paper-64-batch", "paper-128", "coin-13x49"])
def test_less_shared_memory_gives_smaller_tiles(
    cuda_emulated: ModuleType, name: str, kibibytes: int
) -> None:
    case = case_of(name)
    cuda_emulated.play(shared_bytes=kibibytes << 10)
    exact = exact_gradient(case, 0)[1]
    gradient = loss_and_grad(create(cuda_emulated), *arguments(case, 0))[1]
    assert relative(gradient, exact) <= 2 * relative(oracle(case, 0).gradient, exact)
    losses, _ = fit(create(cuda_emulated), case)
    assert losses == pytest.approx(fit(REFERENCE, case)[0], rel=1e-3)


@by_name
def test_scaled_steps(cuda: CudaBackend, case: Case) -> None:
    """Adam on every parameter in units of its scale, against the plain trainer."""
    params = case.params(0)
    kept = np.random.default_rng(0).random(params.size) < 0.5
    scales = rounding_scales(case.spec, params, kept)
    check_scaled_steps(cuda, *start(case, 2, COUNT, scales))


def test_networks_side_by_side_are_networks_alone(cuda_emulated: ModuleType) -> None:
    case = case_of("paper-32")
    grids = [Grid(20, 11), Grid(13, 17), Grid(30, 9)]
    rng = np.random.default_rng(0)
    states, jobs = [], []
    for seed, grid in enumerate(grids):
        states.append(OptimiserState.start(case.params(seed), RATE_WEIGHT))
        target = rng.integers(0, 256, (grid.pixels, 3), dtype=np.uint8)
        order = rng.permutation(np.arange(grid.pixels, dtype=np.uint32))
        jobs.append(Job(case.spec, grid, target, order))
    batches, rates = Batches(((0, 1), (3, 1)), 150), np.full(2, 1e-3, np.float32)
    for multiprocessors in (2, 6):  # in three waves, and all at once
        cuda_emulated.play(multiprocessors=multiprocessors)
        backend = create(cuda_emulated, group=2, warps=8)
        together = [backend.trainer(*pair) for pair in zip(jobs, states, strict=True)]
        losses = backend.steps_together(together, [batches] * 3, rates)
        for i, job in enumerate(jobs):
            expected, single = fit_steps(backend, job, states[i], batches, rates)
            assert_same_bits(together[i].state(), single)
            assert np.array_equal(losses[i], expected)


def test_a_trainer_goes_on_from_what_it_is_given(cuda: CudaBackend) -> None:
    """Several calls, another size of batch, parameters put in: all as if it were one call."""
    case = case_of("paper-64-batch")
    scales = np.full(case.spec.parameter_count, 0.1, np.float32)
    for given in (None, scales):
        job, state, batches, rates = start(case, 2, COUNT, given)
        whole = cuda.trainer(job, state)
        whole.steps(batches, rates)
        middle = whole.state()
        parted = cuda.trainer(job, middle)
        for trainer in (whole, parted):
            trainer.steps(Batches(batches.starts, 96), rates)
            trainer.steps(batches, rates)
        assert_same_bits(whole.state(), parted.state())
        whole.load(middle)
        assert np.array_equal(whole.state().params, middle.params)
        assert np.array_equal(whole.state().mean, parted.state().mean)


@by_name
def test_vjp_is_as_accurate_as_the_oracle(cuda: CudaBackend, case: Case) -> None:
    """The case's gradient is that of its batch alone, and so the oracle's of all its pixels."""
    everything = replace(case, batch=0)
    exact = loss_and_grad(EXACT, *arguments(everything, 4))[1]
    expected = relative(compute(everything, 4, FLOAT16).gradient, exact)
    check_vjp(cuda, EXACT, everything, 2 * expected)


@by_name
def test_render_is_the_rounded_output(cuda: CudaBackend, case: Case) -> None:
    check_render(cuda, case)


def test_float_targets_are_taken_as_they_are(cuda: CudaBackend) -> None:
    check_float_targets(cuda, 1e-4)


def test_native_code_refuses_wrong_arrays(cuda: CudaBackend) -> None:
    spec, grid = SirenSpec(width=4), Grid(5, 4)
    params, target = initialise(spec, 0), np.zeros((20, 3), np.uint8)
    for bad, message in (
        (params[:-1], "params has 342 elements; expected 343"),
        (params.astype(np.float64), "params is float64; expected float32"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            loss_and_grad(cuda, spec, bad, grid, target)
    with pytest.raises(ValueError, match="target has 57 elements; expected 60"):
        loss_and_grad(cuda, spec, params, grid, target[:19])
    with pytest.raises(ValueError, match="largest pixel index is 20; allowed are 0 to 19"):
        loss_and_grad(cuda, spec, params, grid, target, np.array([3, 20], np.uint32))


def test_a_device_too_small_is_an_error(cuda_emulated: ModuleType) -> None:
    cuda_emulated.play(shared_bytes=4 << 10)
    with pytest.raises(CodecError, match=r"shared memory of a block: \d+ bytes are needed"):
        fit(create(cuda_emulated), case_of("paper-32"))


def test_a_device_that_is_not_there_is_an_error(cuda_emulated: ModuleType) -> None:
    with pytest.raises(BackendUnavailable, match="CUDA device is 1; this process can use 1"):
        CudaBackend(device=1, native=cuda_emulated)


def test_the_oracle_rounds(cuda: CudaBackend) -> None:
    """An oracle as exact as float32 would make the comparisons above pass for nothing."""
    case = case_of("paper-32")
    answer: Answer = oracle(case, 0)
    assert 1e-4 < relative(answer.gradient, exact_gradient(case, 0)[1]) < 1e-3
