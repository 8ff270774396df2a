"""The binarised coder: lossless, byte-exact against an independent one, safe on any bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from plain_coders import PlainEncoder, plain_code, plain_decode, plain_encode

from tcnn_codec._coders import Decoder, Encoder

Matrix = NDArray[np.int32]


def matrix(values: object) -> Matrix:
    return np.atleast_2d(np.asarray(values, np.int32))


def encode_binary(values: Matrix, has_signs: bool = True) -> bytes:
    encoder = Encoder()
    encoder.add(values, has_signs)
    return encoder.finish()


def decode_binary(code: bytes, rows: int, columns: int, has_signs: bool = True) -> Matrix:
    return Decoder(code).take(rows, columns, has_signs)


def plain_encode_binary(values: Matrix) -> bytes:
    return plain_encode([(values, True)])


def plain_decode_binary(code: bytes, rows: int, columns: int) -> list[list[int]] | None:
    found = plain_decode(code, [(rows, columns, True)])
    return None if found is None else found[0]


def assert_coded(values: Matrix) -> bytes:
    code = encode_binary(values)
    found = decode_binary(code, *values.shape)
    assert found.dtype == np.int32
    assert found.tolist() == values.tolist()
    return code


def normal(rows: int, columns: int, sigma: float) -> Matrix:
    rng = np.random.default_rng(5)
    return np.rint(rng.normal(0, sigma, (rows, columns))).clip(-2047, 2047).astype(np.int32)


# Lossless, and the format's bytes.


def hard_matrices() -> Iterator[tuple[str, Matrix]]:
    for value in (0, 1, -1, 7, 8, -9, 1030, 1031, 2047, -2047):
        yield f"one {value}", matrix(value)
        yield f"constant {value}", np.full((9, 11), value, np.int32)
    yield "row", normal(1, 77, 40)
    yield "column", normal(77, 1, 40)
    yield "alternating", matrix([[2047, -2047] * 8, [-2047, 2047] * 8, [0, 1] * 8] * 3)
    yield "zeros, then extremes", np.repeat(matrix([[0], [-2047]]), 150, axis=0) * matrix([1, -1])
    yield "extremes, then zeros", np.repeat(matrix([[2047], [0]]), 150, axis=0)
    yield "every magnitude", np.arange(-2047, 2049, 16, dtype=np.int32).reshape(-1, 8)
    yield "sparse", normal(20, 20, 0.3)
    yield "network", normal(20, 20, 5) * matrix(range(20, 0, -1))


@pytest.mark.parametrize(
    "values", [pytest.param(values, id=name) for name, values in hard_matrices()]
)
def test_hard_matrices(values: Matrix) -> None:
    code = assert_coded(values)
    assert plain_encode_binary(values) == code
    assert plain_decode_binary(code, *values.shape) == values.tolist()


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_anything(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    bound = data.draw(st.sampled_from([1, 7, 40, 2047]))
    elements = st.one_of(st.integers(-bound, bound), st.sampled_from([-bound, 0, bound]))
    drawn = data.draw(st.lists(elements, min_size=rows * columns, max_size=rows * columns))
    values = matrix(drawn).reshape(rows, columns)
    code = assert_coded(values)
    assert plain_encode_binary(values) == code


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.booleans()), max_size=5))
def test_several_matrices_in_one_code(shapes: list[tuple[int, int, bool]]) -> None:
    rng = np.random.default_rng(len(shapes))
    matrices = []
    for rows, columns, has_signs in shapes:
        values = rng.integers(-40 if has_signs else 0, 41, (rows, columns)).astype(np.int32)
        matrices.append((values, has_signs))
    encoder = Encoder()
    for one in matrices:
        encoder.add(*one)
    code = encoder.finish()
    assert code == plain_encode(matrices)
    decoder = Decoder(code)
    found = [decoder.take(*shape) for shape in shapes]
    assert [one.tolist() for one in found] == [values.tolist() for values, _ in matrices]
    assert len(code) <= decoder.taken
    encoder.add(matrix(3), True)
    assert encoder.finish() == encode_binary(matrix(3))


def test_carries_run_through_many_bytes() -> None:
    """Among many codes some have a byte that a carry out of several FF bytes changed."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        assert_coded(rng.integers(-40, 41, (40, 40)).astype(np.int32))


def test_golden_code() -> None:
    """The bytes never change."""
    values = (np.arange(60).reshape(5, 12) ** 3 % 101 - 50) // np.arange(1, 13)
    assert encode_binary(values.astype(np.int32)).hex() == (
        "00bf4904e4a82aef3fb15780c822c441a21c5b727c6203d8b5eac62b4011f8d3816b67272ddda0"
    )


