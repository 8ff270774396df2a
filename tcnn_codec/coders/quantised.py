"""Integers with a step: what quantisation makes and entropy coding keeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tcnn_codec.bitstream.limits import MAX_LEVEL, MAX_STEP, MIN_STEP
from tcnn_codec.dtypes import I32


@dataclass(frozen=True, eq=False)
class QuantisedTensor:
    """One tensor: weight = value * step, exact in float32 (11 + 8 significant bits).

    values: int32 [size ≥ 1], |value| ≤ MAX_LEVEL. step: float32 exactly representable in
    bfloat16, MIN_STEP ≤ step ≤ MAX_STEP. Raises ValueError otherwise: a fault of the caller's.
    """

    values: I32
    step: np.float32

    def __post_init__(self) -> None:
        if self.values.dtype != np.int32 or self.values.ndim != 1 or self.values.size == 0:
            raise ValueError(f"values are {self.values.dtype} {self.values.shape}, not int32 [≥ 1]")
        least, most = int(self.values.min()), int(self.values.max())
        if not -MAX_LEVEL <= least <= most <= MAX_LEVEL:
            raise ValueError(f"values span {least} to {most}; at most ±{MAX_LEVEL} is allowed")
        if not MIN_STEP <= self.step <= MAX_STEP or np.float32(self.step).view(np.uint32) & 0xFFFF:
            raise ValueError(f"step {self.step} is no bfloat16 from {MIN_STEP:g} to {MAX_STEP:g}")

    @property
    def largest(self) -> int:
        """Largest magnitude among the values."""
        return int(np.abs(self.values).max())
