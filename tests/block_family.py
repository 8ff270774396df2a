"""A second family of models, the smallest that the contract allows: one colour for each block.

Its parameters are levels of 8 bits, its fit takes the mean of each block. What tests show by it is
that containers, rate control and jobs know no family.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcnn_codec.bitstream.limits import MAX_LEVEL
from tcnn_codec.checks import whole_number
from tcnn_codec.coders.payload import LEAST_PAYLOAD, Matrices, decode_tensors, encode_tensors
from tcnn_codec.coders.quantised import MULTIPLIERS, QuantisedTensor
from tcnn_codec.dtypes import F32, U8
from tcnn_codec.families.contract import Ladder, RateLaw, Rounding, Tensors
from tcnn_codec.grid import Grid
from tcnn_codec.layout import Tensor, lay_out
from tcnn_codec.picture import PictureFormat
from tcnn_codec.training.job import Job
from tcnn_codec.training.loop import StepReport

MOST_BLOCKS = 64
#: A colour is value * multiplier / UNIT.
UNIT = 256
LAW = RateLaw(
    least_bits=4.0,
    usual_bits=6.0,
    most_bits=10.0,
    coded_bits=5.0,
    overhead=30,
    growth=(1.0, 1.0),
    db_per_doubling=1.0,
    db_per_bit=0.3,
    pilot_gain=0.0,
    most_growth=1.0,
    most_surprise=1.0,
    most_loss=6.0,
    least_gain=0.1,
)


@dataclass(frozen=True)
class BlockSpec:
    """blocks: on each side of the picture; the same colours for all frames."""

    axes: int
    out_channels: int
    blocks: int

    def __post_init__(self) -> None:
        whole_number("number of blocks", self.blocks, 1, MOST_BLOCKS, "8 is usual")

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return lay_out([("colours", (self.out_channels, self.blocks**2))])

    @property
    def parameter_count(self) -> int:
        return self.out_channels * self.blocks**2

    def of(self, frames: int) -> BlockSpec:
        return self


@dataclass(frozen=True)
class BlockOptions:
    blocks: int | None = None

    @property
    def size_options(self) -> tuple[str, ...]:
        return ("blocks",) if self.blocks is not None else ()


def places(spec: BlockSpec, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The block of every row, [height, 1], and of every column, [width]."""
    rows = np.arange(grid.height)[:, None] * spec.blocks // grid.height
    return rows, np.arange(grid.width) * spec.blocks // grid.width


def step_of(size: float) -> int:
    """The index of the smallest quantisation step of this size or more."""
    return int(np.searchsorted(MULTIPLIERS, size * UNIT))


def render(spec: BlockSpec, params: F32, grid: Grid) -> U8:
    rows, columns = places(spec, grid)
    levels = params.reshape(spec.out_channels, spec.blocks, spec.blocks)[:, rows, columns]
    frame = np.clip(np.rint(levels), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return np.broadcast_to(frame, (grid.frames, *frame.shape))


@dataclass(frozen=True)
class BlockFamily:
    name = "blocks"
    number = 200

    def header_fields(self, spec: BlockSpec) -> tuple[int, ...]:
        return (spec.blocks,)

    def read_spec(self, take: Callable[[str], int], axes: int, channels: int) -> BlockSpec:
        return BlockSpec(axes, channels, take("number of blocks"))

    def describe(self, spec: BlockSpec) -> dict[str, int | float]:
        return {"blocks": spec.blocks}

    def encode(
        self,
        spec: BlockSpec,
        tensors: Sequence[QuantisedTensor],
        before: Sequence[QuantisedTensor] | None = None,
    ) -> bytes:
        return encode_tensors(Matrices(spec.tensors, kinds=1), tensors, before)

    def decode(self, spec: BlockSpec, payload: bytes, before: Tensors | None = None) -> Tensors:
        return decode_tensors(Matrices(spec.tensors, kinds=1), payload, before)

    def least_payload(self, spec: BlockSpec) -> int:
        return LEAST_PAYLOAD

    def renderer(self, threads: int) -> BlockRenderer:
        return BlockRenderer()


class BlockRenderer:
    def render(self, spec: BlockSpec, tensors: Sequence[QuantisedTensor], grid: Grid) -> U8:
        (colours,) = tensors
        return render(spec, colours.values.astype(np.float32) * colours.multiplier / UNIT, grid)


class BlockFitter:
    family = BlockFamily()
    differs = False
    backend, device, precision = "cpu", "numpy", "float32"

    def __init__(self, options: BlockOptions, *_: Any) -> None:
        self._options = options

    def renderer(self) -> BlockRenderer:
        return BlockRenderer()

    def spec(self, picture: PictureFormat) -> BlockSpec:
        return self._sized(picture, self._options.blocks or 8)

    def _sized(self, picture: PictureFormat, blocks: int) -> BlockSpec:
        return BlockSpec(3 if picture.kind == "video" else 2, picture.channels, blocks)

    def ladder(self, picture: PictureFormat) -> Ladder[BlockSpec]:
        return Ladder(
            spec=lambda size: self._sized(picture, size),
            count=MOST_BLOCKS,
            first=8,
            law=LAW,
            by_hand="`blocks` and `bits`",
            smallest="`blocks` 1",
        )

    def effort(self, spec: BlockSpec, grid: Grid) -> float:
        return 1.0

    def start(self, spec: BlockSpec, seed: int) -> F32:
        return np.full(spec.parameter_count, 128, np.float32)

    def fit(self, job: Job[BlockSpec], start: F32, steps: int, report: StepReport | None) -> F32:
        spec, grid = job.spec, job.grid
        rows, columns = places(spec, grid)
        block = np.broadcast_to(
            rows * spec.blocks + columns, (grid.frames, grid.height, grid.width)
        )
        counts = np.bincount(block.ravel(), minlength=spec.blocks**2)
        found = start.reshape(spec.out_channels, -1).copy()
        for channel in range(spec.out_channels):
            sums = np.bincount(block.ravel(), job.target[:, channel], spec.blocks**2)
            np.divide(sums, counts, out=found[channel], where=counts > 0, casting="unsafe")
        params = found.ravel()
        if report is not None:
            error = render(spec, params, grid).reshape(job.target.shape).astype(int) - job.target
            squares = float(np.mean(np.square(error)))
            report(steps, 10 * np.log10(255**2 / squares) if squares else np.inf)
        return params

    def constant(self, spec: BlockSpec, colour: U8) -> tuple[F32, Tensors]:
        values = np.repeat(colour.astype(np.int32), spec.blocks**2)
        return values.astype(np.float32), (QuantisedTensor(values, step_of(1)),)

    def render(self, spec: BlockSpec, params: F32, grid: Grid) -> U8:
        return render(spec, params, grid)

    def round_at_once(
        self, spec: BlockSpec, params: F32, grid: Grid, rounding: Rounding
    ) -> Tensors:
        step = step_of(2.0 ** (8 - rounding.bits))
        spacing = MULTIPLIERS[step] / UNIT
        levels = np.rint(params / spacing).clip(-MAX_LEVEL, MAX_LEVEL).astype(np.int32)
        return (QuantisedTensor(levels, step),)

    def round(
        self, job: Job[BlockSpec], params: F32, rounding: Rounding, report: StepReport | None
    ) -> list[Tensors]:
        return [self.round_at_once(job.spec, params, job.grid, rounding)]

    def differ(
        self,
        job: Job[BlockSpec],
        before: Tensors,
        steps: int,
        rounding: int,
        report: StepReport | None,
    ) -> Tensors | None:
        return None