def test_the_shortest_code() -> None:
    """No string shorter by a byte decodes to the same values."""
    for sigma in (0.3, 1, 3, 9, 200):
        for columns in range(1, 12):
            values = normal(3, columns, sigma)
            code = encode_binary(values)
            assert not code.endswith(b"\0")
            for last in range(256) if len(code) > 1 else ():
                assert decoded(code[:-2] + bytes([last]), 3, columns) != values.tolist()


# Any bytes.


def decoded(code: bytes, rows: int, columns: int) -> list[list[int]] | None:
    """None where it is refused."""
    try:
        found = decode_binary(code, rows, columns)
    except ValueError as error:
        if str(error) != "the code has a magnitude above 2047":
            raise
        return None
    return list(found.tolist())


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60), st.integers(1, 6), st.integers(1, 6))
def test_any_bytes_are_values_or_refused(code: bytes, rows: int, columns: int) -> None:
    assert decoded(code, rows, columns) == plain_decode_binary(code, rows, columns)


@pytest.mark.parametrize(("byte", "refused"), [(0x00, True), (0x7F, False), (0xFF, False)])
def test_strings_of_one_byte(byte: int, refused: bool) -> None:
    for rows, columns in ((1, 150), (150, 1), (12, 13)):
        code = bytes([byte]) * 2000
        found = decoded(code, rows, columns)
        assert (found is None) == refused
        assert found == plain_decode_binary(code, rows, columns)


@pytest.mark.parametrize("magnitude", [2048, 2054, 2055, 2**40])
def test_larger_magnitudes_are_refused(magnitude: int) -> None:
    encoder = PlainEncoder()
    with pytest.raises(ValueError, match="too large"):
        plain_code(encoder, 1, 1, True, [[magnitude]])
    code = encoder.string()
    with pytest.raises(ValueError, match=r"^the code has a magnitude above 2047$"):
        decode_binary(code, 1, 1)


def test_zeros_follow_the_code() -> None:
    values = normal(12, 12, 6)
    code = encode_binary(values)
    for more in (b"\0", b"\0" * 50):
        assert decode_binary(code + more, 12, 12).tolist() == values.tolist()


# Compression.


@pytest.mark.parametrize("sigma", [0.5, 1, 5, 20])
def test_size_is_near_the_entropy(sigma: float) -> None:
    """Within 3 % of the empirical entropy, which itself leaves out what the counts cost."""
    values = normal(100, 100, sigma)
    counts = np.unique(values, return_counts=True)[1]
    entropy = -np.sum(counts * np.log2(counts / values.size)) / 8
    assert len(encode_binary(values)) <= 1.03 * entropy


def test_columns_of_different_scales() -> None:
    scales = 0.5 * 2.0 ** (np.arange(60) % 6)
    rng = np.random.default_rng(2)
    values = np.rint(rng.laplace(0, scales, (32, 60))).astype(np.int32)
    shuffled = rng.permuted(values, axis=1)
    assert len(encode_binary(values)) <= 0.95 * len(encode_binary(shuffled))


# Arguments.


@pytest.mark.parametrize(
    ("values", "kind", "text"),
    [
        (np.zeros((2, 2), np.int64), TypeError, "expected 'i'"),
        (np.zeros((2, 2), np.float32), TypeError, "expected 'i'"),
        (np.zeros((2, 2), ">i4"), TypeError, "expected 'i'"),
        (np.zeros(4, np.int32), ValueError, "rank of values is 1; allowed are 2 to 2"),
        (np.zeros((1, 2, 2), np.int32), ValueError, "rank of values is 3"),
        (np.zeros((0, 2), np.int32), ValueError, "rows is 0"),
        (np.zeros((2, 0), np.int32), ValueError, "columns is 0"),
        (np.zeros((2, 6), np.int32)[:, ::2], ValueError, "not C-contiguous"),
        (matrix([0, 2048]), ValueError, "largest value is 2048; allowed are -2047 to 2047"),
        (matrix([0, -2048]), ValueError, "least value is -2048"),
        (matrix([-(2**31), 0]), ValueError, "least value is -2147483648"),
        ([[1, 2]], TypeError, "incompatible function arguments"),
    ],
)
def test_wrong_values(values: Matrix, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        encode_binary(values)


@pytest.mark.parametrize(
    ("rows", "columns", "text"),
    [
        (0, 1, "rows is 0"),
        (1, -1, "columns is -1"),
        (2**40, 2**40, "rows is 1099511627776"),
        (2**13, 2**12, r"rows \* columns is 33554432"),
    ],
)
def test_wrong_sizes(rows: int, columns: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        decode_binary(b"", rows, columns)


def test_wrong_code() -> None:
    with pytest.raises(TypeError):
        Decoder("text")  # type: ignore[arg-type]


def test_no_signs_for_negative_values() -> None:
    with pytest.raises(ValueError, match="least value is -1; allowed are 0 to 2047"):
        encode_binary(matrix([0, -1]), has_signs=False)
