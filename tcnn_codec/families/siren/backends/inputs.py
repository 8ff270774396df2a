"""What native code is given of a network and a grid, to train with it and to evaluate it alike, in
floats and in integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.dtypes import F32, I16, I32, I64
from tcnn_codec.families.siren.spec import SirenSpec, encode_axis
from tcnn_codec.grid import Grid

#: What a code of 1 adds to an input, in floats and in units of 2**-14.
CODE_UNIT, CODE_INTEGER = 2.0**-4, 2**10


def native_shape(native: Any, spec: SirenSpec) -> Any:
    """spec as the SirenShape of a native module."""
    return native.SirenShape(
        axes=spec.axes,
        features=spec.axis_features[0],
        hidden_layers=spec.hidden_layers,
        width=spec.width,
        out_channels=spec.out_channels,
        w0=spec.w0,
        time_features=spec.axis_features[2] if spec.axes == 3 else 0,
        codes=spec.time_codes,
    )


def encode_axes(spec: SirenSpec, grid: Grid, params: F32 | None = None) -> tuple[F32, ...]:
    """Of each axis its encoding, float32 [size, axis_features]; not to be written to.

    params: of a network with codes, which stand in the encoding of t; on a grid of other times than
    the network's frames, those of the nearest frame.
    """
    *others, last = _encode_axes(spec.axis_frequencies, spec.scale, grid)
    if spec.time_codes and params is not None:
        codes = params[spec.layer_parameters :].reshape(spec.frames, spec.time_codes)
        last = np.concatenate(
            [last, codes[nearest_frames(spec, grid)] * np.float32(CODE_UNIT)], axis=1
        )
    return (*others, last)


@lru_cache(maxsize=4)
def _encode_axes(frequencies: tuple[int, ...], scale: float, grid: Grid) -> tuple[F32, ...]:
    """Those of the coordinates alone."""
    sizes = grid.axis_sizes(len(frequencies))
    return tuple(
        encode_axis(size, count, scale) for size, count in zip(sizes, frequencies, strict=True)
    )


def nearest_frames(spec: SirenSpec, grid: Grid) -> NDArray[np.intp]:
    """Of every time of the grid, the frame of the chunk that is nearest."""
    return (2 * np.arange(grid.frames) + 1) * spec.frames // (2 * grid.frames)


def native_integers(spec: SirenSpec, tensors: Sequence[QuantisedTensor]) -> tuple[I32, I32]:
    """Values of a network's layers in integers one behind the other, and the multiplier of each
    tensor."""
    layers = tensors[: 2 * len(spec.layer_shapes)]
    values = np.concatenate([tensor.values for tensor in layers])
    return values, np.array([tensor.multiplier for tensor in layers], np.int32)


def encode_axes_integers(
    spec: SirenSpec, grid: Grid, tensors: Sequence[QuantisedTensor]
) -> tuple[I16, ...]:
    """As docs/format.md has them, int16 [size, axis_features]; not to be written to."""
    integers = spec.frequency_integers
    *others, last = (
        encode_axis_integers(integers[:count], size)
        for count, size in zip(spec.axis_frequencies, grid.axis_sizes(spec.axes), strict=True)
    )
    if spec.time_codes:
        codes = tensors[-1].values.reshape(spec.frames, spec.time_codes) * CODE_INTEGER
        codes = codes[nearest_frames(spec, grid)].astype(np.int16)
        last = np.concatenate([last, codes], axis=1)
    return (*others, last)


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
