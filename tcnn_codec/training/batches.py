"""Which pixels each step of training sees."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tcnn_codec.dtypes import U32
from tcnn_codec.layout import Tensor

# For a given number of pixels visited, small batches and many steps fit best, until what a step
# costs beside its pixels shows (docs/log.md).
BATCH = 8192
# Steps of one call into the backend, between two reports; fewer where steps are long, since
# nothing interrupts a call. In multiplications, a second or less with AVX2.
MOST_STEPS_PER_CALL = 200
MULTIPLICATIONS_PER_CALL = 4e10


@dataclass(frozen=True)
class Batches:
    """Which pixels each step sees: step s takes order[(start + stride*i) % len(order)], i < count.

    order: uint32 pixel indices, those of the job. starts: one (start, stride) per step. A stride
    coprime to len(order), with starts advancing by count*stride, visits every entry once per epoch.
    """

    starts: Sequence[tuple[int, int]]
    count: int

    def indices(self, order: U32, step: int) -> U32:
        start, stride = self.starts[step]
        return order[(start + stride * np.arange(self.count, dtype=np.int64)) % order.size]


def batch_size(pixels: int) -> int:
    """Pixels of one batch."""
    return min(pixels, BATCH)


def steps_per_call(tensors: Sequence[Tensor], pixels: int) -> int:
    """How many steps to hand to the backend at once; changes no result."""
    newton_schulz = sum(t.size * min(t.shape) for t in tensors if len(t.shape) == 2)
    parameters = sum(tensor.size for tensor in tensors)
    multiplications = 3 * parameters * batch_size(pixels) + 15 * newton_schulz
    return max(1, min(MOST_STEPS_PER_CALL, int(MULTIPLICATIONS_PER_CALL / multiplications)))


def shuffle(pixels: int, seed: int) -> U32:
    """The indices of all pixels in random order, uint32 [pixels]."""
    rng = np.random.Generator(np.random.PCG64([seed, 3]))
    return rng.permutation(np.arange(pixels, dtype=np.uint32))


def draw_batches(
    rng: np.random.Generator, pixels: int, steps: int, per_call: int, part: int
) -> Iterator[Batches]:
    """Random pixel batches, per_call steps at a time, anew after each part; every pixel about once
    per epoch.

    The job's one shuffle serves all epochs: each reads it from its own start with its own stride.
    """
    count = batch_size(pixels)
    per_epoch = pixels // count
    starts: list[tuple[int, int]] = []
    for step in range(steps):
        if step % per_epoch == 0:
            start, stride = int(rng.integers(pixels)), _coprime(rng, pixels)
        starts.append((start, stride))
        start = (start + stride * count) % pixels
        if len(starts) == per_call or (step + 1) % part == 0 or step == steps - 1:
            yield Batches(tuple(starts), count)
            starts = []


def _coprime(rng: np.random.Generator, size: int) -> int:
    while True:
        stride = int(rng.integers(1, size + 1))
        if math.gcd(stride, size) == 1:
            return stride
