"""An independent entropy coder after docs/format.md, sections 6 and 7, one integer at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.families.siren.spec import SirenSpec

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


def plain_code(
    coder: Code, rows: int, columns: int, has_signs: bool, values: list[list[int]]
) -> list[list[int]]:
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
            if has_signs and m > 0 and w != 0:
                differs = coder(turn[0], int((v < 0) != (w < 0)))
                learn(turn, differs)
                negative = differs ^ int(w < 0)
            elif has_signs and m > 0:
                negative = coder(32768, negative)
            found[r].append(-m if negative else m)
    return found


def plain_encode(matrices: Sequence[tuple[NDArray[np.int32], bool]]) -> bytes:
    """The code of these matrices, each with whether it has signs."""
    encoder = PlainEncoder()
    for values, has_signs in matrices:
        rows, columns = values.shape
        coded = plain_code(encoder, rows, columns, has_signs, values.tolist())
        assert coded == values.tolist()
    return encoder.string()


def plain_decode(
    code: bytes, shapes: Sequence[tuple[int, int, bool]]
) -> list[list[list[int]]] | None:
    """The matrices of these rows and columns; None where a magnitude is too large."""
    decoder = PlainDecoder(code)
    try:
        return [
            plain_code(decoder, rows, columns, has_signs, [[0] * columns] * rows)
            for rows, columns, has_signs in shapes
        ]
    except ValueError:
        return None


def plain_payload(spec: SirenSpec, tensors: Sequence[QuantisedTensor]) -> bytes:
    """The payload of a SIREN (section 6)."""
    layers = 2 * len(spec.layer_shapes)
    steps = np.array([tensor.step for tensor in tensors[:layers]], np.int32).reshape(-1, 2)
    before = np.vstack([[[80, 80]], steps[:-1]])
    matrices = [((steps - before).astype(np.int32), True)]
    for layer, (rows, columns) in enumerate(spec.layer_shapes):
        weight, bias = tensors[2 * layer : 2 * layer + 2]
        matrices.append((weight.values.reshape(rows, columns), True))
        if layer <= spec.hidden_layers:
            values = bias.values.tolist()
            changes = [value - last for value, last in zip(values, [0, *values[:-1]], strict=True)]
            matrices.append((np.array([changes], np.int32), False))
        else:
            matrices.append((bias.values.reshape(1, -1), True))
    if spec.time_codes:
        codes = tensors[-1].values.reshape(spec.frames, spec.time_codes)
        before = np.vstack([np.zeros((1, spec.time_codes), np.int32), codes[:-1]])
        matrices.append((codes - before, True))
    return plain_encode(matrices)


def payload_shapes(spec: SirenSpec, difference: bool = False) -> list[tuple[int, int, bool]]:
    """Rows and columns of every matrix of a payload, and whether it has signs."""
    shapes = [] if difference else [(spec.hidden_layers + 2, 2, True)]
    for layer, (rows, columns) in enumerate(spec.layer_shapes):
        shapes += [(rows, columns, True), (1, rows, difference or layer > spec.hidden_layers)]
    return [*shapes, (spec.frames, spec.time_codes, True)] if spec.time_codes else shapes


def plain_tensors(spec: SirenSpec, payload: bytes) -> list[tuple[int, list[int]]] | None:
    """The step index and the integers of each tensor; None for an impossible code."""
    found = plain_decode(payload, payload_shapes(spec))
    if found is None:
        return None
    steps = list(accumulate(found[0], lambda a, b: [a[0] + b[0], a[1] + b[1]], initial=[80, 80]))
    flat = [step for row in steps[1:] for step in row]
    values = [[value for row in matrix for value in row] for matrix in found[1:]]
    for layer in range(spec.hidden_layers + 1):
        values[2 * layer + 1] = list(accumulate(values[2 * layer + 1]))
    if spec.time_codes:
        columns = [
            list(accumulate(values[-1][c :: spec.time_codes])) for c in range(spec.time_codes)
        ]
        values[-1] = [code for frame in zip(*columns, strict=True) for code in frame]
        flat.append(80)
    return list(zip(flat, values, strict=True))
