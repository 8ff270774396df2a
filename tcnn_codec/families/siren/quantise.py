"""Quantisation: a flat float32 parameter vector to one integer array and one step per tensor.

A weight or bias of a sine layer is value * multiplier * 2**-18 turns, w0 included, and one of the
output layer value * multiplier * 2**-12 levels of an 8-bit sample (docs/format.md, section 8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.bitstream.limits import FIRST_STEP, MAX_CODE, MAX_LEVEL, MAX_ROW, MIN_STEP
from tcnn_codec.coders.quantised import MULTIPLIERS, QuantisedTensor
from tcnn_codec.dtypes import F32
from tcnn_codec.errors import CodecError
from tcnn_codec.families.contract import MAX_BITS, MIN_BITS
from tcnn_codec.families.siren.payload import output_fault
from tcnn_codec.families.siren.spec import SirenSpec

#: In turns, and in levels of a sample; the output's -1 to 1 are 0 to 255.
_SINE_UNIT, _OUTPUT_UNIT = 2.0**-18, 2.0**-12 / 127.5
#: Of the multipliers from MIN_STEP on, and how far two of them are apart at most, but the first.
_LOGARITHMS = np.log(MULTIPLIERS[MIN_STEP:])
_APART = math.log(9 / 8)


def quantise(spec: SirenSpec, params: F32, bits: float) -> tuple[QuantisedTensor, ...]:
    """Round each tensor to a symmetric grid of `bits` bits; in the order of `spec.tensors`.

    params: float32 [spec.parameter_count]. bits: 4 to 12, whole or not; |values| ≤ 2**(bits-1) - 1.
    The step is the least that clips nothing. Raises CodecError for bits out of range and for
    parameters that are not finite or beyond the largest step.
    """
    if not MIN_BITS <= bits <= MAX_BITS:
        raise CodecError(f"`bits` is {bits}", f"allowed are {MIN_BITS} to {MAX_BITS}", "6 is usual")
    if params.shape != (spec.parameter_count,):
        raise ValueError(f"params are {params.shape}; this network has {spec.parameter_count}")
    wanted = least_multipliers(spec, params, 2 ** (bits - 1) - 1)
    return quantise_to(spec, params, [_step_at_least(least) for least in wanted])


def constant(spec: SirenSpec, colour: NDArray[np.uint8]) -> tuple[QuantisedTensor, ...]:
    """The network that decodes to one colour, uint8 [out_channels], exactly; it takes few bytes.

    Every weight is 0, and the output's bias counts half levels.
    """
    half_levels = 2 * colour.astype(np.int32) - 255
    found = [_zeros(tensor.size) for tensor in spec.tensors]
    step = int(np.searchsorted(MULTIPLIERS, 2**11))
    found[len(spec.layer_tensors) - 1] = QuantisedTensor(half_levels, step)
    return tuple(found)


def quantise_to(spec: SirenSpec, params: F32, steps: Sequence[int]) -> tuple[QuantisedTensor, ...]:
    """Round each tensor to multiples of the steps of these indices.

    steps: of the layers' tensors; codes, which are whole numbers, have none of their own.
    What exceeds most_level of them is clipped. A tensor of zeros takes the step that costs nothing.
    Raises CodecError where the output layer is so large that no file may have it.
    """
    found: list[QuantisedTensor] = []
    for index, (tensor, step) in enumerate(zip(spec.layer_tensors, steps, strict=True)):
        most = most_level(spec, index)
        levels = params[tensor.place].astype(np.float64) / step_size(spec, index, step)
        values = np.rint(levels).clip(-most, most).astype(np.int32)
        if not values.any():
            step = found[index - 2].step if index >= 2 else FIRST_STEP
        found.append(QuantisedTensor(values, step))
    if spec.time_codes:
        codes = np.rint(params[spec.layer_parameters :]).clip(-MAX_CODE, MAX_CODE)
        found.append(QuantisedTensor(codes.astype(np.int32), FIRST_STEP))
    if (fault := output_fault(spec, found)) is not None:
        raise _diverged(*fault)
    return tuple(found)


def step_size(spec: SirenSpec, index: int, step: int) -> float:
    """The quantisation step of tensor `index` of the layers' as a parameter. step: its index."""
    unit = (
        _OUTPUT_UNIT if index >= len(spec.layer_tensors) - 2 else _SINE_UNIT * 2 * math.pi / spec.w0
    )
    return float(MULTIPLIERS[step]) * unit


def step_sizes(spec: SirenSpec, tensors: Sequence[QuantisedTensor]) -> F32:
    """The quantisation step of every parameter, float32 [parameter_count]; 1 of codes."""
    layers = tensors[: len(spec.layer_tensors)]
    sizes = [step_size(spec, index, tensor.step) for index, tensor in enumerate(layers)]
    sizes += [1.0] * (len(tensors) - len(layers))
    return np.repeat(np.array(sizes, np.float32), [tensor.values.size for tensor in tensors])


