"""What a backend does: explicit gradients over a flat vector, no autograd at the border."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from tcnn_codec.dtypes import F32, F64, U8, U32
from tcnn_codec.errors import BackendUnavailable
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.grid import Grid
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.codes import EVERY, CodeLearner, CodeLearning
from tcnn_codec.training.job import Job, Trainer
from tcnn_codec.training.optimiser import (
    BETA1,
    BETA2,
    EPSILON,
    FLOOR,
    MOMENTUM,
    OptimiserState,
    optimise,
)


class Backend(Protocol):
    """One way to compute a SIREN. Every backend and instruction set agrees within float32."""

    @property
    def name(self) -> str:
        """The value of the option `backend`."""

    @property
    def device(self) -> str:
        """Instruction set or GPU in use, for reports."""

    @property
    def precision(self) -> str:
        """Operands of the products in training: float32, bfloat16 or float16."""

    @property
    def has_codes(self) -> bool:
        """Whether it computes networks with codes of frames."""

    def evaluate(self, spec: SirenSpec, params: F32, grid: Grid) -> F32:
        """Network output at every grid point, float32 [pixels, out_channels]."""

    def render(self, spec: SirenSpec, params: F32, grid: Grid) -> U8:
        """clamp(round((evaluate + 1) * 127.5), 0, 255), uint8 [frames, height, width, channels]."""

    def loss_and_grad(
        self, job: Job[SirenSpec], params: F32, indices: U32 | None = None
    ) -> tuple[float, F32]:
        """Mean squared error over the given pixels (None: all), and its gradient."""

    def vjp(self, spec: SirenSpec, params: F32, grid: Grid, output_gradient: F32) -> F32:
        """The gradient by the parameters, float32 [parameter_count], of any loss of the output.

        output_gradient: float32 [pixels, out_channels], that loss's gradient by `evaluate`. (The
        vector-Jacobian product of reverse-mode differentiation.)
        """

    def trainer(
        self, job: Job[SirenSpec], state: OptimiserState, learning: CodeLearning | None = None
    ) -> Trainer:
        """What fits a network to the job from a copy of this state on; holds the job's pixels.

        learning: of the network's codes; None keeps them as they are.
        """


class PlainTrainer:
    """The plain form of a Trainer, which a fused one must match.

    gradient: of the mean squared error over pixels of the job, given parameters and indices.
    learning: of codes; None keeps them as they are.
    """

    def __init__(
        self,
        gradient: Callable[[F32, U32], tuple[float, F32]],
        job: Job[SirenSpec],
        state: OptimiserState,
        learning: CodeLearning | None = None,
    ) -> None:
        self._gradient, self._spec, self._order = gradient, job.spec, order_of(job)
        self._state = state.copy()
        self._codes = code_learner(job.spec, self._state, learning)

    def steps(self, batches: Batches, learning_rates: F32) -> F64:
        losses = np.empty(len(batches.starts))
        first, params = self._spec.layer_parameters, self._state.params
        for step, rate in enumerate(learning_rates):
            indices = batches.indices(self._order, step)
            if self._codes is not None and step % EVERY == 0:
                codes = self._codes.shown().ravel()
            shown = params if self._codes is None else np.concatenate([params[:first], codes])
            losses[step], gradient = self._gradient(shown, indices)
            if self._codes is not None and (step % EVERY == EVERY - 1 or step + 1 == len(losses)):
                self._codes.update(gradient[first:].reshape(codes_shape(self._spec)), float(rate))
            optimise(self._spec.layer_tensors, self._state, gradient, float(rate))
        return losses

    def state(self) -> OptimiserState:
        return self._state.copy()

    def load(self, state: OptimiserState) -> None:
        replace_weights(self._state, state)


def code_learner(
    spec: SirenSpec, state: OptimiserState, learning: CodeLearning | None
) -> CodeLearner | None:
    """What learns a state's codes; None where there are none, or none to be learned."""
    if learning is None or not spec.time_codes:
        return None
    return CodeLearner(learning, state, codes_shape(spec))


def refuse_codes(spec: SirenSpec, backend: str) -> None:
    """Raises BackendUnavailable for a network with codes: what a backend calls that has none."""
    if spec.time_codes:
        raise BackendUnavailable(
            f"`time_codes` is {spec.time_codes}",
            f"`backend` '{backend}' has none",
            "leave them out, or choose `backend` cpu",
        )


def codes_shape(spec: SirenSpec) -> tuple[int, int]:
    return spec.frames, spec.time_codes


def check_loaded(other: OptimiserState, *, scaled: bool) -> None:
    """Raises ValueError where Trainer.load may not take a state. scaled: whether it has scales."""
    if (other.scales is not None) != scaled:
        raise ValueError("a trainer began with scales, or without, and goes on as it began")


def replace_weights(state: OptimiserState, other: OptimiserState) -> None:
    """What Trainer.load does to a state whose arrays stay where they are."""
    check_loaded(other, scaled=state.scales is not None)
    state.params[:] = other.params
    if state.scales is not None and other.scales is not None:
        state.scales[:] = other.scales


def order_of(job: Job[SirenSpec]) -> U32:
    """The job's order of pixels. Raises ValueError where there is none."""
    if job.order is None:
        raise ValueError("the job has no order of its pixels; a trainer makes its batches of one")
    return job.order


def to_pixels(spec: SirenSpec, grid: Grid, output: F32) -> U8:
    """What Backend.render makes of Backend.evaluate's output."""
    shape = (grid.frames, grid.height, grid.width, spec.out_channels)
    pixels: U8 = np.clip(np.rint((output + 1) * 127.5), 0, 255).astype(np.uint8).reshape(shape)
    return pixels


def native_constants(native: Any, rate_weight: float) -> Any:
    """The optimiser's constants as the OptimiserConstants of a native module."""
    return native.OptimiserConstants(
        beta1=BETA1,
        beta2=BETA2,
        epsilon=EPSILON,
        momentum=MOMENTUM,
        rate_weight=rate_weight,
        rate_floor=FLOOR,
    )
