"""Integers with a step: what quantisation makes and entropy coding keeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tcnn_codec.bitstream.limits import MAX_LEVEL, MAX_STEP, MIN_STEP
from tcnn_codec.dtypes import I32


@dataclass(frozen=True, eq=False)
class QuantisedTensor:
    """One tensor: weight = value * multiplier, in a unit that the family defines.

    values: int32 [size ≥ 1], |value| ≤ MAX_LEVEL. step: index of the quantisation step, MIN_STEP to
    MAX_STEP. Raises ValueError otherwise: a fault of the caller's.
    """

    values: I32
    step: int

    def __post_init__(self) -> None:
        if self.values.dtype != np.int32 or self.values.ndim != 1 or self.values.size == 0:
            raise ValueError(f"values are {self.values.dtype} {self.values.shape}, not int32 [≥ 1]")
        least, most = int(self.values.min()), int(self.values.max())
        if not -MAX_LEVEL <= least <= most <= MAX_LEVEL:
            raise ValueError(f"values span {least} to {most}; at most ±{MAX_LEVEL} is allowed")
        if not MIN_STEP <= self.step <= MAX_STEP:
            raise ValueError(f"step index {self.step} is not in {MIN_STEP} to {MAX_STEP}")

    @property
    def largest(self) -> int:
        """Largest magnitude among the values."""
        return int(np.abs(self.values).max())

    @property
    def multiplier(self) -> int:
        return multiplier(self.step)


def multiplier(step: int) -> int:
    """The quantisation step that an index stands for, 1 to 15 * 2**20 (docs/format.md, 6.1)."""
    return step if step < 16 else (8 + step % 8) << (step // 8 - 1)


#: That of every index, int64 [MAX_STEP + 1], ascending; index 0 is none.
MULTIPLIERS = np.array([multiplier(step) for step in range(MAX_STEP + 1)], np.int64)
