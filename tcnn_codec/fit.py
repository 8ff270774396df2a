"""Fits a SIREN to one chunk: Muon over random pixel batches, warm-up and cosine decay."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from tcnn_codec.backends.base import U8, Backend, Batches
from tcnn_codec.errors import CodecError
from tcnn_codec.optimiser import OptimiserState
from tcnn_codec.siren import F32, Grid, SirenSpec, initialise

#: Called with (steps done, PSNR in dB over the last REPORTED_STEPS batches).
Progress = Callable[[int, float], None]

# For a given number of pixels visited, small batches and many steps fit best, until what a step
# costs beside its pixels shows (docs/results.md).
BATCH = 8192
# Steps of one call into the backend, between two reports; fewer where steps are long, since
# nothing interrupts a call. In multiplications, a second or less with AVX2.
MOST_STEPS_PER_CALL = 200
MULTIPLICATIONS_PER_CALL = 4e10
REPORTED_STEPS = 20
# The best peak falls with the steps about as steps^-0.3, measured from 100 to 80,000; the bound
# keeps short fits of wide networks stable.
LEARNING_RATE, AT_STEPS, FALL, MOST_RAISE = 3e-3, 4000, 0.3, 2.0
WARM_UP_SHARE, MOST_WARM_UP = 0.1, 100


def fit(
    backend: Backend,
    spec: SirenSpec,
    grid: Grid,
    target: U8,
    *,
    steps: int,
    seed: int,
    progress: Progress | None = None,
) -> F32:
    """Parameters, float32 [parameter_count], that minimise the mean squared error.

    target: uint8 [pixels, out_channels] in Grid order. The same arguments, backend and
    instruction set give the same parameters, whatever the threads. Raises CodecError when the
    loss stops being finite.
    """
    rng = np.random.Generator(np.random.PCG64([seed, 1]))
    state = OptimiserState.start(initialise(spec, seed))
    rates = learning_rates(steps, peak_learning_rate(spec, steps))
    done = 0
    for batches in draw_batches(rng, grid.pixels, steps, steps_per_call(spec, grid.pixels)):
        last = done + len(batches.starts)
        losses = backend.fit_steps(spec, state, grid, target, batches, rates[done:last])
        done = last
        loss = float(losses.mean())
        if not math.isfinite(loss):
            raise CodecError(
                f"fitting diverged at step {done}: the loss is {loss}; "
                "it must stay finite; choose another --seed or a smaller --width"
            )
        if progress is not None:
            progress(done, psnr_of_loss(float(losses[-REPORTED_STEPS:].mean())))
    return state.params


def peak_learning_rate(spec: SirenSpec, steps: int) -> float:
    """The schedule's peak: LEARNING_RATE for the paper's network of width 32 and AT_STEPS steps.

    Muon's updates have spectral norm 1, so the phases of a layer move with the norm of its input,
    sqrt(width); wide networks and those of more than six hidden layers collapse unless it is less.
    """
    length: float = min(MOST_RAISE, (AT_STEPS / steps) ** FALL)
    depth = min(1.0, 6 / max(1, spec.hidden_layers))
    return LEARNING_RATE * length * depth * math.sqrt(32 / spec.width)


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


def draw_batches(
    rng: np.random.Generator, pixels: int, steps: int, per_call: int
) -> Iterator[Batches]:
    """Random pixel batches, per_call steps at a time; every pixel about once per epoch.

    One shuffle serves all epochs: each reads it from its own start with its own stride.
    """
    order = rng.permutation(np.arange(pixels, dtype=np.uint32))
    count = batch_size(pixels)
    per_epoch = pixels // count
    starts: list[tuple[int, int]] = []
    for step in range(steps):
        if step % per_epoch == 0:
            start, stride = int(rng.integers(pixels)), _coprime(rng, pixels)
        starts.append((start, stride))
        start = (start + stride * count) % pixels
        if len(starts) == per_call or step == steps - 1:
            yield Batches(order, tuple(starts), count)
            starts = []


def psnr_of_loss(loss: float) -> float:
    """PSNR in dB of a mean squared error over values in [-1, 1]."""
    return math.inf if loss <= 0 else -10 * math.log10(loss / 4)


def _coprime(rng: np.random.Generator, size: int) -> int:
    while True:
        stride = int(rng.integers(1, size + 1))
        if math.gcd(stride, size) == 1:
            return stride
