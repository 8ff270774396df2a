"""Training on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from tcnn_codec.dtypes import F32, F64
from tcnn_codec.families.siren.backends.base import native_constants, order_of, replace_weights
from tcnn_codec.families.siren.backends.inputs import encode_axes, native_shape
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.native import _cpu
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.job import Job
from tcnn_codec.training.optimiser import OptimiserState


class CpuTrainer:
    """A Trainer whose state native code changes in place. siren: of the backend."""

    def __init__(self, siren: Any, job: Job[SirenSpec], state: OptimiserState) -> None:
        self._state = state.copy()
        self._native = _cpu.Trainer(
            siren=siren,
            shape=native_shape(_cpu, job.spec),
            encodings=encode_axes(job.spec, job.grid),
            target=job.target,
            order=order_of(job),
            params=self._state.params,
            mean=self._state.mean,
            variance=self._state.variance,
            scales=self._state.scales,
            steps_done=state.steps_done,
            constants=native_constants(_cpu, state.rate_weight),
        )

    def steps(self, batches: Batches, learning_rates: F32) -> F64:
        losses = np.empty(len(batches.starts))
        self._native.steps(list(batches.starts), batches.count, learning_rates, losses)
        self._state.steps_done += len(batches.starts)
        return losses

    def state(self) -> OptimiserState:
        return self._state.copy()

    def load(self, state: OptimiserState) -> None:
        replace_weights(self._state, state)
