"""Finds the hard cuts of a clip in one cheap pass, so that a network need not cross them.

A cut is a frame from which on the picture is another one: none of the frames behind it is like one
of those before it, and it changes by far more than frames around it do. So flashes, odd
frames and strobes are none, since the old picture comes back; fades, dissolves, pans and shaking
are none, since frames around them change as much; nor are changes of exposure, which leave the
picture the same but for brightness and contrast. All arithmetic is in integers, so that every
machine finds the same cuts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from tcnn_codec.dtypes import U8

#: Of a thumbnail, at most.
HEIGHT, WIDTH = 48, 64
#: Frames on either side of a cut that must all differ across it; so many may a flash last.
REACH = 4
#: The difference across a cut is at least LEAST_CHANGE levels and SHARE of the changes of frames up
#: to AROUND before and behind. Measured on eight clips: 25 to 39 at cuts, among changes of up to
#: 19, and at most 19 elsewhere, among changes of 11.
LEAST_CHANGE, SHARE, AROUND = 15, 0.6, 8
#: The changes around are the largest but for so many: a flash has two.
OUTLIERS = 2
#: Frames of a scene: a network for fewer costs more than the cut within one does.
LEAST_FRAMES = 8
#: Levels to which contrast is brought, as a standard deviation; and below which it is noise.
CONTRAST, LEAST_CONTRAST = 32, 4
#: Weights of red, green and blue in 256ths (ITU-R BT.601).
GREY = (77, 150, 29)


def scene_lengths(frames: Iterable[U8]) -> tuple[int, ...]:
    """The frames of every scene, in order; a clip without cuts is one.

    frames: uint8 [height, width, channels], all of one size; alpha is not looked at. Holds a few
    thumbnails at a time.
    """
    changes, differences = [0], [0]
    for before, behind in _boundaries(map(_thumbnail, frames)):
        changes.append(_mean_apart(before[-1].grey, behind[0].grey))
        # Only what changes much can be a cut.
        far = changes[-1] >= 256 * LEAST_CHANGE
        pairs = [(a, b) for a in before for b in behind] if far else []
        differences.append(min((_difference(a, b) for a, b in pairs), default=0))
    cuts: list[int] = []
    for at in sorted(range(len(changes)), key=lambda at: -differences[at]):
        least = 256 * LEAST_CHANGE + SHARE * _usual(changes, at)
        apart = min(abs(at - cut) for cut in (0, len(changes), *cuts))
        if differences[at] >= least and apart >= LEAST_FRAMES:
            cuts.append(at)
    ends = [*sorted(cuts), len(changes)]
    return tuple(end - start for start, end in zip([0, *ends], ends, strict=False))


@dataclass(frozen=True, eq=False)
class _Thumbnail:
    """grey: int64 [HEIGHT, WIDTH or less], levels in 256ths. contrast: the same with the mean taken
    off, and brought to the same contrast."""

    grey: NDArray[np.int64]
    contrast: NDArray[np.int64]


def _thumbnail(frame: U8) -> _Thumbnail:
    height, width, channels = frame.shape
    rows = np.arange(min(HEIGHT, height)) * height // min(HEIGHT, height)
    columns = np.arange(min(WIDTH, width)) * width // min(WIDTH, width)
    sums = np.add.reduceat(frame.astype(np.uint16), columns, axis=1, dtype=np.int64)
    sums = np.add.reduceat(sums, rows, axis=0)
    areas = np.diff(rows, append=height)[:, None] * np.diff(columns, append=width)
    weighted = sums[..., :3] @ np.array(GREY) if channels > 1 else 256 * sums[..., 0]
    grey = weighted // areas
    centred = grey - int(grey.sum()) // grey.size
    deviation = isqrt(int((centred * centred).sum()) // grey.size)
    contrast = 256 * CONTRAST * centred // max(deviation, 256 * LEAST_CONTRAST)
    return _Thumbnail(grey, contrast)


def _difference(a: _Thumbnail, b: _Thumbnail) -> int:
    """The mean absolute difference, as it is or with equal contrast: whichever is less."""
    return min(_mean_apart(a.grey, b.grey), _mean_apart(a.contrast, b.contrast))


def _mean_apart(a: NDArray[np.int64], b: NDArray[np.int64]) -> int:
    return int(np.abs(a - b).sum()) // a.size


def _boundaries(
    thumbnails: Iterator[_Thumbnail],
) -> Iterator[tuple[list[_Thumbnail], list[_Thumbnail]]]:
    """For every frame but the first: up to REACH frames before it, and it with those behind it."""
    held: deque[_Thumbnail] = deque(maxlen=2 * REACH)
    count = 0
    for thumbnail in thumbnails:
        held.append(thumbnail)
        count += 1
        if count > REACH:
            yield _parted(held, REACH)
    for behind in range(min(REACH, count) - 1, 0, -1):
        yield _parted(held, behind)


def _parted(held: Sequence[_Thumbnail], behind: int) -> tuple[list[_Thumbnail], list[_Thumbnail]]:
    pictures = list(held)
    return pictures[:-behind][-REACH:], pictures[-behind:]


def _usual(changes: list[int], at: int) -> int:
    """The largest change of the frames around, but for OUTLIERS."""
    around = changes[max(1, at - AROUND) : at] + changes[at + 1 : at + 1 + AROUND]
    return max(sorted(around)[:-OUTLIERS], default=0)
