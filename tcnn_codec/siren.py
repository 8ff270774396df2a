"""The model: a SIREN over positionally encoded coordinates, as a shape and a flat vector.

f(x, y[, t]) = V sin(w0 (W_k ... sin(w0 (W_1 enc(x, y[, t]) + b_1)) ... + b_k)) + c,
after Sitzmann et al. (arXiv 2006.09661) and Strümpler et al. (arXiv 2112.04267).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.bitstream.limits import MAX_FREQUENCIES, MAX_HIDDEN_LAYERS, MAX_WIDTH
from tcnn_codec.errors import CodecError

F32 = NDArray[np.float32]

#: Resolution of `scale` and `w0` in a stream; both are multiples of it.
MILLI = 1000


@dataclass(frozen=True)
class Grid:
    """Sampling positions of one chunk: pixel centres, each axis on (-1, 1).

    Pixels are ordered frame, row, column: pixel index = (t * height + y) * width + x.
    """

    width: int
    height: int
    frames: int = 1

    @property
    def pixels(self) -> int:
        return self.width * self.height * self.frames

    def axis_sizes(self, axes: int) -> tuple[int, ...]:
        """Sizes of the model's input axes in the order x, y, t."""
        return (self.width, self.height, self.frames)[:axes]


@dataclass(frozen=True)
class Tensor:
    """One tensor's place in the flat parameter vector."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def place(self) -> slice:
        return slice(self.offset, self.offset + self.size)


@dataclass(frozen=True)
class SirenSpec:
    """Shape of the network; together with a flat float32 vector it is a picture.

    axes: 2 (x, y) or 3 (x, y, t). frequencies: L ≥ 0 octaves of encoding per axis, at
    pi * scale**i for i < L; 0 is a plain SIREN. hidden_layers: sine layers width → width
    after the input layer, ≥ 0. out_channels: 1 grey, 3 RGB, 4 RGBA. w0: frequency factor
    of every sine. scale and w0 are rounded to 1/1000, the stream's resolution.
    Raises CodecError for a value out of range.
    """

    axes: int = 2
    frequencies: int = 16
    scale: float = 1.4
    hidden_layers: int = 3
    width: int = 32
    out_channels: int = 3
    w0: float = 30.0

    def __post_init__(self) -> None:
        _require_int("axes", self.axes, 2, 3, "2 for an image, 3 for a video chunk")
        _require_int("frequencies", self.frequencies, 0, MAX_FREQUENCIES, "16 suits most images")
        _require_int("hidden_layers", self.hidden_layers, 0, MAX_HIDDEN_LAYERS, "3 is usual")
        _require_int("width", self.width, 1, MAX_WIDTH, "32 suits small files, 64 better quality")
        if self.out_channels not in (1, 3, 4):
            raise CodecError(
                f"out_channels is {self.out_channels}; allowed are 1 (grey), 3 (RGB) and 4 (RGBA); "
                "convert the input to one of them"
            )
        for name, value, most in (("scale", self.scale, 4.0), ("w0", self.w0, 1000.0)):
            if not 0.001 <= value <= most:
                raise CodecError(
                    f"{name} is {value}; allowed are 0.001 to {most:g}; "
                    f"leave it at its default {'1.4' if name == 'scale' else '30'}"
                )
            object.__setattr__(self, name, round(value * MILLI) / MILLI)

    @property
    def features_per_axis(self) -> int:
        return 1 + 2 * self.frequencies

    @property
    def layer_shapes(self) -> tuple[tuple[int, int], ...]:
        """(out, in) of every layer, input layer first."""
        first = (self.width, self.axes * self.features_per_axis)
        hidden = ((self.width, self.width),) * self.hidden_layers
        return (first, *hidden, (self.out_channels, self.width))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Weight [out, in] row-major then bias [out], layer after layer: the flat layout."""
        found: list[Tensor] = []
        offset = 0
        for layer, (rows, columns) in enumerate(self.layer_shapes):
            for name, shape in ((f"weight{layer}", (rows, columns)), (f"bias{layer}", (rows,))):
                found.append(Tensor(name, shape, offset))
                offset += found[-1].size
        return tuple(found)

    @property
    def parameter_count(self) -> int:
        return sum(rows * (columns + 1) for rows, columns in self.layer_shapes)


def axis_coordinates(size: int) -> NDArray[np.float64]:
    """Pixel centres p_i = (2i + 1)/size - 1, float64 [size]."""
    return (2.0 * np.arange(size) + 1.0) / size - 1.0


def encode_axis(spec: SirenSpec, size: int) -> F32:
    """Positional encoding of one axis, float32 [size, 1 + 2L]: p, sines, cosines.

    Computed in float64 and rounded once, so that every backend starts from the same numbers.
    """
    p = axis_coordinates(size)[:, None]
    phase = np.pi * p * spec.scale ** np.arange(spec.frequencies)
    return np.concatenate([p, np.sin(phase), np.cos(phase)], axis=1).astype(np.float32)


def initialise(spec: SirenSpec, seed: int) -> F32:
    """Fresh parameters, float32 [parameter_count]; SIREN initialisation (arXiv 2006.09661 §3.2).

    Input weights U(±1/in), later weights U(±sqrt(6/in)/w0), biases U(±1/sqrt(in)).
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    params = np.empty(spec.parameter_count, np.float32)
    tensors = spec.tensors
    for layer, (_, columns) in enumerate(spec.layer_shapes):
        weight, bias = tensors[2 * layer], tensors[2 * layer + 1]
        bound = 1 / columns if layer == 0 else np.sqrt(6 / columns) / spec.w0
        params[weight.place] = rng.uniform(-bound, bound, weight.size)
        params[bias.place] = rng.uniform(-(columns**-0.5), columns**-0.5, bias.size)
    return params


def _require_int(name: str, value: int, least: int, most: int, remedy: str) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        raise CodecError(f"{name} is {value}; allowed are {least} to {most}; {remedy}")
