"""Entropy coding: lossless, exactly the format's integers, and safe on hostile payloads."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import isqrt
from types import SimpleNamespace

import constriction  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcnn_codec import entropy
from tcnn_codec.entropy import MODELS, decode_tensors, encode_tensors
from tcnn_codec.errors import BitstreamError
from tcnn_codec.quantise import QuantisedTensor, quantise
from tcnn_codec.siren import SirenSpec, initialise

SPEC = SirenSpec(frequencies=1, hidden_layers=1, width=5)
#: Four tensors of 2, 1, 1 and 1 values.
TINY = SirenSpec(frequencies=0, hidden_layers=0, width=1, out_channels=1)
NAMES = [place.name for place in SPEC.tensors]


def tensor(values: Sequence[int] | np.ndarray, step: float = 1.0) -> QuantisedTensor:
    return QuantisedTensor(np.asarray(values, np.int32), np.float32(step))


def tensors_of(spec: SirenSpec, values: np.ndarray) -> list[QuantisedTensor]:
    return [tensor(values[place.place]) for place in spec.tensors]


def assert_same(found: Sequence[QuantisedTensor], expected: Sequence[QuantisedTensor]) -> None:
    assert [t.values.tolist() for t in found] == [t.values.tolist() for t in expected]
    assert [float(t.step) for t in found] == [float(t.step) for t in expected]
    assert {t.values.dtype for t in found} == {np.dtype(np.int32)}


# An independent coder after docs/format.md, one Python integer at a time.


def plain_counts(model: int, largest: int) -> list[int]:
    """Counts of the symbols -largest … largest."""
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

    weights = [weight(abs(v)) for v in range(-largest, largest + 1)]
    free = 2**24 - len(weights)
    counts = [1 + w * free // sum(weights) for w in weights]
    counts[largest] += 2**24 - sum(counts)
    return counts


def plain_decode(sizes: Sequence[int], payload: bytes) -> list[tuple[int, list[int]]]:
    """(upper 16 bits of the step, values) of each tensor."""
    at = 0
    headers = []
    for _ in sizes:
        step, model, largest = payload[at] | payload[at + 1] << 8, payload[at + 2], payload[at + 3]
        at += 4
        if largest >= 128:
            largest = largest - 128 + 128 * payload[at]
            at += 1
        headers.append((step, model, largest))
    code = iter(payload[at:])

    def next_word() -> int:
        return int.from_bytes(bytes(next(code, 0) for _ in range(4)), "big")

    found = []
    width = 2**64 - 1
    offset = next_word() << 32 | next_word()  # the code's distance above the interval's low end
    for size, (step, model, largest) in zip(sizes, headers, strict=True):
        counts = plain_counts(model, largest)
        starts = [0, *accumulate(counts[:-1])]
        values = []
        for _ in range(size):
            if largest == 0:
                values.append(0)
                continue
            unit = width >> 24
            symbol = bisect_right(starts, offset // unit) - 1
            values.append(symbol - largest)
            offset -= unit * starts[symbol]
            width = unit * counts[symbol]
            if width < 2**32:
                width <<= 32
                offset = offset << 32 | next_word()
        found.append((step, values))
    return found


def plain_encode(tensors: Sequence[QuantisedTensor], models: Sequence[int]) -> bytes:
    """The range coder's bytes behind the headers."""
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


# Lossless.


@pytest.mark.parametrize("bits", range(4, 13))
def test_round_trip_of_a_network(bits: int) -> None:
    spec = SirenSpec(frequencies=4, hidden_layers=2, width=19, out_channels=4)
    tensors = quantise(spec, initialise(spec, 1), bits)
    payload = encode_tensors(tensors)
    assert_same(decode_tensors(spec, payload), tensors)
    assert len(payload) <= spec.parameter_count * bits / 8 + 5 * len(tensors) + 1


@pytest.mark.parametrize("value", [0, 1, -1, 127, 128, -128, 2047, -2047])
def test_round_trip_of_constants(value: int) -> None:
    tensors = tensors_of(SPEC, np.full(SPEC.parameter_count, value, np.int32))
    assert_same(decode_tensors(SPEC, encode_tensors(tensors)), tensors)


