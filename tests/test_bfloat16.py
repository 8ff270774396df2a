"""Training in bfloat16 against an oracle that rounds where the kernel rounds.

Tolerances are derived: the error against float64 may be twice the oracle's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import CPU_CASES, Case, loss_and_grad, relative, rms
from conftest import BFLOAT16_ISAS, bfloat16_backend
from numpy.typing import NDArray
from rounding_oracle import Rounding, compute

from tcnn_codec import _cpu
from tcnn_codec.errors import BackendUnavailable, CodecError
from tcnn_codec.families.siren import backends
from tcnn_codec.families.siren.backends.cpu import CpuBackend, usual_precision
from tcnn_codec.families.siren.backends.reference import ReferenceBackend

CPUINFO = Path("/proc/cpuinfo")
SEEDS = range(5)
EXACT = ReferenceBackend(torch.float64)
BFLOAT16 = Rounding(torch.bfloat16)


@pytest.fixture(scope="module", params=BFLOAT16_ISAS)
def bfloat16(request: pytest.FixtureRequest, need: Callable[[str, bool], None]) -> CpuBackend:
    return bfloat16_backend(request.param, need)


@cache
def exact(case: Case, seed: int) -> tuple[float, NDArray[np.float64]]:
    loss, gradient = loss_and_grad(
        EXACT, case.spec, case.params(seed), case.grid, case.target(seed), case.indices(seed)
    )
    return loss, gradient.astype(np.float64)


def errors(
    answer: Callable[[Case, int], tuple[float, NDArray[np.float32]]], case: Case
) -> NDArray[np.float64]:
    """Relative errors of the loss and of the gradient, float64 [seed, 2]."""
    found = []
    for seed in SEEDS:
        loss, gradient = answer(case, seed)
        exact_loss, exact_gradient = exact(case, seed)
        found.append((loss / exact_loss - 1, relative(gradient, exact_gradient)))
    return np.array(found)


@cache
def oracle_errors(case: Case) -> NDArray[np.float64]:
    def answer(case: Case, seed: int) -> tuple[float, NDArray[np.float32]]:
        found = compute(case, seed, BFLOAT16)
        return found.loss, found.gradient

    return errors(answer, case)


@pytest.fixture(scope="module")
def native_errors(bfloat16: CpuBackend) -> Callable[[Case], NDArray[np.float64]]:
    def answer(case: Case, seed: int) -> tuple[float, NDArray[np.float32]]:
        return loss_and_grad(
            bfloat16, case.spec, case.params(seed), case.grid, case.target(seed), case.indices(seed)
        )

    return cache(lambda case: errors(answer, case))


@pytest.mark.parametrize("case", CPU_CASES, ids=[case.name for case in CPU_CASES])
def test_gradient_is_as_accurate_as_the_oracle(
    native_errors: Callable[[Case], NDArray[np.float64]], case: Case
) -> None:
    assert rms(native_errors(case)[:, 1]) <= 2 * rms(oracle_errors(case)[:, 1])


def test_loss_is_as_accurate_as_the_oracle(
    native_errors: Callable[[Case], NDArray[np.float64]],
) -> None:
    """Over the whole list: one number's error is near zero by chance in some cases."""
    native = np.array([native_errors(case)[:, 0] for case in CPU_CASES])
    oracle = np.array([oracle_errors(case)[:, 0] for case in CPU_CASES])
    assert rms(native) <= 2 * rms(oracle)


def test_tiles_compute_what_their_emulation_does(need: Callable[[str, bool], None]) -> None:
    """But for sines, which the processor computes with fused multiply-adds."""
    need("amx", _cpu.has_bfloat16("amx"))
    backends = [CpuBackend(2, isa, "bfloat16") for isa in ("amx", "amx_emulated")]
    for case in CPU_CASES:
        arguments = case.spec, case.params(0), case.grid, case.target(0), case.indices(0)
        real, emulated = (loss_and_grad(backend, *arguments)[1] for backend in backends)
        # A sine that is off by 2**-24 is rounded to the other bfloat16 once in many times, so that
        # this is less than what rounding all of them does.
        assert relative(real, emulated) <= rms(oracle_errors(case)[:, 1]) / 4


def test_decoding_is_float32(bfloat16: CpuBackend) -> None:
    case = CPU_CASES[0]
    arguments = case.spec, case.params(0), case.grid
    plain = CpuBackend(threads=2, isa=bfloat16.device)
    assert np.array_equal(bfloat16.evaluate(*arguments), plain.evaluate(*arguments))
    assert np.array_equal(bfloat16.render(*arguments), plain.render(*arguments))


def test_auto_takes_what_is_faster() -> None:
    for isa in _cpu.available_isas():
        expected = usual_precision(isa, _cpu.processor_vendor(), _cpu.has_bfloat16(isa))
        assert CpuBackend(isa=isa, precision="auto").precision == expected
    assert usual_precision("avx512", "AuthenticAMD", True) == "bfloat16"
    assert usual_precision("avx512", "AuthenticAMD", False) == "float32"
    assert usual_precision("avx512", "GenuineIntel", True) == "float32"
    assert usual_precision("amx", "GenuineIntel", True) == "bfloat16"
    assert usual_precision("scalar", "", False) == "float32"
    assert not _cpu.has_bfloat16("scalar")


@pytest.mark.skipif(not CPUINFO.exists(), reason="there is no /proc/cpuinfo to compare with")
def test_the_vendor_is_the_one_that_the_system_names() -> None:
    found = re.search(r"^vendor_id\s*: (\w+)$", CPUINFO.read_text(), re.M)
    assert _cpu.processor_vendor() == (found[1] if found else "")


def test_bfloat16_is_refused_where_there_is_none() -> None:
    with pytest.raises(
        BackendUnavailable, match=r"bfloat16 is not .* set 'scalar'.*`precision` out, or choose 'fl"
    ):
        CpuBackend(isa="scalar", precision="bfloat16")
    with pytest.raises(BackendUnavailable, match="'torch' has no bfloat16"):
        backends.create("torch", precision="bfloat16")
    for refuse in (
        lambda: backends.create("torch", precision="half"),
        lambda: CpuBackend(precision="half"),
    ):
        with pytest.raises(CodecError, match=r"half.* allowed are auto, float32"):
            refuse()
