"""Frame rates from times, and times that a file leaves out."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from io_samples import LIMIT, encode_packets, make_video, mux_packets, picture, read_all

from tcnn_codec.io import open_source
from tcnn_codec.io.timing import complete_times, declared_rate, nominal_rate

MILLISECOND = Fraction(1, 1000)
STANDARD = [
    *(Fraction(1000 * rate, 1001) for rate in (24, 30, 60, 120)),
    *map(Fraction, (24, 25, 30, 48, 50, 60, 100, 120)),
]


def grid(rate: Fraction, time_base: Fraction, places: list[int]) -> list[int]:
    """The pts of frames in these places of a rate, rounded to the clock."""
    return [round(place / (rate * time_base)) for place in places]


@pytest.mark.parametrize("rate", STANDARD)
@pytest.mark.parametrize("clock", [1000, 90_000, 12_800, 1_200_000])
def test_standard_rates_are_found_without_being_stated(rate: Fraction, clock: int) -> None:
    # So long that no other standard rate, the nearest of which is a thousandth off, is as likely.
    pts = grid(rate, Fraction(1, clock), list(range(1200)))
    assert nominal_rate(pts, Fraction(1, clock), []) == rate


@pytest.mark.parametrize("rate", STANDARD)
def test_of_rates_that_agree_with_few_times_the_stated_is_believed(rate: Fraction) -> None:
    pts = grid(rate, MILLISECOND, list(range(5)))
    for stated in ([rate], [2 * rate, rate], [Fraction(60_000), rate], [None, rate]):
        assert nominal_rate(pts, MILLISECOND, stated) == rate


@given(
    st.sampled_from([Fraction(24000, 1001), Fraction(25), Fraction(30), Fraction(60000, 1001)]),
    st.lists(st.integers(1, 20), min_size=2, max_size=40),
)
def test_dropped_frames_do_not_change_the_rate(rate: Fraction, gaps: list[int]) -> None:
    gaps = [1] * (len(gaps) + 1) + gaps  # most frames follow the one before
    places = np.cumsum([0, *gaps]).tolist()
    assert (
        nominal_rate(grid(rate, Fraction(1, 90_000), places), Fraction(1, 90_000), [rate]) == rate
    )


def test_a_wrong_rate_is_not_believed() -> None:
    assert nominal_rate([0, 2, 4, 6, 8, 9], Fraction(1, 50), [Fraction(50), Fraction(25)]) == 25
    assert nominal_rate([0, 2400, 4800], Fraction(1, 60_000), [Fraction(60_000)]) == 25
    assert nominal_rate([2, 4], Fraction(1, 50), [Fraction(50), Fraction(25)]) == 25


def test_rates_of_no_standard() -> None:
    assert nominal_rate(grid(Fraction(12), MILLISECOND, list(range(20))), MILLISECOND, []) == 12
    exact = list(range(0, 2998 * 36, 2998))
    stated = [Fraction(45000, 1499)]
    assert nominal_rate(exact, Fraction(1, 90_000), stated) == stated[0]
    assert nominal_rate(exact, Fraction(1, 90_000), []) == Fraction(45000, 1499)
    fourteen = grid(Fraction(14), MILLISECOND, list(range(30)))
    assert nominal_rate(fourteen, MILLISECOND, [Fraction(25)]) == 14


def test_a_rate_that_varies_is_the_average() -> None:
    pts = [200, 233, 300, 301, 420, 500, 640, 655, 700, 900]
    assert nominal_rate(pts, MILLISECOND, [Fraction(1000), Fraction(25)]) == Fraction(9000, 700)
    assert nominal_rate([0, 10, 10_000], Fraction(1, 90_000), []) == Fraction(18)


def test_of_one_frame_a_sane_stated_rate_is_taken() -> None:
    assert nominal_rate([7], MILLISECOND, [Fraction(60_000), None, Fraction(30)]) == 30
    assert nominal_rate([7], MILLISECOND, [Fraction(60_000), Fraction(0), None]) == 25
    assert declared_rate([]) == 25


@given(
    st.lists(st.integers(1, 2**40), min_size=1, max_size=20),
    st.sampled_from([Fraction(1), Fraction(1, 25), Fraction(1, 10**6), Fraction(1001, 30000)]),
    st.lists(st.fractions(0, 10**7, max_denominator=1001), max_size=3),
)
def test_any_rate_fits_the_header(
    gaps: list[int], time_base: Fraction, stated: list[Fraction | None]
) -> None:
    rate = nominal_rate(np.cumsum([0, *gaps]).tolist(), time_base, stated)
    assert 1 <= rate.numerator < 2**31
    assert rate.denominator < 2**31


def test_missing_times_are_completed() -> None:
    duration = Fraction(40)
    assert complete_times([0, 40, 80], duration) == [0, 40, 80]
    assert complete_times([None, None, None], duration) == [0, 40, 80]
    assert complete_times([None, None, 100, 150], duration) == [0, 50, 100, 150]
    assert complete_times([0, None, None, 120, None], duration) == [0, 40, 80, 120, 160]
    assert complete_times([0, 40, 40, 120], duration) == [0, 40, 80, 120]  # repeated
    assert complete_times([1000, 1040, 0, 40], duration) == [1000, 1040, 1080, 1120]  # set back
    assert complete_times([0, 1, 1, 2, 9], duration) == [0, 1, 3, 6, 9]  # too close
    # Thirds of a unit do not add up to an error.
    assert complete_times([None] * 4, Fraction(10, 3)) == [0, 3, 7, 10]


@given(st.lists(st.none() | st.integers(-1000, 1000), min_size=1), st.fractions(0, 50))
def test_completed_times_increase(stamps: list[int | None], duration: Fraction) -> None:
    times = complete_times(stamps, duration)
    assert len(times) == len(stamps)
    assert all(before < after for before, after in pairwise(times))


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(12)])
@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *((name, "libx264") for name in ("a.mkv", "a.mp4", "a.avi", "a.ts", "a.flv", "a.h264")),
        *((name, "mpeg4") for name in ("b.avi", "a.m4v")),
    ],
)
@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_rates_in_containers(
    tmp_path: Path, name: str, codec: str, rate: Fraction, b_frames: str
) -> None:
    made = make_video(
        tmp_path / name,
        codec=codec,
        frames=20,
        rate=rate,
        time_base=1 / rate,
        options={"bf": b_frames},
    )
    with open_source(tmp_path / name, max_pixels=LIMIT) as source:
        assert source.format.frame_rate == rate
        pts = [frame.pts for frame in source.frames()]
    assert len(pts) == len(made)
    durations = [
        (after - before) * source.format.time_base * rate for before, after in pairwise(pts)
    ]
    # The clock of Matroska and FLV has milliseconds, of which times are off by half at most.
    assert all(
        abs(duration - 1) <= max(MILLISECOND, source.format.time_base) * rate
        for duration in durations
    )


def test_59_94_frames_in_milliseconds(tmp_path: Path) -> None:
    """Whose rate FFmpeg estimates as 19001/317, or the like."""
    rate = Fraction(60000, 1001)
    make_video(tmp_path / "a.mkv", frames=30, rate=rate, time_base=1 / rate)
    with open_source(tmp_path / "a.mkv", max_pixels=LIMIT) as source:
        assert source.format.frame_rate == rate


def test_the_rate_of_dv_is_not_that_of_its_clock(tmp_path: Path) -> None:
    make_video(tmp_path / "a.dv", codec="dvvideo", height=576, width=720, frames=3)
    for stop in (1, 2, None):
        with open_source(tmp_path / "a.dv", 0, stop, max_pixels=LIMIT) as source:
            assert source.format.frame_rate == 25


def test_dropped_frames_of_avi_are_gaps(tmp_path: Path) -> None:
    """Which the file has as empty chunks."""
    packets = encode_packets("mjpeg", [picture(48, 64, 3, i) for i in range(5)], "yuvj420p")
    mux_packets(tmp_path / "a.avi", "mjpeg", packets, times=[0, 1, 4, 5, 8])
    with open_source(tmp_path / "a.avi", max_pixels=LIMIT) as source:
        assert source.format.frame_rate == 25
        assert [frame.pts for frame in source.frames()] == [0, 1, 4, 5, 8]


def test_h264_in_avi_at_every_second_place(tmp_path: Path) -> None:
    """As FFmpeg copies it there, with a clock of fields."""
    make_video(tmp_path / "a.avi", frames=10, pts=list(range(0, 20, 2)), time_base=Fraction(1, 50))
    for stop in (1, 2, 5, None):
        with open_source(tmp_path / "a.avi", 0, stop, max_pixels=LIMIT) as source:
            assert source.format.frame_rate == 25
            times = [frame.pts * source.format.time_base for frame in source.frames()]
        assert {after - before for before, after in pairwise(times)} <= {Fraction(1, 25)}


def test_a_selection_has_the_times_of_the_whole(tmp_path: Path) -> None:
    make_video(tmp_path / "a.avi", frames=12, options={"bf": "2"})
    whole = read_all(tmp_path / "a.avi")
    for stop in range(1, 12):
        part = read_all(tmp_path / "a.avi", 0, stop)
        assert [frame.pts for frame in part] == [frame.pts for frame in whole[:stop]]
