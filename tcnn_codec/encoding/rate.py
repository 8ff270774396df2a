"""Rate control: the network size and quantisation steps that reach a size or a quality, with few
fits.

Climbs a ladder of sizes by what the family knows of it; fitting and coding are handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from tcnn_codec.errors import CodecError
from tcnn_codec.families.contract import Ladder, RateLaw

#: A file holds at least this share of the size asked for, and aims at that one.
LEAST_FILL, FILL = 0.97, 0.99
#: dB above the quality asked for, at most and as aimed at.
MOST_ABOVE, ABOVE = 0.1, 0.04
#: Where PSNR at the usual bits should lie above the target; beyond, another size of network needs
#: fewer bytes.
LEAST_SPARE, SPARE, MOST_SPARE = -0.15, 0.2, 0.6
#: dB by which a pilot may miss; a full fit tells more than another one.
NEAR = 0.25
PSNR_OF_EXACT = 200.0
#: Above this, rounding to 8 bits decides what PSNR is, and no network does badly.
PSNR_OF_PIXELS = 55.0
#: So many other codings are tried of networks that do badly.
MORE_CODINGS = 4
#: Doublings of the parameters in one go: up, since a large network takes long to fit, and down from
#: an exact picture, which does not tell how far above the target it is.
MOST_UP, DOWN_FROM_EXACT = 4.0, 4.0
#: Bits of a bracket within which quality is left to chance; and between what is tried then, which
#: is the same whatever the target, so that the nearest quality that an error names is found again.
LEAST_BRACKET, SCAN_BITS = 0.02, 0.25
MOST_PILOTS, MOST_FITS, MOST_CODINGS, MORE_SIZES = 5, 6, 12, 3


class LargestTooPoor(CodecError):
    """Not even the largest networks reach a quality.

    short_by: dB that they lack.
    """

    def __init__(self, error: CodecError, short_by: float) -> None:
        super().__init__(error.value, error.allowed, error.remedy)
        self.short_by = short_by


class Outcome(Protocol):
    """One coding of a source."""

    @property
    def size(self) -> int:
        """Bytes of the whole file."""

    @property
    def psnr_db(self) -> float:
        """Of what a decoder outputs."""


C = TypeVar("C", bound=Outcome)
C_co = TypeVar("C_co", bound=Outcome, covariant=True)


class Fitted(Protocol[C_co]):
    """A source's networks of one size, before quantisation.

    trained_db: their PSNR in dB, or infinite. colour_db: that of one colour for each.
    """

    @property
    def trained_db(self) -> float: ...

    @property
    def colour_db(self) -> float: ...

    def code(self, bits: float) -> C_co:
        """Quantise to `bits` bits a weight, train, and code."""

    def rough_size(self, bits: float) -> int:
        """Bytes of the whole file were the networks rounded at once; takes no training."""


Pilot = Callable[[int, float], float]


@dataclass(frozen=True)
class Networks(Generic[C]):
    """What a search chooses from.

    ladder: the sizes of a chunk's network. chunks: networks of a source; one that is coded as a
    difference counts as less than one. fit: all of them, with all
    steps. pilot: PSNR in dB of a shorter fit of this size and this many times a pilot's usual
    steps, 1 or more; a full fit at the usual bits exceeds the usual by about the law's pilot_gain;
    None where full fits are as short. least_size: bytes that no file is below. full_length: what a
    full fit is, in usual pilots. other: those of the ladder's other, for pictures that these do
    badly.
    """

    ladder: Ladder[Any]
    chunks: float
    fit: Callable[[int], Fitted[C]]
    pilot: Pilot | None
    least_size: int
    full_length: float = 1.0
    other: Networks[C] | None = None

    def parameters(self, size: int) -> int:
        """Of all chunks' networks together."""
        return int(self.chunks * self.ladder.spec(size).parameter_count)

    def size_of(self, parameters: float) -> int:
        """The size whose number of parameters has the nearest logarithm."""
        goal = math.log(max(1.0, parameters))
        return min(
            range(1, self.ladder.count + 1),
            key=lambda size: abs(math.log(self.parameters(size)) - goal),
        )


