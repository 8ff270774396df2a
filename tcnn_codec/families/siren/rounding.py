"""Refinement of a quantised network: steps by what rounding costs, and rounding in small parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.dtypes import F32
from tcnn_codec.families.siren.backends.base import Backend
from tcnn_codec.families.siren.quantise import (
    dequantise,
    most_levels,
    quantise_to,
    step_sizes,
    steps_like,
)
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.grid import Grid
from tcnn_codec.training.job import Job
from tcnn_codec.training.loop import StepReport, train
from tcnn_codec.training.optimiser import OptimiserState

#: Points at which outputs are compared, at most.
SAMPLES = 1 << 16
#: How many times finer or coarser a step may become.
MOST_CHANGE = 64.0
#: How much of the logarithm of all changes is tried: from the whole to none.
SHARES = (1.0, 0.5, 0.25, 0.0)
#: Two deviations within this factor count as equal. Which way single weights happen to be rounded
#: makes up to 1.3 on Kodak images, where training after it does best with the whole changes.
NOISE = 2.0
#: Learning rate of what is not yet rounded, in steps: it falls linearly from first to last.
FIRST_RATE, LAST_RATE = 0.1, 0.01
#: Parts that are rounded one after another; no more than there are steps.
PARTS = 100


def balance_steps(
    backend: Backend,
    spec: SirenSpec,
    params: F32,
    grid: Grid,
    tensors: Sequence[QuantisedTensor],
    multipliers: Sequence[float] | None = None,
    cost: float | None = None,
    price: Callable[[Sequence[QuantisedTensor]], float] | None = None,
) -> tuple[QuantisedTensor, ...]:
    """params quantised anew, with steps such that rounding costs each parameter alike.

    tensors: params as quantised before. multipliers: what their steps should have been, were there
    steps of every size; None takes them as they are. cost: what rounding one parameter may add to
    the mean squared error; None keeps the mean of log(step) over parameters, and so about the rate,
    as in multipliers. The cost of a tensor's rounding is the mean squared deviation of the output
    on a coarse grid with it alone rounded, which grows as step^2. For a given sum of log(step), the
    costs' sum is least where every parameter has the same share (reverse water-filling at high
    rate; Gersho & Gray, Vector Quantization and Signal Compression, section 8.3).

    That law holds near the steps at which it was measured, and no longer where a change would leave
    a matrix two or three values. So all tensors are rounded with each of SHARES of the changes, and
    the greatest is taken whose deviation is, but for NOISE, the least; with none of them that is
    `tensors`. price: what a network's rate is worth, in units of the deviation, to be added to it;
    None where all have about the same.
    """
    deviation = deviation_from(backend, spec, params, grid)
    wanted = multipliers or [tensor.multiplier for tensor in tensors[: len(spec.layer_tensors)]]
    changes = _changes(spec, params, tensors, wanted, deviation, cost)
    if not any(changes):
        return tuple(tensors)
    found: list[tuple[tuple[QuantisedTensor, ...], float, float]] = []
    for share in SHARES:
        steps = steps_like(
            spec,
            params,
            [one * math.exp(share * change) for one, change in zip(wanted, changes, strict=True)],
        )
        changed = quantise_to(spec, params, steps) if share > 0 else tuple(tensors)
        paid = price(changed) if price is not None else 0.0
        found.append((changed, deviation(dequantise(spec, changed)), paid))
    least = min(lost + paid for _, lost, paid in found)
    return next(changed for changed, lost, paid in found if lost / NOISE + paid <= least)


def deviation_from(
    backend: Backend, spec: SirenSpec, params: F32, grid: Grid
) -> Callable[[F32], float]:
    """How far other parameters are from these: the mean squared deviation of the output, whose
    values span -1 to 1, on a coarse grid."""
    coarse = _coarse(grid)
    exact = backend.evaluate(spec, params, coarse)

    def deviation(other: F32) -> float:
        difference = backend.evaluate(spec, other, coarse) - exact
        return float(np.mean(np.square(difference), dtype=np.float64))

    return deviation


def _changes(
    spec: SirenSpec,
    params: F32,
    tensors: Sequence[QuantisedTensor],
    multipliers: Sequence[float],
    deviation: Callable[[F32], float],
    cost: float | None,
) -> list[float]:
    """Of each multiplier, the logarithm of the factor that balance_steps would have."""
    rounded = dequantise(spec, tensors)
    sizes, logs = [], []
    for place, tensor, multiplier in zip(spec.layer_tensors, tensors, multipliers, strict=False):
        alone = params.copy()
        alone[place.place] = rounded[place.place]
        share = deviation(alone) / place.size
        sizes.append(place.size)
        as_wanted = 2 * math.log(multiplier / tensor.multiplier) if multiplier > 0 else 0.0
        logs.append(math.log(share) + as_wanted if share > 0 else -math.inf)
    known = [(size, log) for size, log in zip(sizes, logs, strict=True) if log > -math.inf]
    if not known:
        return [0.0] * len(logs)
    if cost is None:
        wanted = sum(size * log for size, log in known) / sum(size for size, _ in known)
    else:
        wanted = math.log(cost)
    bound = 2 * math.log(MOST_CHANGE)
    return [0.0 if log == -math.inf else min(bound, max(-bound, wanted - log)) / 2 for log in logs]


def round_gradually(
    backend: Backend,
    job: Job[SirenSpec],
    params: F32,
    tensors: Sequence[QuantisedTensor],
    steps: int,
    report: StepReport | None = None,
) -> tuple[QuantisedTensor, ...]:
    """params quantised with the steps of `tensors`, part by part, while the rest makes up for it.

    params: float32 [parameter_count]. Of tensors only their quantisation steps are used; levels
    beyond most_level are clipped. steps: of training, 1 or more.

    The parameters nearest to a multiple of their quantisation step are rounded and stay, the others
    are trained on; and so on, in PARTS parts, until none is left (incremental network quantisation,
    Zhou et al., arXiv 1702.03044, which begins with the largest). The same arguments, backend and
    device give the same values, whatever the threads. Raises CodecError when the loss or a
    parameter stops being finite.
    """
    spacing, most = step_sizes(job.spec, tensors), most_levels(job.spec)
    count = most.size
    # Codes are whole numbers already.
    spacing[count:] = 0

    def round_some(done: int, state: OptimiserState) -> None:
        assert state.scales is not None
        free = np.flatnonzero(state.scales)
        # None before the first steps, then many at once and ever fewer: the last ones have the
        # most to make up for.
        more = int(count * math.sqrt(done / steps)) - (count - free.size)
        if more <= 0:
            return
        level = np.rint(state.params[free] / spacing[free]).clip(-most[free], most[free])
        rounded = level.astype(np.float32) * spacing[free]
        distance = np.abs(state.params[free] - rounded) / spacing[free]
        nearest = np.argpartition(distance, more - 1)[:more]
        state.params[free[nearest]] = rounded[nearest]
        state.scales[free[nearest]] = 0

    trainer = backend.trainer(job, OptimiserState.start(params, scales=spacing))
    train(
        trainer,
        job,
        np.linspace(FIRST_RATE, LAST_RATE, steps, dtype=np.float32),
        np.random.Generator(np.random.PCG64([job.seed, 2])),
        part=-(-steps // PARTS),
        before_part=round_some,
        report=report,
    )
    final = trainer.state()
    round_some(steps, final)
    return quantise_to(
        job.spec, final.params, [tensor.step for tensor in tensors[: len(job.spec.layer_tensors)]]
    )


def _coarse(grid: Grid) -> Grid:
    """The same picture at SAMPLES points or fewer, or a side of one."""
    shrink = max(1.0, grid.pixels / SAMPLES) ** (1 / (3 if grid.frames > 1 else 2))
    return Grid(
        width=max(1, int(grid.width / shrink)),
        height=max(1, int(grid.height / shrink)),
        frames=max(1, int(grid.frames / shrink)),
    )
