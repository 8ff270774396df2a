"""The training loop: steps over random batches, reported on and checked."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tcnn_codec.dtypes import F32
from tcnn_codec.errors import CodecError
from tcnn_codec.layout import S
from tcnn_codec.training.batches import draw_batches, steps_per_call
from tcnn_codec.training.job import Job, Trainer
from tcnn_codec.training.optimiser import OptimiserState

#: Called with (steps done, PSNR in dB over the last REPORTED_STEPS batches at most).
StepReport = Callable[[int, float], None]

REPORTED_STEPS = 20


def train(
    trainer: Trainer,
    job: Job[S],
    rates: F32,
    rng: np.random.Generator,
    *,
    part: int | None = None,
    before_part: Callable[[int, OptimiserState], None] | None = None,
    report: StepReport | None = None,
) -> F32:
    """The parameters after one step for each of rates, float32 [steps], over random batches.

    trainer: of the job. before_part: called with the steps done and the state before each `part`
    of them; may change the state's params and scales. Raises CodecError when the loss or a
    parameter stops being finite.
    """
    done, part = 0, part or len(rates)
    tensors, pixels = job.spec.tensors, job.grid.pixels
    per_call = steps_per_call(tensors, pixels)
    for batches in draw_batches(rng, pixels, len(rates), per_call, part):
        if before_part is not None and done % part == 0:
            state = trainer.state()
            before_part(done, state)
            trainer.load(state)
        after = done + len(batches.starts)
        losses = trainer.steps(batches, rates[done:after])
        done = after
        loss = float(losses.mean())
        if not math.isfinite(loss):
            raise _diverged(done, f"the loss is {loss}")
        if report is not None:
            report(done, psnr_of_loss(float(losses[-REPORTED_STEPS:].mean())))
    params = trainer.state().params
    # The loss of a step is the one before it.
    if not np.isfinite(params).all():
        raise _diverged(done, "a parameter is not finite")
    return params


def _diverged(done: int, what: str) -> CodecError:
    return CodecError(
        f"fitting diverged at step {done}: {what}",
        "it must stay finite",
        "choose another `seed` or a smaller network",
    )


def psnr_of_loss(loss: float) -> float:
    """PSNR in dB of a mean squared error over values in [-1, 1]."""
    return math.inf if loss <= 0 else -10 * math.log10(loss / 4)
