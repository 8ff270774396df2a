"""Learns the codes of a chunk's frames: Adam, rounding noise, and a price on their rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tcnn_codec.dtypes import F32
from tcnn_codec.training.optimiser import OptimiserState, adam_update

#: One update for so many steps of the network; more of them gain nothing.
EVERY = 2
#: Added to a column's mean change, so that the price of the first is finite.
LEAST_SCALE = 0.25


@dataclass(frozen=True)
class CodeLearning:
    """How codes are learned.

    steps: of the whole fit. noisy, rounded: the step from which on the network sees codes with
    noise of ±1/2, as rounding makes it (Ballé et al., arXiv 1611.01704), and the one from which on
    it sees them rounded, with gradients as if they were not (the straight-through estimator).
    learning_rate: of codes, in units of the network's. price: what a bit costs, in units of the
    loss. most: the magnitude of a code. seed: of the noise.
    """

    steps: int
    noisy: int
    rounded: int
    learning_rate: float
    price: float
    most: int
    seed: int


class CodeLearner:
    """Changes the codes of a state in place. shape: [frames, codes], the state's last parameters.

    A code costs what a Laplace distribution around that of the frame before says, with a scale of
    its own for every column.
    """

    def __init__(
        self, learning: CodeLearning, state: OptimiserState, shape: tuple[int, int]
    ) -> None:
        self._learning, self._state = learning, state
        first = state.params.size - shape[0] * shape[1]
        self._codes, self._mean, self._variance = (
            array[first:].reshape(shape) for array in (state.params, state.mean, state.variance)
        )
        self._updates = 0
        self._rng = np.random.Generator(np.random.PCG64([learning.seed, 4]))

    def shown(self) -> F32:
        """What the network sees in the next EVERY steps, float32 [frames, codes]."""
        step = self._state.steps_done
        if step >= self._learning.rounded:
            return np.rint(self._codes)
        if step < self._learning.noisy:
            return self._codes
        return self._codes + (self._rng.random(self._codes.shape, np.float32) - np.float32(0.5))

    def update(self, gradient: F32, learning_rate: float) -> None:
        """gradient: of the loss by what was shown. learning_rate: of the network's last step."""
        gradient = gradient + np.float32(self._learning.price) * rate_gradient(self._codes)
        rate = np.float32(learning_rate * self._learning.learning_rate)
        self._updates += 1
        self._codes -= rate * adam_update(self._mean, self._variance, gradient, self._updates)
        most = self._learning.most
        np.clip(self._codes, -most, most, out=self._codes)


def rate_gradient(codes: F32) -> F32:
    """Bits by codes, float32 [frames, codes]: of |change| / (scale ln 2) + log2(scale)."""
    change = np.diff(codes, axis=0, prepend=np.float32(0))
    scale = np.abs(change).mean(axis=0) + np.float32(LEAST_SCALE)
    gradient: F32 = np.sign(change) / (scale * np.float32(np.log(2)))
    gradient[:-1] -= gradient[1:]
    return gradient
