"""What a backend does: explicit gradients over a flat vector, no autograd at the border."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.siren import F32, Grid, SirenSpec, encode_axis
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.optimiser import OptimiserState, optimise, optimise_scaled

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
F64 = NDArray[np.float64]

#: Chunk pixels, [pixels, out_channels] in Grid order: uint8, where v stands for v*2/255 - 1,
#: or float32 as it is.
Target = U8 | F32


class Backend(Protocol):
    """One way to compute a SIREN. Every backend and instruction set agrees within float32."""

    @property
    def name(self) -> str:
        """The value of --backend."""

    @property
    def isa(self) -> str:
        """Instruction set or device in use, for reports."""

    @property
    def precision(self) -> str:
        """Operands of the products in training: float32, bfloat16 or float16."""

    def evaluate(self, spec: SirenSpec, params: F32, grid: Grid) -> F32:
        """Network output at every grid point, float32 [pixels, out_channels]."""

    def render(self, spec: SirenSpec, params: F32, grid: Grid) -> U8:
        """clamp(round((evaluate + 1) * 127.5), 0, 255), uint8 [frames, height, width, channels]."""

    def loss_and_grad(
        self, spec: SirenSpec, params: F32, grid: Grid, target: Target, indices: U32 | None = None
    ) -> tuple[float, F32]:
        """Mean squared error over the given pixels (None: all), and its gradient."""

    def fit_steps(
        self,
        spec: SirenSpec,
        state: OptimiserState,
        grid: Grid,
        target: Target,
        batches: Batches,
        learning_rates: F32,
        scales: F32 | None = None,
    ) -> F64:
        """One step of the optimiser per batch; the losses before each, float64 [steps].

        With scales, float32 [parameter_count], 0 or more, Adam moves weights too, without the
        rate term, and learning rates are in units of the parameter's scale; one of scale 0 stays
        exactly as it is.
        """


def fit_steps(
    backend: Backend,
    spec: SirenSpec,
    state: OptimiserState,
    grid: Grid,
    target: Target,
    batches: Batches,
    learning_rates: F32,
    scales: F32 | None = None,
) -> F64:
    """The plain form of Backend.fit_steps, which a fused one must match."""
    losses = np.empty(len(batches.starts))
    for step, rate in enumerate(learning_rates):
        indices = batches.indices(step)
        losses[step], gradient = backend.loss_and_grad(spec, state.params, grid, target, indices)
        if scales is None:
            optimise(spec, state, gradient, float(rate))
        else:
            optimise_scaled(state, gradient, float(rate), scales)
    return losses


def to_pixels(spec: SirenSpec, grid: Grid, output: F32) -> U8:
    """What Backend.render makes of Backend.evaluate's output."""
    shape = (grid.frames, grid.height, grid.width, spec.out_channels)
    pixels: U8 = np.clip(np.rint((output + 1) * 127.5), 0, 255).astype(np.uint8).reshape(shape)
    return pixels


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
