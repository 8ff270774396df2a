"""The contestant: the paper's network and recipe in pure PyTorch, as fast as PyTorch makes it.

Strümpler et al., arXiv 2112.04267: Adam at 5e-4 on every pixel of the image in every step. The
encoding is computed beforehand, once; Adam is PyTorch's fused one; the step is eager or compiled,
in float32 or under autocast to bfloat16 (which rounds phases too; ours does not). The paper's L1
term is left out: it costs the contestant quality and time.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import linear

from tcnn_codec.dtypes import F32
from tcnn_codec.families.siren.spec import SirenSpec, encode_axis
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid

LEARNING_RATE = 5e-4
#: Better than the paper's in a short fit: a higher peak, and a cosine decay over its steps.
TUNED_LEARNING_RATE = 2e-3


class Siren(nn.Module):
    """The network over encoded coordinates [pixels, features]."""

    def __init__(self, spec: SirenSpec) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(n, m) for m, n in spec.layer_shapes)
        self.w0 = spec.w0
        start = torch.from_numpy(initialise(spec, 0))
        nn.utils.vector_to_parameters(start, self.parameters())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x = torch.sin(linear(x, self.w0 * layer.weight, self.w0 * layer.bias))
        found: torch.Tensor = self.layers[-1](x)
        return found


def full_image(
    spec: SirenSpec, grid: Grid, target: NDArray[np.uint8], device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Encoded coordinates of every pixel, and what the network's outputs should be there."""
    x, y = (
        torch.from_numpy(encode_axis(size, spec.frequencies, spec.scale))
        for size in grid.axis_sizes(2)
    )
    shape = (grid.height, grid.width, spec.axis_features[0])
    encoded = torch.cat([x[None].expand(shape), y[:, None].expand(shape)], dim=-1)
    wanted = torch.tensor(target).to(device) * (2 / 255) - 1
    return encoded.reshape(grid.pixels, -1).contiguous().to(device), wanted


class PaperFit:
    """Fits `spec` to uint8 pixels [height * width, channels], one full-image step at a time.

    device: cpu or cuda; compiled for cuda, steps are replayed as CUDA graphs.
    """

    def __init__(
        self,
        spec: SirenSpec,
        grid: Grid,
        target: NDArray[np.uint8],
        *,
        compiled: bool,
        bfloat16: bool = False,
        device: str = "cpu",
    ) -> None:
        self._encoded, self._wanted = full_image(spec, grid, target, device)
        if device == "cuda":  # or every replay of a graph would copy them
            for fixed in (self._encoded, self._wanted):
                torch._dynamo.mark_static_address(fixed)
        self._network = Siren(spec).to(device)
        self._adam = torch.optim.Adam(self._network.parameters(), lr=LEARNING_RATE, fused=True)
        network = self._network

        def loss(encoded: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
            with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
                return (network(encoded) - wanted).square().mean()

        if compiled:
            torch.compiler.reset()  # its limit on recompiling counts all instances of this code
        mode = "reduce-overhead" if device == "cuda" else None
        self._loss = (
            torch.compile(loss, fullgraph=True, dynamic=False, mode=mode) if compiled else loss
        )

    def gradient(self) -> None:
        """Forward and backward."""
        self._adam.zero_grad()
        self._loss(self._encoded, self._wanted).backward()

    def step(self) -> None:
        self.gradient()
        self._adam.step()

    def run(self, steps: int, *, tuned: bool) -> None:
        """The paper's constant learning rate, or the tuned schedule."""
        for step in range(steps):
            if tuned:
                decay = 0.5 + 0.5 * math.cos(math.pi * step / steps)
                self._adam.param_groups[0]["lr"] = TUNED_LEARNING_RATE * decay
            self.step()

    @property
    def params(self) -> F32:
        """The flat vector, weight then bias, layer after layer."""
        flat = nn.utils.parameters_to_vector(self._network.parameters())
        found: F32 = flat.detach().cpu().numpy().copy()
        return found
