"""Entropy coding: quantised tensors to bytes and back, by range coding with static models.

Only integers decide bits: a tensor's probability table is computed in integer arithmetic from
three integers in the stream (model, largest magnitude, size), so that every machine has the
same table. docs/format.md is the normative description.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import constriction  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from tcnn_codec.errors import BitstreamError
from tcnn_codec.quantise import MAX_LEVEL, MAX_STEP, MIN_STEP, QuantisedTensor
from tcnn_codec.siren import SirenSpec

I64 = NDArray[np.int64]

#: Probabilities are multiples of 2**-24, constriction's fixed point.
PRECISION = 24
#: Model 0 is uniform; model 1 + SCALES * shape + scale is exp2(-(|value| / s)**power), with
#: power SHAPES[shape] and s = 2**(scale / 3 - 3).
SHAPES = (0.5, 1.0, 1.5, 2.0)
SCALES = 42
MODELS = 1 + len(SHAPES) * SCALES

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


@dataclass(frozen=True)
class _Header:
    """What the stream says of one tensor before its symbols."""

    step: np.float32
    model: int
    largest: int


def encode_tensors(tensors: Sequence[QuantisedTensor]) -> bytes:
    """The payload of a chunk: for each tensor the model with the fewest bits; lossless."""
    largest = max(tensor.largest for tensor in tensors)
    weights = np.concatenate([_weights(model, largest) for model in _families()])
    models = [_cheapest_model(tensor, weights) for tensor in tensors]
    return _encode_with(tensors, models)


def decode_tensors(spec: SirenSpec, payload: bytes) -> tuple[QuantisedTensor, ...]:
    """Inverse of `encode_tensors`, for a network of shape `spec`; in the order of its tensors.

    Raises BitstreamError for every payload that no encoder writes: the tensors found are coded
    again and must give the same bytes.
    """
    headers, at = _read_headers(spec, payload)
    padding = bytes(-(len(payload) - at) % 4)
    words = np.frombuffer(payload[at:] + padding, dtype=">u4").astype(np.uint32)
    decoder = constriction.stream.queue.RangeDecoder(words)
    tensors = []
    for place, header in zip(spec.tensors, headers, strict=True):
        if header.largest == 0:
            values = np.zeros(place.size, np.int32)
        else:
            counts = _counts(_weights(np.array([header.model]), header.largest))[0]
            try:
                values = decoder.decode(_categorical(counts), place.size) - header.largest
            except AssertionError as error:  # constriction's report of an impossible code
                raise _malformed(f"the code of {place.name} is impossible") from error
        tensors.append(QuantisedTensor(values.astype(np.int32, copy=False), header.step))
    if _encode_with(tensors, [header.model for header in headers]) != payload:
        raise _malformed("its bytes are not those that its content encodes to")
    return tuple(tensors)


def _encode_with(tensors: Sequence[QuantisedTensor], models: Sequence[int]) -> bytes:
    headers = bytearray()
    encoder = constriction.stream.queue.RangeEncoder()
    for tensor, model in zip(tensors, models, strict=True):
        largest = tensor.largest
        headers += (int(tensor.step.view(np.uint32)) >> 16).to_bytes(2, "little")
        headers.append(model)
        headers += bytes([largest]) if largest < 128 else bytes([largest & 127 | 128, largest >> 7])
        if largest > 0:
            counts = _counts(_weights(np.array([model]), largest))[0]
            encoder.encode(tensor.values + np.int32(largest), _categorical(counts))
    return bytes(headers) + _shortest_code(encoder)


def _read_headers(spec: SirenSpec, payload: bytes) -> tuple[list[_Header], int]:
    headers = []
    at = 0
    for place in spec.tensors:
        entry = payload[at : at + 5]
        if len(entry) < 4 or (entry[3] >= 128 and len(entry) < 5):
            raise _malformed(f"it ends in the header of {place.name}")
        step = np.uint32(int.from_bytes(entry[:2], "little") << 16).view(np.float32)
        model = entry[2]
        two_bytes = entry[3] >= 128
        largest = entry[3] & 127 | (entry[4] << 7 if two_bytes else 0)
        if not MIN_STEP <= step <= MAX_STEP:
            raise _malformed(f"{place.name} has step {step}")
        if model >= MODELS or (largest == 0 and model != 0):
            raise _malformed(f"{place.name} has model {model}")
        if largest > MAX_LEVEL or (two_bytes and largest < 128):
            raise _malformed(f"{place.name} has largest magnitude {largest}")
        headers.append(_Header(step, model, largest))
        at += 5 if two_bytes else 4
    return headers, at


def _families() -> tuple[I64, ...]:
    """All models, grouped by what `_weights` can compute together."""
    return (np.array([0]), *np.arange(1, MODELS).reshape(len(SHAPES), SCALES))


def _weights(models: I64, largest: int) -> I64:
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
    weights: I64 = np.full(exponent.shape, _ONE, np.int64)
    for bit, halving in zip(reversed(range(_Q)), _HALVINGS, strict=True):
        factor = np.where(exponent >> bit & 1, halving, _ONE)
        weights = weights * factor >> 30
    weights >>= np.minimum(exponent >> _Q, 31)
    return weights


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


def _counts(weights: I64) -> I64:
    """Probabilities of the magnitudes in units of 2**-24, each ≥ 1, as `weights` in shape.

    Those of 0 and twice those of the others sum to exactly 2**24; 0 takes what rounding leaves.
    """
    symbols = 2 * weights.shape[1] - 1
    total = 2 * weights.sum(axis=1, keepdims=True) - weights[:, :1]
    counts: I64 = 1 + weights * ((1 << PRECISION) - symbols) // total
    counts[:, 0] += (1 << PRECISION) - (2 * counts.sum(axis=1) - counts[:, 0])
    return counts


def _categorical(counts: I64) -> constriction.stream.model.Categorical:
    """The model of symbols 0 … 2 * largest with exactly these counts.

    constriction gives each of n symbols one unit and shares out the other 2**24 - n by scaling
    float64 cumulative sums with (2**24 - n) / (sum of probabilities). We hand it counts - 1,
    whose sum is that very number: the factor is exactly 1, the sums are integers below 2**24,
    and its fixed-point table is ours.
    """
    shares = (counts - 1).astype(np.float64)
    shares = np.concatenate([shares[:0:-1], shares])
    return constriction.stream.model.Categorical(shares, lazy=False, perfect=False)


def _cheapest_model(tensor: QuantisedTensor, weights: I64) -> int:
    """The model of least code length. weights: int64 [MODELS, ≥ largest + 1], from `_weights`."""
    histogram = np.bincount(np.abs(tensor.values))
    if histogram.size == 1:
        return 0
    seen = np.flatnonzero(histogram)
    counts = _counts(weights[:, : histogram.size])[:, seen]
    return int(np.argmax(np.log2(counts) @ histogram[seen]))


def _shortest_code(encoder: constriction.stream.queue.RangeEncoder) -> bytes:
    """The shortest bytes that, followed by zeros, decode to the coder's symbols; then the least.

    Every number in [low, low + width) decodes to them; constriction's own ending is one such
    number that fills whole words.
    """
    written, (lower, width) = encoder.pos()
    words = encoder.get_compressed()
    digits = 32 * (written + 2)
    sealed = int.from_bytes(words.astype(">u4").tobytes(), "big") << (digits - 32 * words.size)
    low = sealed - (sealed - lower) % 2**64
    zeros = bisect_left(
        range(digits // 8),
        True,
        key=lambda count: _round_up(low, 8 * (count + 1)) >= low + width,
    )
    return (_round_up(low, 8 * zeros) >> 8 * zeros).to_bytes(digits // 8 - zeros, "big")


def _round_up(number: int, bits: int) -> int:
    """Least multiple of 2**bits that is ≥ number."""
    return -(-number >> bits) << bits


def _malformed(what: str) -> BitstreamError:
    return BitstreamError(
        f"malformed chunk payload: {what}; its encoder was faulty, encode the source again"
    )
