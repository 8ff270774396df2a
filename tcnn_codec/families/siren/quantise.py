"""Quantisation: a flat float32 parameter vector to one integer array and one step per tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.bitstream.limits import MAX_LEVEL, MAX_STEP, MIN_STEP
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.dtypes import F32
from tcnn_codec.errors import CodecError
from tcnn_codec.families.contract import MAX_BITS, MIN_BITS
from tcnn_codec.families.siren.spec import SirenSpec


def quantise(spec: SirenSpec, params: F32, bits: float) -> tuple[QuantisedTensor, ...]:
    """Round each tensor to a symmetric grid of `bits` bits; in the order of `spec.tensors`.

    params: float32 [spec.parameter_count]. bits: 4 to 12, whole or not; |values| ≤ 2**(bits-1) - 1.
    The step is the largest magnitude over that bound, rounded up to bfloat16, so that nothing
    is clipped. An all-zero tensor has step 1. Raises CodecError for bits out of range and for
    parameters that are not finite or beyond MAX_STEP.
    """
    if not MIN_BITS <= bits <= MAX_BITS:
        raise CodecError(f"`bits` is {bits}", f"allowed are {MIN_BITS} to {MAX_BITS}", "6 is usual")
    if params.shape != (spec.parameter_count,):
        raise ValueError(f"params are {params.shape}; this network has {spec.parameter_count}")
    bound = 2 ** (bits - 1) - 1
    steps = []
    for tensor in spec.tensors:
        largest = float(np.abs(params[tensor.place]).max())
        if not largest <= MAX_STEP:
            raise CodecError(
                f"{tensor.name} has a parameter of magnitude {largest:g}",
                f"allowed is at most {MAX_STEP:g}",
                "the fit diverged, try another `seed` or the `preset` 'balanced'",
            )
        steps.append(_step_at_least(largest, bound) if largest > 0 else np.float32(1))
    return quantise_to(spec, params, steps)


def constant(spec: SirenSpec, colour: NDArray[np.uint8]) -> tuple[QuantisedTensor, ...]:
    """The network that decodes to one colour, uint8 [out_channels], exactly; it takes few bytes.

    Every weight is 0, and the output's bias is off by half a step at most: 1/32 of a level.
    """
    params = np.zeros(spec.parameter_count, np.float32)
    params[spec.tensors[-1].place] = colour.astype(np.float32) / np.float32(127.5) - 1
    return quantise(spec, params, MAX_BITS)


def quantise_to(
    spec: SirenSpec, params: F32, steps: Sequence[np.float32]
) -> tuple[QuantisedTensor, ...]:
    """Round each tensor to multiples of its step; none may exceed MAX_LEVEL of them."""
    found = []
    for tensor, step in zip(spec.tensors, steps, strict=True):
        levels = np.rint(params[tensor.place].astype(np.float64) / float(step))
        found.append(QuantisedTensor(levels.astype(np.int32), step))
    return tuple(found)


def step_like(value: float, largest: float) -> np.float32:
    """The step nearest to a positive value that keeps weights up to `largest` within MAX_LEVEL."""
    clipped = np.float32(min(max(value, MIN_STEP), MAX_STEP))
    nearest = _from_bfloat16((int(clipped.view(np.uint32)) + 0x8000) >> 16)
    return max(nearest, _step_at_least(largest, MAX_LEVEL))


def canonical(spec: SirenSpec, tensors: Sequence[QuantisedTensor]) -> tuple[QuantisedTensor, ...]:
    """The same function with every sine layer's biases ascending from 0 or more.

    Neurons of a layer may change places, and sine is odd, so that the signs of a neuron's inputs
    and outputs may change together. Ordered biases cost up to log2(width!) + width bits a layer
    less.
    """
    values = [t.values.reshape(p.shape) for t, p in zip(tensors, spec.tensors, strict=True)]
    for layer in range(spec.hidden_layers + 1):
        weight, bias, later = values[2 * layer : 2 * layer + 3]
        sign = np.where(bias < 0, -1, 1).astype(np.int32)
        order = np.argsort(np.abs(bias), kind="stable")
        values[2 * layer] = (sign[:, None] * weight)[order]
        values[2 * layer + 1] = np.abs(bias)[order]
        values[2 * layer + 2] = (later * sign)[:, order]
    return tuple(QuantisedTensor(v.ravel(), t.step) for v, t in zip(values, tensors, strict=True))


def dequantise(spec: SirenSpec, tensors: Sequence[QuantisedTensor]) -> F32:
    """The flat parameter vector, float32 [spec.parameter_count]: values * step, exactly.

    Raises ValueError if the tensors are not those of `spec`.
    """
    places = spec.tensors
    if [t.values.size for t in tensors] != [place.size for place in places]:
        raise ValueError("the quantised tensors do not have the sizes of the network's tensors")
    params = np.empty(spec.parameter_count, np.float32)
    for place, tensor in zip(places, tensors, strict=True):
        params[place.place] = tensor.values.astype(np.float32) * tensor.step
    return params


def _step_at_least(largest: float, bound: float) -> np.float32:
    """Smallest bfloat16 step ≥ MIN_STEP with step * bound ≥ largest; the product is exact."""
    upper = int(np.float32(max(largest / bound, MIN_STEP)).view(np.uint32)) >> 16
    step = _from_bfloat16(upper)
    return step if float(step) * bound >= largest else _from_bfloat16(upper + 1)


def _from_bfloat16(upper: int) -> np.float32:
    return np.uint32(upper << 16).view(np.float32)