def most_level(spec: SirenSpec, index: int) -> int:
    """The largest magnitude of tensor `index`, so that no row of the output's weights has more than
    the format allows."""
    is_output = index == len(spec.layer_tensors) - 2
    return min(MAX_LEVEL, MAX_ROW // spec.width) if is_output else MAX_LEVEL


def most_levels(spec: SirenSpec) -> NDArray[np.float32]:
    """most_level of every weight and bias, float32 [layer_parameters]."""
    most = [most_level(spec, index) for index in range(len(spec.layer_tensors))]
    return np.repeat(np.array(most, np.float32), [tensor.size for tensor in spec.layer_tensors])


def least_multipliers(spec: SirenSpec, params: F32, bound: float) -> list[float]:
    """Of each tensor the least multiplier, not necessarily whole, by which no parameter exceeds
    `bound` levels.

    Raises CodecError where a parameter is not finite or too large for any.
    """
    found = []
    for index, tensor in enumerate(spec.layer_tensors):
        largest = float(np.abs(params[tensor.place]).max())
        of_one = min(bound, most_level(spec, index)) * step_size(spec, index, MIN_STEP)
        if not largest <= MULTIPLIERS[-1] * of_one:
            raise _diverged(
                f"{tensor.name} has a parameter of magnitude {largest:g}",
                f"allowed is at most {MULTIPLIERS[-1] * of_one:g}",
            )
        found.append(largest / of_one)
    return found


def steps_like(spec: SirenSpec, params: F32, wanted: Sequence[float]) -> list[int]:
    """Of each tensor a step near to these multipliers, none so small that it clips.

    The steps there are lie an eighth apart. Where one is larger or smaller than wanted, those of
    the next smaller tensors make up for it, so that the mean of log(step) over parameters, and with
    it the rate, is the one wanted.
    """
    least = least_multipliers(spec, params, MAX_LEVEL)
    sizes = [tensor.size for tensor in spec.layer_tensors]
    found = [0] * len(sizes)
    owed = 0.0
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        goal = math.log(max(wanted[index], 1.0))
        shift = min(_APART, max(-_APART, owed / sizes[index]))
        nearest = int(np.argmin(np.abs(_LOGARITHMS - goal - shift))) + MIN_STEP
        found[index] = max(nearest, _step_at_least(least[index]))
        owed += sizes[index] * (goal - float(_LOGARITHMS[found[index] - MIN_STEP]))
    return found


def fold(spec: SirenSpec, params: F32) -> F32:
    """The same function with the bias of every sine layer within a quarter turn, float32 [size].

    Half a turn more in a neuron's phase changes the sign of its sine, which the weights that it
    feeds can make up for. Biases that span less take fewer bits.
    """
    folded = params.copy()
    parts = [folded[tensor.place].reshape(tensor.shape) for tensor in spec.tensors]
    half_turn = math.pi / spec.w0
    for layer in range(spec.hidden_layers + 1):
        bias, later = parts[2 * layer + 1], parts[2 * layer + 2]
        halves = np.rint(bias.astype(np.float64) / half_turn)
        bias[:] = bias - halves * half_turn
        later *= np.where(halves % 2 == 0, 1, -1).astype(np.float32)
    return folded


def canonical(spec: SirenSpec, tensors: Sequence[QuantisedTensor]) -> tuple[QuantisedTensor, ...]:
    """The same function with every sine layer's biases ascending from 0 or more.

    Neurons of a layer may change places, and sine is odd, so that the signs of a neuron's inputs
    and outputs may change together. The format wants this order: ordered biases cost up to
    log2(width!) + width bits a layer less.
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
    """The flat parameter vector, float32 [spec.parameter_count]: value * step, rounded.

    What a decoder shows is computed from the integers themselves. Raises ValueError if the tensors
    are not those of `spec`.
    """
    if [t.values.size for t in tensors] != [place.size for place in spec.tensors]:
        raise ValueError("the quantised tensors do not have the sizes of the network's tensors")
    values = np.concatenate([tensor.values for tensor in tensors])
    return values.astype(np.float32) * step_sizes(spec, tensors)


def _step_at_least(multiplier: float) -> int:
    """Index of the smallest step of this multiplier or more."""
    # What rounding makes of a quotient is no reason for a larger step.
    return max(MIN_STEP, int(np.searchsorted(MULTIPLIERS, multiplier * (1 - 1e-12))))


def _diverged(value: str, allowed: str) -> CodecError:
    return CodecError(
        value, allowed, "the fit diverged, try another `seed` or the `preset` 'balanced'"
    )


def _zeros(size: int) -> QuantisedTensor:
    return QuantisedTensor(np.zeros(size, np.int32), FIRST_STEP)
