"""The native fused backend: AVX-512, AVX2 or plain C++, chosen at run time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from tcnn_codec.checks import one_of, whole_number
from tcnn_codec.dtypes import F32, U8, U32
from tcnn_codec.errors import BackendUnavailable, CodecError
from tcnn_codec.families.contract import MAX_THREADS
from tcnn_codec.families.siren.backends import PRECISIONS_OF
from tcnn_codec.families.siren.backends.inputs import CODE_UNIT, encode_axes, native_shape
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.grid import Grid
from tcnn_codec.native import _cpu

if TYPE_CHECKING:
    from tcnn_codec.families.siren.backends.cpu_trainer import CpuTrainer
    from tcnn_codec.training.codes import CodeLearning
    from tcnn_codec.training.job import Job
    from tcnn_codec.training.optimiser import OptimiserState

#: A second or so of evaluating the largest network; nothing interrupts a call.
PIXELS_PER_CALL = 1 << 20
ISA_VARIABLE = "TCNN_CODEC_CPU_ISA"
#: As CPUID has it.
AMD = "AuthenticAMD"


class CpuBackend:
    """threads: 1 or more; 0 takes every core this process may use. Results do not depend on it.

    isa: 'amx', 'avx512', 'avx2', 'scalar', or '' for the environment's TCNN_CODEC_CPU_ISA and else
    the best there is; 'amx_emulated' is for tests. precision: of the products in training,
    'float32', 'bfloat16' (amx, and avx512 on processors with AVX512_BF16), or 'auto' for
    `usual_precision`; evaluate and render are float32 always. Raises BackendUnavailable for what
    this machine or build lacks, CodecError for threads or a precision that are not allowed
    anywhere.
    """

    name = "cpu"
    has_codes = True

    def __init__(self, threads: int = 0, isa: str = "", precision: str = "float32") -> None:
        count = thread_count(threads)
        one_of("`precision`", precision, ("auto", *PRECISIONS_OF["cpu"]), "auto")
        chosen = isa or os.environ.get(ISA_VARIABLE, "") or _cpu.available_isas()[0]
        with refusals(count):
            if precision == "auto":
                vendor, has_bfloat16 = _cpu.processor_vendor(), _cpu.has_bfloat16(chosen)
                precision = usual_precision(chosen, vendor, has_bfloat16)
            self._siren = _cpu.Siren(chosen, count, precision == "bfloat16")

    @property
    def device(self) -> str:
        return self._siren.isa

    @property
    def precision(self) -> str:
        return "bfloat16" if self._siren.bfloat16 else "float32"

    @property
    def threads(self) -> int:
        return self._siren.threads

    def evaluate(self, spec: SirenSpec, params: F32, grid: Grid) -> F32:
        out = np.empty((grid.frames, grid.height, grid.width, spec.out_channels), np.float32)
        self._fill(spec, params, grid, out)
        return out.reshape(grid.pixels, spec.out_channels)

    def render(self, spec: SirenSpec, params: F32, grid: Grid) -> U8:
        out = np.empty((grid.frames, grid.height, grid.width, spec.out_channels), np.uint8)
        self._fill(spec, params, grid, out)
        return out

    def _fill(self, spec: SirenSpec, params: F32, grid: Grid, out: F32 | U8) -> None:
        """Evaluate into out, band after band, so that an interrupt need not wait for the whole."""
        shape = native_shape(_cpu, spec)
        x, y, *t = encode_axes(spec, grid, params)
        layers = params[: spec.layer_parameters]
        rows = max(1, min(grid.height, PIXELS_PER_CALL // grid.width))
        frames = max(1, PIXELS_PER_CALL // (grid.width * grid.height))
        for frame in range(0, grid.frames, frames):
            times = [axis[frame : frame + frames] for axis in t]
            for row in range(0, grid.height, rows):
                band = out[frame : frame + frames, row : row + rows]
                self._siren.evaluate(shape, layers, [x, y[row : row + rows], *times], band)

    def loss_and_grad(
        self, job: Job[SirenSpec], params: F32, indices: U32 | None = None
    ) -> tuple[float, F32]:
        spec, layers = job.spec, job.spec.layer_parameters
        gradient = np.empty(spec.parameter_count, np.float32)
        loss = self._siren.loss_and_grad(
            native_shape(_cpu, spec),
            params[:layers],
            encode_axes(spec, job.grid, params),
            job.target,
            indices,
            gradient[:layers],
            gradient[layers:],
        )
        gradient[layers:] *= np.float32(CODE_UNIT)
        return loss, gradient

    def vjp(self, spec: SirenSpec, params: F32, grid: Grid, output_gradient: F32) -> F32:
        gradient = np.empty(spec.parameter_count, np.float32)
        layers = spec.layer_parameters
        self._siren.vjp(
            native_shape(_cpu, spec),
            params[:layers],
            encode_axes(spec, grid, params),
            np.ascontiguousarray(output_gradient, np.float32),
            gradient[:layers],
            gradient[layers:],
        )
        gradient[layers:] *= np.float32(CODE_UNIT)
        return gradient

    def trainer(
        self, job: Job[SirenSpec], state: OptimiserState, learning: CodeLearning | None = None
    ) -> CpuTrainer:
        # Not with this module, which decoding loads too.
        from tcnn_codec.families.siren.backends.cpu_trainer import CpuTrainer

        return CpuTrainer(self._siren, job, state, learning)


def usual_precision(isa: str, vendor: str, has_bfloat16: bool) -> str:
    """The faster precision of a processor, by what is known of it and not by timing it, so that the
    same machine makes the same bytes.

    vendor: as CPUID has it. has_bfloat16: whether there is bfloat16 with this instruction set. The
    instruction of AVX512_BF16, `vdpbf16ps`, does twice as many multiply-adds a second as float32
    does on Zen 4, and half as many on Sapphire Rapids, where the tiles of AMX do sixteen times as
    many; all were measured from registers alone.
    """
    is_faster = isa.startswith("amx") or vendor == AMD
    return "bfloat16" if has_bfloat16 and is_faster else "float32"


def thread_count(threads: int) -> int:
    """How many threads an option asks for, 0 being every core that this process may use.

    Raises CodecError for a number that is not allowed anywhere.
    """
    return whole_number("`threads`", threads, 0, MAX_THREADS, "0 takes every core") or (
        usable_cores()
    )


@contextmanager
def refusals(threads: int) -> Iterator[None]:
    """What a native engine refuses when it is made with so many threads, as errors of ours.

    Raises BackendUnavailable for an instruction set that this machine or build lacks, CodecError
    for threads that the system does not give.
    """
    try:
        yield
    except ValueError as error:
        raise BackendUnavailable(str(error)) from None
    except RuntimeError as error:
        raise CodecError(
            f"{threads} threads cannot be started ({error})",
            "allowed is what the system gives a process",
            "lower `threads`",
        ) from None


def usable_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