def test_zeros_cost_their_headers_only() -> None:
    tensors = tensors_of(SPEC, np.zeros(SPEC.parameter_count, np.int32))
    assert len(encode_tensors(tensors)) == 4 * len(tensors)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_round_trip_of_anything(data: st.DataObject) -> None:
    bound = data.draw(st.sampled_from([2, 7, 63, 127, 128, 300, 2047]))
    tensors = []
    for place in SPEC.tensors:
        largest = data.draw(st.sampled_from([0, 1, bound]))
        elements = st.one_of(
            st.integers(-largest, largest), st.sampled_from([-largest, 0, largest])
        )
        values = data.draw(st.lists(elements, min_size=place.size, max_size=place.size))
        upper = data.draw(st.integers(1 << 7, 227 << 7))
        tensors.append(tensor(values, float(np.uint32(upper << 16).view(np.float32))))
    payload = encode_tensors(tensors)
    assert_same(decode_tensors(SPEC, payload), tensors)
    sizes = [place.size for place in SPEC.tensors]
    expected = [(int(t.step.view(np.uint32)) >> 16, t.values.tolist()) for t in tensors]
    assert plain_decode(sizes, payload) == expected
    headers, at = entropy._read_headers(SPEC, payload)
    assert plain_encode(tensors, [header.model for header in headers]) == payload[at:]


# Only integers decide bits.


@pytest.mark.parametrize("largest", [1, 2, 31, 127, 2047])
def test_tables_are_the_formats_integers(largest: int) -> None:
    models = range(MODELS) if largest < 2047 else range(0, MODELS, 25)
    for model in models:
        counts = entropy._counts(entropy._weights(np.array([model]), largest))[0]
        assert counts.tolist() == plain_counts(model, largest)[largest:]
        assert counts.min() >= 1
        assert 2 * counts.sum() - counts[0] == 2**24


def test_square_roots_are_exact_around_squares() -> None:
    roots = np.array([1, 2, 3, 1000, 2**18 - 1, 2**25, 2**26 - 1], np.int64)
    for n in (roots**2 - 1, roots**2, roots**2 + 1):
        assert entropy._isqrt(n).tolist() == [isqrt(k) for k in n.tolist()]


@pytest.mark.parametrize("largest", [1, 5, 127, 2047])
def test_constriction_uses_exactly_our_table(largest: int) -> None:
    """Every symbol's edges: a code at its first and its last unit decodes to it, one past not."""
    rng = np.random.default_rng(largest)
    counts = entropy._counts(rng.integers(1, 2**30, (1, largest + 1)))[0]
    model = entropy._categorical(counts)
    edges = np.concatenate([[0], np.cumsum(np.concatenate([counts[:0:-1], counts]))])
    unit = (2**64 - 1) >> 24
    for symbol in range(2 * largest + 1):
        first, last = int(edges[symbol]) * unit, int(edges[symbol + 1]) * unit - 1
        for code in (first, last):
            words = np.array([code >> 32, code & 0xFFFFFFFF], np.uint32)
            assert constriction.stream.queue.RangeDecoder(words).decode(model) == symbol


