"""docs/format.md, section 8, written from the page alone: what every kernel must show.

Sums are exact: values are numpy's int64, which the bounds of section 8.4 never fill.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

I64 = NDArray[np.int64]


def i16(a: ArrayLike) -> I64:
    return (np.asarray(a, np.int64) + 2**15) % 2**16 - 2**15


def mul(a: ArrayLike, b: ArrayLike) -> I64:
    return (np.multiply(a, b, dtype=np.int64) + 2**14) >> 15


def sine(phase: ArrayLike) -> I64:
    c = i16((np.asarray(phase, np.int64) >> 16) - 2**14)
    r = 32767 - 2 * np.where(c >= 0, c, -1 - c)
    s = mul(r, r)
    p: ArrayLike = -70
    p = mul(p, s) + 1300
    p = mul(p, s) - 10582
    p = mul(p, s) + 25736
    return mul(r, p)


def frequencies(count: int, scale: int) -> list[int]:
    """f_0 to f_(count - 1)."""
    found = [2**30]
    while len(found) <= count:
        found.append((found[-1] * scale + 500) // 1000)
    assert all(f < 2**46 for f in found[:count])
    return found[:count]


def encode(count: int, scale: int, size: int) -> I64:
    """[size, 1 + 2 count]"""
    rows = []
    for i in range(size):
        m = 2 * i + 1 - size
        g = [2 * f * m // size % 2**32 for f in frequencies(count, scale)]
        coordinate = (2**15 * m + size) // (2 * size)
        sines = [sine(a) for a in g]
        cosines = [sine((a + 2**30) % 2**32) for a in g]
        rows.append([coordinate, *sines, *cosines])
    return np.array(rows, np.int64).reshape(size, 1 + 2 * count)


def evaluate(
    layers: Sequence[tuple[I64, I64]],
    multipliers: Sequence[tuple[int, int]],
    axes: Sequence[I64],
) -> NDArray[np.uint8]:
    """layers: (A, b) of each; multipliers: (M, N) of each; axes: encodings of x, y and maybe t.

    uint8 [frames, height, width, channels].
    """
    x, y, t = (*axes, np.zeros((1, 0), np.int64))[:3]
    shape = (len(t), len(y), len(x))
    grids = np.indices(shape).reshape(3, -1)
    z = np.concatenate([x[grids[2]], y[grids[1]], t[grids[0]]], axis=1)
    for (weight, bias), (m, n) in zip(layers[:-1], multipliers[:-1], strict=True):
        sums = z @ weight.T
        assert np.abs(sums).max() * m < 2**62
        z = sine((m * sums + 2**14 * n * bias) % 2**32)
    (weight, bias), (m, n) = layers[-1], multipliers[-1]
    v = m * (z @ weight.T) + 2**14 * n * bias + 2**33
    samples = np.clip(v >> 26, 0, 255)
    return samples.astype(np.uint8).reshape(*shape, len(weight))
