"""Evaluation in integers by the CUDA kernels, run on the CPU and on a GPU: the cases of every
instruction set, bit for bit.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from integer_cases import CASES, IntegerCase, anything, written
from test_cuda_backend import ON_GPU

from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.families.siren.backends.cuda import CudaBackend
from tcnn_codec.families.siren.backends.inputs import native_shape
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.grid import Grid


@pytest.fixture(autouse=True)
def usual_device(cuda_emulated: ModuleType) -> Iterator[None]:
    yield
    cuda_emulated.play()
    cuda_emulated.schedule(cuda_emulated.Order.forward)


@pytest.fixture(params=["emulated", "gpu"] if ON_GPU else ["emulated"])
def cuda(request: pytest.FixtureRequest, cuda_emulated: ModuleType) -> CudaBackend:
    return CudaBackend(native=cuda_emulated if request.param == "emulated" else None)


def case_of(name: str) -> IntegerCase:
    return next(case for case in CASES if case.name == name)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_samples_are_the_documents(cuda: CudaBackend, case: IntegerCase) -> None:
    found = cuda.renderer().render(case.spec, case.tensors, case.grid)
    assert found.dtype == np.uint8
    assert np.array_equal(found, case.expected)


@pytest.mark.parametrize("name", ["paper-32", "all-largest", "video"])
@pytest.mark.parametrize("order", ["reverse", "random"])
def test_schedules_change_no_bit(cuda_emulated: ModuleType, name: str, order: str) -> None:
    case = case_of(name)
    cuda_emulated.schedule(getattr(cuda_emulated.Order, order), 1)
    found = CudaBackend(native=cuda_emulated).renderer().render(case.spec, case.tensors, case.grid)
    assert np.array_equal(found, case.expected)


@pytest.mark.parametrize("multiprocessors", [1, 100])
@pytest.mark.parametrize("kibibytes", [32, 48, 99])
def test_less_shared_memory_and_other_grids(
    cuda_emulated: ModuleType, kibibytes: int, multiprocessors: int
) -> None:
    cuda_emulated.play(multiprocessors, kibibytes << 10)
    for name in ("paper-128", "all-largest", "tiles-and-tasks", "video"):
        case = case_of(name)
        backend = CudaBackend(native=cuda_emulated)
        found = backend.renderer().render(case.spec, case.tensors, case.grid)
        assert np.array_equal(found, case.expected)


def test_sanitizers_find_nothing(build_emulated: Callable[[str], Path]) -> None:
    """Nothing beyond shared memory, the workspace or the samples; no signed overflow."""
    cases = [case for case in CASES if case.grid.pixels < 1000]
    program = build_emulated("integer_driver_address") / "integer_driver_address"
    given = b"".join(written(case) for case in cases)
    done = subprocess.run([program], input=given, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    assert done.stdout == b"".join(case.expected.tobytes() for case in cases)


def test_native_code_refuses_what_no_file_has(cuda: CudaBackend) -> None:
    case = IntegerCase("", SirenSpec(frequencies=2, hidden_layers=1, width=6), Grid(5, 4), anything)
    native, shape = cuda._native, native_shape(cuda._native, case.spec)
    needed = native.integer_workspace(shape, (5, 4))
    good: dict[str, Any] = {
        "device": 0,
        "info": native.DeviceInfo(0),
        "shape": shape,
        "values": case.values,
        "multipliers": case.multipliers,
        "axes": case.encodings,
        "workspace": torch.empty(needed, dtype=torch.uint8, device=cuda._torch_device),
        "out": torch.empty((20, 3), dtype=torch.uint8, device=cuda._torch_device),
        "stream": 0,
    }
    native.render_integers(**good)
    x, y = good["axes"]
    refused: list[tuple[dict[str, Any], str]] = [
        ({"values": case.values[1:]}, "values has .* elements; expected"),
        ({"values": np.full_like(case.values, 2048)}, "values has .*; allowed are -2047"),
        ({"multipliers": case.multipliers + 16}, "multipliers has .*; allowed are 1 to 15 times"),
        ({"axes": [x]}, "number of axes is 1; allowed are 2 to 2"),
        ({"axes": [x, y.astype(np.int32)]}, "axis has buffer format 'i'; expected 'h'"),
        ({"workspace": good["workspace"][1:]}, "bytes of workspace is .*; allowed are"),
        ({"out": good["out"][1:]}, "out has 57 elements; expected 60"),
        ({"out": good["out"].to(torch.float32)}, "out is float32; expected int8"),
    ]
    for change, message in refused:
        with pytest.raises((TypeError, ValueError), match=message):
            native.render_integers(**(good | change))
    with pytest.raises(ValueError, match="number of sizes is 3; allowed are 2 to 2"):
        native.integer_workspace(shape, (5, 4, 1))
    with pytest.raises(ValueError, match="axis size is 0"):
        native.integer_workspace(shape, (5, 0))


def test_renderer_refuses_what_no_file_has(cuda: CudaBackend) -> None:
    spec = SirenSpec(frequencies=0, hidden_layers=0, width=128, out_channels=1)
    tensors = [QuantisedTensor(np.full(t.size, 2047, np.int32), 80) for t in spec.tensors]
    with pytest.raises(ValueError, match="output row 0 sums to 262016"):
        cuda.renderer().render(spec, tensors, Grid(2, 2))
