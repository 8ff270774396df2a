"""The optimiser's arithmetic: Muon on weight matrices, Adam on biases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.dtypes import F32
from tcnn_codec.layout import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8
MOMENTUM = 0.95
#: Of a tensor's mean magnitude, added to a column's in the rate term.
FLOOR = 0.2
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


@dataclass
class OptimiserState:
    """Parameters and moments, each float32 [parameter_count]; changed in place.

    mean: Adam's first moment, Muon's momentum. variance: Adam's second moment, unused by Muon.
    rate_weight: of the rate term on weights, see `shrink`. scales: None, or float32
    [parameter_count], 0 or more: then Adam moves weights too, without the rate term, and learning
    rates are in units of the parameter's scale; one of scale 0 stays exactly as it is.
    """

    params: F32
    mean: F32
    variance: F32
    rate_weight: float = 0.0
    scales: F32 | None = None
    steps_done: int = 0

    @classmethod
    def start(
        cls, params: F32, rate_weight: float = 0.0, scales: F32 | None = None
    ) -> OptimiserState:
        zeros = np.zeros_like(params)
        return cls(params, zeros, zeros, rate_weight, scales).copy()

    def copy(self) -> OptimiserState:
        """With arrays of its own."""
        return OptimiserState(
            params=self.params.copy(),
            mean=self.mean.copy(),
            variance=self.variance.copy(),
            rate_weight=self.rate_weight,
            scales=None if self.scales is None else self.scales.copy(),
            steps_done=self.steps_done,
        )


def optimise(
    tensors: Sequence[Tensor], state: OptimiserState, gradient: F32, learning_rate: float
) -> None:
    """One step with gradient, float32 [parameter_count]; changes state in place."""
    if state.scales is not None:
        adam_step(state, slice(0, state.params.size), gradient, state.scales, learning_rate)
        state.steps_done += 1
        return
    for tensor in tensors:
        params, mean = state.params[tensor.place], state.mean[tensor.place]
        new, shape = gradient[tensor.place], tensor.shape
        if len(shape) == 2:
            mean += (new - mean) * np.float32(1 - MOMENTUM)
            update = orthogonalise((new + (mean - new) * np.float32(MOMENTUM)).reshape(shape))
            scale = max(1.0, shape[0] / shape[1]) ** 0.5
            params -= np.float32(learning_rate * scale) * update.ravel()
            shrink(params.reshape(shape), learning_rate * state.rate_weight)
        else:
            adam_step(state, tensor.place, new, np.float32(1), learning_rate)
    state.steps_done += 1


def shrink(weights: F32, rate: float) -> None:
    """Lower the rate of a weight matrix W, float32 [rows, columns], in place.

    A value costs about log2 of the mean magnitude in its column, once the entropy coder has adapted
    to it. The slope of that is 1 / mean|W_c|: every weight of column c goes towards 0, and not
    beyond, by rate * mean|W| / (mean|W_c| + FLOOR * mean|W|). (Reweighted L1: Candès, Wakin, Boyd,
    arXiv 0711.1612.)
    """
    magnitude = np.abs(weights)
    columns = magnitude.sum(axis=0)
    mean = columns.mean()
    if mean > 0:
        threshold = np.float32(rate) * mean / (columns + np.float32(FLOOR) * mean)
        np.copyto(weights, np.copysign(np.maximum(magnitude - threshold, 0), weights))


def orthogonalise(matrix: F32) -> F32:
    """About the nearest matrix with orthonormal rows or columns, by Newton-Schulz steps.

    Muon (Jordan et al., 2024). float32 [any, any]. Singular values above 1/500 of the Frobenius
    norm come out between 0.68 and 1.21; smaller ones grow up to 485-fold.
    """
    a, b, c = (np.float32(factor) for factor in NEWTON_SCHULZ)
    x: NDArray[Any] = matrix.T if matrix.shape[1] > matrix.shape[0] else matrix
    norm = float(np.linalg.norm(x.astype(np.float64)))
    x = x * np.float32(1 / max(norm, 1e-7))
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x.T @ x
        x = a * x + x @ (b * gram + c * (gram @ gram))
    return x.T if matrix.shape[1] > matrix.shape[0] else x


def adam_step(
    state: OptimiserState,
    place: slice,
    gradient: F32,
    scale: F32 | np.float32,
    learning_rate: float,
) -> None:
    """Adam (Kingma & Ba, arXiv 1412.6980, algorithm 1) on params[place], in place.

    The learning rate is in units of scale.
    """
    mean, variance = state.mean[place], state.variance[place]
    update = adam_update(mean, variance, gradient, state.steps_done + 1)
    state.params[place] -= np.float32(learning_rate) * scale * update


def adam_update(mean: F32, variance: F32, gradient: F32, steps: int) -> F32:
    """What Adam subtracts at a learning rate of 1; changes the moments in place.

    steps: how many there were, this one counted.
    """
    mean += (gradient - mean) * np.float32(1 - BETA1)
    variance *= np.float32(BETA2)
    variance += gradient * gradient * np.float32(1 - BETA2)
    correction = np.float32((1 - BETA2**steps) ** -0.5)
    bias = np.float32(1 / (1 - BETA1**steps))
    update: F32 = bias * mean / (np.sqrt(variance) * correction + np.float32(EPSILON))
    return update
