"""How far each step goes."""

from __future__ import annotations

import numpy as np

from tcnn_codec.dtypes import F32

WARM_UP_SHARE, MOST_WARM_UP = 0.1, 100


def learning_rates(steps: int, peak: float) -> F32:
    """Linear warm-up, then cosine decay to zero after the last step, float32 [steps]."""
    warm_up = min(MOST_WARM_UP, max(1, round(WARM_UP_SHARE * steps)))
    step = np.arange(steps)
    decay = 0.5 + 0.5 * np.cos(np.pi * (step - warm_up) / max(1, steps - warm_up))
    rates: F32 = (peak * np.where(step < warm_up, (step + 1) / warm_up, decay)).astype(np.float32)
    return rates
