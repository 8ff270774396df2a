"""What a backend is given of a network and a grid, to train with it and to evaluate it alike."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tcnn_codec.dtypes import F32
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
