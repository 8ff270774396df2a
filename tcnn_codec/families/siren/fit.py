"""Fits a SIREN to one chunk: Muon over random pixel batches, warm-up and cosine decay."""

from __future__ import annotations

import math

import numpy as np

from tcnn_codec.bitstream.limits import MAX_CODE
from tcnn_codec.dtypes import F32
from tcnn_codec.families.siren.backends.base import Backend
from tcnn_codec.families.siren.backends.inputs import CODE_UNIT
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.training.codes import CodeLearning
from tcnn_codec.training.job import Job
from tcnn_codec.training.learning_rates import learning_rates
from tcnn_codec.training.loop import StepReport, train
from tcnn_codec.training.optimiser import OptimiserState

# The best peak falls with the steps about as steps^-0.15, measured from 500 to 40,000.
LEARNING_RATE, AT_STEPS, FALL = 3.2e-3, 4000, 0.15
# The rate term against the squared error, chosen by decoded PSNR at equal rate.
RATE_WEIGHT = 0.025
# Of codes, as inputs, in units of the network's; lambda of D + lambda R with D the squared error of
# 8-bit samples and R in bits per pixel; and the shares of the steps after which codes are shown
# with noise and rounded.
CODE_LEARNING_RATE, CODE_PRICE = 5.0, 1000.0
CODES_NOISY, CODES_ROUNDED = 0.1, 0.8


def fit(
    backend: Backend,
    job: Job[SirenSpec],
    start: F32,
    steps: int,
    report: StepReport | None = None,
) -> F32:
    """Parameters, float32 [parameter_count], that minimise the squared error and a little the rate.

    Codes are whole numbers.

    start: the parameters to begin with. The same arguments, backend and device give the same
    parameters, whatever the threads. Raises CodecError when the loss or a parameter stops being
    finite.
    """
    rng = np.random.Generator(np.random.PCG64([job.seed, 1]))
    state = OptimiserState.start(start, rate_weight(job.spec))
    trainer = backend.trainer(job, state, code_learning(job, steps))
    rates = learning_rates(steps, peak_learning_rate(job.spec, steps))
    params = train(trainer, job, rates, rng, report=report)
    params[job.spec.layer_parameters :] = np.rint(params[job.spec.layer_parameters :])
    return params


def code_learning(job: Job[SirenSpec], steps: int) -> CodeLearning:
    """How a fit of so many steps learns the codes of its frames, if it has any."""
    return CodeLearning(
        steps=steps,
        noisy=round(CODES_NOISY * steps),
        rounded=round(CODES_ROUNDED * steps),
        learning_rate=CODE_LEARNING_RATE / CODE_UNIT,
        price=CODE_PRICE / (127.5**2 * job.grid.pixels),
        most=MAX_CODE,
        seed=job.seed,
    )


def peak_learning_rate(spec: SirenSpec, steps: int) -> float:
    """The schedule's peak: LEARNING_RATE for the paper's network of width 32 and AT_STEPS steps.

    Muon's updates have spectral norm 1, so the phases of a layer move with the norm of its input,
    sqrt(width); wide networks and those of more than six hidden layers collapse unless it is less,
    and narrow ones unless it is no more.
    """
    length: float = (AT_STEPS / steps) ** FALL
    depth = min(1.0, 6 / max(1, spec.hidden_layers))
    return LEARNING_RATE * length * depth * width_factor(spec)


def rate_weight(spec: SirenSpec) -> float:
    """OptimiserState.rate_weight; the weights of wide networks are smaller."""
    return RATE_WEIGHT * width_factor(spec)


def width_factor(spec: SirenSpec) -> float:
    """What learning rates at width 32 are multiplied with."""
    return min(1.0, math.sqrt(32 / spec.width))
