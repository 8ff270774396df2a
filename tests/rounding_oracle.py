"""The model in PyTorch, rounding where a kernel of lower precision rounds: what it may err by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from cases import Case
from numpy.typing import NDArray

from tcnn_codec.families.siren.spec import encode_axis


@dataclass(frozen=True)
class Rounding:
    """Operands of products between layers are rounded to dtype: activations, cosines, deltas,
    weights times w0 / unit (forward) and times w0 (backward).

    unit: of phases, in radians. scale: of deltas while they are rounded. sums: whether the
    gradients of biases are sums of rounded deltas, and that of the input layer's weight of rounded
    coordinates.
    """

    dtype: torch.dtype
    unit: float = torch.pi
    scale: float = 1.0
    sums: bool = False

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.dtype).to(x.dtype)

    def deltas(self, x: torch.Tensor) -> torch.Tensor:
        return self(x * self.scale) / self.scale


@dataclass(frozen=True)
class Answer:
    """output: float32 [pixels of the batch, out_channels]. gradient: float32 [parameter_count]."""

    output: NDArray[np.float32]
    loss: float
    gradient: NDArray[np.float32]


def compute(case: Case, seed: int, rounded: Rounding) -> Answer:
    spec, grid, indices = case.spec, case.grid, case.indices(seed)
    params = torch.from_numpy(case.params(seed))
    pixels = np.arange(grid.pixels) if indices is None else indices.astype(np.int64)
    row = pixels // grid.width
    places = (pixels % grid.width, row % grid.height, row // grid.height)
    axes = [
        torch.from_numpy(encode_axis(size, count, spec.scale))[place]
        for size, count, place in zip(
            grid.axis_sizes(spec.axes), spec.axis_frequencies, places, strict=False
        )
    ]
    if spec.time_codes:
        codes = params[spec.layer_parameters :].reshape(spec.frames, spec.time_codes)
        axes[2] = torch.cat([axes[2], codes[places[2]] / 16], dim=1)
    encoded = torch.cat(axes, dim=1)
    target = torch.from_numpy(case.target(seed)[pixels]).float() * (2 / 255) - 1
    parts = [params[t.place].reshape(t.shape) for t in spec.layer_tensors]
    weights, biases = parts[::2], parts[1::2]

    phase = spec.w0 * (encoded @ weights[0].T + biases[0])
    sines, cosines = [rounded(torch.sin(phase))], [rounded(torch.cos(phase))]
    for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
        units = sines[-1] @ rounded(spec.w0 / rounded.unit * weight).T
        phase = rounded.unit * units + spec.w0 * bias
        sines.append(rounded(torch.sin(phase)))
        cosines.append(rounded(torch.cos(phase)))
    output = sines[-1] @ rounded(weights[-1]).T + biases[-1]
    error = output - target

    # Sums over pixels; the mean and the inner w0 come last.
    mean = 2 / error.numel()
    summed = rounded.deltas if rounded.sums else lambda x: x
    gradient = [mean * summed(error).sum(0), mean * rounded.deltas(error).T @ sines[-1]]
    delta = (rounded.deltas(error) @ rounded(weights[-1])) * cosines[-1]
    for layer in range(spec.hidden_layers, 0, -1):
        gradient.append(mean * spec.w0 * summed(delta).sum(0))
        delta = rounded.deltas(delta)
        gradient.append(mean * spec.w0 * delta.T @ sines[layer - 1])
        delta = (delta @ rounded(spec.w0 * weights[layer])) * cosines[layer - 1]
    delta = summed(delta)
    inputs = rounded(encoded) if rounded.sums else encoded
    gradient += [mean * spec.w0 * delta.sum(0), mean * spec.w0 * delta.T @ inputs]
    gradient.reverse()
    if spec.time_codes:
        by_pixel = mean * spec.w0 / 16 * delta @ weights[0][:, -spec.time_codes :]
        by_frame = torch.zeros((spec.frames, spec.time_codes))
        gradient.append(by_frame.index_add(0, torch.from_numpy(places[2]), by_pixel))
    flat = torch.cat([part.ravel() for part in gradient])
    return Answer(output.numpy(), error.square().mean().item(), flat.numpy())
