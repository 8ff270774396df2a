"""Networks in integers that every instruction set, and every machine, must show alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import integer_oracle as oracle
import numpy as np
from numpy.typing import NDArray

from tcnn_codec.coders.quantised import QuantisedTensor, multiplier
from tcnn_codec.dtypes import I32, U8
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.grid import Grid

LARGEST, LAST_STEP = 2047, 175
#: Of docs/format.md, section 8.4: of the magnitudes of an output row, and with its multipliers.
ROW, ROW_VALUE = 2**17, 2**38


@dataclass(frozen=True)
class IntegerCase:
    """A network and a grid. draw(case, rng): its integers, and the steps of its tensors."""

    name: str
    spec: SirenSpec
    grid: Grid
    draw: Callable[[IntegerCase, np.random.Generator], tuple[list[I32], list[int]]]
    threads: int = 2
    seed: int = 0

    @property
    def tensors(self) -> tuple[QuantisedTensor, ...]:
        rng = np.random.default_rng(self.seed)
        values, steps = self.draw(self, rng)
        bounded(self.spec, values, steps)
        if self.spec.time_codes:
            codes = rng.integers(-31, 32, self.spec.tensors[-1].size)
            values, steps = [*values, codes], [*steps, 80]
        pairs = zip(values, steps, strict=True)
        return tuple(QuantisedTensor(v.astype(np.int32), step) for v, step in pairs)

    @property
    def layers(self) -> tuple[QuantisedTensor, ...]:
        """The tensors but the codes."""
        return self.tensors[: len(self.spec.layer_tensors)]

    @property
    def values(self) -> I32:
        return np.concatenate([tensor.values for tensor in self.layers])

    @property
    def multipliers(self) -> I32:
        return np.array([tensor.multiplier for tensor in self.layers], np.int32)

    @property
    def encodings(self) -> list[NDArray[np.int16]]:
        """As docs/format.md has them."""
        spec = self.spec
        scale = round(1000 * spec.scale)
        sizes = self.grid.axis_sizes(spec.axes)
        found = [
            encode(count, scale, size)
            for count, size in zip(spec.axis_frequencies, sizes, strict=True)
        ]
        if spec.time_codes:
            codes = self.tensors[-1].values.reshape(spec.frames, spec.time_codes)
            found[2] = np.concatenate([found[2], 2**10 * codes.astype(np.int64)], axis=1)
        return [axis.astype(np.int16) for axis in found]

    @property
    def expected(self) -> U8:
        """uint8 [frames, height, width, channels]"""
        return _expected(self)


@lru_cache(maxsize=64)
def encode(frequencies: int, scale: int, size: int) -> oracle.I64:
    return oracle.encode(frequencies, scale, size)


@lru_cache(maxsize=256)
def _expected(case: IntegerCase) -> U8:
    arrays = [
        tensor.values.astype(np.int64).reshape(place.shape)
        for tensor, place in zip(case.layers, case.spec.layer_tensors, strict=True)
    ]
    by = [tensor.multiplier for tensor in case.layers]
    layers = list(zip(arrays[::2], arrays[1::2], strict=True))
    axes = [axis.astype(np.int64) for axis in case.encodings]
    return oracle.evaluate(layers, list(zip(by[::2], by[1::2], strict=True)), axes)


def bounded(spec: SirenSpec, values: list[I32], steps: list[int]) -> None:
    """Brings the output layer within the bounds of a file, in place: smaller steps and weights."""
    weight = values[-2].reshape(spec.out_channels, -1)
    while np.abs(weight).sum(axis=1).max() >= ROW:
        weight[:] = np.trunc(weight / 1.1)
    rows, bias = np.abs(weight).sum(axis=1), np.abs(values[-1])
    while (multiplier(steps[-2]) * rows).max() >= ROW_VALUE // 2:
        steps[-2] -= 1
    while (multiplier(steps[-1]) * bias).max() >= ROW_VALUE // 2:
        steps[-1] -= 1


def written(case: IntegerCase) -> bytes:
    """A case as tests/integer/cases.h reads it."""
    spec, grid = case.spec, case.grid
    sizes = grid.width, grid.height, grid.frames if spec.axes == 3 else 1
    features = spec.axis_features
    head = spec.axes, features[0], features[-1], spec.hidden_layers, spec.width
    head = *head, spec.out_channels, *sizes
    arrays = case.values, case.multipliers, *case.encodings
    words = np.array([*head, case.threads], np.int32)
    return b"".join(array.tobytes() for array in (words, *arrays))


# ---- ways to draw --------------------------------------------------------------------------------


def usual(case: IntegerCase, rng: np.random.Generator) -> tuple[list[I32], list[int]]:
    """About 6 bits of a weight, and steps that make a picture."""
    values, steps = [], []
    for tensor in case.spec.layer_tensors:
        values.append(rng.integers(-31, 32, tensor.size).astype(np.int32))
        steps.append(int(rng.integers(72, 84)))
    # Levels of the output layer: its weights are some tens of levels each.
    steps[-2:] = [100, 110]
    return values, steps


def anything(case: IntegerCase, rng: np.random.Generator) -> tuple[list[I32], list[int]]:
    values, steps = [], []
    for tensor in case.spec.layer_tensors:
        most = int(rng.choice([1, 31, 500, LARGEST]))
        values.append(rng.integers(-most, most + 1, tensor.size).astype(np.int32))
        steps.append(int(rng.integers(1, LAST_STEP + 1)))
    return values, steps


def largest(case: IntegerCase, rng: np.random.Generator) -> tuple[list[I32], list[int]]:
    """Every value at the bound, of either sign, and the largest steps."""
    sizes = [tensor.size for tensor in case.spec.layer_tensors]
    values = [rng.choice([-LARGEST, LARGEST], size).astype(np.int32) for size in sizes]
    return values, [LAST_STEP] * len(sizes)


def all_of(value: int, step: int) -> Callable[..., tuple[list[I32], list[int]]]:
    """The same value everywhere."""

    def draw(case: IntegerCase, rng: np.random.Generator) -> tuple[list[I32], list[int]]:
        tensors = case.spec.layer_tensors
        return [np.full(tensor.size, value, np.int32) for tensor in tensors], [step] * len(tensors)

    return draw


def steps_from(first: int) -> Callable[..., tuple[list[I32], list[int]]]:
    """One step after another, from layer to layer: of weights upwards, of biases downwards."""

    def draw(case: IntegerCase, rng: np.random.Generator) -> tuple[list[I32], list[int]]:
        values, steps = anything(case, rng)
        for layer in range(len(steps) // 2):
            steps[2 * layer] = min(first + layer, LAST_STEP)
            steps[2 * layer + 1] = max(LAST_STEP + 1 - first - layer, 1)
        return values, steps

    return draw


def _spec(
    width: int,
    hidden: int = 2,
    frequencies: int = 5,
    channels: int = 3,
    axes: int = 2,
    scale: float = 1.4,
) -> SirenSpec:
    return SirenSpec(
        axes=axes,
        frequencies=frequencies,
        hidden_layers=hidden,
        width=width,
        out_channels=channels,
        scale=scale,
    )


def _times(width: int, frequencies: int, codes: int = 0) -> SirenSpec:
    return replace(_spec(width, axes=3), time_frequencies=frequencies, time_codes=codes)


Case = IntegerCase
CASES = (
    Case("paper-32", SirenSpec(), Grid(53, 17), usual),
    Case("paper-64", SirenSpec(width=64), Grid(96, 5), usual),
    Case("five-69", SirenSpec(width=69, hidden_layers=5), Grid(50, 7), usual),
    Case("paper-128", SirenSpec(width=128), Grid(50, 5), usual, threads=3),
    Case("video", SirenSpec(axes=3, width=32), Grid(24, 7, 5), usual),
    Case("video-one-frame", _spec(16, axes=3), Grid(20, 10, 1), usual),
    Case("tiles-and-tasks", _spec(6, hidden=1), Grid(199, 67), usual, threads=3),
    Case("tiles-and-tasks-grey", _spec(5, hidden=1, channels=1), Grid(64, 97), usual, threads=1),
    Case("video-of-narrow-frames", _spec(9, axes=3, channels=4), Grid(5, 3, 31), usual, threads=3),
    *(
        Case(f"width-{w}", _spec(w, hidden=w % 4, channels=(1, 3, 4)[w % 3]), Grid(19, 4), anything)
        for w in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 31, 33, 47, 56, 63, 65, 80, 97, 112, 127)
    ),
    *(
        Case(f"channels-{c}-axes-{a}", _spec(20, channels=c, axes=a), Grid(21, 5, a - 1), usual)
        for c in (1, 3, 4)
        for a in (2, 3)
    ),
    *(
        Case(f"grid-{w}x{h}", _spec(12, channels=c), Grid(w, h), usual)
        for w, h, c in (
            *((1, 1, 3), (1, 97, 3), (143, 1, 4), (2, 50, 1), (15, 9, 3), (16, 7, 3), (17, 7, 1)),
            *((47, 3, 4), (48, 3, 3), (49, 3, 3), (95, 2, 1), (97, 2, 3), (3, 3, 3), (4, 13, 4)),
        )
    ),
    Case("few-times", _times(17, 3), Grid(23, 5, 7), usual),
    Case("more-times", _times(30, 32), Grid(23, 5, 7), anything, threads=3),
    Case("codes", _times(32, 6, 8).of(7), Grid(23, 5, 7), usual),
    Case("codes-alone", _times(12, 0, 3).of(5), Grid(17, 3, 5), usual, threads=3),
    Case("most-codes", _times(18, 32, 64).of(4), Grid(13, 5, 4), anything),
    Case("largest-codes", _times(128, 32, 64).of(3), Grid(30, 3, 3), largest),
    Case("one-pixel-of-video", _spec(12, axes=3), Grid(1, 1, 1), usual, threads=3),
    Case("no-hidden-layer", _spec(24, hidden=0), Grid(31, 6), anything),
    Case("no-frequencies", _spec(24, frequencies=0), Grid(31, 6), anything),
    Case("one-neuron", _spec(1, hidden=0, frequencies=0, channels=1), Grid(9, 2), anything),
    Case("deepest", _spec(13, hidden=32), Grid(25, 4), anything),
    Case("deepest-usual", _spec(30, hidden=32), Grid(25, 4), usual),
    Case("32-frequencies", _spec(11, frequencies=32), Grid(40, 7), anything),
    Case("32-frequencies-of-video", _spec(18, frequencies=32, axes=3), Grid(13, 5, 3), anything),
    Case("scale-4", _spec(11, frequencies=8, scale=4.0), Grid(40, 7), anything),
    Case("scale-1", _spec(11, frequencies=32, scale=1.0), Grid(40, 7), anything),
    Case("scale-0.001", _spec(11, frequencies=8, scale=0.001), Grid(40, 7), anything),
    Case("largest", _spec(128, hidden=3, frequencies=16), Grid(30, 3), largest),
    Case("largest-odd", _spec(125, hidden=2, channels=4), Grid(30, 3), largest),
    Case("largest-narrow", _spec(2, hidden=4, channels=1), Grid(60, 9), largest),
    Case("all-largest", _spec(128, hidden=2, frequencies=32), Grid(30, 3), all_of(LARGEST, 175)),
    Case("all-least", _spec(128, hidden=2, frequencies=32), Grid(30, 3), all_of(-LARGEST, 174)),
    Case("all-largest-step-1", _spec(64, hidden=2), Grid(30, 3), all_of(LARGEST, 1)),
    Case("all-zero", _spec(20), Grid(30, 3), all_of(0, 80)),
    *(
        Case(f"steps-{step}", _spec(3, hidden=32), Grid(17, 3), steps_from(step))
        for step in range(1, 175, 32)
    ),
    *(
        Case(f"any-{i}", _spec(10 + 7 * i, axes=2 + i % 2), Grid(33, 3, 1 + i % 2), anything, 2, i)
        for i in range(12)
    ),
)
