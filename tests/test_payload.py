"""Entropy coding: lossless, exactly the format's bytes, and safe on hostile payloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_coders import plain_encode, plain_payload, plain_tensors

from tcnn_codec.bitstream.limits import FIRST_STEP, MAX_LEVEL, MAX_STEP, MIN_STEP
from tcnn_codec.coders.quantised import MULTIPLIERS, QuantisedTensor, multiplier
from tcnn_codec.errors import BitstreamError
from tcnn_codec.families.siren.payload import decode, encode
from tcnn_codec.families.siren.quantise import canonical, constant, fold, quantise
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise

SPEC = SirenSpec(frequencies=1, hidden_layers=1, width=5)
#: Four tensors of 2, 1, 1 and 1 values.
TINY = SirenSpec(frequencies=0, hidden_layers=0, width=1, out_channels=1)
MALFORMED = "malformed chunk payload: "


def tensor(values: Sequence[int] | np.ndarray, step: int = FIRST_STEP) -> QuantisedTensor:
    return QuantisedTensor(np.asarray(values, np.int32), step)


def fitted(spec: SirenSpec, seed: int, bits: float) -> tuple[QuantisedTensor, ...]:
    return canonical(spec, quantise(spec, fold(spec, initialise(spec, seed)), bits))


def assert_same(found: Sequence[QuantisedTensor], expected: Sequence[QuantisedTensor]) -> None:
    assert [t.values.tolist() for t in found] == [t.values.tolist() for t in expected]
    assert [t.step for t in found] == [t.step for t in expected]
    assert {t.values.dtype for t in found} == {np.dtype(np.int32)}


# Steps.


def test_multipliers_are_the_formats() -> None:
    found = [multiplier(step) for step in range(MIN_STEP, MAX_STEP + 1)]
    assert found[:20] == [*range(1, 17), 18, 20, 22, 24]
    assert found[-1] == 15 * 2**20
    assert MULTIPLIERS[1:].tolist() == found
    ratios = [after / before for before, after in pairwise(found[7:])]
    assert max(ratios) <= 9 / 8


# Lossless.


@pytest.mark.parametrize("bits", range(4, 13))
def test_round_trip_of_a_network(bits: int) -> None:
    spec = SirenSpec(frequencies=4, hidden_layers=2, width=19, out_channels=4)
    tensors = fitted(spec, 1, bits)
    payload = encode(spec, tensors)
    assert_same(decode(spec, payload), tensors)
    assert payload == plain_payload(spec, tensors)
    assert len(payload) <= spec.parameter_count * (bits + 0.3) / 8


@pytest.mark.parametrize("value", [0, 1, 127, 128, 2047])
def test_round_trip_of_constants(value: int) -> None:
    tensors = [tensor(np.full(place.size, value)) for place in SPEC.tensors]
    assert_same(decode(SPEC, encode(SPEC, tensors)), tensors)


def test_one_colour_takes_a_few_bytes() -> None:
    spec = SirenSpec(width=64, hidden_layers=3)
    payload = encode(spec, constant(spec, np.array([255, 0, 77], np.uint8)))
    assert len(payload) <= 44


def test_headers_take_a_few_bytes() -> None:
    """The steps of fourteen tensors, besides their integers."""
    spec = SirenSpec(width=32, hidden_layers=5)
    tensors = fitted(spec, 0, 6)
    flat = [replace(one, step=FIRST_STEP) for one in tensors]
    assert len(encode(spec, tensors)) - len(encode(spec, flat)) <= 15


@st.composite
def any_tensors(draw: st.DrawFn) -> list[QuantisedTensor]:
    """Tensors of SPEC: extreme, sparse, or of one scale a row or a column."""
    bound = draw(st.sampled_from([2, 7, 63, 127, 128, 300, 2047]))
    tensors = []
    for index, place in enumerate(SPEC.tensors):
        largest = draw(st.sampled_from([0, 1, bound]))
        elements = st.one_of(
            st.integers(-largest, largest), st.sampled_from([-largest, 0, largest])
        )
        values = np.array(draw(st.lists(elements, min_size=place.size, max_size=place.size)))
        kind = draw(st.sampled_from(["as it is", "by column", "by row"]))
        if index in (1, 3):
            values = np.sort(np.abs(values))
        elif kind != "as it is":
            matrix = values.reshape(place.shape if len(place.shape) == 2 else (1, -1))
            axis = int(kind == "by row")
            scale = np.exp2(np.arange(matrix.shape[1 - axis]))
            values = (matrix // (scale[None, :] if axis == 0 else scale[:, None])).ravel()
        # No more than the output's bound of 2**38 allows.
        tensors.append(tensor(values, draw(st.integers(MIN_STEP, MAX_STEP if index < 4 else 170))))
    return tensors


@settings(deadline=None, max_examples=100)
@given(any_tensors())
def test_round_trip_of_anything(tensors: list[QuantisedTensor]) -> None:
    payload = encode(SPEC, tensors)
    assert_same(decode(SPEC, payload), tensors)
    assert payload == plain_payload(SPEC, tensors)
    assert plain_tensors(SPEC, payload) == [(t.step, t.values.tolist()) for t in tensors]


def test_golden_payload() -> None:
    """The bytes change only with a line in the changelog."""
    values = [np.arange(place.size) ** 3 % 101 - 50 for place in SPEC.tensors]
    values[1], values[3] = np.arange(5) * 7, np.arange(5) ** 2
    tensors = [tensor(one, 75 + index) for index, one in enumerate(values)]
    assert encode(SPEC, tensors).hex() == (
        "8434bfe2e040974da7e556976213b1e5a0817850a1a3df0a9adbc85964d59f8fca9d6e9cd43f6f77a90c"
        "e89ae2113a6e181449b96ac524bc89286d434a02537b520766d89750dfa449f00baa7a"
    )


# Malformed payloads.


def payload_of(steps: list[list[int]], bias: int = 0, output: int = 0, weight: int = 3) -> bytes:
    """A payload of TINY, well coded, whatever it holds: changes of steps, and values."""
    matrices = (
        (steps, True),
        ([[weight, -4]], True),
        ([[bias]], False),
        ([[output]], True),
        ([[-1]], True),
    )
    return plain_encode([(np.array(values, np.int32), signs) for values, signs in matrices])


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (payload_of([[-80, 0], [0, 0]]), "weight0 has step 0; allowed are 1 to 175"),
        (payload_of([[0, 96], [0, 0]]), "bias0 has step 176; allowed are 1 to 175"),
        (payload_of([[0, 0], [2047, 0]]), "weight1 has step 2127; "),
        (payload_of([[0, 0], [0, -2047]]), "bias1 has step -1967; "),
        (b"\0" * 40 + b"\1", "the code of the steps is impossible; magnitudes are at most 2047"),
        (payload_of([[0, 0], [0, 0]]) + b"\xff" * 8, "it has 1. bytes; its code ends within"),
        (payload_of([[0, 0], [0, 0]]) + b"\0", "it ends with 00"),
        (b"\0", "the code of the steps is impossible; "),
    ],
)
def test_malformed_payloads(payload: bytes, text: str) -> None:
    with pytest.raises(BitstreamError, match=f"^{MALFORMED}{text}") as caught:
        decode(TINY, payload)
    assert "\n" not in str(caught.value)


def test_biases_beyond_the_largest_magnitude() -> None:
    """Each of the differences is allowed, and their sum is not."""
    spec = replace(TINY, width=2)
    matrices = [
        (np.zeros((2, 2), np.int32), True),
        (np.zeros((2, 2), np.int32), True),
        (np.array([[2000, 48]], np.int32), False),
        (np.zeros((1, 2), np.int32), True),
        (np.zeros((1, 1), np.int32), True),
    ]
    with pytest.raises(BitstreamError, match="bias0 has 2048; allowed is at most 2047"):
        decode(spec, plain_encode(matrices))
    matrices[2][0][0, 1] = 47
    assert decode(spec, plain_encode(matrices))[1].values.tolist() == [2000, 2047]


def test_rows_of_the_output_beyond_their_sum() -> None:
    spec = SirenSpec(frequencies=0, hidden_layers=0, width=128)
    tensors = [tensor(np.zeros(place.size)) for place in spec.tensors]
    tensors[2] = tensor(np.full(3 * 128, MAX_LEVEL))
    with pytest.raises(BitstreamError, match="a row of the output has magnitude 262016; allowed"):
        decode(spec, encode(spec, tensors))
    tensors[2] = tensor(np.full(3 * 128, 137), MAX_STEP)
    with pytest.raises(BitstreamError, match="of the network may be 275817431040; allowed is at m"):
        decode(spec, encode(spec, tensors))
    tensors[2] = tensor(np.full(3 * 128, 136), MAX_STEP)
    assert_same(decode(spec, encode(spec, tensors)), tensors)


def test_bytes_behind_the_code() -> None:
    payload = encode(SPEC, fitted(SPEC, 0, 7))
    for more in (b"\x01" * 8, b"\xff" * 100):
        with pytest.raises(BitstreamError, match="its code ends within"):
            decode(SPEC, payload + more)


def assert_decodes_or_is_refused(spec: SirenSpec, payload: bytes) -> None:
    """Damaged code may well be the code of other values: detecting that is the container's task."""
    refusal = None
    try:
        tensors = decode(spec, payload)
    except BitstreamError as error:
        refusal = str(error)
    if refusal is None:
        shortest = encode(spec, tensors)
        assert_same(decode(spec, shortest), tensors)
        assert len(shortest) <= len(payload)
        assert plain_tensors(spec, payload) == [(t.step, t.values.tolist()) for t in tensors]
    else:
        assert refusal.startswith(MALFORMED)
        assert "\n" not in refusal


def test_every_truncation_decodes_or_is_refused() -> None:
    payload = encode(SPEC, fitted(SPEC, 0, 7))
    for length in range(len(payload)):
        assert_decodes_or_is_refused(SPEC, payload[:length])


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_refused(payload: bytes) -> None:
    assert_decodes_or_is_refused(TINY, payload)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_patched_payloads_decode_or_are_refused(data: st.DataObject) -> None:
    payload = bytearray(encode(SPEC, fitted(SPEC, 0, 8)))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    assert_decodes_or_is_refused(SPEC, bytes(payload))