def reach_size(most: float, networks: Networks[C], show: Callable[[float], str]) -> C:
    """A coding of LEAST_FILL * most to `most` bytes. Raises CodecError where there is none.

    show: bytes in the unit that was asked for, never less.
    """
    window = _Window(LEAST_FILL * most, most, FILL * most)
    law = networks.ladder.law
    rough = _Window(
        window.least / law.growth[0], window.most / law.growth[1], 2 * window.aim / sum(law.growth)
    )
    smallest = max(networks.least_size, _bytes_like(networks, 1, law.least_bits))
    largest = _bytes_like(networks, networks.ladder.count, law.most_bits)
    if most < networks.least_size:
        raise _unreachable(networks, show(most), f"about {show(smallest)}")
    if window.least > 1.1 * largest:
        raise _unreachable(networks, show(most), f"about {show(largest)}")
    size = networks.size_of((most - law.overhead) * 8 / law.coded_bits)
    found: list[C] = []
    fitting: list[C] = []
    badly = False
    tried: set[int] = set()
    while size not in tried and len(tried) < MOST_FITS:
        tried.add(size)
        fitted = networks.fit(size)
        slope = networks.parameters(size) / 8
        first = law.usual_bits, fitted.rough_size(law.usual_bits)
        bits, _ = _search(law, fitted.rough_size, float, rough, first, slope)[-1]
        codings = _search(law, fitted.code, _size, window, (bits, fitted.code(bits)), slope)
        found += [coded for _, coded in codings]
        step = 1 if found[-1].size < window.least else -1
        if found[-1].size in window:
            fitting.append(found[-1])
            badly = _does_badly(law, fitted, found[-1])
            if badly:
                fitting += _vary(law, fitted, codings[-1], window, slope)
            break
        size = min(networks.ladder.count, max(1, size + step))
    if networks.other is not None and (badly or not fitting):
        with suppress(CodecError):
            fitting.append(reach_size(most, networks.other, show))
    if fitting:
        return max(fitting, key=_quality)
    nearest = min(found, key=lambda coded: abs(coded.size - most))
    raise _unreachable(networks, show(most), show(nearest.size))


def _does_badly(law: RateLaw, fitted: Fitted[C], coded: C) -> bool:
    """Whether networks of another build may be much better."""
    lost = min(fitted.trained_db, PSNR_OF_PIXELS) - _quality(coded)
    gained = min(fitted.trained_db, PSNR_OF_PIXELS) - min(fitted.colour_db, PSNR_OF_PIXELS)
    flat = gained < law.least_gain and _quality(coded) < PSNR_OF_PIXELS
    return lost > law.most_loss or flat


def _vary(
    law: RateLaw, fitted: Fitted[C], coding: tuple[float, C], window: _Window, slope: float
) -> list[C]:
    """Other codings in the window of sizes. coding: one in it, and its bits."""
    bits, coded = coding
    span = window.most - window.least
    aims = [window.least + span * (n + 0.5) / MORE_CODINGS for n in range(MORE_CODINGS)]
    others = [bits + (aim - coded.size) / slope for aim in aims]
    codings = [fitted.code(min(law.most_bits, max(law.least_bits, other))) for other in others]
    return [other for other in codings if other.size in window]


def reach_quality(least: float, networks: Networks[C]) -> C:
    """A coding of `least` to least + MOST_ABOVE dB.

    Raises CodecError where there is none, LargestTooPoor where that is the reason.
    """
    window = _Window(least, least + MOST_ABOVE, least + ABOVE)
    law, size = networks.ladder.law, networks.ladder.first
    if networks.pilot is not None:
        try:
            size = _pilot_size(least, networks, networks.pilot)
        except CodecError:
            if networks.other is not None:
                with suppress(CodecError):
                    return reach_quality(least, networks.other)
            raise
    curve = _Curve(networks)
    found: list[C] = []
    adjusted: set[int] = set()

    def adjust(size: int, fitted: Fitted[C], usual: C) -> bool:
        """Whether bits that reach the target were found; then it is the last coding."""
        if size in adjusted:
            return False
        adjusted.add(size)
        first = law.usual_bits, usual
        codings = _search(law, fitted.code, _quality, window, first, law.db_per_bit)
        found.extend(coded for _, coded in codings)
        return _quality(found[-1]) in window

    # Sizes up to `low` are too poor at the usual bits, those from `high` on too good.
    low, high = 0, networks.ladder.count + 1
    poor, good = None, None
    while low + 1 < high and len(curve.sizes) < MOST_FITS:
        size = min(high - 1, max(low + 1, size))
        fitted = networks.fit(size)
        usual = fitted.code(law.usual_bits)
        if networks.other is not None and not curve.sizes and _does_badly(law, fitted, usual):
            with suppress(CodecError):
                return reach_quality(least, networks.other)
        spare = _quality(usual) - least
        if LEAST_SPARE <= spare <= MOST_SPARE and adjust(size, fitted, usual):
            return found[-1]
        if spare < SPARE:
            low, poor = size, (size, fitted, usual)
        else:
            high, good = size, (size, fitted, usual)
        curve.add(size, _quality(usual))
        size = curve.size_for(least + SPARE)
    for nearest in (good, poor):
        if nearest is not None and adjust(*nearest):
            return found[-1]
    if good is not None and any(_quality(coded) < least for coded in found):
        for step in range(int((law.most_bits - law.least_bits) / SCAN_BITS) + 1):
            found.append(good[1].code(law.least_bits + step * SCAN_BITS))
            if _quality(found[-1]) in window:
                return found[-1]
    # The smallest networks are so noisy that one a little larger may do.
    most = min(networks.ladder.count, high + MORE_SIZES)
    for size in range(high + 1, most + 1) if good else ():
        fitted = networks.fit(size)
        if adjust(size, fitted, fitted.code(law.usual_bits)):
            return found[-1]
    best = min(found, key=lambda coded: abs(_quality(coded) - least))
    if not math.isfinite(best.psnr_db):
        raise CodecError(
            f"{least:g} dB cannot be reached",
            "every network tried is exact or poorer",
            f"choose {networks.ladder.smallest}, or a size with `bytes`",
        )
    nearest_db = f"{math.floor(100 * best.psnr_db) / 100:.2f} dB"
    error = _unreachable(networks, f"{least:g} dB", nearest_db)
    if low == networks.ladder.count and best.psnr_db < least:
        raise LargestTooPoor(error, least - best.psnr_db)
    raise error


