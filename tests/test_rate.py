"""Rate control on made-up sources: what was asked for is reached, in few fits, or refused."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from tcnn_codec.encoding.rate import Networks, reach_quality, reach_size
from tcnn_codec.errors import CodecError
from tcnn_codec.families.contract import Ladder
from tcnn_codec.families.siren.sizes import LAW


@dataclass(frozen=True)
class Coding:
    size: int
    psnr_db: float


@dataclass
class Picture:
    """Follows the laws that photographs follow roughly, with noise of training in both."""

    at_32: float = 25.0
    slope: float = 1.5
    coded_bits: float = 4.3
    noise: float = 0.0
    lost: float = 0.35
    colour_db: float = 0.0
    pilot_gain: float = 0.0
    growth: float = 0.0
    full_length: float = 1.0
    other: Picture | None = None
    fits: list[int] = field(default_factory=list)
    pilots: list[int] = field(default_factory=list)
    codings: list[float] = field(default_factory=list)

    @staticmethod
    def parameters(width: int) -> int:
        return 66 * width + 3 * width * (width + 1) + 4 * width + 3

    def quality(self, width: int) -> float:
        doublings = math.log2(self.parameters(width) / self.parameters(32))
        return self.at_32 + self.slope * doublings

    def pilot(self, width: int, length: float = 1.0) -> float:
        self.pilots.append(width)
        grown = self.growth * math.log2(length) - self.pilot_gain
        return self.quality(width) + 0.3 * math.sin(width) + grown

    def fit(self, width: int) -> Fitted:
        self.fits.append(width)
        return Fitted(self, width)

    def networks(self) -> Networks[Coding]:
        ladder = Ladder(
            spec=lambda width: SimpleNamespace(parameter_count=self.parameters(width)),
            count=128,
            first=32,
            law=LAW,
            by_hand="`width` and `bits`",
            smallest="`width` 1",
        )
        return Networks(
            ladder=ladder,
            chunks=1,
            fit=self.fit,
            pilot=self.pilot,
            least_size=60,
            full_length=self.full_length,
            other=self.other.networks() if self.other else None,
        )


def show(size: float) -> str:
    return f"{math.ceil(size)} bytes"


@dataclass
class Fitted:
    picture: Picture
    width: int

    @property
    def colour_db(self) -> float:
        return self.picture.colour_db

    @property
    def trained_db(self) -> float:
        return self.picture.quality(self.width) + 0.35

    def rough_size(self, bits: float) -> int:
        coded = max(0.2, self.picture.coded_bits + bits - 6)
        return round(70 + self.picture.parameters(self.width) * coded / 8)

    def code(self, bits: float) -> Coding:
        self.picture.codings.append(bits)
        wave = self.picture.noise * math.sin(97 * bits)
        loss = self.picture.lost * 4 ** (6 - bits)
        return Coding(
            size=round(self.rough_size(bits) * (1 + wave / 10)),
            psnr_db=self.picture.quality(self.width) + 0.35 - loss + wave,
        )


PICTURES = (
    Picture(),
    Picture(at_32=19.5, slope=0.9),
    Picture(at_32=34.0, slope=3.0, coded_bits=3.5),
    Picture(noise=0.03),
    Picture(coded_bits=5.2, noise=0.03),
)


@pytest.mark.parametrize("most", [300, 1000, 3201, 9999, 40000])
@pytest.mark.parametrize("picture", PICTURES, ids=range(len(PICTURES)))
def test_sizes_are_reached(picture: Picture, most: int) -> None:
    picture.fits.clear()
    picture.codings.clear()
    found = reach_size(most, picture.networks(), show)
    assert 0.97 * most <= found.size <= most
    assert len(picture.fits) == 1
    assert len(picture.codings) <= 3


@pytest.mark.parametrize("doublings", [-3.0, -1.0, 0.0, 0.7, 2.5])
@pytest.mark.parametrize("picture", PICTURES, ids=range(len(PICTURES)))
def test_qualities_are_reached(picture: Picture, doublings: float) -> None:
    for calls in (picture.pilots, picture.fits, picture.codings):
        calls.clear()
    least = round(picture.at_32 + doublings * picture.slope, 2)
    found = reach_quality(least, picture.networks())
    assert least <= found.psnr_db <= least + 0.1
    assert len(picture.pilots) <= 5
    assert len(picture.fits) <= 3
    assert len(picture.codings) <= 6
    assert 4.5 <= picture.codings[-1] <= 8


@pytest.mark.parametrize(
    ("most", "nearest", "fits"),
    [(10, "is about ", 0), (70, "is 93 bytes", 1), (10**7, "is about ", 0)],
)
def test_sizes_out_of_reach_are_refused(most: int, nearest: str, fits: int) -> None:
    picture = Picture()
    with pytest.raises(
        CodecError, match=f"^{most} bytes cannot be reached; the nearest "
    ) as caught:
        reach_size(most, picture.networks(), show)
    assert nearest in str(caught.value)
    assert len(picture.fits) == fits


def test_a_quality_below_the_smallest_network_is_refused() -> None:
    smallest = Fitted(Picture(), 1).code(4).psnr_db
    nearest = math.floor(100 * smallest) / 100
    text = f"^3 dB cannot be reached; the nearest that can be is {nearest:.2f} dB; "
    with pytest.raises(CodecError, match=text):
        reach_quality(3.0, Picture().networks())


def test_a_quality_beyond_the_largest_network_is_refused_without_a_whole_fit() -> None:
    picture = Picture()
    pilot = picture.pilot(128) + LAW.pilot_gain
    text = f"^90 dB cannot be reached; the nearest that can be is about {pilot:.1f} dB"
    with pytest.raises(CodecError, match=text):
        reach_quality(90.0, picture.networks())
    assert picture.fits == []


def test_a_quality_just_beyond_the_largest_network_is_tried() -> None:
    picture = Picture()
    reached = Fitted(picture, 128).code(10).psnr_db
    nearest = math.floor(100 * reached) / 100
    with pytest.raises(CodecError, match=f"the nearest that can be is {nearest:.2f} dB"):
        reach_quality(reached + 0.2, picture.networks())
    assert picture.fits == [128]


def test_an_exact_picture_is_above_every_quality() -> None:
    picture = Picture(at_32=math.inf, slope=0.0)
    with pytest.raises(
        CodecError, match="every network tried is exact or poorer; choose `width` 1"
    ):
        reach_quality(40.0, picture.networks())


def test_a_slow_picture_is_not_refused_for_its_pilots() -> None:
    """Text gains many dB over a pilot; two pilots tell how many more are to come."""
    slow = Picture(pilot_gain=14.0, growth=5.0, full_length=4.0)
    least = round(slow.quality(128), 2)
    assert least <= reach_quality(least, slow.networks()).psnr_db <= least + 0.1
    # As poor in its first pilot, but the second is no better.
    done = Picture(pilot_gain=14.0, full_length=4.0)
    with pytest.raises(CodecError, match="the nearest that can be is about "):
        reach_quality(least, done.networks())
    assert done.fits == []


@pytest.mark.parametrize("least", [20.0, 33.3, 47.0])
def test_steep_pictures_take_no_needlessly_wide_network(least: float) -> None:
    """An icon goes from nothing to exact within a few doublings."""

    class Icon(Picture):
        def quality(self, width: int) -> float:
            found = super().quality(width)
            return found if found < 60 else math.inf

    icon = Icon(at_32=75.0, slope=12.0)
    assert least <= reach_quality(least, icon.networks()).psnr_db <= least + 0.1
    assert max(icon.fits) <= 32
    assert len(icon.pilots) <= 5
    assert len(icon.fits) <= 6


@pytest.mark.parametrize("least", [15.0, 20.0, 24.0])
def test_the_nearest_quality_can_be_asked_for(least: float) -> None:
    """Though chance decides: every weight of a small flat picture is worth a dB. What is tried in
    the end is the same as long as the same width comes into question."""
    picture = Picture(noise=4.0)
    try:
        found = reach_quality(least, picture.networks()).psnr_db
    except CodecError as error:
        least = float(str(error).split("the nearest that can be is ")[1].split(" dB")[0])
        found = reach_quality(least, picture.networks()).psnr_db
    assert least <= found <= least + 0.1


def test_where_rounding_costs_much_several_codings_and_another_depth_are_tried() -> None:
    other = Picture(at_32=33.0)
    picture = Picture(at_32=36.0, lost=9.0, noise=2.0, other=other)
    found = reach_size(9999, picture.networks(), show)
    assert 0.97 * 9999 <= found.size <= 9999
    assert len(picture.codings) >= 5
    assert other.fits
    first = Picture(at_32=36.0, lost=9.0, noise=2.0)
    alone = reach_size(9999, first.networks(), show)
    assert found.psnr_db > alone.psnr_db
    assert reach_quality(33.0, picture.networks()).psnr_db >= 33.0
    assert len(picture.fits) == 2, "one for the size, one to learn that it does badly"


def test_networks_that_did_not_learn_are_left_for_others() -> None:
    other = Picture()
    picture = Picture(at_32=8.0, slope=0.0, colour_db=8.3, other=other)
    assert reach_size(5000, picture.networks(), show).psnr_db > 20
    assert reach_quality(24.0, picture.networks()).psnr_db >= 24
    assert other.fits


@pytest.mark.parametrize("picture", PICTURES, ids=range(len(PICTURES)))
def test_photographs_need_no_other_depth(picture: Picture) -> None:
    other = Picture()
    tried = replace(picture, other=other)
    reach_size(9999, tried.networks(), show)
    reach_quality(round(picture.at_32, 2), tried.networks())
    assert other.fits == []
