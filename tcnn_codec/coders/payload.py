"""Entropy coding: quantised tensors to bytes and back. docs/format.md is normative.

There are two coders, and each tensor takes the one with the fewest bits: range coding with a static
table, of the values or, where they ascend, of their differences; and binary arithmetic coding with
contexts that adapt to the magnitudes of rows and columns. Only integers decide bits: tables are
computed in integer arithmetic from what the stream says, so that every machine has the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import constriction  # type: ignore[import-untyped]
import numpy as np

from tcnn_codec.bitstream.limits import MAX_LEVEL, MAX_STEP, MIN_STEP
from tcnn_codec.bitstream.varint import read_varint, write_varint
from tcnn_codec.coders.probability import (
    PRECISION,
    SCALES,
    STATIC_MODELS,
    laplace,
    signed_counts,
    signed_table,
    static_weights,
    unsigned_counts,
    unsigned_table,
    weights,
)
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.dtypes import I32, I64
from tcnn_codec.errors import BitstreamError
from tcnn_codec.layout import Tensor
from tcnn_codec.native import _coders

#: Numbers of the models in the stream: below ASCENDING, a static table of the values; from there,
#: of their differences, one for each scale; then the binarised code.
ASCENDING = STATIC_MODELS
BINARISED = ASCENDING + SCALES
#: Of the header of a tensor.
LEAST_TENSOR_BYTES = 4
MODELS = BINARISED + 1
#: Version 1 of the format has the static models only.
MODELS_OF_VERSION = {1: STATIC_MODELS, 2: MODELS}


@dataclass(frozen=True)
class _Header:
    """What the stream says of one tensor before its symbols.

    bound: the largest symbol, or the bytes of the binarised code.
    """

    step: np.float32
    model: int
    bound: int


def encode_tensors(places: Sequence[Tensor], tensors: Sequence[QuantisedTensor]) -> bytes:
    """The payload of a chunk, in the order of `places`; lossless."""
    tables = static_weights(max(tensor.largest for tensor in tensors))
    models = [
        _cheapest_model(place, tensor, tables)
        for place, tensor in zip(places, tensors, strict=True)
    ]
    return encode_with(places, tensors, models)


def decode_tensors(
    places: Sequence[Tensor], payload: bytes, version: int = max(MODELS_OF_VERSION)
) -> tuple[QuantisedTensor, ...]:
    """Inverse of `encode_tensors`, for a network whose tensors are these, in their order.

    version: of the format, a key of MODELS_OF_VERSION. Raises BitstreamError for every payload that
    no encoder writes: the tensors found are coded again and must give the same bytes.
    """
    headers, at = _read_headers(places, payload, MODELS_OF_VERSION[version])
    codes = []
    for header in headers:
        length = header.bound if header.model == BINARISED else 0
        codes.append(payload[at : at + length])
        at += length
    padding = bytes(-(len(payload) - at) % 4)
    words = np.frombuffer(payload[at:] + padding, dtype=">u4").astype(np.uint32)
    decoder = constriction.stream.queue.RangeDecoder(words)
    tensors = []
    for place, header, code in zip(places, headers, codes, strict=True):
        try:
            values = _decode(decoder, place, header, code)
        except (AssertionError, ValueError) as error:  # constriction's, and the binarised code's
            raise _malformed(f"the code of {place.name} is impossible") from error
        if np.abs(values).max() > MAX_LEVEL or (header.model == BINARISED and not values.any()):
            raise _malformed(f"{place.name} is out of range")
        tensors.append(QuantisedTensor(values.astype(np.int32, copy=False).ravel(), header.step))
    if encode_with(places, tensors, [header.model for header in headers]) != payload:
        raise _malformed("its bytes are not those that its content encodes to")
    return tuple(tensors)


def encode_with(
    places: Sequence[Tensor], tensors: Sequence[QuantisedTensor], models: Sequence[int]
) -> bytes:
    """The payload with one model per tensor, each able to code it."""
    headers, codes = bytearray(), bytearray()
    encoder = constriction.stream.queue.RangeEncoder()
    for place, tensor, model in zip(places, tensors, models, strict=True):
        bound = tensor.largest
        if model == BINARISED:
            code = _coders.encode_binary(_matrix(place, tensor))
            codes += code
            bound = len(code)
        elif bound > 0:
            bound = _encode(encoder, tensor, model)
        headers += (int(tensor.step.view(np.uint32)) >> 16).to_bytes(2, "little")
        headers.append(model)
        headers += write_varint(bound)
    return bytes(headers + codes) + _shortest_code(encoder)


def _encode(
    encoder: constriction.stream.queue.RangeEncoder, tensor: QuantisedTensor, model: int
) -> int:
    """Code a tensor that is not all 0; returns the largest symbol."""
    if model < ASCENDING:
        table = signed_table(signed_counts(weights(np.array([model]), tensor.largest))[0])
        encoder.encode(tensor.values + np.int32(tensor.largest), table)
        return tensor.largest
    steps = np.diff(tensor.values, prepend=np.int32(0))
    encoder.encode(steps, _ascending_table(model, int(steps.max())))
    return int(steps.max())


def _decode(
    decoder: constriction.stream.queue.RangeDecoder, place: Tensor, header: _Header, code: bytes
) -> I32:
    """The values of one tensor, int32 [rows, columns] or [size]."""
    model, bound = header.model, header.bound
    if model == BINARISED:
        return _coders.decode_binary(code, *_rows_columns(place))
    if bound == 0:
        return np.zeros(place.size, np.int32)
    if model < ASCENDING:
        table = signed_table(signed_counts(weights(np.array([model]), bound))[0])
        signed: I32 = decoder.decode(table, place.size) - np.int32(bound)
        return signed
    steps = decoder.decode(_ascending_table(model, bound), place.size)
    return np.cumsum(steps, dtype=np.int32)


def _ascending_table(model: int, largest: int) -> constriction.stream.model.Categorical:
    scale = np.array([model - ASCENDING])
    return unsigned_table(unsigned_counts(weights(laplace(scale), largest))[0])


def _rows_columns(place: Tensor) -> tuple[int, int]:
    """A bias is a matrix of one row."""
    rows, columns = place.shape if len(place.shape) == 2 else (1, *place.shape)
    return rows, columns


def _matrix(place: Tensor, tensor: QuantisedTensor) -> I32:
    return tensor.values.reshape(_rows_columns(place))


def _cheapest_model(place: Tensor, tensor: QuantisedTensor, tables: I64) -> int:
    """The model of least code length. tables: int64 [STATIC_MODELS, ≥ largest + 1] weights."""
    if tensor.largest == 0:
        return 0
    candidates = [
        cheapest_static(tensor, tables),
        *_cheapest_ascending(tensor, tables),
        _binarised(place, tensor),
    ]
    return min(candidates)[1]


def cheapest_static(tensor: QuantisedTensor, tables: I64) -> tuple[float, int]:
    """(bits, model). tables: `static_weights` of the tensor's largest magnitude or more."""
    histogram = np.bincount(np.abs(tensor.values))
    seen = np.flatnonzero(histogram)
    counts = signed_counts(tables[:, : histogram.size])[:, seen]
    bits = (PRECISION - np.log2(counts)) @ histogram[seen]
    return float(bits.min()), int(np.argmin(bits))


