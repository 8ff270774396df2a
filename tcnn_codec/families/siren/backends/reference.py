"""The oracle: the model in pure PyTorch, written to be read, never optimised."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from tcnn_codec.dtypes import F32, U8, U32
from tcnn_codec.families.siren.backends.base import PlainTrainer, to_pixels
from tcnn_codec.families.siren.backends.inputs import CODE_UNIT, encode_axes, nearest_frames
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.grid import Grid
from tcnn_codec.training.codes import CodeLearning
from tcnn_codec.training.job import Job
from tcnn_codec.training.optimiser import OptimiserState


class ReferenceBackend:
    """dtype: torch.float32 for use, torch.float64 to measure others' errors against.

    threads: of the whole process, as torch counts them; 0 leaves torch's own choice.
    """

    name = "torch"
    has_codes = True

    def __init__(self, dtype: torch.dtype = torch.float32, threads: int = 0) -> None:
        self._dtype = dtype
        if threads:
            torch.set_num_threads(threads)

    @property
    def device(self) -> str:
        return f"torch {torch.__version__}"

    @property
    def precision(self) -> str:
        return str(self._dtype).removeprefix("torch.")

    def evaluate(self, spec: SirenSpec, params: F32, grid: Grid) -> F32:
        with torch.no_grad():
            flat = torch.as_tensor(params, dtype=self._dtype)
            parts = torch.tensor_split(torch.arange(grid.pixels), -(-grid.pixels >> 16))
            out = torch.cat(
                [forward(spec, flat, self._encoded(spec, flat, grid, part)) for part in parts]
            )
        found: F32 = out.numpy()
        return found

    def render(self, spec: SirenSpec, params: F32, grid: Grid) -> U8:
        return to_pixels(spec, grid, self.evaluate(spec, params, grid))

    def loss_and_grad(
        self, job: Job[SirenSpec], params: F32, indices: U32 | None = None
    ) -> tuple[float, F32]:
        spec, grid = job.spec, job.grid
        pixels = np.arange(grid.pixels) if indices is None else indices.astype(np.int64)
        wanted = torch.as_tensor(job.target.reshape(-1, spec.out_channels)[pixels])
        if wanted.dtype == torch.uint8:
            wanted = wanted.to(self._dtype) * (2 / 255) - 1
        flat = torch.tensor(params, dtype=self._dtype, requires_grad=True)
        encoded = self._encoded(spec, flat, grid, torch.as_tensor(pixels))
        loss = (forward(spec, flat, encoded) - wanted.to(self._dtype)).square().mean()
        (gradient,) = torch.autograd.grad(loss, flat)
        return loss.item(), gradient.numpy()

    def vjp(self, spec: SirenSpec, params: F32, grid: Grid, output_gradient: F32) -> F32:
        flat = torch.tensor(params, dtype=self._dtype, requires_grad=True)
        output = forward(spec, flat, self._encoded(spec, flat, grid, torch.arange(grid.pixels)))
        given = torch.as_tensor(output_gradient, dtype=self._dtype)
        (gradient,) = torch.autograd.grad(output, flat, given.reshape(output.shape))
        found: F32 = gradient.numpy()
        return found

    def trainer(
        self, job: Job[SirenSpec], state: OptimiserState, learning: CodeLearning | None = None
    ) -> PlainTrainer:
        return PlainTrainer(partial(self.loss_and_grad, job), job, state, learning)

    def _encoded(
        self, spec: SirenSpec, flat: torch.Tensor, grid: Grid, pixels: torch.Tensor
    ) -> torch.Tensor:
        """Encoded coordinates and codes [len(pixels), inputs]."""
        axes = [torch.as_tensor(axis).to(self._dtype) for axis in encode_axes(spec, grid)]
        if spec.time_codes:
            codes = flat[spec.layer_parameters :].reshape(spec.frames, spec.time_codes)
            of_frames = codes[torch.as_tensor(nearest_frames(spec, grid))]
            axes[2] = torch.cat([axes[2], of_frames * CODE_UNIT], dim=1)
        return encode_pixels(grid, axes, pixels)


def encode_pixels(grid: Grid, axes: Sequence[torch.Tensor], pixels: torch.Tensor) -> torch.Tensor:
    """Rows of the axes' encodings at the given pixels, concatenated x, y, t."""
    row = pixels // grid.width
    places = (pixels % grid.width, row % grid.height, row // grid.height)
    return torch.cat([axis[place] for axis, place in zip(axes, places, strict=False)], dim=1)


def forward(spec: SirenSpec, params: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
    """Network output [pixels, out_channels] for encoded coordinates [pixels, features]."""
    parts = [params[t.place].reshape(t.shape) for t in spec.layer_tensors]
    x = encoded
    for weight, bias in zip(parts[:-2:2], parts[1:-2:2], strict=True):
        x = torch.sin(spec.w0 * (x @ weight.T + bias))
    return x @ parts[-2].T + parts[-1]
