"""What a backend does: explicit gradients over a flat vector, no autograd at the border."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.siren import F32, Grid, SirenSpec

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
F64 = NDArray[np.float64]

#: Chunk pixels, [pixels, out_channels] in Grid order: uint8, where v stands for v*2/255 - 1,
#: or float32 as it is.
Target = U8 | F32

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass
class AdamState:
    """Parameters and Adam's moments, each float32 [parameter_count]; changed in place."""

    params: F32
    mean: F32
    variance: F32
    step: int = 0

    @classmethod
    def start(cls, params: F32) -> AdamState:
        return cls(params.copy(), np.zeros_like(params), np.zeros_like(params))


@dataclass(frozen=True)
class Batches:
    """Which pixels each step sees: step s takes order[(start + stride*i) % len(order)], i < count.

    order: uint32 pixel indices. starts: one (start, stride) per step. A stride coprime to
    len(order), with starts advancing by count*stride, visits every entry once per epoch.
    """

    order: U32
    starts: Sequence[tuple[int, int]]
    count: int

    def indices(self, step: int) -> U32:
        start, stride = self.starts[step]
        return self.order[
            (start + stride * np.arange(self.count, dtype=np.int64)) % self.order.size
        ]


class Backend(Protocol):
    """One way to compute a SIREN. Every backend and instruction set agrees within float32."""

    @property
    def name(self) -> str:
        """The value of --backend."""

    @property
    def isa(self) -> str:
        """Instruction set or device in use, for reports."""

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
        state: AdamState,
        grid: Grid,
        target: Target,
        batches: Batches,
        learning_rates: F32,
    ) -> F64:
        """One Adam step per batch; returns the losses before each step, float64 [steps]."""


def fit_steps(
    backend: Backend,
    spec: SirenSpec,
    state: AdamState,
    grid: Grid,
    target: Target,
    batches: Batches,
    learning_rates: F32,
) -> F64:
    """The plain form of Backend.fit_steps, which a fused one must match."""
    losses = np.empty(len(batches.starts))
    for step, rate in enumerate(learning_rates):
        indices = batches.indices(step)
        losses[step], gradient = backend.loss_and_grad(spec, state.params, grid, target, indices)
        adam_step(state, gradient, float(rate))
    return losses


def adam_step(state: AdamState, gradient: F32, learning_rate: float) -> None:
    """Adam (Kingma & Ba, arXiv 1412.6980, algorithm 1), in place."""
    state.step += 1
    state.mean += (gradient - state.mean) * np.float32(1 - BETA1)
    state.variance *= np.float32(BETA2)
    state.variance += gradient * gradient * np.float32(1 - BETA2)
    rate = np.float32(learning_rate / (1 - BETA1**state.step))
    correction = np.float32((1 - BETA2**state.step) ** -0.5)
    state.params -= rate * state.mean / (np.sqrt(state.variance) * correction + np.float32(EPSILON))
