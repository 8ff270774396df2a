"""The model: a SIREN over positionally encoded coordinates, as a shape and a flat vector.

f(x, y[, t]) = V sin(w0 (W_k ... sin(w0 (W_1 enc(x, y[, t]) + b_1)) ... + b_k)) + c,
after Sitzmann et al. (arXiv 2006.09661) and Strümpler et al. (arXiv 2112.04267).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tcnn_codec.bitstream.limits import (
    MAX_CHUNK_FRAMES,
    MAX_FREQUENCIES,
    MAX_FREQUENCY,
    MAX_HIDDEN_LAYERS,
    MAX_TIME_CODES,
    MAX_WIDTH,
)
from tcnn_codec.checks import real_number, whole_number
from tcnn_codec.dtypes import F32
from tcnn_codec.errors import CodecError
from tcnn_codec.grid import axis_coordinates
from tcnn_codec.layout import Tensor, lay_out

#: Resolution of `scale` and `w0` in a stream; both are multiples of it.
MILLI = 1000


@dataclass(frozen=True)
class SirenSpec:
    """Shape of the network; together with a flat float32 vector it is a picture.

    axes: 2 (x, y) or 3 (x, y, t). frequencies: L ≥ 0 octaves of encoding per axis, at
    pi * scale**i for i < L; 0 is a plain SIREN. hidden_layers: sine layers width → width
    after the input layer, ≥ 0. out_channels: 1 grey, 3 RGB, 4 RGBA. w0: frequency factor
    of every sine. scale and w0 are rounded to 1/1000, the stream's resolution.
    time_frequencies: L of the t axis; None takes `frequencies`. time_codes: numbers of every frame
    that are learned, and fed to the input layer behind the encoding of t. frames: of the chunk,
    which only a network with codes knows. An image has neither: both are 0, and frames 1.
    Raises CodecError for a value out of range.
    """

    axes: int = 2
    frequencies: int = 16
    scale: float = 1.4
    hidden_layers: int = 3
    width: int = 32
    out_channels: int = 3
    w0: float = 30.0
    time_frequencies: int | None = None
    time_codes: int = 0
    frames: int = 1

    def __post_init__(self) -> None:
        whole_number("axes", self.axes, 2, 3, "2 for an image, 3 for a video chunk")
        whole_number("frequencies", self.frequencies, 0, MAX_FREQUENCIES, "16 suits most images")
        if self.axes == 2:
            object.__setattr__(self, "time_frequencies", 0)
            object.__setattr__(self, "time_codes", 0)
        elif self.time_frequencies is None:
            object.__setattr__(self, "time_frequencies", self.frequencies)
        if self.time_codes == 0:
            object.__setattr__(self, "frames", 1)
        time = self.time_frequencies
        whole_number("time_frequencies", time, 0, MAX_FREQUENCIES, "6 suits codes")
        whole_number("time_codes", self.time_codes, 0, MAX_TIME_CODES, "0 is none")
        whole_number("frames", self.frames, 1, MAX_CHUNK_FRAMES, "25 is usual")
        whole_number("hidden_layers", self.hidden_layers, 0, MAX_HIDDEN_LAYERS, "3 is usual")
        whole_number("width", self.width, 1, MAX_WIDTH, "32 suits small files, 64 better quality")
        if self.out_channels not in (1, 3, 4):
            raise CodecError(
                f"out_channels is {self.out_channels}",
                "allowed are 1 (grey), 3 (RGB) and 4 (RGBA)",
                "convert the input to one of them",
            )
        for name, most, usual in (("scale", 4.0, "1.4"), ("w0", 1000.0, "30")):
            remedy = f"leave it at its default {usual}"
            value = real_number(name, getattr(self, name), 0.001, most, remedy)
            object.__setattr__(self, name, round(value * MILLI) / MILLI)
        if max(self.frequency_integers, default=0) >= MAX_FREQUENCY:
            raise CodecError(
                f"{max(self.axis_frequencies)} frequencies with scale {self.scale:g} reach "
                f"2**{max(self.frequency_integers).bit_length() - 31} half-turns",
                f"allowed is less than 2**{MAX_FREQUENCY.bit_length() - 31}",
                "lower one of them",
            )

    def of(self, frames: int) -> SirenSpec:
        """The same network for a chunk of so many frames."""
        return (
            self if frames == self.frames or not self.time_codes else replace(self, frames=frames)
        )

    @property
    def axis_frequencies(self) -> tuple[int, ...]:
        """L of every axis."""
        last = () if self.axes == 2 else (self.time_frequencies or 0,)
        return (self.frequencies, self.frequencies, *last)

    @property
    def axis_features(self) -> tuple[int, ...]:
        """Inputs of every axis: p, sines, cosines and, of t, codes."""
        codes = (0, 0, self.time_codes)
        return tuple(1 + 2 * n + c for n, c in zip(self.axis_frequencies, codes, strict=False))

    @property
    def frequency_integers(self) -> tuple[int, ...]:
        """scale**k, k from 0 on, in units of 2**-30, as decoders count (docs/format.md); as many as
        the axis with the most has."""
        count = max(self.axis_frequencies)
        found = [2**30] if count else []
        while len(found) < count:
            found.append((found[-1] * round(self.scale * MILLI) + MILLI // 2) // MILLI)
        return tuple(found)

    @property
    def layer_shapes(self) -> tuple[tuple[int, int], ...]:
        """(out, in) of every layer, input layer first."""
        first = (self.width, sum(self.axis_features))
        hidden = ((self.width, self.width),) * self.hidden_layers
        return (first, *hidden, (self.out_channels, self.width))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Weight [out, in] row-major then bias [out], layer after layer, then the codes
        [frames, time_codes], if there are any: the flat layout."""
        layers = [
            (name, shape)
            for layer, (rows, columns) in enumerate(self.layer_shapes)
            for name, shape in ((f"weight{layer}", (rows, columns)), (f"bias{layer}", (rows,)))
        ]
        codes = [("codes", (self.frames, self.time_codes))] if self.time_codes else []
        return lay_out([*layers, *codes])

    @property
    def layer_tensors(self) -> tuple[Tensor, ...]:
        """The weights and biases among `tensors`."""
        return self.tensors[: 2 * len(self.layer_shapes)]

    @property
    def layer_parameters(self) -> int:
        """Parameters that are weights and biases."""
        return sum(rows * (columns + 1) for rows, columns in self.layer_shapes)

    @property
    def parameter_count(self) -> int:
        return self.layer_parameters + self.frames * self.time_codes


def encode_axis(size: int, frequencies: int, scale: float) -> F32:
    """Positional encoding of one axis, float32 [size, 1 + 2L]: p, sines, cosines.

    Computed in float64 and rounded once, so that every backend starts from the same numbers.
    """
    p = axis_coordinates(size)[:, None]
    phase = np.pi * p * scale ** np.arange(frequencies)
    return np.concatenate([p, np.sin(phase), np.cos(phase)], axis=1).astype(np.float32)
