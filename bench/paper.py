"""The contestant: the paper's network and recipe in pure PyTorch, as fast as PyTorch makes it.

Strümpler et al., arXiv 2112.04267: Adam at 5e-4 on every pixel of the image in every step. The
encoding is computed beforehand, once; Adam is PyTorch's fused one; the step is eager or compiled.
The paper's L1 term is left out: it costs the contestant quality and time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from tcnn_codec.backends.reference import forward
from tcnn_codec.siren import F32, Grid, SirenSpec, encode_axis, initialise

LEARNING_RATE = 5e-4


class PaperFit:
    """Fits `spec` to uint8 pixels [height * width, channels], one full-image step at a time."""

    def __init__(
        self, spec: SirenSpec, grid: Grid, target: NDArray[np.uint8], *, compiled: bool
    ) -> None:
        x, y = (torch.from_numpy(encode_axis(spec, size)) for size in grid.axis_sizes(2))
        shape = (grid.height, grid.width, spec.features_per_axis)
        encoded = torch.cat([x[None].expand(shape), y[:, None].expand(shape)], dim=-1)
        encoded = encoded.reshape(grid.pixels, -1).contiguous()
        wanted = torch.tensor(target) * (2 / 255) - 1
        self._flat = torch.from_numpy(initialise(spec, 0)).requires_grad_()
        self._adam = torch.optim.Adam([self._flat], lr=LEARNING_RATE, fused=True)

        def loss(flat: torch.Tensor) -> torch.Tensor:
            return (forward(spec, flat, encoded) - wanted).square().mean()

        self._loss: Callable[[torch.Tensor], torch.Tensor] = (
            torch.compile(loss) if compiled else loss
        )

    def gradient(self) -> None:
        """Forward and backward."""
        self._flat.grad = None
        self._loss(self._flat).backward()

    def step(self) -> None:
        self.gradient()
        self._adam.step()

    @property
    def params(self) -> F32:
        found: F32 = self._flat.detach().numpy().copy()
        return found
