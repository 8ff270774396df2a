"""What the encoder does not use, for bench/ablation.py to hold against what it does.

Two ways to round and the paper's penalty on weights, all learning from the picture's own loss over
random pixel batches. Parameters and steps are float32 [parameter_count], one step per parameter;
levels are int32 likewise: weight = level * step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.bitstream.limits import MAX_LEVEL
from tcnn_codec.dtypes import F32, U32
from tcnn_codec.families.siren.backends.base import Backend, PlainTrainer, order_of
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.training.batches import draw_batches
from tcnn_codec.training.codes import CodeLearning
from tcnn_codec.training.job import Job
from tcnn_codec.training.optimiser import OptimiserState, optimise

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


def batches_of(job: Job[SirenSpec], steps: int) -> Iterator[U32]:
    """Random pixel indices for every step, as rounding in parts draws them."""
    rng, order = np.random.Generator(np.random.PCG64([job.seed, 2])), order_of(job)
    for batches in draw_batches(rng, job.grid.pixels, steps, per_call=steps, part=steps):
        for step in range(len(batches.starts)):
            yield batches.indices(order, step)


def adaround(backend: Backend, job: Job[SirenSpec], params: F32, step: F32, steps: int) -> I32:
    """Levels, each the floor of params / step or the next: AdaRound. Raises as up_or_down does."""
    floor, h = up_or_down(backend, job, params, step, steps)
    levels: I32 = floor + np.rint(h).astype(np.int32)
    return levels


def up_or_down(
    backend: Backend, job: Job[SirenSpec], params: F32, step: F32, steps: int
) -> tuple[I32, F32]:
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
    start = np.log(stretched / (1 - stretched))
    state = OptimiserState.start(start, scales=np.ones_like(params))
    rounded, exactly = (
        backend.loss_and_grad(job, values)[0] for values in (_nearest(params, step) * step, params)
    )
    regulariser = np.float32(REGULARISER * max(0.0, rounded - exactly) / params.size)
    free = int(FREE_SHARE * steps)
    for done, indices in enumerate(batches_of(job, steps)):
        h, slope = rectified_sigmoid(state.params)
        gradient = backend.loss_and_grad(job, step * (floor + h), indices)[1] * step
        if done >= free:
            beta = FIRST_BETA + (LAST_BETA - FIRST_BETA) * (done - free) / (steps - free)
            gradient -= regulariser * decisiveness_slope(h, beta)
        optimise(job.spec.tensors, state, gradient * slope, ADAROUND_RATE)
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
    backend: Backend,
    job: Job[SirenSpec],
    params: F32,
    step: F32,
    steps: int,
    travel: float = TRAVEL,
) -> I32:
    """Levels after training with the straight-through estimator.

    Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons (arXiv 1308.3432):
    the gradient is taken at the rounded weights and moves the exact ones, as if rounding were not
    there. Adam, its rate falling linearly to zero and summing up to travel.
    """
    state = OptimiserState.start(params, scales=step)
    for done, indices in enumerate(batches_of(job, steps)):
        rate = 2 * travel / steps * (1 - done / steps)
        rounded = _nearest(state.params, step) * step
        _, gradient = backend.loss_and_grad(job, rounded, indices)
        optimise(job.spec.tensors, state, gradient, rate)
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
        self, job: Job[SirenSpec], params: F32, indices: U32 | None = None
    ) -> tuple[float, F32]:
        """The loss itself, and the gradient of it and the penalty."""
        loss, gradient = super().loss_and_grad(job, params, indices)
        gradient += self._l1 * np.sign(params)
        return loss, gradient

    def trainer(  # type: ignore[override]  # the native one knows of no penalty
        self, job: Job[SirenSpec], state: OptimiserState, learning: CodeLearning | None = None
    ) -> PlainTrainer:
        if state.scales is not None:
            raise ValueError("penalised training has no scales")
        gradient = partial(self.loss_and_grad, job)
        return PlainTrainer(gradient, job, replace(state, rate_weight=0.0), learning)
