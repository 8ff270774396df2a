"""Every instruction set against the reference: the same cases for forward, gradient, trajectory.

Tolerances are derived: the error against float64 may be twice that of the float32 reference.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
import torch
from cases import CASES, Case, case_of, check_float_targets, check_render, relative, rms
from numpy.typing import NDArray

from tcnn_codec import _cpu, backends
from tcnn_codec.backends.base import Backend, encode_axes, fit_steps, native_shape
from tcnn_codec.backends.cpu import CpuBackend
from tcnn_codec.backends.reference import ReferenceBackend
from tcnn_codec.errors import BackendUnavailable, CodecError
from tcnn_codec.siren import F32, Grid, SirenSpec, initialise
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.optimiser import (
    BETA1,
    BETA2,
    EPSILON,
    FLOOR,
    MOMENTUM,
    OptimiserState,
    optimise,
)

ISAS = ("avx512", "avx2", "scalar")
SEEDS = range(5)
RATE_WEIGHT = 0.03
EXACT = ReferenceBackend(torch.float64)
REFERENCE = ReferenceBackend()
by_name = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@pytest.fixture(scope="module", params=ISAS)
def native(request: pytest.FixtureRequest, need: Callable[[str, bool], None]) -> CpuBackend:
    need(request.param, request.param in _cpu.available_isas())
    return CpuBackend(threads=2, isa=request.param)


@pytest.fixture(scope="module", params=[*ISAS, "bfloat16"])
def trainer(request: pytest.FixtureRequest, need: Callable[[str, bool], None]) -> CpuBackend:
    """Every way to train: those of `native`, and products in bfloat16."""
    if request.param == "bfloat16":
        need("bfloat16", _cpu.has_bfloat16("avx512"))
        return CpuBackend(threads=2, isa="avx512", precision="bfloat16")
    need(request.param, request.param in _cpu.available_isas())
    return CpuBackend(threads=2, isa=request.param)


def forward_error(backend: Backend, case: Case) -> float:
    return rms([relative(output(backend, case, s), output(EXACT, case, s)) for s in SEEDS])


def gradient_error(backend: Backend, case: Case) -> float:
    return rms([relative(gradient(backend, case, s), gradient(EXACT, case, s)) for s in SEEDS])


def compute_output(backend: Backend, case: Case, seed: int) -> NDArray[np.floating]:
    return backend.evaluate(case.spec, case.params(seed), case.grid)


def compute_gradient(backend: Backend, case: Case, seed: int) -> NDArray[np.floating]:
    params, target, indices = case.params(seed), case.target(seed), case.indices(seed)
    return backend.loss_and_grad(case.spec, params, case.grid, target, indices)[1]


def loss(backend: Backend, case: Case, seed: int) -> float:
    params, target, indices = case.params(seed), case.target(seed), case.indices(seed)
    return backend.loss_and_grad(case.spec, params, case.grid, target, indices)[0]


# The oracle's answers serve every instruction set.
output, gradient = cache(compute_output), cache(compute_gradient)
reference_forward_error = cache(lambda case: forward_error(REFERENCE, case))
reference_gradient_error = cache(lambda case: gradient_error(REFERENCE, case))


@by_name
def test_forward_is_as_accurate_as_the_reference(native: CpuBackend, case: Case) -> None:
    assert forward_error(native, case) <= 2 * reference_forward_error(case)


@by_name
def test_gradient_is_as_accurate_as_the_reference(native: CpuBackend, case: Case) -> None:
    assert gradient_error(native, case) <= 2 * reference_gradient_error(case)


@by_name
def test_loss_is_as_accurate_as_the_reference(native: CpuBackend, case: Case) -> None:
    def error(backend: Backend) -> float:
        return rms([loss(backend, case, s) / loss(EXACT, case, s) - 1 for s in SEEDS])

    assert error(native) <= 2 * error(REFERENCE)


STEPS = 10


def trajectory(
    backend: Backend, case: Case, seed: int, scales: F32 | None = None
) -> tuple[NDArray, NDArray]:
    """Losses of ten steps over overlapping batches, and how the parameters moved."""
    params = case.params(seed)
    rng = np.random.default_rng(seed)
    pixels = case.grid.pixels
    order = rng.permutation(np.arange(pixels, dtype=np.uint32))
    starts = tuple((7 * step % pixels, 1) for step in range(STEPS))
    batches = Batches(order, starts, max(1, pixels // 2))
    state = OptimiserState.start(params, RATE_WEIGHT)
    rates = np.full(STEPS, 1e-4, np.float32)
    target = case.target(seed)
    losses = backend.fit_steps(case.spec, state, case.grid, target, batches, rates, scales)
    assert state.step == STEPS
    return losses, state.params.astype(np.float64) - params


def trajectory_errors(backend: Backend) -> tuple[NDArray, NDArray]:
    """Largest relative loss error and relative error of the parameters' way, [case, seed]."""
    loss_errors, way_errors = [], []
    for case in CASES:
        for seed in range(3):
            exact_losses, exact_way = exact_trajectory(case, seed)
            losses, way = trajectory(backend, case, seed)
            loss_errors.append(np.abs(losses / exact_losses - 1).max())
            way_errors.append(relative(way, exact_way))
    shape = (len(CASES), 3)
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
    """fit_steps against loss_and_grad and the plain optimiser, batch by batch, every tensor."""
    pixels = case.grid.pixels
    order = np.random.default_rng(0).permutation(np.arange(pixels, dtype=np.uint32))
    stride = next(s for s in (3, 5, 7, 1) if s <= pixels and np.gcd(s, pixels) == 1)
    batches = Batches(order, ((5 % pixels, stride), (0, 1)), max(1, pixels // 2))
    rates = np.array([1e-3, 2e-3], np.float32)
    fused, plain = (OptimiserState.start(case.params(0), RATE_WEIGHT) for _ in range(2))
    target = case.target(0)
    losses = native.fit_steps(case.spec, fused, case.grid, target, batches, rates)
    for step, rate in enumerate(rates):
        loss, grad = native.loss_and_grad(
            case.spec, plain.params, case.grid, target, batches.indices(step)
        )
        assert losses[step] == pytest.approx(loss, rel=1e-5)
        optimise(case.spec, plain, grad, float(rate))
    # Newton-Schulz amplifies the roundings of its products up to 485-fold.
    for tensor in case.spec.tensors:
        way = plain.params[tensor.place] - case.params(0)[tensor.place]
        apart = fused.params[tensor.place] - plain.params[tensor.place]
        assert np.linalg.norm(apart) <= 485 * 2**-20 * np.linalg.norm(way), tensor.name


@by_name
def test_fused_scaled_steps_equal_single_steps(native: CpuBackend, case: Case) -> None:
    """Adam on every parameter in units of its scale, against the plain form of fit_steps."""
    pixels, spec = case.grid.pixels, case.spec
    rng = np.random.default_rng(0)
    order = rng.permutation(np.arange(pixels, dtype=np.uint32))
    batches = Batches(order, ((0, 1), (3 % pixels, 1)), max(1, pixels // 2))
    rates = np.array([0.3, 0.2], np.float32)
    start = case.params(0)
    scales = np.empty_like(start)
    for tensor in spec.tensors:
        scales[tensor.place] = np.abs(start[tensor.place]).max() / 31
    kept = rng.random(start.size) < 0.5
    scales[kept] = 0
    fused, plain = OptimiserState.start(start), OptimiserState.start(start)
    arguments = case.grid, case.target(0), batches, rates, scales
    losses = native.fit_steps(spec, fused, *arguments)
    assert losses == pytest.approx(fit_steps(native, spec, plain, *arguments), rel=1e-5)
    assert np.array_equal(fused.params[kept], start[kept])
    # Adam's first steps are of one size whatever the gradient's, up to its rounding near zero.
    apart = np.abs(fused.params - plain.params)[~kept] / scales[~kept]
    assert np.median(apart) < 1e-5
    assert (np.abs(fused.params - start) <= (0.5 + 1e-3) * scales).all()
    assert relative(fused.params, plain.params) < 1e-3


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("name", ["paper-64-batch", "many-slices", "video", "one-pixel"])
def test_threads_change_no_bit(trainer: CpuBackend, name: str, threads: int) -> None:
    case = case_of(name)
    other = CpuBackend(threads=threads, isa=trainer.isa, precision=trainer.precision)
    assert other.threads == threads
    for compute in (compute_output, compute_gradient):
        assert np.array_equal(compute(trainer, case, 1), compute(other, case, 1))
    for scales in (None, np.full(case.spec.parameter_count, 0.1, np.float32)):
        ways = (trajectory(backend, case, 1, scales)[1] for backend in (trainer, other))
        assert np.array_equal(*ways)


@by_name
def test_nothing_outside_the_outputs_is_written(trainer: CpuBackend, case: Case) -> None:
    """Guard values on both sides of every array that the native code fills."""
    spec, grid = case.spec, case.grid
    shape, encodings = native_shape(_cpu, spec), encode_axes(spec, grid)
    siren = _cpu.Siren(trainer.isa, 2, trainer.precision == "bfloat16")
    params, target = case.params(0), case.target(0)
    for dtype in (np.float32, np.uint8):
        guarded, view = guard(grid.pixels * spec.out_channels, dtype)
        siren.evaluate(shape, params, encodings, view)
        assert_guarded(guarded, view)
    guarded, view = guard(spec.parameter_count, np.float32)
    siren.loss_and_grad(shape, params, encodings, target, case.indices(0), view)
    assert_guarded(guarded, view)

    arrays = [guard(spec.parameter_count, np.float32) for _ in range(3)]
    arrays.append(guard(2, np.float64))
    for (_, view), start in zip(arrays, (params, 0, 0, 0), strict=True):
        view[:] = start
    found = [view for _, view in arrays]
    batches = ((0, 1), (0, 1)), max(1, grid.pixels // 2)
    order, rates = np.arange(grid.pixels, dtype=np.uint32), np.full(2, 1e-3, np.float32)
    constants = BETA1, BETA2, EPSILON, MOMENTUM, RATE_WEIGHT, FLOOR
    for scales in (None, np.full(spec.parameter_count, 1e-3, np.float32)):
        before = found[0].copy()
        siren.fit_steps(
            shape,
            *found[:3],
            0,
            *constants,
            encodings,
            target,
            order,
            *batches,
            rates,
            scales,
            found[3],
        )
        for guarded, view in arrays:
            assert_guarded(guarded, view)
        assert (found[0] != before).any()


GUARD, GUARD_VALUE = 64, 77


def guard(size: int, dtype: type) -> tuple[NDArray, NDArray]:
    guarded = np.full(size + 2 * GUARD, GUARD_VALUE, dtype)
    return guarded, guarded[GUARD : GUARD + size]


def assert_guarded(guarded: NDArray, view: NDArray) -> None:
    assert (guarded[:GUARD] == GUARD_VALUE).all()
    assert (guarded[GUARD + view.size :] == GUARD_VALUE).all()
    assert np.isfinite(view).all()


@by_name
def test_render_is_the_rounded_output(native: CpuBackend, case: Case) -> None:
    check_render(native, case)


def test_render_agrees_across_backends_within_one_level(native: CpuBackend) -> None:
    for case in CASES:
        params = case.params(3)
        exact = EXACT.render(case.spec, params, case.grid).astype(int)
        assert np.abs(native.render(case.spec, params, case.grid) - exact).max() <= 1


def test_render_clips(native: CpuBackend) -> None:
    spec = SirenSpec(width=4, hidden_layers=0)
    params = np.zeros(spec.parameter_count, np.float32)
    params[-3:] = [-5, 0, 5]
    assert native.render(spec, params, Grid(3, 2)).reshape(-1, 3).tolist() == [[0, 128, 255]] * 6


def test_float_targets_are_taken_as_they_are(trainer: CpuBackend) -> None:
    check_float_targets(trainer, 1e-6)


def test_all_pixels_and_their_indices_are_one_batch(trainer: CpuBackend) -> None:
    case = CASES[0]
    arguments = case.spec, case.params(0), case.grid, case.target(0)
    everything = np.arange(case.grid.pixels, dtype=np.uint32)
    loss, grad = trainer.loss_and_grad(*arguments)
    listed_loss, listed_grad = trainer.loss_and_grad(*arguments, everything)
    assert loss == listed_loss
    assert np.array_equal(grad, listed_grad)


def test_forced_isa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCNN_CODEC_CPU_ISA", "scalar")
    assert CpuBackend().isa == "scalar"
    monkeypatch.setenv("TCNN_CODEC_CPU_ISA", "sse9")
    with pytest.raises(BackendUnavailable, match=r"'sse9' is not available.*scalar"):
        CpuBackend()


def test_create() -> None:
    assert backends.create("auto").name == "cpu"
    assert backends.create("torch").name == "torch"
    with pytest.raises(CodecError, match="'gpu'; allowed are auto, cpu, cuda, tinycudann, torch"):
        backends.create("gpu")


def test_create_without_the_cuda_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tcnn_codec._cuda", None)
    for name, precision in (("cuda", "auto"), ("auto", "float16")):
        with pytest.raises(BackendUnavailable, match=r"_cuda was not built; .*--backend cpu"):
            backends.create(name, precision=precision)
    with pytest.raises(
        BackendUnavailable, match="'cuda' has no float32; allowed are auto, float16"
    ):
        backends.create("cuda", precision="float32")


def test_native_code_refuses_wrong_arrays(native: CpuBackend) -> None:
    spec, grid = SirenSpec(width=4), Grid(5, 4)
    params, target = initialise(spec, 0), np.zeros((20, 3), np.uint8)
    for bad, message in (
        (params[:-1], "params has 342 elements; expected 343"),
        (params.astype(np.float64), "params has buffer format 'd'; expected 'f'"),
        (np.repeat(params, 2)[::2], "params is not C-contiguous"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            native.loss_and_grad(spec, bad, grid, target)
    with pytest.raises(ValueError, match="target has 57 elements; expected 60"):
        native.loss_and_grad(spec, params, grid, target[:19])
    with pytest.raises(ValueError, match="largest pixel index is 20; allowed are 0 to 19"):
        native.loss_and_grad(spec, params, grid, target, np.array([3, 20], np.uint32))


def test_one_backend_serves_several_threads(native: CpuBackend) -> None:
    case = CASES[0]
    expected = native.render(case.spec, case.params(0), case.grid)
    with ThreadPoolExecutor(4) as threads:
        work = [
            threads.submit(native.render, case.spec, case.params(0), case.grid) for _ in range(80)
        ]
        assert all(np.array_equal(done.result(), expected) for done in work)


def test_a_forked_child_computes_too(native: CpuBackend) -> None:
    case = CASES[0]
    expected = native.render(case.spec, case.params(0), case.grid)
    child = os.fork()
    if child == 0:
        same = np.array_equal(native.render(case.spec, case.params(0), case.grid), expected)
        os._exit(0 if same else 1)
    assert wait_for(child) == 0


def wait_for(child: int) -> int:
    """Exit status of a child process, which is killed after ten seconds."""
    for _ in range(100):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def test_too_many_threads_are_an_error() -> None:
    code = """
import resource
from tcnn_codec.backends.cpu import CpuBackend
from tcnn_codec.errors import CodecError
resource.setrlimit(resource.RLIMIT_AS, (4_000_000_000, 4_000_000_000))
try:
    CpuBackend(threads=1024)
except CodecError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("1024 threads cannot be started")
    assert "lower --threads" in done.stdout
