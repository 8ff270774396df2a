"""Rate control: the width and step sizes that reach a size or a quality, with few fits.

Knows no stage: fitting and coding are handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from tcnn_codec.bitstream.limits import MAX_WIDTH
from tcnn_codec.errors import CodecError

#: What a search may choose, in bits a weight before entropy coding.
LEAST_BITS, USUAL_BITS, MOST_BITS = 4.0, 6.0, 10.0
#: A file holds at least this share of the size asked for, and aims at that one.
LEAST_FILL, FILL = 0.97, 0.99
#: dB above the quality asked for, at most and as aimed at.
MOST_ABOVE, ABOVE = 0.1, 0.04
#: Where PSNR at USUAL_BITS should lie above the target; beyond, another width needs fewer bytes.
LEAST_SPARE, SPARE, MOST_SPARE = -0.15, 0.2, 0.6
#: dB by which a pilot may miss; a full fit tells more than another one.
NEAR = 0.25
# First guesses, measured on Kodak images: coded bits of a weight at USUAL_BITS and bytes besides,
# dB per doubling of the parameters, and dB per bit.
CODED_BITS, HEADERS = 4.0, 75
DB_PER_DOUBLING, DB_PER_BIT = 1.6, 0.5
#: dB that all steps bring over a pilot's, usually on photographs; and at the very most: so many
#: times what every doubling brought from a pilot to one of twice its steps, and so many dB.
PILOT_GAIN, MOST_GROWTH, MOST_SURPRISE = 0.45, 2.0, 3.0
PSNR_OF_EXACT = 200.0
#: Networks do badly where rounding takes more dB off them, or of PSNR_OF_PIXELS if they are better
#: than that, or where they are hardly above a single colour; on Kodak images neither occurs.
MOST_LOSS, LEAST_GAIN, PSNR_OF_PIXELS = 6.0, 0.5, 55.0
#: So many other codings of them are tried.
MORE_CODINGS = 4
#: Doublings of the parameters in one go: up, since a wide network takes long to fit, and down from
#: an exact picture, which does not tell how far above the target it is.
MOST_UP, DOWN_FROM_EXACT = 4.0, 4.0
#: Bits of a bracket within which quality is left to chance; and what is tried then, which is the
#: same whatever the target, so that the nearest quality that an error names is found again.
LEAST_BRACKET = 0.02
SCAN = tuple(LEAST_BITS + step / 4 for step in range(int(4 * (MOST_BITS - LEAST_BITS)) + 1))
FIRST_WIDTH = 32
MOST_PILOTS, MOST_FITS, MOST_CODINGS, MORE_WIDTHS = 5, 6, 12, 3


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
    """A source's networks of one width, before quantisation.

    trained_db: their PSNR in dB, or infinite. colour_db: that of one colour for each.
    """

    @property
    def trained_db(self) -> float: ...

    @property
    def colour_db(self) -> float: ...

    def code(self, bits: float) -> C_co:
        """Quantise with steps of `bits` bits a weight, train, and code."""

    def rough_size(self, bits: float) -> int:
        """Bytes of the whole file were the networks rounded at once; takes no training."""


Pilot = Callable[[int, float], float]


@dataclass(frozen=True)
class Networks(Generic[C]):
    """What a search chooses from.

    parameters: of the source's networks together, by width. fit: with all steps. pilot: PSNR in
    dB of a shorter fit of this width and this many times a pilot's usual steps, 1 or more; a full
    fit at USUAL_BITS exceeds the usual by about PILOT_GAIN; None where full fits are as short.
    least_size: bytes that no file is below. full_length: what a full fit is, in usual pilots.
    other: networks of another depth, for pictures that those of this one do badly.
    """

    parameters: Callable[[int], int]
    fit: Callable[[int], Fitted[C]]
    pilot: Pilot | None
    least_size: int
    full_length: float = 1.0
    other: Networks[C] | None = None

    def width_of(self, parameters: float) -> int:
        """The width whose number of parameters has the nearest logarithm."""
        goal = math.log(max(1.0, parameters))
        return min(
            range(1, MAX_WIDTH + 1), key=lambda width: abs(math.log(self.parameters(width)) - goal)
        )


def reach_size(most: float, networks: Networks[C], show: Callable[[float], str]) -> C:
    """A coding of LEAST_FILL * most to `most` bytes. Raises CodecError where there is none.

    show: bytes in the unit that was asked for, never less.
    """
    window = _Window(LEAST_FILL * most, most, FILL * most)
    smallest = max(networks.least_size, _bytes_like(networks.parameters(1), LEAST_BITS))
    largest = _bytes_like(networks.parameters(MAX_WIDTH), MOST_BITS)
    if most < networks.least_size:
        raise _unreachable(show(most), f"about {show(smallest)}")
    if window.least > 1.1 * largest:
        raise _unreachable(show(most), f"about {show(largest)}")
    width = networks.width_of((most - HEADERS) * 8 / CODED_BITS)
    found: list[C] = []
    fitting: list[C] = []
    badly = False
    tried: set[int] = set()
    while width not in tried and len(tried) < MOST_FITS:
        tried.add(width)
        fitted = networks.fit(width)
        slope = networks.parameters(width) / 8
        first = USUAL_BITS, fitted.rough_size(USUAL_BITS)
        bits, _ = _search(fitted.rough_size, float, window, first, slope)[-1]
        codings = _search(fitted.code, _size, window, (bits, fitted.code(bits)), slope)
        found += [coded for _, coded in codings]
        step = 1 if found[-1].size < window.least else -1
        if found[-1].size in window:
            fitting.append(found[-1])
            badly = _does_badly(fitted, found[-1])
            if badly:
                fitting += _vary(fitted, codings[-1], window, slope)
            break
        width = min(MAX_WIDTH, max(1, width + step))
    if networks.other is not None and (badly or not fitting):
        with suppress(CodecError):
            fitting.append(reach_size(most, networks.other, show))
    if fitting:
        return max(fitting, key=_quality)
    nearest = min(found, key=lambda coded: abs(coded.size - most))
    raise _unreachable(show(most), show(nearest.size))


def _does_badly(fitted: Fitted[C], coded: C) -> bool:
    """Whether networks of another depth may be much better."""
    lost = min(fitted.trained_db, PSNR_OF_PIXELS) - _quality(coded)
    gained = min(fitted.trained_db, PSNR_OF_PIXELS) - min(fitted.colour_db, PSNR_OF_PIXELS)
    return lost > MOST_LOSS or (gained < LEAST_GAIN and _quality(coded) < PSNR_OF_PIXELS)


def _vary(fitted: Fitted[C], coding: tuple[float, C], window: _Window, slope: float) -> list[C]:
    """Other codings in the window of sizes. coding: one in it, and its bits."""
    bits, coded = coding
    span = window.most - window.least
    aims = [window.least + span * (n + 0.5) / MORE_CODINGS for n in range(MORE_CODINGS)]
    others = [bits + (aim - coded.size) / slope for aim in aims]
    codings = [fitted.code(min(MOST_BITS, max(LEAST_BITS, other))) for other in others]
    return [other for other in codings if other.size in window]


def reach_quality(least: float, networks: Networks[C]) -> C:
    """A coding of `least` to least + MOST_ABOVE dB. Raises CodecError where there is none."""
    window = _Window(least, least + MOST_ABOVE, least + ABOVE)
    width = FIRST_WIDTH
    if networks.pilot is not None:
        try:
            width = _pilot_width(least, networks, networks.pilot)
        except CodecError:
            if networks.other is not None:
                with suppress(CodecError):
                    return reach_quality(least, networks.other)
            raise
    curve = _Curve(networks)
    found: list[C] = []
    adjusted: set[int] = set()

    def adjust(width: int, fitted: Fitted[C], usual: C) -> bool:
        """Whether steps that reach the target were found; then it is the last coding."""
        if width in adjusted:
            return False
        adjusted.add(width)
        codings = _search(fitted.code, _quality, window, (USUAL_BITS, usual), DB_PER_BIT)
        found.extend(coded for _, coded in codings)
        return _quality(found[-1]) in window

    # Widths up to `low` are too poor at USUAL_BITS, those from `high` on too good.
    low, high = 0, MAX_WIDTH + 1
    poor, good = None, None
    while low + 1 < high and len(curve.widths) < MOST_FITS:
        width = min(high - 1, max(low + 1, width))
        fitted = networks.fit(width)
        usual = fitted.code(USUAL_BITS)
        if networks.other is not None and not curve.widths and _does_badly(fitted, usual):
            with suppress(CodecError):
                return reach_quality(least, networks.other)
        spare = _quality(usual) - least
        if LEAST_SPARE <= spare <= MOST_SPARE and adjust(width, fitted, usual):
            return found[-1]
        if spare < SPARE:
            low, poor = width, (width, fitted, usual)
        else:
            high, good = width, (width, fitted, usual)
        curve.add(width, _quality(usual))
        width = curve.width_for(least + SPARE)
    for nearest in (good, poor):
        if nearest is not None and adjust(*nearest):
            return found[-1]
    if good is not None and any(_quality(coded) < least for coded in found):
        for bits in SCAN:
            found.append(good[1].code(bits))
            if _quality(found[-1]) in window:
                return found[-1]
    # The narrowest networks are so noisy that one a little wider may do.
    for width in range(high + 1, min(MAX_WIDTH, high + MORE_WIDTHS) + 1) if good else ():
        fitted = networks.fit(width)
        if adjust(width, fitted, fitted.code(USUAL_BITS)):
            return found[-1]
    best = min(found, key=lambda coded: abs(_quality(coded) - least))
    if not math.isfinite(best.psnr_db):
        raise CodecError(
            f"{least:g} dB cannot be reached; every network tried is exact or poorer; choose "
            "--width 1, or a size with --bytes"
        )
    raise _unreachable(f"{least:g} dB", f"{math.floor(100 * best.psnr_db) / 100:.2f} dB")


def _pilot_width(least: float, networks: Networks[C], pilot: Pilot) -> int:
    """The width to begin with. Raises CodecError where no width comes near."""
    curve = _Curve(networks)
    width = FIRST_WIDTH
    while width not in curve.widths and len(curve.widths) < MOST_PILOTS:
        curve.add(width, expected := min(pilot(width, 1) + PILOT_GAIN, PSNR_OF_EXACT))
        width = curve.width_for(least + SPARE)
        if abs(expected - least - SPARE) < NEAR:
            break
    most = max(quality for _, quality in curve.points)
    if width == MAX_WIDTH and most < least - MOST_SURPRISE:
        # Text gains 14 dB over a pilot where photographs gain less than one: a longer pilot tells.
        length = min(2.0, networks.full_length)
        longer = max(most, pilot(width, length) + PILOT_GAIN)
        growth = (longer - most) * math.log2(networks.full_length / length)
        if longer + MOST_GROWTH * growth < least - MOST_SURPRISE:
            raise _unreachable(f"{least:g} dB", f"about {longer + growth:.1f} dB")
    return width


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
    low, high = (LEAST_BITS, -math.inf), (MOST_BITS, math.inf)
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
        bits = min(MOST_BITS, max(LEAST_BITS, bits))
        if any(bits == known for known, _ in tried):
            break
        tried.append((bits, code(bits)))
    return tried


class _Curve:
    """PSNR over the logarithm of the parameters, through the points seen so far."""

    def __init__(self, networks: Networks[C]) -> None:
        self._networks = networks
        self.slope = DB_PER_DOUBLING
        self.widths: list[int] = []
        self.points: list[tuple[float, float]] = []

    def add(self, width: int, quality: float) -> None:
        self.widths.append(width)
        self.points.append((math.log2(self._networks.parameters(width)), quality))
        if len(self.points) > 1:
            x1, y1 = self.points[-1]
            x0, y0 = max(self.points, key=lambda point: abs(point[0] - x1))
            self.slope = min(4.0, max(0.5, (y1 - y0) / (x1 - x0)))

    def width_for(self, quality: float) -> int:
        """By the last point and the slope, or the middle of the widths in question where that is
        not among them."""
        x, y = self.points[-1]
        doublings = -DOWN_FROM_EXACT if y == PSNR_OF_EXACT else (quality - y) / self.slope
        goal = x + min(MOST_UP, max(-20.0, doublings))
        poor = max((x for x, y in self.points if y < quality), default=-math.inf)
        good = min((x for x, y in self.points if y >= quality), default=math.inf)
        if poor < good and not poor <= goal <= good:
            goal = (poor + good) / 2
        return self._networks.width_of(2**goal)


def _size(coded: Outcome) -> float:
    return coded.size


def _quality(coded: Outcome) -> float:
    """Finite: exact pixels count as more than 8 bits can tell."""
    return min(coded.psnr_db, PSNR_OF_EXACT)


def _bytes_like(parameters: int, bits: float) -> float:
    return HEADERS + parameters * (CODED_BITS + bits - USUAL_BITS) / 8


def _unreachable(asked: str, nearest: str) -> CodecError:
    return CodecError(
        f"{asked} cannot be reached; the nearest that can be is {nearest}; ask for that, or "
        "choose --width and --bits yourself"
    )
