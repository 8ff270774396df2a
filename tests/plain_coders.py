"""Independent entropy coders after docs/format.md, section 6, one Python integer at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.layout import Tensor

# Range coding (6.1 to 6.3).


def plain_counts(model: int, largest: int, signed: bool = True) -> list[int]:
    """Counts of the symbols -largest … largest, or 0 … largest."""
    halvings = {11: isqrt(1 << 59)}
    for bit in range(10, -1, -1):
        halvings[bit] = isqrt(halvings[bit + 1] << 30)

    def weight(magnitude: int) -> int:
        if model == 0:
            return 1 << 30
        shape, scale = divmod(model - 1, 42)
        ratio = (magnitude << 31 - scale // 3) // (65536, 82570, 104032)[scale % 3]
        ratio = min(ratio, 1 << 24)
        root = isqrt(ratio << 12)
        exponent = (root, ratio, ratio * root >> 12, ratio * ratio >> 12)[shape]
        result = 1 << 30
        for bit in range(11, -1, -1):
            if exponent >> bit & 1:
                result = result * halvings[bit] >> 30
        return result >> min(exponent >> 12, 31)

    weights = [weight(abs(v)) for v in range(-largest if signed else 0, largest + 1)]
    free = 2**24 - len(weights)
    counts = [1 + w * free // sum(weights) for w in weights]
    counts[largest if signed else 0] += 2**24 - sum(counts)
    return counts


class PlainRange:
    """The range decoder: one symbol at a time from a table of counts."""

    def __init__(self, code: bytes) -> None:
        self.code = iter(code)
        self.width = 2**64 - 1
        self.offset = self.word() << 32 | self.word()  # above the interval's low end

    def word(self) -> int:
        return int.from_bytes(bytes(next(self.code, 0) for _ in range(4)), "big")

    def decode(self, counts: list[int]) -> int:
        starts = [0, *accumulate(counts[:-1])]
        unit = self.width >> 24
        symbol = bisect_right(starts, self.offset // unit) - 1
        self.offset -= unit * starts[symbol]
        self.width = unit * counts[symbol]
        if self.width < 2**32:
            self.width <<= 32
            self.offset = self.offset << 32 | self.word()
        return symbol


def plain_values(
    place: Tensor, model: int, bound: int, code: bytes, coder: PlainRange
) -> list[int]:
    rows, columns = place.shape if len(place.shape) == 2 else (1, *place.shape)
    if model == 211:
        return [int(v) for row in plain_decode_binary(code, rows, columns) or [] for v in row]
    if bound == 0:
        return [0] * place.size
    if model < 169:
        counts = plain_counts(model, bound)
        return [coder.decode(counts) - bound for _ in range(place.size)]
    counts = plain_counts(43 + model - 169, bound, signed=False)
    return list(accumulate(coder.decode(counts) for _ in range(place.size)))


def plain_decode(spec: SirenSpec, payload: bytes) -> list[tuple[int, list[int]]]:
    """(upper 16 bits of the step, values) of each tensor."""
    at = 0
    headers = []
    for _ in spec.tensors:
        step, model = payload[at] | payload[at + 1] << 8, payload[at + 2]
        bound = shift = 0
        at += 3
        while True:
            bound |= (payload[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if payload[at - 1] < 128:
                break
        headers.append((step, model, bound))
    codes = []
    for _, model, bound in headers:
        length = bound if model == 211 else 0
        codes.append(payload[at : at + length])
        at += length
    coder = PlainRange(payload[at:])
    return [
        (step, plain_values(place, model, bound, code, coder))
        for place, (step, model, bound), code in zip(spec.tensors, headers, codes, strict=True)
    ]


def plain_static(tensors: Sequence[QuantisedTensor], models: Sequence[int]) -> bytes:
    """The range coder's bytes behind the headers, for static models."""
    low, width, digits = 0, 2**64 - 1, 64
    for one, model in zip(tensors, models, strict=True):
        counts = plain_counts(model, one.largest)
        starts = [0, *accumulate(counts)]
        for value in one.values.tolist() if one.largest else ():
            unit = width >> 24
            low += unit * starts[value + one.largest]
            width = unit * counts[value + one.largest]
            if width < 2**32:
                low, width, digits = low << 32, width << 32, digits + 32
    for length in range(digits // 8 + 1):
        code = -(-low >> digits - 8 * length)
        if code << digits - 8 * length < low + width:
            return code.to_bytes(length, "big")
    raise AssertionError("low itself is a code")


# The binarised code (6.4). A coder is a function (probability, bin) -> bin; the decoder's ignores
# the bin it is given.

Code = Callable[[int, int], int]

RATIOS = (
    *(1024, 4080, 11884, 24624, 39322, 50771, 57740, 61538),
    *(63512, 64518, 65026, 65280, 65408, 65472, 65504, 65520),
)


class PlainEncoder:
    def __init__(self) -> None:
        self.low, self.width, self.digits = 0, 2**32, 32

    def __call__(self, probability: int, bin_: int) -> int:
        part = self.width * probability >> 16
        if bin_:
            self.width = part
        else:
            self.low += part
            self.width -= part
        while self.width < 2**24:
            self.low, self.width, self.digits = self.low << 8, self.width << 8, self.digits + 8
        return bin_

    def string(self) -> bytes:
        for length in range(self.digits // 8 + 1):
            unit = self.digits - 8 * length
            code = -(-self.low >> unit)
            if code << unit < self.low + self.width:
                return code.to_bytes(length, "big")
        raise AssertionError("low itself is a code")


class PlainDecoder:
    def __init__(self, code: bytes) -> None:
        self.code = iter(code)
        self.width = 2**32
        self.offset = 0
        for _ in range(4):
            self.shift()

    def shift(self) -> None:
        self.offset = self.offset << 8 | next(self.code, 0)

    def __call__(self, probability: int, _: int) -> int:
        part = self.width * probability >> 16
        bin_ = int(self.offset < part)
        if bin_:
            self.width = part
        else:
            self.offset -= part
            self.width -= part
        while self.width < 2**24:
            self.width <<= 8
            self.shift()
        return bin_


def learn(context: list[int], bin_: int) -> None:
    p, n = context
    context[:] = [p + (65536 - p) // n if bin_ else p - p // n, min(n + 1, 255)]


def initial_set(q: int) -> dict[tuple[str, int], list[int]]:
    contexts = {("unary", k): [q, 32] for k in range(1, 8)}
    contexts["unary", 0] = [2 * 65536 * q // (65536 + q), 16]
    power = q
    for k in range(11):
        contexts["prefix", k] = [power, 16]
        contexts["suffix", k] = [65536 * power // (65536 + power), 16]
        power = max(power * power >> 16, 64)
    return contexts


def plain_magnitude(code: Callable[[str, int, bool], int], bypass: Code, m: int) -> int:
    for k in range(8):
        if not code("unary", k, m > k):
            return k
    t = m - 7
    s = 0
    while code("prefix", s, t >= 2 ** (s + 1)):
        s += 1
        if s == 11:
            raise ValueError("too large")
    found = 1
    for digit in reversed(range(s)):
        wanted = t >> digit & 1
        first = digit == s - 1
        found = 2 * found + (code("suffix", digit, wanted == 1) if first else bypass(32768, wanted))
    if found + 7 > 2047:
        raise ValueError("too large")
    return found + 7


def plain_code(coder: Code, rows: int, columns: int, values: list[list[int]]) -> list[list[int]]:
    """The values coded: those given, where coder is the encoder."""
    sets = [initial_set(q) for q in RATIOS]
    turn = [32768, 16]
    found: list[list[int]] = []
    for r in range(rows):
        found.append([])
        for c in range(columns):
            v = values[r][c]
            everything = sum(abs(value) for row in found for value in row)
            above = sum(abs(found[i][c]) for i in range(r))
            mean = max((everything + 8) * 256 // (r * columns + c + 1), 1)
            x = (above * 256 + mean) // (r + 1)
            y = (sum(map(abs, found[r])) * 256 + 8 * mean) // (c + 8)
            e = min(x * y // mean, 2**19) + 32
            o = e.bit_length() - 1
            share = (e * 256 >> o) - 256

            def code(name: str, k: int, bin_: bool, low: int = o - 5, share: int = share) -> int:
                lower, upper = sets[low][name, k], sets[low + 1][name, k]
                coded = coder(lower[0] * (256 - share) + upper[0] * share >> 8, int(bin_))
                learn(lower, coded)
                learn(upper, coded)
                return coded

            m = plain_magnitude(code, coder, abs(v))
            negative = int(v < 0)
            w = found[r - 1][c] if r > 0 else 0
            if m > 0 and w != 0:
                differs = coder(turn[0], int((v < 0) != (w < 0)))
                learn(turn, differs)
                negative = differs ^ int(w < 0)
            elif m > 0:
                negative = coder(32768, negative)
            found[r].append(-m if negative else m)
    return found


def plain_encode_binary(values: NDArray[np.int32]) -> bytes:
    encoder = PlainEncoder()
    rows, columns = values.shape
    assert plain_code(encoder, rows, columns, values.tolist()) == values.tolist()
    return encoder.string()


def plain_decode_binary(code: bytes, rows: int, columns: int) -> list[list[int]] | None:
    """None where a magnitude is too large."""
    try:
        return plain_code(PlainDecoder(code), rows, columns, [[0] * columns] * rows)
    except ValueError:
        return None