@pytest.mark.parametrize(
    ("spec", "tensors", "payload"),
    [
        (
            TINY,
            [tensor([3, -4]), tensor([0], 0.5), tensor([2047], 2.0**-126), tensor([-1])],
            "803f0004003f0000800000ff0f803f0001ca4556",
        ),
        (
            SPEC,
            tensors_of(SPEC, np.arange(SPEC.parameter_count) ** 3 % 101 - 50),
            "803f0032803f002f803f2230803f0016803f1b31803f00290006f363882aadeccffdf14d8b4e"
            "c1516fbb17bc6c80c16292febf375064b80f2f16de26558a34d3fd64bd04bb6ec7832f0b3aee"
            "f2e6972404510acfcee0c1f83321c37b",
        ),
        (
            SPEC,
            tensors_of(SPEC, np.arange(SPEC.parameter_count) ** 2 % 5 // 4 * 300),
            "803f13ac02803f13ac02803f13ac02803f13ac02803f13ac02803f11ac0280089f2a4a59819d"
            "ac02a7fd886b1a19b78f32c6f724e94c5b1910b84d6552711d4445a5f1bbf50a55f6c91599f1"
            "5f0f29ba9f97cab1a94474a79c4e06bb4fcbca194902ccb0479ba119522cfd01fa4a098beddd"
            "9b7f84",
        ),
    ],
)
def test_golden_payloads(spec: SirenSpec, tensors: list[QuantisedTensor], payload: str) -> None:
    """The bytes of format version 1 never change."""
    assert encode_tensors(tensors).hex() == payload
    assert_same(decode_tensors(spec, bytes.fromhex(payload)), tensors)


# Malformed payloads.


@pytest.mark.parametrize(
    ("position", "patch", "text"),
    [
        (0, b"\x00\x00", "weight0 has step 0.0"),
        (0, b"\x7f\x00", "weight0 has step 1.166"),
        (0, b"\x80\xbf", "weight0 has step -1.0"),
        (0, b"\x80\x7f", "weight0 has step inf"),
        (0, b"\xc0\x7f", "weight0 has step nan"),
        (2, bytes([MODELS]), f"weight0 has model {MODELS}"),
        (2, b"\xff", "weight0 has model 255"),
        (6, b"\x01", "bias0 has model 1"),
        (3, b"\xff\x10", "weight0 has largest magnitude 2175"),
        (3, b"\x83\x00", "weight0 has largest magnitude 3"),
        (16, b"\xff" * 8, "the code of weight0 is impossible"),
    ],
)
def test_malformed_headers(position: int, patch: bytes, text: str) -> None:
    payload = encode_tensors([tensor([3, -4]), tensor([0]), tensor([1]), tensor([-1])])
    damaged = payload[:position] + patch + payload[position + len(patch) :]
    with pytest.raises(BitstreamError) as caught:
        decode_tensors(TINY, damaged)
    assert str(caught.value).startswith(f"malformed chunk payload: {text}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("more", [b"\x00", b"\x01", b"\x00" * 4, b"\xff" * 100])
def test_bytes_behind_the_code(more: bytes) -> None:
    payload = encode_tensors(quantise(SPEC, initialise(SPEC, 0), 7))
    with pytest.raises(BitstreamError, match="are not those that its content encodes to"):
        decode_tensors(SPEC, payload + more)


def test_largest_magnitude_must_occur() -> None:
    tensors = [tensor([3, -4]), tensor([0]), tensor([1]), tensor([-1])]
    wide = SimpleNamespace(values=tensors[0].values, step=np.float32(1), largest=5)
    payload = entropy._encode_with([wide, *tensors[1:]], [0, 0, 0, 0])  # type: ignore[list-item]
    with pytest.raises(BitstreamError, match="are not those that its content encodes to"):
        decode_tensors(TINY, payload)


def test_a_cut_off_header_is_named() -> None:
    payload = encode_tensors(quantise(SPEC, initialise(SPEC, 0), 7))
    for length in range(4 * len(SPEC.tensors)):
        with pytest.raises(BitstreamError, match=f"it ends in the header of {NAMES[length // 4]};"):
            decode_tensors(SPEC, payload[:length])


def assert_decodes_or_is_refused(spec: SirenSpec, payload: bytes) -> None:
    """Damaged code may well be the code of other values: detecting that is the container's task."""
    refusal = None
    try:
        tensors = decode_tensors(spec, payload)
    except BitstreamError as error:
        refusal = str(error)
    if refusal is None:
        assert_same(decode_tensors(spec, encode_tensors(tensors)), tensors)
    else:
        assert refusal.startswith("malformed chunk payload: ")
        assert "\n" not in refusal


def test_every_truncation_decodes_or_is_refused() -> None:
    payload = encode_tensors(quantise(SPEC, initialise(SPEC, 0), 7))
    for length in range(len(payload)):
        assert_decodes_or_is_refused(SPEC, payload[:length])


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(payload: bytes) -> None:
    assert_decodes_or_is_refused(TINY, payload)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_patched_payloads_decode_or_are_refused(data: st.DataObject) -> None:
    payload = bytearray(encode_tensors(quantise(SPEC, initialise(SPEC, 0), 8)))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    assert_decodes_or_is_refused(SPEC, bytes(payload))


# Compression.


@pytest.mark.parametrize("model", [0, 20, 60, 100, 150])
def test_cost_is_that_of_the_models_own_samples(model: int) -> None:
    """Range coding loses under 2**-8 of its interval a symbol, and under 2 bytes at the end."""
    spec = SirenSpec(frequencies=16, hidden_layers=0, width=32)
    counts = np.array(plain_counts(model, 63))
    rng = np.random.default_rng(model)
    values = rng.choice(np.arange(-63, 64), spec.tensors[0].size, p=counts / 2**24)
    values[:1] = 63
    bits = np.sum(24 - np.log2(counts[values + 63]) - np.log2(1 - 2**-8))
    rest = [tensor(np.zeros(place.size)) for place in spec.tensors[1:]]
    headers = 4 * len(spec.tensors)
    assert len(encode_tensors([tensor(values), *rest])) <= bits / 8 + headers + 2


def test_the_model_with_the_fewest_bits_is_chosen() -> None:
    rng = np.random.default_rng(1)
    values = np.rint(rng.laplace(0, 9, SPEC.tensors[0].size)).astype(np.int32)
    tensors = [tensor(values), *[tensor(np.zeros(place.size)) for place in SPEC.tensors[1:]]]
    symbols = values + np.abs(values).max()
    bits = [
        np.sum(24 - np.log2(np.array(plain_counts(model, tensors[0].largest))[symbols]))
        for model in range(MODELS)
    ]
    assert encode_tensors(tensors)[2] == np.argmin(bits)
