"""The payload of a SIREN: which matrices it holds, and what holds of them besides.

docs/format.md, sections 6 and 8.4, is normative.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tcnn_codec.bitstream.limits import MAX_CODE, MAX_ROW, MAX_ROW_VALUE
from tcnn_codec.coders.payload import Matrices, decode_tensors, encode_tensors, malformed
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.families.siren.spec import SirenSpec


def encode(
    spec: SirenSpec,
    tensors: Sequence[QuantisedTensor],
    before: Sequence[QuantisedTensor] | None = None,
) -> bytes:
    return encode_tensors(_matrices(spec), tensors, before)


def decode(
    spec: SirenSpec, payload: bytes, before: Sequence[QuantisedTensor] | None = None
) -> tuple[QuantisedTensor, ...]:
    """Raises BitstreamError for a malformed payload."""
    tensors = decode_tensors(_matrices(spec), payload, before)
    if spec.time_codes and (most := tensors[-1].largest) > MAX_CODE:
        raise malformed(f"a code has magnitude {most}", f"allowed is at most {MAX_CODE}")
    if (fault := output_fault(spec, tensors)) is not None:
        raise malformed(*fault)
    return tensors


def output_fault(spec: SirenSpec, tensors: Sequence[QuantisedTensor]) -> tuple[str, str] | None:
    """What is wrong with the output layer, and what is allowed; None where all is well.

    Within these bounds 32 bits hold its sums, and 53 bits its values.
    """
    weight, bias = tensors[len(spec.layer_tensors) - 2 : len(spec.layer_tensors)]
    rows = np.abs(weight.values.reshape(spec.out_channels, -1)).sum(axis=1, dtype=np.int64)
    if (most := int(rows.max())) > MAX_ROW:
        return f"a row of the output has magnitude {most}", f"allowed is at most {MAX_ROW}"
    values = weight.multiplier * rows + bias.multiplier * np.abs(bias.values.astype(np.int64))
    if (most := int(values.max())) > MAX_ROW_VALUE:
        return f"an output of the network may be {most}", f"allowed is at most {MAX_ROW_VALUE}"
    return None


@lru_cache(maxsize=16)
def _matrices(spec: SirenSpec) -> Matrices:
    biases = (place.name for place in spec.layer_tensors[1:-1:2])
    return Matrices(
        tensors=spec.tensors,
        kinds=2,
        ascending=frozenset(biases),
        stepless=frozenset(["codes"] if spec.time_codes else []),
    )