def _cheapest_ascending(tensor: QuantisedTensor, tables: I64) -> list[tuple[float, int]]:
    """[(bits, model)], empty unless the values ascend from 0 or more."""
    steps = np.diff(tensor.values, prepend=np.int32(0))
    if steps.min() < 0:
        return []
    histogram = np.bincount(steps)
    counts = unsigned_counts(tables[laplace(np.arange(SCALES)), : histogram.size])
    bits = (PRECISION - np.log2(counts)) @ histogram
    return [(float(bits.min()), ASCENDING + int(np.argmin(bits)))]


def _binarised(place: Tensor, tensor: QuantisedTensor) -> tuple[float, int]:
    """(bits, model); its length in the header is longer than the bound of other models."""
    length = len(_coders.encode_binary(_matrix(place, tensor)))
    return 8.0 * (length + len(write_varint(length)) - 1), BINARISED


def _read_headers(
    places: Sequence[Tensor], payload: bytes, models: int
) -> tuple[list[_Header], int]:
    """The header of every tensor and the position behind them. models: how many are allowed."""
    headers = []
    at = 0
    for place in places:
        try:
            step = np.uint32((payload[at] | payload[at + 1] << 8) << 16).view(np.float32)
            model = payload[at + 2]
            bound, at = read_varint(payload, at + 3)
        except IndexError:
            raise _malformed(f"it ends in the header of {place.name}") from None
        except ValueError as error:
            raise _malformed(f"in the header of {place.name}, {error}") from None
        if not MIN_STEP <= step <= MAX_STEP:
            raise _malformed(f"{place.name} has step {step}")
        if model >= models or (bound == 0 and model not in (0, BINARISED)):
            raise _malformed(f"{place.name} has model {model}")
        if bound > (len(payload) if model == BINARISED else MAX_LEVEL):
            raise _malformed(f"{place.name} has bound {bound}")
        headers.append(_Header(step, model, bound))
    return headers, at


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
        f"malformed chunk payload: {what}", remedy="its encoder was faulty, encode the source again"
    )
