"""Training on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from tcnn_codec.dtypes import F32, F64
from tcnn_codec.families.siren.backends.base import (
    code_learner,
    codes_shape,
    native_constants,
    order_of,
    replace_weights,
)
from tcnn_codec.families.siren.backends.inputs import CODE_UNIT, encode_axes, native_shape
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.native import _cpu
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.codes import EVERY, CodeLearning
from tcnn_codec.training.job import Job
from tcnn_codec.training.optimiser import OptimiserState


class CpuTrainer:
    """A Trainer whose state native code changes in place. siren: of the backend.

    learning: of codes; None keeps them as they are.
    """

    def __init__(
        self,
        siren: Any,
        job: Job[SirenSpec],
        state: OptimiserState,
        learning: CodeLearning | None = None,
    ) -> None:
        spec, self._state = job.spec, state.copy()
        self._codes = code_learner(spec, self._state, learning)
        self._encodings = encode_axes(spec, job.grid, self._state.params)
        self._code_gradient = np.zeros(codes_shape(spec), np.float32)
        layers = slice(0, spec.layer_parameters)
        self._native = _cpu.Trainer(
            siren=siren,
            shape=native_shape(_cpu, spec),
            encodings=self._encodings,
            target=job.target,
            order=order_of(job),
            params=self._state.params[layers],
            mean=self._state.mean[layers],
            variance=self._state.variance[layers],
            scales=None if self._state.scales is None else self._state.scales[layers],
            steps_done=state.steps_done,
            constants=native_constants(_cpu, state.rate_weight),
        )

    def steps(self, batches: Batches, learning_rates: F32) -> F64:
        starts, losses = list(batches.starts), np.empty(len(batches.starts))
        if self._codes is None:
            self._native.steps(starts, batches.count, learning_rates, losses)
            self._state.steps_done += len(losses)
            return losses
        shown = self._encodings[-1][:, -self._code_gradient.shape[1] :]
        for begin in range(0, len(losses), EVERY):
            some = slice(begin, begin + EVERY)
            np.multiply(self._codes.shown(), np.float32(CODE_UNIT), out=shown)
            self._native.steps(
                starts[some], batches.count, learning_rates[some], losses[some], self._code_gradient
            )
            self._state.steps_done += len(losses[some])
            rate = float(learning_rates[some][-1])
            self._codes.update(self._code_gradient * np.float32(CODE_UNIT), rate)
        return losses

    def state(self) -> OptimiserState:
        return self._state.copy()

    def load(self, state: OptimiserState) -> None:
        replace_weights(self._state, state)
