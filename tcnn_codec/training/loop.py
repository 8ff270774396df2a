"""The training loop: steps over random batches, reported on and checked."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tcnn_codec.backends.base import U8, U32, Backend
from tcnn_codec.errors import CodecError
from tcnn_codec.siren import F32, Grid, SirenSpec
from tcnn_codec.training.batches import draw_batches, steps_per_call
from tcnn_codec.training.optimiser import OptimiserState

#: Called with (steps done, PSNR in dB over the last REPORTED_STEPS batches at most).
Progress = Callable[[int, float], None]

REPORTED_STEPS = 20


def train(
    backend: Backend,
    spec: SirenSpec,
    state: OptimiserState,
    grid: Grid,
    target: U8,
    order: U32,
    rates: F32,
    rng: np.random.Generator,
    scales: F32 | None = None,
    *,
    part: int | None = None,
    before_part: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> None:
    """One Backend.fit_steps step for each of rates over random batches; changes state in place.

    order: `shuffle` of the grid's pixels. rates, scales: float32 [steps], [parameter_count], as
    Backend.fit_steps takes them. before_part: called with the steps done before each `part` of
    them; may change state.params and scales. Raises CodecError when the loss or a parameter stops
    being finite.
    """
    done, part = 0, part or len(rates)
    per_call = steps_per_call(spec, grid.pixels)
    for batches in draw_batches(rng, order, len(rates), per_call, part):
        if before_part is not None and done % part == 0:
            before_part(done)
        last = done + len(batches.starts)
        losses = backend.fit_steps(spec, state, grid, target, batches, rates[done:last], scales)
        done = last
        loss = float(losses.mean())
        if not math.isfinite(loss):
            raise _diverged(done, f"the loss is {loss}")
        if progress is not None:
            progress(done, psnr_of_loss(float(losses[-REPORTED_STEPS:].mean())))
    # The loss of a step is the one before it.
    if not np.isfinite(state.params).all():
        raise _diverged(done, "a parameter is not finite")


def _diverged(done: int, what: str) -> CodecError:
    return CodecError(
        f"fitting diverged at step {done}: {what}; "
        "it must stay finite; choose another --seed or a smaller --width"
    )


def psnr_of_loss(loss: float) -> float:
    """PSNR in dB of a mean squared error over values in [-1, 1]."""
    return math.inf if loss <= 0 else -10 * math.log10(loss / 4)