def _pilot_size(least: float, networks: Networks[C], pilot: Pilot) -> int:
    """The size to begin with. Raises LargestTooPoor where none comes near."""
    curve = _Curve(networks)
    law, size = networks.ladder.law, networks.ladder.first
    while size not in curve.sizes and len(curve.sizes) < MOST_PILOTS:
        curve.add(size, expected := min(pilot(size, 1) + law.pilot_gain, PSNR_OF_EXACT))
        size = curve.size_for(least + SPARE)
        if abs(expected - least - SPARE) < NEAR:
            break
    most = max(quality for _, quality in curve.points)
    if size == networks.ladder.count and most < least - law.most_surprise:
        # Some pictures gain far more than others over a pilot: a longer one tells.
        length = min(2.0, networks.full_length)
        longer = max(most, pilot(size, length) + law.pilot_gain)
        growth = (longer - most) * math.log2(networks.full_length / length)
        if longer + law.most_growth * growth < least - law.most_surprise:
            nearest = longer + growth
            error = _unreachable(networks, f"{least:g} dB", f"about {nearest:.1f} dB")
            raise LargestTooPoor(error, least - nearest)
    return size


@dataclass(frozen=True)
class _Window:
    """Values that will do, and the one to aim at."""

    least: float
    most: float
    aim: float

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most


T = TypeVar("T")


def _search(
    law: RateLaw,
    code: Callable[[float], T],
    value: Callable[[T], float],
    window: _Window,
    first: tuple[float, T],
    slope: float,
) -> list[tuple[float, T]]:
    """Codings by bits, `first` among them; the last is in the window, or there is none.

    value: grows with bits, but for noise. slope: what one bit adds, as long as nothing better is
    known.
    """
    tried = [first]
    low, high = (law.least_bits, -math.inf), (law.most_bits, math.inf)
    while len(tried) < MOST_CODINGS:
        at, result = tried[-1][0], value(tried[-1][1])
        if result in window:
            break
        low, high = ((at, result), high) if result < window.least else (low, (at, result))
        if high[0] - low[0] < LEAST_BRACKET:
            break
        if math.isfinite(low[1]) and math.isfinite(high[1]):
            slope = (high[1] - low[1]) / (high[0] - low[0])
        bits = at + (window.aim - result) / slope
        # Not too near to either end of the bracket, whose values are noisy.
        margin = 0.1 * (high[0] - low[0])
        if math.isfinite(low[1]):
            bits = max(bits, low[0] + margin)
        if math.isfinite(high[1]):
            bits = min(bits, high[0] - margin)
        bits = min(law.most_bits, max(law.least_bits, bits))
        if any(bits == known for known, _ in tried):
            break
        tried.append((bits, code(bits)))
    return tried


class _Curve:
    """PSNR over the logarithm of the parameters, through the points seen so far."""

    def __init__(self, networks: Networks[C]) -> None:
        self._networks = networks
        self.slope = networks.ladder.law.db_per_doubling
        self.sizes: list[int] = []
        self.points: list[tuple[float, float]] = []

    def add(self, size: int, quality: float) -> None:
        self.sizes.append(size)
        self.points.append((math.log2(self._networks.parameters(size)), quality))
        if len(self.points) > 1:
            x1, y1 = self.points[-1]
            x0, y0 = max(self.points, key=lambda point: abs(point[0] - x1))
            self.slope = min(4.0, max(0.5, (y1 - y0) / (x1 - x0)))

    def size_for(self, quality: float) -> int:
        """By the last point and the slope, or the middle of the sizes in question where that is
        not among them."""
        x, y = self.points[-1]
        doublings = -DOWN_FROM_EXACT if y == PSNR_OF_EXACT else (quality - y) / self.slope
        goal = x + min(MOST_UP, max(-20.0, doublings))
        poor = max((x for x, y in self.points if y < quality), default=-math.inf)
        good = min((x for x, y in self.points if y >= quality), default=math.inf)
        if poor < good and not poor <= goal <= good:
            goal = (poor + good) / 2
        return self._networks.size_of(2**goal)


def _size(coded: Outcome) -> float:
    return coded.size


def _quality(coded: Outcome) -> float:
    """Finite: exact pixels count as more than 8 bits can tell."""
    return min(coded.psnr_db, PSNR_OF_EXACT)


def _bytes_like(networks: Networks[C], size: int, bits: float) -> float:
    law = networks.ladder.law
    return law.overhead + networks.parameters(size) * (law.coded_bits + bits - law.usual_bits) / 8


def _unreachable(networks: Networks[C], asked: str, nearest: str) -> CodecError:
    return CodecError(
        f"{asked} cannot be reached",
        f"the nearest that can be is {nearest}",
        f"ask for that, or choose {networks.ladder.by_hand} yourself",
    )
