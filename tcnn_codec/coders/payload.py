"""Entropy coding: quantised tensors to bytes and back. docs/format.md is normative.

A payload is one binary arithmetic code of matrices of integers: the tensors' steps, then the
tensors themselves. Its contexts adapt to the magnitudes of rows and columns. Only integers decide
bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tcnn_codec.bitstream.limits import FIRST_STEP, MAX_LEVEL, MAX_STEP, MIN_STEP
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.dtypes import I32
from tcnn_codec.errors import BitstreamError
from tcnn_codec.layout import Tensor
from tcnn_codec.native import _coders

#: Bytes that no payload is below.
LEAST_PAYLOAD = 0


@dataclass(frozen=True)
class Matrices:
    """What a payload holds.

    tensors: in their order. kinds: tensors come in groups of so many, such as weight and bias; the
    step of each is coded as the difference to that of its like in the group before. ascending: the
    names of those whose values ascend from 0 or more, and are coded as differences. stepless: the
    names of the last of them, which are of no group and whose step is FIRST_STEP; every row of
    theirs is coded as the difference to the row before.
    """

    tensors: tuple[Tensor, ...]
    kinds: int
    ascending: frozenset[str] = frozenset()
    stepless: frozenset[str] = frozenset()

    @property
    def stepped(self) -> int:
        """How many tensors have a step of their own."""
        return len(self.tensors) - len(self.stepless)


def encode_tensors(
    matrices: Matrices,
    tensors: Sequence[QuantisedTensor],
    before: Sequence[QuantisedTensor] | None = None,
) -> bytes:
    """The payload of a chunk, which is the shortest there is; lossless.

    before: None for a key chunk; or the tensors of the chunk before, of the same steps, to whose
    values those that have steps are coded as differences. Raises ValueError where values do not
    ascend that should, or steps differ: a fault of the caller's.
    """
    encoder = _coders.Encoder()
    if before is not None:
        pairs = zip(tensors[: matrices.stepped], before, strict=False)
        if any(new.step != old.step for new, old in pairs):
            raise ValueError("a difference has the steps of the chunk before")
        for index, (place, tensor) in enumerate(zip(matrices.tensors, tensors, strict=True)):
            values = tensor.values.reshape(_rows_columns(place))
            if index < matrices.stepped:
                values = values - before[index].values.reshape(values.shape)
            else:
                values = np.diff(values, axis=0, prepend=np.int32(0))
            encoder.add(values, True)
        return encoder.finish()
    steps = np.array([tensor.step for tensor in tensors[: matrices.stepped]], np.int32)
    steps = steps.reshape(-1, matrices.kinds)
    encoder.add(np.diff(steps, axis=0, prepend=np.int32(FIRST_STEP)), True)
    for place, tensor in zip(matrices.tensors, tensors, strict=True):
        values, has_signs = tensor.values.reshape(_rows_columns(place)), True
        if place.name in matrices.ascending:
            values, has_signs = np.diff(values, prepend=np.int32(0)), False
        elif place.name in matrices.stepless:
            values = np.diff(values, axis=0, prepend=np.int32(0))
        encoder.add(values, has_signs)
    return encoder.finish()


def decode_tensors(
    matrices: Matrices, payload: bytes, before: Sequence[QuantisedTensor] | None = None
) -> tuple[QuantisedTensor, ...]:
    """Inverse of `encode_tensors`. Raises BitstreamError for what docs/format.md does not allow."""
    decoder = _coders.Decoder(payload)
    if before is None:
        steps = _take_steps(matrices, decoder)
    else:
        steps = [tensor.step for tensor in before[: matrices.stepped]]
    steps += [FIRST_STEP] * len(matrices.stepless)
    tensors = []
    for index, (place, step) in enumerate(zip(matrices.tensors, steps, strict=True)):
        ascends = before is None and place.name in matrices.ascending
        values = _take(decoder, place.name, *_rows_columns(place), not ascends)
        has_step = index < matrices.stepped
        if ascends or not has_step or before is not None:
            if before is not None and has_step:
                summed = before[index].values.reshape(values.shape) + values.astype(np.int64)
            else:
                summed = np.cumsum(values, axis=1 if ascends else 0, dtype=np.int64)
            most = int(np.abs(summed).max())
            if most > MAX_LEVEL:
                raise malformed(f"{place.name} has {most}", f"allowed is at most {MAX_LEVEL}")
            values = summed.astype(np.int32)
        tensors.append(QuantisedTensor(values.ravel(), step))
    if len(payload) > decoder.taken:
        raise malformed(
            f"it has {len(payload)} bytes", f"its code ends within {decoder.taken} bytes"
        )
    if payload.endswith(b"\0"):
        raise malformed("it ends with 00", "a code ends with another byte")
    return tuple(tensors)


def _take_steps(matrices: Matrices, decoder: _coders.Decoder) -> list[int]:
    groups = matrices.stepped // matrices.kinds
    changes = _take(decoder, "the steps", groups, matrices.kinds, True)
    steps: list[int] = (FIRST_STEP + np.cumsum(changes, axis=0)).ravel().tolist()
    for place, step in zip(matrices.tensors, steps, strict=False):
        if not MIN_STEP <= step <= MAX_STEP:
            raise malformed(
                f"{place.name} has step {step}", f"allowed are {MIN_STEP} to {MAX_STEP}"
            )
    return steps


def malformed(what: str, allowed: str) -> BitstreamError:
    return BitstreamError(
        f"malformed chunk payload: {what}",
        allowed,
        "its encoder was faulty, encode the source again",
    )


def _take(decoder: _coders.Decoder, name: str, rows: int, columns: int, has_signs: bool) -> I32:
    try:
        return decoder.take(rows, columns, has_signs)
    except ValueError:
        raise malformed(
            f"the code of {name} is impossible", f"magnitudes are at most {MAX_LEVEL}"
        ) from None


def _rows_columns(place: Tensor) -> tuple[int, int]:
    """A bias is a matrix of one row."""
    rows, columns = place.shape if len(place.shape) == 2 else (1, *place.shape)
    return rows, columns
