"""What native code is given of a network and a grid, to train with it and to evaluate it alike, in
floats and in integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.dtypes import F32, I16, I32, I64
from tcnn_codec.families.siren.spec import SirenSpec, encode_axis
from tcnn_codec.grid import Grid


def native_shape(native: Any, spec: SirenSpec) -> Any:
    """spec as the SirenShape of a native module."""
    return native.SirenShape(
        axes=spec.axes,
        features=spec.features_per_axis,
        hidden_layers=spec.hidden_layers,
        width=spec.width,
        out_channels=spec.out_channels,
        w0=spec.w0,
    )


@lru_cache(maxsize=4)
def encode_axes(spec: SirenSpec, grid: Grid) -> tuple[F32, ...]:
    """Of each axis its encoding, float32 [size, features_per_axis]; not to be written to."""
    return tuple(encode_axis(spec, size) for size in grid.axis_sizes(spec.axes))


def native_integers(tensors: Sequence[QuantisedTensor]) -> tuple[I32, I32]:
    """Values of a network in integers one behind the other, and the multiplier of each tensor."""
    values = np.concatenate([tensor.values for tensor in tensors])
    return values, np.array([tensor.multiplier for tensor in tensors], np.int32)


def encode_axes_integers(spec: SirenSpec, grid: Grid) -> tuple[I16, ...]:
    """As docs/format.md has them, int16 [size, features_per_axis]; not to be written to."""
    sizes = grid.axis_sizes(spec.axes)
    return tuple(encode_axis_integers(spec.frequency_integers, size) for size in sizes)


@lru_cache(maxsize=8)
def encode_axis_integers(frequencies: tuple[int, ...], size: int) -> I16:
    """Positional encoding of one axis, int16 [size, 1 + 2 frequencies]; not to be written to.

    frequencies: a spec's frequency_integers. size: 1 to 2**16, so that all fits 64 bits.
    """
    m = (2 * np.arange(size, dtype=np.int64) + 1 - size)[:, None]
    coordinate = (2**15 * m + size) // (2 * size)
    phases = 2 * np.array(frequencies, np.int64)[None] * m // size % 2**32
    columns = [coordinate, _sine(phases), _sine((phases + 2**30) % 2**32)]
    encoding = np.concatenate(columns, axis=1).astype(np.int16)
    encoding.setflags(write=False)
    return encoding


def _sine(phase: I64) -> I64:
    c = ((phase >> 16) - 2**14).astype(np.int16).astype(np.int64)
    r = 32767 - 2 * np.where(c >= 0, c, -1 - c)
    s = _mul(r, r)
    p = _mul(-70, s) + 1300
    p = _mul(p, s) - 10582
    p = _mul(p, s) + 25736
    return _mul(r, p)


def _mul(a: I64 | int, b: I64) -> I64:
    return (a * b + 2**14) >> 15
