"""Probability tables of quantised values, in integer arithmetic: the same on every machine.

docs/format.md, section 6, is the normative description.
"""

from __future__ import annotations

from math import isqrt

import constriction  # type: ignore[import-untyped]
import numpy as np

from tcnn_codec.dtypes import I64

#: Probabilities are multiples of 2**-24, constriction's fixed point.
PRECISION = 24
#: Static model 0 is uniform; 1 + SCALES * shape + scale is exp2(-(|value| / s)**power), with
#: power SHAPES[shape] and s = 2**(scale / 3 - 3).
SHAPES = (0.5, 1.0, 1.5, 2.0)
LAPLACE = 1
SCALES = 42
STATIC_MODELS = 1 + len(SHAPES) * SCALES

_Q = 12  # fraction bits of exponents
_ONE = 1 << 30  # the weight of magnitude 0
_LARGEST_EXPONENT = 4096 << _Q  # exp2 of less is 0 long before; keeps products in 64 bits
_THIRDS = np.array([65536, 82570, 104032], np.int64)  # 2**(k/3) in 16 fraction bits


def _halvings() -> tuple[int, ...]:
    """2**-(2**(bit - 12)) for bit 11 down to 0, in 30 fraction bits: repeated square roots."""
    roots = [isqrt(_ONE * (_ONE >> 1))]
    while len(roots) < _Q:
        roots.append(isqrt(roots[-1] * _ONE))
    return tuple(roots)


_HALVINGS = _halvings()


def _families() -> tuple[I64, ...]:
    """All static models, grouped by what `weights` can compute together."""
    return (np.array([0]), *np.arange(1, STATIC_MODELS).reshape(len(SHAPES), SCALES))


def static_weights(largest: int) -> I64:
    """`weights` of every static model, int64 [STATIC_MODELS, largest + 1]."""
    return np.concatenate([weights(models, largest) for models in _families()])


def laplace(scales: I64) -> I64:
    """The static models of power 1 at these scales, 0 to SCALES - 1."""
    return 1 + SCALES * LAPLACE + scales


def weights(models: I64, largest: int) -> I64:
    """Unnormalised probabilities of the magnitudes 0 … largest, int64 [models, largest + 1].

    models: int64 [n], all uniform or all of one shape. No weight is above 2**30, that of 0.
    """
    if models[0] == 0:
        return np.full((1, largest + 1), _ONE, np.int64)
    shape, scales = int(models[0] - 1) // SCALES, (models - 1) % SCALES
    magnitudes = (
        np.arange(largest + 1, dtype=np.int64)[None, :] << (_Q + 16 + 3 - scales // 3)[:, None]
    )
    ratio = np.minimum(magnitudes // _THIRDS[scales % 3][:, None], _LARGEST_EXPONENT)
    exponent = _power(ratio, SHAPES[shape])
    found: I64 = np.full(exponent.shape, _ONE, np.int64)
    for bit, halving in zip(reversed(range(_Q)), _HALVINGS, strict=True):
        factor = np.where(exponent >> bit & 1, halving, _ONE)
        found = found * factor >> 30
    found >>= np.minimum(exponent >> _Q, 31)
    return found


def _power(ratio: I64, power: float) -> I64:
    """ratio**power, both in _Q fraction bits; 0 ≤ ratio ≤ _LARGEST_EXPONENT = 2**24."""
    if power == 1.0:
        return ratio
    if power == 2.0:
        return ratio * ratio >> _Q
    root = _isqrt(ratio << _Q)
    return root if power == 0.5 else ratio * root >> _Q


def _isqrt(n: I64) -> I64:
    """Floor of the square root of 0 ≤ n < 2**52; exact whatever the float unit rounds."""
    root = np.sqrt(n.astype(np.float64)).astype(np.int64)
    root -= root * root > n
    root += (root + 1) * (root + 1) <= n
    return root


def signed_counts(weights: I64) -> I64:
    """Probabilities of the magnitudes in units of 2**-24, each ≥ 1, as `weights` in shape.

    Those of 0 and twice those of the others sum to exactly 2**24; 0 takes what rounding leaves.
    """
    symbols = 2 * weights.shape[1] - 1
    total = 2 * weights.sum(axis=1, keepdims=True) - weights[:, :1]
    counts: I64 = 1 + weights * ((1 << PRECISION) - symbols) // total
    counts[:, 0] += (1 << PRECISION) - (2 * counts.sum(axis=1) - counts[:, 0])
    return counts


def unsigned_counts(weights: I64) -> I64:
    """The same for values that are never negative: all sum to 2**24."""
    total = weights.sum(axis=1, keepdims=True)
    counts: I64 = 1 + weights * ((1 << PRECISION) - weights.shape[1]) // total
    counts[:, 0] += (1 << PRECISION) - counts.sum(axis=1)
    return counts


def signed_table(counts: I64) -> constriction.stream.model.Categorical:
    """The model of symbols 0 … 2 * largest, value + largest. counts: int64 [largest + 1]."""
    return unsigned_table(np.concatenate([counts[:0:-1], counts]))


def unsigned_table(counts: I64) -> constriction.stream.model.Categorical:
    """The model of symbols 0 … with exactly these counts, int64 [symbols], whose sum is 2**24.

    constriction gives each of n symbols one unit and shares out the other 2**24 - n by scaling
    float64 cumulative sums with (2**24 - n) / (sum of probabilities). We hand it counts - 1,
    whose sum is that very number: the factor is exactly 1, the sums are integers below 2**24,
    and its fixed-point table is ours.
    """
    shares = (counts - 1).astype(np.float64)
    return constriction.stream.model.Categorical(shares, lazy=False, perfect=False)
