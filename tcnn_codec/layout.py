"""The shape of a network: its tensors, and where they lie in one flat vector of parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np


@dataclass(frozen=True)
class Tensor:
    """One tensor's place in the flat parameter vector; matrices are row-major."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def place(self) -> slice:
        return slice(self.offset, self.offset + self.size)


class Spec(Protocol):
    """The shape of a network of some family; equal specs are the same network."""

    @property
    def axes(self) -> int:
        """2 (x, y) or 3 (x, y, t)."""

    @property
    def out_channels(self) -> int:
        """1 (grey), 3 (RGB) or 4 (RGBA)."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Its tensors, in the order of the flat vector."""

    @property
    def parameter_count(self) -> int: ...

    def of(self, frames: int) -> Self:
        """The same network for a chunk of so many frames; itself where that changes nothing."""


S = TypeVar("S", bound=Spec)
S_in = TypeVar("S_in", bound=Spec, contravariant=True)


def lay_out(shapes: Iterable[tuple[str, tuple[int, ...]]]) -> tuple[Tensor, ...]:
    """Tensors of these names and shapes, one behind the other."""
    found: list[Tensor] = []
    offset = 0
    for name, shape in shapes:
        found.append(Tensor(name, shape, offset))
        offset += found[-1].size
    return tuple(found)
