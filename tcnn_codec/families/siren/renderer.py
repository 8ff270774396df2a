"""A network's integers to pixels, as docs/format.md, section 8, has it: the same everywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.dtypes import U8
from tcnn_codec.families.siren.backends.cpu import ISA_VARIABLE, usable_cores
from tcnn_codec.families.siren.backends.inputs import native_shape
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.grid import Grid
from tcnn_codec.native import _cpu

WORK_PER_CALL = 1 << 34


class SirenRenderer:
    def __init__(self, threads: int = 0, isa: str = "") -> None:
        names = _cpu.integer_isas()
        wanted = isa or os.environ.get(ISA_VARIABLE, "")
        if wanted == "avx512" and "avx512_vnni" in names and not isa:
            wanted = "avx512_vnni"
        self._siren = _cpu.IntegerSiren(wanted or names[0], threads or usable_cores())

    def render(self, spec: SirenSpec, tensors: Sequence[QuantisedTensor], grid: Grid) -> U8:
        values = np.concatenate([tensor.values for tensor in tensors])
        multipliers = np.array([tensor.multiplier for tensor in tensors], np.int32)
        out = np.empty((grid.frames, grid.height, grid.width, spec.out_channels), np.uint8)
        axes = [encode_axis(spec, n) for n in grid.axis_sizes(spec.axes)]
        shape = native_shape(_cpu, spec)
        pixels = max(1, WORK_PER_CALL // spec.parameter_count)
        rows = max(1, min(grid.height, pixels // grid.width))
        frames = max(1, pixels // (grid.width * grid.height))
        x, y, *t = axes
        for frame in range(0, grid.frames, frames):
            times = [axis[frame : frame + frames] for axis in t]
            for row in range(0, grid.height, rows):
                band = out[frame : frame + frames, row : row + rows]
                self._siren.render(
                    shape, values, multipliers, [x, y[row : row + rows], *times], band
                )
        return out


def mul(a, b):
    return (a * b + 2**14) >> 15


def sine(phase):
    c = ((((phase >> 16) - 2**14) + 2**15) & 0xFFFF) - 2**15
    r = 32767 - 2 * np.where(c >= 0, c, -1 - c)
    s = mul(r, r)
    p = mul(np.int64(-70), s) + 1300
    p = mul(p, s) - 10582
    p = mul(p, s) + 25736
    return mul(r, p)


@lru_cache(maxsize=8)
def encode_axis(spec, n):
    m = 2 * np.arange(n, dtype=np.int64) + 1 - n
    cols = [(2**15 * m + n) // (2 * n)]
    g = [(2 * f * m // n) & 0xFFFFFFFF for f in spec.frequency_integers]
    cols += [sine(x) for x in g] + [sine((x + 2**30) & 0xFFFFFFFF) for x in g]
    return np.ascontiguousarray(np.stack(cols, 1).astype(np.int16))
