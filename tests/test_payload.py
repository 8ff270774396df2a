"""Entropy coding: lossless, exactly the format's integers, and safe on hostile payloads."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from types import SimpleNamespace

import constriction  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_coders import plain_counts, plain_decode, plain_static

from tcnn_codec.bitstream.header import VERSION
from tcnn_codec.coders import payload as entropy
from tcnn_codec.coders import probability
from tcnn_codec.coders.payload import (
    ASCENDING,
    BINARISED,
    MODELS,
    MODELS_OF_VERSION,
    decode_tensors,
    encode_tensors,
    encode_with,
)
from tcnn_codec.coders.probability import STATIC_MODELS
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.errors import BitstreamError
from tcnn_codec.families.siren.quantise import quantise
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise

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


# Lossless.


@pytest.mark.parametrize("bits", range(4, 13))
def test_round_trip_of_a_network(bits: int) -> None:
    spec = SirenSpec(frequencies=4, hidden_layers=2, width=19, out_channels=4)
    tensors = quantise(spec, initialise(spec, 1), bits)
    payload = encode_tensors(spec.tensors, tensors)
    assert_same(decode_tensors(spec.tensors, payload), tensors)
    assert len(payload) <= spec.parameter_count * bits / 8 + 5 * len(tensors) + 1


@pytest.mark.parametrize("value", [0, 1, -1, 127, 128, -128, 2047, -2047])
def test_round_trip_of_constants(value: int) -> None:
    tensors = tensors_of(SPEC, np.full(SPEC.parameter_count, value, np.int32))
    assert_same(decode_tensors(SPEC.tensors, encode_tensors(SPEC.tensors, tensors)), tensors)


def test_zeros_cost_their_headers_only() -> None:
    tensors = tensors_of(SPEC, np.zeros(SPEC.parameter_count, np.int32))
    assert len(encode_tensors(SPEC.tensors, tensors)) == 4 * len(tensors)


@st.composite
def any_tensors(draw: st.DrawFn) -> list[QuantisedTensor]:
    """Tensors of SPEC: extreme, sparse, ascending, or of one scale a row or a column."""
    bound = draw(st.sampled_from([2, 7, 63, 127, 128, 300, 2047]))
    tensors = []
    for place in SPEC.tensors:
        largest = draw(st.sampled_from([0, 1, bound]))
        elements = st.one_of(
            st.integers(-largest, largest), st.sampled_from([-largest, 0, largest])
        )
        values = np.array(draw(st.lists(elements, min_size=place.size, max_size=place.size)))
        kind = draw(st.sampled_from(["as it is", "ascending", "by column", "by row"]))
        if kind == "ascending":
            values = np.sort(np.abs(values))
        elif kind != "as it is":
            matrix = values.reshape(place.shape if len(place.shape) == 2 else (1, -1))
            axis = int(kind == "by row")
            scale = np.exp2(np.arange(matrix.shape[1 - axis]))
            values = (matrix // (scale[None, :] if axis == 0 else scale[:, None])).ravel()
        upper = draw(st.integers(1 << 7, 227 << 7))
        tensors.append(tensor(values, float(np.uint32(upper << 16).view(np.float32))))
    return tensors


def possible_models(one: QuantisedTensor) -> list[int]:
    """A few models of every kind that can code a tensor."""
    if one.largest == 0:
        return [0]
    found = [0, 1, 60, 168, BINARISED]
    if np.diff(one.values, prepend=0).min() >= 0:
        found += [ASCENDING, ASCENDING + 20, BINARISED - 1]
    return found


@settings(deadline=None, max_examples=60)
@given(any_tensors())
def test_round_trip_of_anything(tensors: list[QuantisedTensor]) -> None:
    payload = encode_tensors(SPEC.tensors, tensors)
    assert_same(decode_tensors(SPEC.tensors, payload), tensors)
    expected = [(int(t.step.view(np.uint32)) >> 16, t.values.tolist()) for t in tensors]
    assert plain_decode(SPEC, payload) == expected


@settings(deadline=None, max_examples=60)
@given(any_tensors(), st.data())
def test_every_model_is_lossless(tensors: list[QuantisedTensor], data: st.DataObject) -> None:
    models = [data.draw(st.sampled_from(possible_models(one))) for one in tensors]
    payload = encode_with(SPEC.tensors, tensors, models)
    assert_same(decode_tensors(SPEC.tensors, payload), tensors)
    expected = [(int(t.step.view(np.uint32)) >> 16, t.values.tolist()) for t in tensors]
    assert plain_decode(SPEC, payload) == expected


@settings(deadline=None, max_examples=30)
@given(any_tensors(), st.data())
def test_static_models_give_the_bytes_of_the_format(
    tensors: list[QuantisedTensor], data: st.DataObject
) -> None:
    models = [data.draw(st.integers(0, 168)) if one.largest else 0 for one in tensors]
    payload = encode_with(SPEC.tensors, tensors, models)
    assert payload == decode_and_encode_as_version_1(payload)
    _, at = entropy._read_headers(SPEC.tensors, payload, MODELS)
    assert plain_static(tensors, models) == payload[at:]


def decode_and_encode_as_version_1(payload: bytes) -> bytes:
    tensors = decode_tensors(SPEC.tensors, payload, version=1)
    headers, _ = entropy._read_headers(SPEC.tensors, payload, STATIC_MODELS)
    return encode_with(SPEC.tensors, tensors, [header.model for header in headers])


# Only integers decide bits.


@pytest.mark.parametrize("largest", [1, 2, 31, 127, 2047])
def test_tables_are_the_formats_integers(largest: int) -> None:
    models = range(STATIC_MODELS) if largest < 2047 else range(0, STATIC_MODELS, 25)
    for model in models:
        counts = probability.signed_counts(probability.weights(np.array([model]), largest))[0]
        assert counts.tolist() == plain_counts(model, largest)[largest:]
        assert counts.min() >= 1
        assert 2 * counts.sum() - counts[0] == 2**24


def test_square_roots_are_exact_around_squares() -> None:
    roots = np.array([1, 2, 3, 1000, 2**18 - 1, 2**25, 2**26 - 1], np.int64)
    for n in (roots**2 - 1, roots**2, roots**2 + 1):
        assert probability._isqrt(n).tolist() == [isqrt(k) for k in n.tolist()]


@pytest.mark.parametrize("largest", [1, 5, 127, 2047])
def test_constriction_uses_exactly_our_table(largest: int) -> None:
    """Every symbol's edges: a code at its first and its last unit decodes to it, one past not."""
    rng = np.random.default_rng(largest)
    counts = probability.signed_counts(rng.integers(1, 2**30, (1, largest + 1)))[0]
    model = probability.signed_table(counts)
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
    """The bytes of format version 1 never change, and are those of version 2's static models."""
    for version in (1, 2):
        assert_same(decode_tensors(spec.tensors, bytes.fromhex(payload), version), tensors)


