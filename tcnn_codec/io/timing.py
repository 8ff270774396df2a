"""Times of frames: those that a file leaves out, and the frame rate that they show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from statistics import median

import numpy as np
from numpy.typing import NDArray

#: Frame rates that cameras, broadcasters and films use.
_STANDARD = frozenset(
    [Fraction(1000 * rate, 1001) for rate in (24, 30, 48, 60, 120, 240)]
    + [Fraction(rate) for rate in (24, 25, 30, 48, 50, 60, 100, 120, 240)]
)
_USUAL = Fraction(25)
#: Above it, what a container calls its frame rate is the rate of its clock.
_FASTEST = 1000
#: A rate's denominator in a stream; with `_FASTEST` it keeps the numerator below 2**31.
_DENOMINATOR = 1_000_000
_LONGEST = 2**42  # units, 6 weeks in microseconds: beyond it the times are nonsense
_FLOAT_ERROR = 1e-3  # of a unit, in the place of a frame: doubles are as fine up to `_LONGEST`


def declared_rate(declared: Iterable[Fraction | None]) -> Fraction:
    """The first of the rates, frames per second, that can be one; 25 if none can."""
    return next((Fraction(r) for r in declared if r and 0 < r <= _FASTEST), _USUAL)


def complete_times(stamps: Sequence[int | None], duration: Fraction) -> list[int]:
    """A time for every frame, strictly increasing, from those that are known.

    stamps: pts in presentation order, None where there is none. duration: of a frame, in the same
    units, for where no two are known. A pts that leaves no room after the one before it, being
    equal or earlier, counts as unknown. Between known frames the others are spread evenly.
    """
    known: list[tuple[int, int]] = []
    for index, pts in enumerate(stamps):
        if pts is not None and (not known or pts - known[-1][1] >= index - known[-1][0]):
            known.append((index, pts))
    steps = [Fraction(q - p, j - i) for (i, p), (j, q) in pairwise(known)]
    step = max(Fraction(1), median(steps) if steps else duration)
    if not known:
        return [round(index * step) for index in range(len(stamps))]
    (first, start), (last, end) = known[0], known[-1]
    times = [start - round((first - index) * step) for index in range(first)]
    for (i, p), (j, q) in pairwise(known):
        times += [p + (q - p) * k // (j - i) for k in range(j - i)]
    return times + [end + round(k * step) for k in range(len(stamps) - last)]


def nominal_rate(
    pts: Sequence[int], time_base: Fraction, declared: Sequence[Fraction | None]
) -> Fraction:
    """Frames per second, above 0, of frames shown at `pts`, which strictly increase.

    time_base: seconds per unit of pts. declared: the rates that the container states; a stated rate
    is believed where the times agree with it. Where frames keep to a grid, some of its places
    being empty or not, the rate is that of the grid, up to the rounding of the times to whole
    units; where they do not, the frame rate varies, and the rate is the average. Of a single frame
    it is the first stated rate that can be one, or 25.
    """
    if len(pts) < 2:
        return declared_rate(declared)
    span = pts[-1] - pts[0]
    second = 1 / time_base
    if span >= _LONGEST:
        return _bounded((len(pts) - 1) * second / span)
    intervals = np.diff(pts)
    counts = _durations(intervals)
    places = np.append(0, counts).cumsum()
    measured = int(places[-1]) * second / span
    if len(counts) == 0 or measured > _FASTEST:  # there is no grid, or it is that of the clock
        return _bounded((len(pts) - 1) * second / span)
    low = measured * span / (span + 1)
    high = measured * span / (span - 1) if span > 1 else None

    def off(rate: Fraction) -> tuple[bool, Fraction]:
        """Whether rounding alone does not explain the times, and the distance from the measured."""
        residues = np.diff(pts, prepend=pts[0]).cumsum() - places * float(second / rate)
        return bool(np.ptp(residues) > 1 + _FLOAT_ERROR), abs(rate - measured)

    alike = bool(intervals.min() == intervals.max())
    stated = {Fraction(rate) for rate in declared if rate}
    if alike and len(intervals) > 1 and measured in stated:
        return _bounded(measured)
    inside = {r for r in _STANDARD | stated if low <= r and (high is None or r <= high)}
    # FFmpeg's statements are often estimates from the times themselves, so standard rates come
    # before those that are stated and no standard.
    candidates = sorted(inside, key=lambda r: (r not in _STANDARD, r not in stated, off(r)[1]))
    best = min(candidates, key=lambda r: off(r)[0], default=None)
    if best is not None:
        return _bounded(best)
    return _bounded(measured if alike or high is None else _simplest(low, high))


def _durations(intervals: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many frame durations each interval holds; empty where they have no common one.

    A frame that is left out makes an interval of two durations, and so on.
    """
    typical = float(np.sort(intervals)[(len(intervals) - 1) // 2])
    near = intervals[np.abs(intervals - typical) < min(1.5, typical / 2)]
    typical = float(near.mean())  # rounding makes intervals of two lengths
    counts = np.maximum(1, np.rint(intervals / typical)).astype(np.int64)
    beyond_rounding = np.abs(intervals - counts * typical) > counts + 1
    return counts[:0] if beyond_rounding.any() else counts


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """The fraction with the smallest denominator in [low, high], low above 0."""
    if ceil(low) <= high:
        return Fraction(ceil(low))
    whole = floor(low)
    return whole + 1 / _simplest(1 / (high - whole), 1 / (low - whole))


def _bounded(rate: Fraction) -> Fraction:
    """`rate` as a fraction of 31-bit numbers, which a stream's header holds."""
    if rate > _FASTEST:
        return Fraction(min(round(rate), 2**31 - 1))
    return max(rate.limit_denominator(_DENOMINATOR), Fraction(1, _DENOMINATOR))
