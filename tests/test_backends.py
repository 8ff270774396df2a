"""Every instruction set against the reference: the same cases for forward pass and gradient.

Tolerances are derived: the error against float64 may be twice that of the float32 reference.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import CPU_CASES, Case, check_float_targets, check_render, loss_and_grad, rms
from numpy.typing import NDArray
from reference_errors import (
    EXACT,
    REFERENCE,
    SEEDS,
    forward_error,
    gradient_error,
    loss,
    reference_forward_error,
    reference_gradient_error,
)

from tcnn_codec import _cpu
from tcnn_codec.errors import BackendUnavailable, CodecError
from tcnn_codec.families.siren import backends
from tcnn_codec.families.siren.backends.base import Backend, native_constants
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.families.siren.backends.inputs import encode_axes, native_shape
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid

by_name = pytest.mark.parametrize("case", CPU_CASES, ids=[case.name for case in CPU_CASES])


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


@by_name
def test_nothing_outside_the_outputs_is_written(trainer: CpuBackend, case: Case) -> None:
    """Guard values on both sides of every array that the native code fills."""
    spec, grid = case.spec, case.grid
    params, target = case.params(0), case.target(0)
    shape, encodings = native_shape(_cpu, spec), encode_axes(spec, grid, params)
    count = spec.layer_parameters
    siren = _cpu.Siren(trainer.device, 2, trainer.precision == "bfloat16")
    params = params[:count]
    for dtype in (np.float32, np.uint8):
        guarded, view = guard(grid.pixels * spec.out_channels, dtype)
        siren.evaluate(shape, params, encodings, view)
        assert_guarded(guarded, view)
    guarded, view = guard(count, np.float32)
    guarded_codes, of_codes = guard(spec.frames * spec.time_codes, np.float32)
    siren.loss_and_grad(shape, params, encodings, target, case.indices(0), view, of_codes)
    assert_guarded(guarded, view)
    assert_guarded(guarded_codes, of_codes)

    arrays = [guard(count, np.float32) for _ in range(3)]
    arrays.append(guard(2, np.float64))
    for (_, view), start in zip(arrays, (params, 0, 0, 0), strict=True):
        view[:] = start
    found = [view for _, view in arrays]
    batches = ((0, 1), (0, 1)), max(1, grid.pixels // 2)
    order, rates = np.arange(grid.pixels, dtype=np.uint32), np.full(2, 1e-3, np.float32)
    constants = native_constants(_cpu, 0.03)
    for scales in (None, np.full(count, 1e-3, np.float32)):
        before = found[0].copy()
        native = _cpu.Trainer(
            siren=siren,
            shape=shape,
            encodings=encodings,
            target=target,
            order=order,
            params=found[0],
            mean=found[1],
            variance=found[2],
            scales=scales,
            steps_done=0,
            constants=constants,
        )
        native.steps(*batches, rates, found[3], of_codes)
        assert_guarded(guarded_codes, of_codes)
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
    for case in CPU_CASES:
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
    case = CPU_CASES[0]
    arguments = case.spec, case.params(0), case.grid, case.target(0)
    everything = np.arange(case.grid.pixels, dtype=np.uint32)
    loss, grad = loss_and_grad(trainer, *arguments)
    listed_loss, listed_grad = loss_and_grad(trainer, *arguments, everything)
    assert loss == listed_loss
    assert np.array_equal(grad, listed_grad)


def test_forced_isa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCNN_CODEC_CPU_ISA", "scalar")
    assert CpuBackend().device == "scalar"
    monkeypatch.setenv("TCNN_CODEC_CPU_ISA", "sse9")
    with pytest.raises(BackendUnavailable, match=r"'sse9' is not available.*scalar"):
        CpuBackend()


def test_create() -> None:
    assert backends.create("auto").name == "cpu"
    assert backends.create("torch").name == "torch"
    with pytest.raises(
        CodecError, match="`backend` is 'gpu'; allowed are auto, cpu, cuda, tinycudann, torch"
    ):
        backends.create("gpu")


def test_create_without_the_cuda_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tcnn_codec._cuda", None)
    with pytest.raises(BackendUnavailable, match=r"_cuda was not built; .*`backend` cpu"):
        backends.create("cuda", precision="auto")
    with pytest.raises(BackendUnavailable, match=r"is .float16., .*; leave `precision`"):
        backends.create("auto", precision="float16")
    with pytest.raises(
        BackendUnavailable, match="`backend` 'cuda' has no float32; allowed are auto, float16"
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
            loss_and_grad(native, spec, bad, grid, target)
    with pytest.raises(ValueError, match="target has 57 elements; expected 60"):
        loss_and_grad(native, spec, params, grid, target[:19])
    with pytest.raises(ValueError, match="largest pixel index is 20; allowed are 0 to 19"):
        loss_and_grad(native, spec, params, grid, target, np.array([3, 20], np.uint32))


def test_one_backend_serves_several_threads(native: CpuBackend) -> None:
    case = CPU_CASES[0]
    expected = native.render(case.spec, case.params(0), case.grid)
    with ThreadPoolExecutor(4) as threads:
        work = [
            threads.submit(native.render, case.spec, case.params(0), case.grid) for _ in range(80)
        ]
        assert all(np.array_equal(done.result(), expected) for done in work)


def test_a_forked_child_computes_too(native: CpuBackend) -> None:
    case = CPU_CASES[0]
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
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.errors import CodecError
resource.setrlimit(resource.RLIMIT_AS, (4_000_000_000, 4_000_000_000))
try:
    CpuBackend(threads=1024)
except CodecError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("1024 threads cannot be started")
    assert "lower `threads`" in done.stdout