@pytest.mark.parametrize("model", [ASCENDING, BINARISED])
def test_version_1_has_static_models_only(model: int) -> None:
    tensors = [tensor([3, 4]), tensor([1]), tensor([2]), tensor([1])]
    payload = encode_with(TINY.tensors, tensors, [model, 0, 0, 0])
    assert_same(decode_tensors(TINY.tensors, payload), tensors)
    with pytest.raises(BitstreamError, match=f"weight0 has model {model}"):
        decode_tensors(TINY.tensors, payload, version=1)


def test_the_newest_version_is_the_containers() -> None:
    assert max(MODELS_OF_VERSION) == VERSION


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
        (3, b"\xff\x10", "weight0 has bound 2175"),
        (3, b"\x83\x00", "in the header of weight0, a varint of value 3 is longer"),
        (16, b"\xff" * 8, "the code of weight0 is impossible"),
    ],
)
def test_malformed_headers(position: int, patch: bytes, text: str) -> None:
    payload = encode_tensors(
        TINY.tensors, [tensor([3, -4]), tensor([0]), tensor([1]), tensor([-1])]
    )
    damaged = payload[:position] + patch + payload[position + len(patch) :]
    with pytest.raises(BitstreamError) as caught:
        decode_tensors(TINY.tensors, damaged)
    assert str(caught.value).startswith(f"malformed chunk payload: {text}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("more", [b"\x00", b"\x01", b"\x00" * 4, b"\xff" * 100])
def test_bytes_behind_the_code(more: bytes) -> None:
    payload = encode_tensors(SPEC.tensors, quantise(SPEC, initialise(SPEC, 0), 7))
    with pytest.raises(BitstreamError, match="are not those that its content encodes to"):
        decode_tensors(SPEC.tensors, payload + more)


def test_largest_magnitude_must_occur() -> None:
    tensors = [tensor([3, -4]), tensor([0]), tensor([1]), tensor([-1])]
    wide = SimpleNamespace(values=tensors[0].values, step=np.float32(1), largest=5)
    payload = encode_with(TINY.tensors, [wide, *tensors[1:]], [0, 0, 0, 0])  # type: ignore[list-item]
    with pytest.raises(BitstreamError, match="are not those that its content encodes to"):
        decode_tensors(TINY.tensors, payload)


def test_a_cut_off_header_is_named() -> None:
    payload = encode_tensors(SPEC.tensors, quantise(SPEC, initialise(SPEC, 0), 7))
    for length in range(4 * len(SPEC.tensors)):
        with pytest.raises(BitstreamError, match=f"it ends in the header of {NAMES[length // 4]};"):
            decode_tensors(SPEC.tensors, payload[:length])


def assert_decodes_or_is_refused(spec: SirenSpec, payload: bytes) -> None:
    """Damaged code may well be the code of other values: detecting that is the container's task."""
    refusal = None
    try:
        tensors = decode_tensors(spec.tensors, payload)
    except BitstreamError as error:
        refusal = str(error)
    if refusal is None:
        assert_same(decode_tensors(spec.tensors, encode_tensors(spec.tensors, tensors)), tensors)
    else:
        assert refusal.startswith("malformed chunk payload: ")
        assert "\n" not in refusal


def test_every_truncation_decodes_or_is_refused() -> None:
    payload = encode_tensors(SPEC.tensors, quantise(SPEC, initialise(SPEC, 0), 7))
    for length in range(len(payload)):
        assert_decodes_or_is_refused(SPEC, payload[:length])


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(payload: bytes) -> None:
    assert_decodes_or_is_refused(TINY, payload)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_patched_payloads_decode_or_are_refused(data: st.DataObject) -> None:
    payload = bytearray(encode_tensors(SPEC.tensors, quantise(SPEC, initialise(SPEC, 0), 8)))
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
    assert len(encode_tensors(spec.tensors, [tensor(values), *rest])) <= bits / 8 + headers + 2


def test_the_model_with_the_fewest_bits_is_chosen() -> None:
    rng = np.random.default_rng(1)
    values = np.rint(rng.laplace(0, 9, SPEC.tensors[0].size)).astype(np.int32)
    tensors = [tensor(values), *[tensor(np.zeros(place.size)) for place in SPEC.tensors[1:]]]
    symbols = values + np.abs(values).max()
    bits = [
        np.sum(24 - np.log2(np.array(plain_counts(model, tensors[0].largest))[symbols]))
        for model in range(STATIC_MODELS)
    ]
    assert encode_tensors(SPEC.tensors, tensors)[2] == np.argmin(bits)
