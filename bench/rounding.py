"""What the encoder does not use, for bench/ablation.py to hold against what it does.

Two ways to round and the paper's penalty on weights, all learning from the picture's own loss over
random pixel batches. Parameters and steps are float32 [parameter_count], one step per parameter;
levels are int32 likewise: weight = level * step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.backends.base import F64, U8, U32, Backend, Target, fit_steps
from tcnn_codec.backends.cpu import CpuBackend
from tcnn_codec.bitstream.limits import MAX_LEVEL
from tcnn_codec.siren import F32, Grid, SirenSpec
from tcnn_codec.training.batches import draw_batches, steps_per_call
from tcnn_codec.training.optimiser import OptimiserState, optimise_scaled

I32 = NDArray[np.int32]

#: h is a sigmoid stretched to (GAMMA, ZETA) and cut to [0, 1], so that it gets to both ends.
ZETA, GAMMA = np.float32(1.1), np.float32(-0.1)
FIRST_BETA, LAST_BETA = 20.0, 2.0
#: Share of the steps before the regulariser sets in.
FREE_SHARE = 0.2
#: Adam's rate on V, and the weight of the regulariser in units of what rounding a parameter at once
#: adds to the loss, on average: enough to decide all, whatever the network and its steps.
ADAROUND_RATE, REGULARISER = 0.3, 40.0
#: How far straight-through training may carry a weight, in steps: from the exact weights, and from
#: rounded ones, of which none changes in less than half a step.
TRAVEL, TRAVEL_ROUNDED = 0.2, 1.0


@dataclass(frozen=True, eq=False)
class Picture:
    """A network's shape and what it is to show; the arguments of `fit`, under one name."""

    backend: Backend
    spec: SirenSpec
    grid: Grid
    target: U8
    order: U32
    seed: int

    def batches(self, steps: int) -> Iterator[U32]:
        """Random pixel indices for every step, as rounding in parts draws them."""
        rng = np.random.Generator(np.random.PCG64([self.seed, 2]))
        per_call = steps_per_call(self.spec, self.grid.pixels)
        for batches in draw_batches(rng, self.order, steps, per_call, steps):
            yield from map(batches.indices, range(len(batches.starts)))

    def loss(self, params: F32) -> float:
        """Over all pixels."""
        return self.backend.loss_and_grad(self.spec, params, self.grid, self.target)[0]

    def gradient(self, params: F32, indices: U32) -> F32:
        return self.backend.loss_and_grad(self.spec, params, self.grid, self.target, indices)[1]


def adaround(picture: Picture, params: F32, step: F32, steps: int) -> I32:
    """Levels, each the floor of params / step or the next: AdaRound. Raises as up_or_down does."""
    floor, h = up_or_down(picture, params, step, steps)
    levels: I32 = floor + np.rint(h).astype(np.int32)
    return levels


def up_or_down(picture: Picture, params: F32, step: F32, steps: int) -> tuple[I32, F32]:
    """The floor of params / step, and h in [0, 1]: how far above it each level is to be.

    Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization (arXiv 2004.10568),
    equations 22 to 24: weight = step * (floor + h(V)), and V is learnt while a regulariser,
    1 - |2h - 1|^beta, drives every h to 0 or 1, the nearer ones first. The picture's own loss
    stands in for a layer's. Raises ValueError for |params| > MAX_LEVEL * step.
    """
    exact = params / step
    if np.abs(exact).max() > MAX_LEVEL:
        raise ValueError(f"a level would be above {MAX_LEVEL}")
    floor = np.minimum(np.floor(exact), np.float32(MAX_LEVEL - 1))
    stretched = (exact - floor - GAMMA) / (ZETA - GAMMA)
    state = OptimiserState.start(np.log(stretched / (1 - stretched)))
    cost = picture.loss(_nearest(params, step) * step) - picture.loss(params)
    regulariser = np.float32(REGULARISER * max(0.0, cost) / params.size)
    free, scales = int(FREE_SHARE * steps), np.ones_like(params)
    for done, indices in enumerate(picture.batches(steps)):
        h, slope = rectified_sigmoid(state.params)
        gradient = picture.gradient(step * (floor + h), indices) * step
        if done >= free:
            beta = FIRST_BETA + (LAST_BETA - FIRST_BETA) * (done - free) / (steps - free)
            gradient -= regulariser * decisiveness_slope(h, beta)
        optimise_scaled(state, gradient * slope, ADAROUND_RATE, scales)
    return floor.astype(np.int32), rectified_sigmoid(state.params)[0]


def rectified_sigmoid(v: F32) -> tuple[F32, F32]:
    """h(V) in [0, 1] and its derivative."""
    sigmoid: F32 = np.reciprocal(1 + np.exp(-v))
    stretched: F32 = sigmoid * (ZETA - GAMMA) + GAMMA
    slope: F32 = (ZETA - GAMMA) * sigmoid * (1 - sigmoid)
    slope[(stretched <= 0) | (stretched >= 1)] = 0
    return stretched.clip(0, 1), slope


def decisiveness_slope(h: F32, beta: float) -> F32:
    """Derivative of |2h - 1|^beta."""
    side = 2 * h - 1
    power: F32 = np.abs(side) ** np.float32(beta - 1)
    return np.float32(2 * beta) * np.sign(side) * power


def straight_through(
    picture: Picture, params: F32, step: F32, steps: int, travel: float = TRAVEL
) -> I32:
    """Levels after training with the straight-through estimator.

    Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons (arXiv 1308.3432):
    the gradient is taken at the rounded weights and moves the exact ones, as if rounding were not
    there. Adam, its rate falling linearly to zero and summing up to travel.
    """
    state = OptimiserState.start(params)
    for done, indices in enumerate(picture.batches(steps)):
        rate = 2 * travel / steps * (1 - done / steps)
        gradient = picture.gradient(_nearest(state.params, step) * step, indices)
        optimise_scaled(state, gradient, rate, step)
    return _nearest(state.params, step).astype(np.int32)


def _nearest(params: F32, step: F32) -> F32:
    levels: F32 = np.rint(params / step).clip(-MAX_LEVEL, MAX_LEVEL)
    return levels


class PenalisedBackend(CpuBackend):
    """Minimises the mean squared error + l1 * sum|p| over all parameters, without the rate term.

    Strümpler et al. (arXiv 2112.04267), section 3.2, take l1 = 1e-5.
    """

    def __init__(self, l1: float, threads: int, precision: str) -> None:
        super().__init__(threads, precision=precision)
        self._l1 = np.float32(l1)

    def loss_and_grad(
        self, spec: SirenSpec, params: F32, grid: Grid, target: Target, indices: U32 | None = None
    ) -> tuple[float, F32]:
        """The loss itself, and the gradient of it and the penalty."""
        loss, gradient = super().loss_and_grad(spec, params, grid, target, indices)
        gradient += self._l1 * np.sign(params)
        return loss, gradient

    def fit_steps(
        self, spec: SirenSpec, state: OptimiserState, *arguments: Any, scales: F32 | None = None
    ) -> F64:
        if scales is not None or (len(arguments) > 4 and arguments[4] is not None):
            raise ValueError("penalised training has no scales")
        state.rate_weight = 0.0
        return fit_steps(self, spec, state, *arguments)
