"""The model's shape, the flat layout and the sampling grid."""

from __future__ import annotations

import numpy as np
import pytest

from tcnn_codec.errors import CodecError
from tcnn_codec.families.siren.spec import SirenSpec, encode_axis
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid, axis_coordinates


@pytest.mark.parametrize(
    ("width", "count"), [(32, 5411), (48, 10419), (64, 16963), (96, 34659), (128, 58499)]
)
def test_parameter_counts_of_the_paper(width: int, count: int) -> None:
    spec = SirenSpec(width=width)
    assert spec.parameter_count == count
    assert sum(tensor.size for tensor in spec.tensors) == count


def test_flat_layout_is_weight_then_bias_per_layer() -> None:
    spec = SirenSpec(width=3, hidden_layers=1, frequencies=1)
    assert [(t.name, t.shape, t.offset) for t in spec.tensors] == [
        ("weight0", (3, 6), 0),
        ("bias0", (3,), 18),
        ("weight1", (3, 3), 21),
        ("bias1", (3,), 30),
        ("weight2", (3, 3), 33),
        ("bias2", (3,), 42),
    ]


def test_coordinates_are_pixel_centres() -> None:
    assert axis_coordinates(4).tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert axis_coordinates(1).tolist() == [0.0]


def test_encoding_is_position_sines_cosines() -> None:
    encoded = encode_axis(2, frequencies=2, scale=1.5)
    p = np.array([[-0.5], [0.5]])
    expected = [p, np.sin(np.pi * p), np.sin(1.5 * np.pi * p)]
    expected += [np.cos(np.pi * p), np.cos(1.5 * np.pi * p)]
    assert encoded.dtype == np.float32
    assert np.array_equal(encoded, np.concatenate(expected, axis=1).astype(np.float32))


def test_grid_counts_pixels() -> None:
    grid = Grid(width=4, height=3, frames=2)
    assert grid.pixels == 24
    assert grid.axis_sizes(2) == (4, 3)
    assert grid.axis_sizes(3) == (4, 3, 2)


def test_initialisation_has_siren_bounds_and_is_reproducible() -> None:
    spec = SirenSpec(width=128)
    params = initialise(spec, 7)
    assert np.array_equal(params, initialise(spec, 7))
    assert not np.array_equal(params, initialise(spec, 8))
    bounds = {"weight0": 1 / 66, "weight1": (6 / 128) ** 0.5 / 30, "bias1": 128**-0.5}
    for tensor in spec.tensors:
        if tensor.name in bounds:
            largest = np.abs(params[tensor.place]).max()
            assert 0.9 * bounds[tensor.name] < largest <= bounds[tensor.name]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("axes", 4),
        ("frequencies", -1),
        ("frequencies", 33),
        ("hidden_layers", 33),
        ("width", 0),
        ("width", 129),
        ("width", 32.5),
        ("width", True),
        ("out_channels", 2),
        ("scale", 0.0),
        ("w0", float("nan")),
    ],
)
def test_values_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(CodecError, match=rf"{field} is {value}; allowed are .*; "):
        SirenSpec(**{field: value})
