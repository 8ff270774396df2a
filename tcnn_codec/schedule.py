"""Training: the loop over steps, learning rates, and which pixels each step sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from tcnn_codec.backends.base import U8, U32, Backend, Batches
from tcnn_codec.errors import CodecError
from tcnn_codec.optimiser import OptimiserState
from tcnn_codec.siren import F32, Grid, SirenSpec

#: Called with (steps done, PSNR in dB over the last REPORTED_STEPS batches at most).
Progress = Callable[[int, float], None]

REPORTED_STEPS = 20
# For a given number of pixels visited, small batches and many steps fit best, until what a step
# costs beside its pixels shows (docs/results.md).
BATCH = 8192
# Steps of one call into the backend, between two reports; fewer where steps are long, since
# nothing interrupts a call. In multiplications, a second or less with AVX2.
MOST_STEPS_PER_CALL = 200
MULTIPLICATIONS_PER_CALL = 4e10
WARM_UP_SHARE, MOST_WARM_UP = 0.1, 100


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


def learning_rates(steps: int, peak: float) -> F32:
    """Linear warm-up, then cosine decay to zero after the last step, float32 [steps]."""
    warm_up = min(MOST_WARM_UP, max(1, round(WARM_UP_SHARE * steps)))
    step = np.arange(steps)
    decay = 0.5 + 0.5 * np.cos(np.pi * (step - warm_up) / max(1, steps - warm_up))
    rates: F32 = (peak * np.where(step < warm_up, (step + 1) / warm_up, decay)).astype(np.float32)
    return rates


def batch_size(pixels: int) -> int:
    """Pixels of one batch."""
    return min(pixels, BATCH)


def steps_per_call(spec: SirenSpec, pixels: int) -> int:
    """How many steps to hand to the backend at once; changes no result."""
    newton_schulz = sum(rows * columns * min(rows, columns) for rows, columns in spec.layer_shapes)
    multiplications = 3 * spec.parameter_count * batch_size(pixels) + 15 * newton_schulz
    return max(1, min(MOST_STEPS_PER_CALL, int(MULTIPLICATIONS_PER_CALL / multiplications)))


def shuffle(pixels: int, seed: int) -> U32:
    """The indices of all pixels in random order, uint32 [pixels]."""
    rng = np.random.Generator(np.random.PCG64([seed, 3]))
    return rng.permutation(np.arange(pixels, dtype=np.uint32))


def draw_batches(
    rng: np.random.Generator, order: U32, steps: int, per_call: int, part: int
) -> Iterator[Batches]:
    """Random pixel batches, per_call steps at a time, anew after each part; every pixel about once
    per epoch.

    One shuffle, `order`, serves all epochs: each reads it from its own start with its own stride.
    """
    pixels = len(order)
    count = batch_size(pixels)
    per_epoch = pixels // count
    starts: list[tuple[int, int]] = []
    for step in range(steps):
        if step % per_epoch == 0:
            start, stride = int(rng.integers(pixels)), _coprime(rng, pixels)
        starts.append((start, stride))
        start = (start + stride * count) % pixels
        if len(starts) == per_call or (step + 1) % part == 0 or step == steps - 1:
            yield Batches(order, tuple(starts), count)
            starts = []


def _coprime(rng: np.random.Generator, size: int) -> int:
    while True:
        stride = int(rng.integers(1, size + 1))
        if math.gcd(stride, size) == 1:
            return stride


def psnr_of_loss(loss: float) -> float:
    """PSNR in dB of a mean squared error over values in [-1, 1]."""
    return math.inf if loss <= 0 else -10 * math.log10(loss / 4)
