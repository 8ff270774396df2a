"""Fits a SIREN to one chunk: Muon over random pixel batches, warm-up and cosine decay."""

from __future__ import annotations

import math

import numpy as np

from tcnn_codec.backends.base import U8, U32, Backend
from tcnn_codec.siren import F32, Grid, SirenSpec, initialise
from tcnn_codec.training.learning_rates import learning_rates
from tcnn_codec.training.loop import Progress, train
from tcnn_codec.training.optimiser import OptimiserState

# The best peak falls with the steps about as steps^-0.15, measured from 500 to 40,000.
LEARNING_RATE, AT_STEPS, FALL = 3.2e-3, 4000, 0.15
# The rate term against the squared error, chosen by decoded PSNR at equal rate.
RATE_WEIGHT = 0.025


def fit(
    backend: Backend,
    spec: SirenSpec,
    grid: Grid,
    target: U8,
    order: U32,
    *,
    steps: int,
    seed: int,
    progress: Progress | None = None,
) -> F32:
    """Parameters, float32 [parameter_count], that minimise the squared error and a little the rate.

    target: uint8 [pixels, out_channels] in Grid order. order: `shuffle` of them. The same
    arguments, backend and instruction set give the same parameters, whatever the threads. Raises
    CodecError when the loss stops being finite.
    """
    rng = np.random.Generator(np.random.PCG64([seed, 1]))
    state = OptimiserState.start(initialise(spec, seed), rate_weight(spec))
    rates = learning_rates(steps, peak_learning_rate(spec, steps))
    train(backend, spec, state, grid, target, order, rates, rng, progress=progress)
    return state.params


def peak_learning_rate(spec: SirenSpec, steps: int) -> float:
    """The schedule's peak: LEARNING_RATE for the paper's network of width 32 and AT_STEPS steps.

    Muon's updates have spectral norm 1, so the phases of a layer move with the norm of its input,
    sqrt(width); wide networks and those of more than six hidden layers collapse unless it is less,
    and narrow ones unless it is no more.
    """
    length: float = (AT_STEPS / steps) ** FALL
    depth = min(1.0, 6 / max(1, spec.hidden_layers))
    return LEARNING_RATE * length * depth * _by_width(spec)


def rate_weight(spec: SirenSpec) -> float:
    """OptimiserState.rate_weight; the weights of wide networks are smaller."""
    return RATE_WEIGHT * _by_width(spec)


def _by_width(spec: SirenSpec) -> float:
    return min(1.0, math.sqrt(32 / spec.width))
