"""Quantisation: bounds, exactness, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcnn_codec.bitstream.limits import MIN_STEP
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.errors import CodecError
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.families.siren.quantise import canonical, dequantise, quantise
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid

SPEC = SirenSpec(frequencies=3, hidden_layers=1, width=7)
#: Four tensors of 2, 1, 1 and 1 values.
TINY = SirenSpec(frequencies=0, hidden_layers=0, width=1, out_channels=1)


@pytest.mark.parametrize("bits", range(4, 13))
def test_values_fill_the_range_and_err_by_half_a_step(bits: int) -> None:
    params = initialise(SPEC, seed=3)
    tensors = quantise(SPEC, params, bits)
    restored = dequantise(SPEC, tensors)
    bound = 2 ** (bits - 1) - 1
    for place, tensor in zip(SPEC.tensors, tensors, strict=True):
        # The step's mantissa has 8 bits, so that rounding it up costs at most 1 part in 128.
        assert bound * 128 / 129 - 0.5 <= tensor.largest <= bound
        error = np.abs(restored[place.place].astype(np.float64) - params[place.place])
        assert error.max() <= float(tensor.step) / 2


@given(st.floats(width=32, min_value=2.0**-149, max_value=2.0**100), st.integers(4, 12))
def test_step_is_the_smallest_bfloat16_that_clips_nothing(largest: float, bits: int) -> None:
    params = np.array([largest, -largest, 0, 0, 0], np.float32)
    step = quantise(TINY, params, bits)[0].step
    bound = 2 ** (bits - 1) - 1
    assert float(step) * bound >= largest
    smaller = (step.view(np.uint32) - np.uint32(0x10000)).view(np.float32)
    assert float(smaller) * bound < largest or step == MIN_STEP


def test_dequantisation_is_exact() -> None:
    rng = np.random.default_rng(0)
    for exponent in (-126, -20, 0, 93):
        upper = np.uint32((exponent + 127) << 23 | int(rng.integers(128)) << 16)
        step = upper.view(np.float32)
        values = rng.integers(-2047, 2048, 2, np.int32)
        one = [QuantisedTensor(np.ones(1, np.int32), np.float32(1))] * 3
        restored = dequantise(TINY, [QuantisedTensor(values, step), *one])
        assert restored[:2].astype(np.float64).tolist() == (values * np.float64(step)).tolist()


def test_zero_tensor_has_step_one() -> None:
    params = np.zeros(SPEC.parameter_count, np.float32)
    tensors = quantise(SPEC, params, 7)
    assert [float(t.step) for t in tensors] == [1.0] * len(tensors)
    assert not dequantise(SPEC, tensors).any()


@pytest.mark.parametrize("bits", [-1, 3, 13])
def test_bits_out_of_range(bits: int) -> None:
    with pytest.raises(CodecError, match=rf"`bits` is {bits}; allowed are 4 to 12; "):
        quantise(SPEC, initialise(SPEC, 0), bits)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0**101])
def test_diverged_parameters(value: float) -> None:
    params = initialise(SPEC, 0)
    params[SPEC.tensors[2].offset] = value
    with pytest.raises(CodecError, match=r"weight1 has .*allowed is at most .*the fit diverged"):
        quantise(SPEC, params, 7)


@pytest.mark.parametrize(
    ("values", "step"),
    [
        (np.array([2048], np.int32), 1.0),
        (np.array([-(2**31)], np.int32), 1.0),
        (np.array([1], np.int64), 1.0),
        (np.array([[1]], np.int32), 1.0),
        (np.array([], np.int32), 1.0),
        (np.array([1], np.int32), 1.001),
        (np.array([1], np.int32), 0.0),
        (np.array([1], np.int32), -1.0),
        (np.array([1], np.int32), np.nan),
        (np.array([1], np.int32), 2.0**101),
    ],
)
def test_faulty_tensors_are_refused(values: np.ndarray, step: float) -> None:
    with pytest.raises(ValueError, match=r"values|step"):
        QuantisedTensor(values, np.float32(step))


def test_wrong_sizes_are_refused() -> None:
    tensors = quantise(SPEC, initialise(SPEC, 0), 7)
    with pytest.raises(ValueError, match="sizes"):
        dequantise(TINY, tensors)
    with pytest.raises(ValueError, match="params"):
        quantise(TINY, initialise(SPEC, 0), 7)


@pytest.mark.parametrize("hidden_layers", [0, 1, 3])
def test_canonical_is_the_same_function_in_order(hidden_layers: int) -> None:
    spec = SirenSpec(hidden_layers=hidden_layers, width=13, frequencies=3)
    before = quantise(spec, initialise(spec, 4), 6)
    after = canonical(spec, before)
    for place, tensor in zip(spec.tensors[:-2], after, strict=False):
        if place.name.startswith("bias"):
            assert (tensor.values >= 0).all()
            assert (np.diff(tensor.values) >= 0).all()
    assert [t.step for t in after] == [t.step for t in before]
    assert [np.sort(np.abs(t.values)).tolist() for t in after] == [
        np.sort(np.abs(t.values)).tolist() for t in before
    ]
    backend = CpuBackend()
    old, new = (backend.evaluate(spec, dequantise(spec, t), Grid(17, 11)) for t in (before, after))
    np.testing.assert_allclose(new, old, atol=1e-5)
    assert [t.values.tolist() for t in canonical(spec, after)] == [t.values.tolist() for t in after]
