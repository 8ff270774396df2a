"""Quantisation: bounds, exactness, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcnn_codec.bitstream.limits import FIRST_STEP, MAX_LEVEL, MAX_ROW, MAX_STEP, MIN_STEP
from tcnn_codec.coders.quantised import MULTIPLIERS, QuantisedTensor
from tcnn_codec.errors import CodecError
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.families.siren.quantise import (
    canonical,
    constant,
    dequantise,
    fold,
    quantise,
    quantise_to,
    step_size,
    step_sizes,
    steps_like,
)
from tcnn_codec.families.siren.renderer import SirenRenderer
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
    for index, (place, tensor) in enumerate(zip(SPEC.tensors, tensors, strict=True)):
        # From step to step it is an eighth at most, from multiplier 8 on.
        assert bound * 8 / 9 - 0.5 <= tensor.largest <= bound
        error = np.abs(restored[place.place].astype(np.float64) - params[place.place])
        assert error.max() <= step_size(SPEC, index, tensor.step) * (0.5 + 1e-4)


@given(st.floats(width=32, min_value=2.0**-149, max_value=2.0**10), st.integers(4, 12))
def test_step_is_the_smallest_that_clips_nothing(largest: float, bits: int) -> None:
    params = np.array([largest, -largest, 0, 0, 0], np.float32)
    bound = 2 ** (bits - 1) - 1
    if largest > bound * step_size(TINY, 0, MAX_STEP):
        with pytest.raises(CodecError, match="the fit diverged"):
            quantise(TINY, params, bits)
        return
    tensor = quantise(TINY, params, bits)[0]
    if not tensor.values.any():
        assert largest <= step_size(TINY, 0, MIN_STEP) / 2
        return
    assert step_size(TINY, 0, tensor.step) * bound >= largest
    assert tensor.step == MIN_STEP or step_size(TINY, 0, tensor.step - 1) * bound < largest


@pytest.mark.parametrize("w0", [1.0, 17.5, 30.0, 100.0])
@pytest.mark.parametrize("hidden_layers", [0, 1, 3, 9])
def test_units_are_those_of_the_format(w0: float, hidden_layers: int) -> None:
    """Evaluation of dequantised parameters in floating point gives the samples of the integers, but
    for what lies in the middle between two levels."""
    spec = SirenSpec(width=19, hidden_layers=hidden_layers, w0=w0, frequencies=7)
    grid = Grid(37, 23)
    tensors = quantise(spec, initialise(spec, 2), 9)
    exact = SirenRenderer().render(spec, tensors, grid).astype(int)
    floating = CpuBackend().render(spec, dequantise(spec, tensors), grid)
    assert np.abs(exact - floating).max() <= 1
    assert np.mean(exact != floating) <= 0.05


def test_dequantisation_is_value_times_step() -> None:
    tensors = [QuantisedTensor(np.arange(p.size, dtype=np.int32), 9) for p in SPEC.tensors]
    found = dequantise(SPEC, tensors)
    sizes = step_sizes(SPEC, tensors)
    values = np.concatenate([np.arange(p.size) for p in SPEC.tensors])
    np.testing.assert_allclose(found, values * sizes.astype(np.float64), rtol=2**-23)
    assert sizes[0] == np.float32(MULTIPLIERS[9] * 2**-18 * 2 * np.pi / 30)
    assert sizes[-1] == np.float32(MULTIPLIERS[9] * 2**-12 / 127.5)


def test_zero_tensors_take_the_step_that_costs_nothing() -> None:
    tensors = quantise(SPEC, np.zeros(SPEC.parameter_count, np.float32), 7)
    assert [t.step for t in tensors] == [FIRST_STEP] * len(tensors)
    params = initialise(SPEC, 0)
    params[SPEC.tensors[3].place] = 0
    tensors = quantise(SPEC, params, 7)
    assert tensors[3].step == tensors[1].step != FIRST_STEP


def test_rows_of_the_output_stay_within_the_format() -> None:
    spec = SirenSpec(width=128, hidden_layers=0, frequencies=1)
    params = initialise(spec, 0)
    params[spec.tensors[2].place] = 1.0
    assert 8 / 9 * (MAX_ROW // 128) <= quantise(spec, params, 12)[2].largest <= MAX_ROW // 128
    finest = quantise_to(spec, params, [MIN_STEP] * 4)
    assert finest[2].largest == MAX_ROW // 128
    assert finest[0].largest == MAX_LEVEL
    params[spec.tensors[2].place] = 1e4
    with pytest.raises(CodecError, match=r"an output of the network may be .* the fit diverged"):
        quantise(spec, params, 12)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_single_colour_is_exact(channels: int) -> None:
    spec = SirenSpec(width=3, hidden_layers=1, frequencies=2, out_channels=channels)
    for level in range(256):
        colour = np.array([level, 255 - level, level // 2, 7][:channels], np.uint8)
        found = SirenRenderer(1).render(spec, constant(spec, colour), Grid(2, 1))
        assert (found == colour).all()


def test_steps_like_are_the_nearest_that_clip_nothing() -> None:
    params = initialise(SPEC, 0)
    steps = [tensor.step for tensor in quantise(SPEC, params, 6)]
    multipliers = MULTIPLIERS[steps]
    assert steps_like(SPEC, params, multipliers) == steps
    factors = [2.0, 0.5, 1.0, 1.0, 1.0, 1.0]
    found = steps_like(SPEC, params, multipliers * factors)
    assert found == [steps[0] + 8, steps[1] - 8, *steps[2:]]
    finest = steps_like(SPEC, params, [1e-9] * 6)
    for index, (place, step) in enumerate(zip(SPEC.tensors, finest, strict=True)):
        largest = np.abs(params[place.place]).max()
        assert largest <= MAX_LEVEL * step_size(SPEC, index, step) * (1 + 1e-9)


def test_steps_like_keep_the_mean_that_was_wanted() -> None:
    """For any factor, though single steps are an eighth apart; but for what is left to tensors that
    are too small to make up for it."""
    spec = SirenSpec(width=24)
    params = initialise(spec, 0)
    multipliers = MULTIPLIERS[[tensor.step for tensor in quantise(spec, params, 6)]]
    sizes = np.array([place.size for place in spec.tensors])
    for factor in np.linspace(0.8, 1.3, 41):
        found = MULTIPLIERS[steps_like(spec, params, multipliers * factor)]
        change = np.log(found / multipliers) @ sizes / sizes.sum()
        assert change == pytest.approx(np.log(factor), abs=5e-3)


@pytest.mark.parametrize("hidden_layers", [0, 1, 3])
def test_fold_is_the_same_function_within_a_quarter_turn(hidden_layers: int) -> None:
    spec = SirenSpec(hidden_layers=hidden_layers, width=13, frequencies=3)
    params = initialise(spec, 4)
    for place in spec.tensors[1:-1:2]:
        params[place.place] *= 7
    folded = fold(spec, params)
    for place in spec.tensors[1:-1:2]:
        assert np.abs(folded[place.place]).max() <= np.pi / 2 / spec.w0 * (1 + 1e-6)
    assert np.abs(params[spec.tensors[1].place]).max() > np.pi / 2 / spec.w0
    backend = CpuBackend()
    old, new = (backend.evaluate(spec, p, Grid(17, 11)) for p in (params, folded))
    np.testing.assert_allclose(new, old, atol=2e-5)


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
        (np.array([2048], np.int32), 80),
        (np.array([-(2**31)], np.int32), 80),
        (np.array([1], np.int64), 80),
        (np.array([[1]], np.int32), 80),
        (np.array([], np.int32), 80),
        (np.array([1], np.int32), 0),
        (np.array([1], np.int32), -1),
        (np.array([1], np.int32), MAX_STEP + 1),
    ],
)
def test_faulty_tensors_are_refused(values: np.ndarray, step: int) -> None:
    with pytest.raises(ValueError, match=r"values|step"):
        QuantisedTensor(values, step)


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
