"""Integers to pixels, the same on every machine: docs/format.md, section 8."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.dtypes import U8
from tcnn_codec.families.siren.backends.cpu import ISA_VARIABLE, refusals, thread_count
from tcnn_codec.families.siren.backends.inputs import (
    encode_axes_integers,
    native_integers,
    native_shape,
)
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.grid import Grid
from tcnn_codec.native import _cpu

#: Pixels times parameters: a second or so of the slowest instruction set; nothing interrupts a
#: call.
WORK_PER_CALL = 1 << 33


class SirenRenderer:
    """A contract.Renderer. threads: 1 or more; 0 takes every core this process may use.

    isa: one of _cpu.integer_isas(), or '' for the environment's TCNN_CODEC_CPU_ISA, where 'avx512'
    stands for the best form of AVX-512 and 'amx' for the best there is, and else for that. Raises
    BackendUnavailable for what this machine or build lacks, CodecError for threads that are not
    allowed anywhere.
    """

    def __init__(self, threads: int = 0, isa: str = "") -> None:
        count = thread_count(threads)
        with refusals(count):
            self._siren = _cpu.IntegerSiren(isa or _usual_isa(), count)

    @property
    def device(self) -> str:
        """The instruction set in use."""
        return self._siren.isa

    @property
    def threads(self) -> int:
        return self._siren.threads

    def render(self, spec: SirenSpec, tensors: Sequence[QuantisedTensor], grid: Grid) -> U8:
        """Band after band, so that an interrupt need not wait for the whole.

        Raises ValueError for tensors that no file may have.
        """
        shape = native_shape(_cpu, spec)
        values, multipliers = native_integers(spec, tensors)
        x, y, *t = encode_axes_integers(spec, grid, tensors)
        out = np.empty((grid.frames, grid.height, grid.width, spec.out_channels), np.uint8)
        pixels = WORK_PER_CALL // spec.parameter_count
        rows = max(1, min(grid.height, pixels // grid.width))
        frames = max(1, pixels // (grid.width * grid.height))
        for frame in range(0, grid.frames, frames):
            times = [axis[frame : frame + frames] for axis in t]
            for row in range(0, grid.height, rows):
                band = out[frame : frame + frames, row : row + rows]
                axes = [x, y[row : row + rows], *times]
                self._siren.render(shape, values, multipliers, axes, band)
        return out


def _usual_isa() -> str:
    available = _cpu.integer_isas()
    wanted = os.environ.get(ISA_VARIABLE, "")
    if wanted.startswith("amx"):
        return available[0]
    if wanted == "avx512":
        return next((isa for isa in available if isa.startswith(wanted)), wanted)
    return wanted or available[0]
