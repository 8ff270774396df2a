"""What is to be fitted, and what fits it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol

from tcnn_codec.dtypes import F32, F64, U8, U32
from tcnn_codec.grid import Grid
from tcnn_codec.layout import S
from tcnn_codec.training.batches import Batches, shuffle
from tcnn_codec.training.optimiser import OptimiserState

#: Chunk pixels, [pixels, out_channels] in Grid order: uint8, where v stands for v*2/255 - 1,
#: or float32 as it is.
Target = U8 | F32


@dataclass(frozen=True, eq=False)
class Job(Generic[S]):
    """What a network is to learn: one chunk.

    target: the chunk's pixels. order: uint32, indices of its pixels, of which batches are made;
    None stands for all of them as they lie, of which no trainer can be made. seed: of everything
    random that fitting does.
    """

    spec: S
    grid: Grid
    target: Target
    order: U32 | None = None
    seed: int = 0

    @classmethod
    def of(cls, spec: S, pixels: U8, seed: int) -> Job[S]:
        """The job of a chunk, uint8 [frames, height, width, channels]."""
        grid = Grid.of(pixels)
        target = pixels.reshape(grid.pixels, -1)
        return cls(spec, grid, target, shuffle(grid.pixels, seed), seed)


class Trainer(Protocol):
    """A network being fitted: its job, its parameters and the optimiser's moments.

    They stay where the backend computes, from step to step.
    """

    def steps(self, batches: Batches, learning_rates: F32) -> F64:
        """One step of the optimiser per batch; the losses before each, float64 [steps].

        learning_rates: float32 [steps].
        """

    def state(self) -> OptimiserState:
        """A copy of where the fit stands."""

    def load(self, state: OptimiserState) -> None:
        """Take parameters and scales from a state, and keep the moments that there are."""
