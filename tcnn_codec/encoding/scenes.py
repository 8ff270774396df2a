"""Finds the hard cuts of a clip in one cheap pass, so that a network need not cross them.

A cut is a frame from which on the picture is another one: none of the frames behind it is like one
of those before it, and it changes by far more than frames around it do. So flashes, odd
frames and strobes are none, since the old picture comes back; fades, dissolves, pans and shaking
are none, since frames around them change as much; nor are changes of exposure, which leave the
picture the same but for brightness and contrast. Bars around the picture are not looked at. All
arithmetic is in integers, so that every machine finds the same cuts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.dtypes import I64, U8

#: Of a thumbnail, at most.
HEIGHT, WIDTH = 48, 64
#: Frames on either side of a cut that must all differ across it; so many may a flash last.
REACH = 4
#: The difference across a cut is at least LEAST_CHANGE levels and SHARE hundredths of the changes
#: of frames up to AROUND before and behind. Measured on sixteen clips: 25 to 39 at six cuts, among
#: changes of up to 20, and at most 19 elsewhere, among changes of 18.
LEAST_CHANGE, SHARE, AROUND = 15, 60, 8
#: The changes around are the largest but for so many: a flash has two.
OUTLIERS = 2
#: Frames of a scene: a network for fewer costs more than the cut within one does.
LEAST_FRAMES = 8
#: Levels to which contrast is brought, as a standard deviation; and below which it is noise.
CONTRAST, LEAST_CONTRAST = 32, 4
#: Levels within which a row or column of one colour stays, as a bar's does under compression.
FLAT = 4
#: Samples of so many rows have a sum below 2**16.
SHORT_SUM = 257
#: Weights of red, green and blue in 256ths (ITU-R BT.601).
GREY = (77, 150, 29)


def scene_lengths(frames: Iterable[U8]) -> tuple[int, ...]:
    """The frames of every scene, in order; a clip without cuts is one.

    frames: uint8 [height, width, channels], all of one size; alpha is not looked at. Holds a few
    thumbnails at a time.
    """
    changes, candidates = [0], list[tuple[int, int]]()
    for before, behind in _boundaries(map(_thumbnail, frames)):
        changes.append(_mean_apart(before[-1], behind[0]))
        # Only what changes much can be a cut.
        if changes[-1] >= 256 * LEAST_CHANGE:
            difference = _least_difference(before, behind)
            if difference >= 256 * LEAST_CHANGE:
                candidates.append((-difference, len(changes) - 1))
    cuts: list[int] = []
    for negated, at in sorted(candidates):
        if -100 * negated < 100 * 256 * LEAST_CHANGE + SHARE * _usual(changes, at):
            continue
        if min(abs(at - cut) for cut in (0, len(changes), *cuts)) >= LEAST_FRAMES:
            cuts.append(at)
    ends = [*sorted(cuts), len(changes)]
    return tuple(end - start for start, end in zip([0, *ends], ends, strict=False))


def _thumbnail(frame: U8) -> I64:
    """The means of cells in grey, int64 [HEIGHT, WIDTH or less], levels in 256ths."""
    height, width, channels = frame.shape
    rows = np.arange(min(HEIGHT, height) + 1) * height // min(HEIGHT, height)
    columns = np.arange(min(WIDTH, width) + 1) * width // min(WIDTH, width)
    lines = frame.reshape(height, width * channels)
    # Down before across, and in few bits: it is several times faster.
    bits = np.uint16 if height <= SHORT_SUM * HEIGHT else np.uint32
    bands = np.stack([lines[a:b].sum(axis=0, dtype=bits) for a, b in pairwise(rows)])
    bands = bands.reshape(-1, width, channels)
    sums = np.add.reduceat(bands, columns[:-1], axis=1, dtype=np.int64)
    weighted: I64 = sums[..., :3] @ np.array(GREY) if channels > 1 else 256 * sums[..., 0]
    areas: I64 = np.diff(rows)[:, None] * np.diff(columns)
    return weighted // areas


def _least_difference(before: Sequence[I64], behind: Sequence[I64]) -> int:
    """The least of those between a thumbnail before and one behind; exact where it may be a cut."""
    least = _difference(before[-1], behind[0])
    for a in before:
        for b in behind:
            if least < 256 * LEAST_CHANGE:
                return least
            least = min(least, _difference(a, b))
    return least


def _difference(a: I64, b: I64) -> int:
    """The mean absolute difference, as it is or with equal contrast: whichever is less.

    Of what lies between the bars that both have; 0 where that is nothing.
    """
    rows = np.flatnonzero(_varied(a, 1) | _varied(b, 1))
    columns = np.flatnonzero(_varied(a, 0) | _varied(b, 0))
    if not rows.size or not columns.size:
        return 0
    inside = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    a, b = a[inside], b[inside]
    return min(_mean_apart(a, b), _mean_apart(_equalised(a), _equalised(b)))


def _varied(thumbnail: I64, axis: int) -> NDArray[np.bool_]:
    """Which rows (axis 1) or columns (axis 0) are not of one colour."""
    varied: NDArray[np.bool_] = np.ptp(thumbnail, axis=axis) >= 256 * FLAT
    return varied


def _equalised(thumbnail: I64) -> I64:
    """With the mean taken off, and brought to the same contrast."""
    centred = thumbnail - int(thumbnail.sum()) // thumbnail.size
    deviation = isqrt(int((centred * centred).sum()) // thumbnail.size)
    return 256 * CONTRAST * centred // max(deviation, 256 * LEAST_CONTRAST)


def _mean_apart(a: I64, b: I64) -> int:
    return int(np.abs(a - b).sum()) // a.size


def _boundaries(
    thumbnails: Iterator[I64],
) -> Iterator[tuple[list[I64], list[I64]]]:
    """For every frame but the first: up to REACH frames before it, and it with those behind it."""
    held: deque[I64] = deque(maxlen=2 * REACH)
    count = 0
    for thumbnail in thumbnails:
        held.append(thumbnail)
        count += 1
        if count > REACH:
            yield _parted(held, REACH)
    for behind in range(min(REACH, count) - 1, 0, -1):
        yield _parted(held, behind)


def _parted(held: Sequence[I64], behind: int) -> tuple[list[I64], list[I64]]:
    pictures = list(held)
    return pictures[:-behind][-REACH:], pictures[-behind:]


def _usual(changes: list[int], at: int) -> int:
    """The largest change of the frames around, but for OUTLIERS."""
    around = changes[max(1, at - AROUND) : at] + changes[at + 1 : at + 1 + AROUND]
    return max(sorted(around)[:-OUTLIERS], default=0)
