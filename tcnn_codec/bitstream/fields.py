"""Reads the fields of a header one after another (docs/format.md, sections 2 to 4).

All varints are found at once with array operations, so that a header of megabytes is read in
milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from tcnn_codec.bitstream.limits import MAX_CHUNK_FRAMES, MAX_CHUNKS, MAX_PTS
from tcnn_codec.bitstream.varint import MAX_VARINT_BYTES, TOO_LONG, not_shortest
from tcnn_codec.dtypes import I64
from tcnn_codec.errors import BitstreamError


class Fields:
    """data: the bytes of all fields. Every method raises BitstreamError for what is not allowed."""

    def __init__(self, data: bytes) -> None:
        self._values, self._fault = _read_varints(data)
        self._at = 0

    def take(self, name: str) -> int:
        """The next varint."""
        return self.take_all(name, 1)[0]

    def take_all(self, name: str, count: int) -> tuple[int, ...]:
        """The next varints, so many."""
        found = self._values[self._at : self._at + count].tolist()
        self._at += len(found)
        if len(found) < count:
            raise bad_field(self._fault or f"the fields end before {name}")
        return tuple(found)

    def take_rational(self, name: str) -> Fraction:
        numerator, denominator = self.take(name), self.take(name)
        if denominator == 0:
            raise bad_field(f"{name} is {numerator}/0")
        value = Fraction(numerator, denominator)
        if value.denominator != denominator:
            raise bad_field(f"{name} is {numerator}/{denominator}, not in lowest terms")
        return value

    def take_timestamps(self, frames: int) -> tuple[int, ...]:
        """Those of 1 or more frames, in ticks."""
        start = self.take("first timestamp")
        first = start // 2 if start % 2 == 0 else -(start // 2) - 1
        counts, ticks = self._take_pairs("ticks", frames - 1, np.ones_like)
        # In halves of ticks, whose sums do not wrap: all counts together are less than 2**20.
        upper, lower = int(counts @ (ticks >> 32)), int(counts @ (ticks & 2**32 - 1))
        last = first + (upper << 32) + lower
        if not -MAX_PTS <= first <= last <= MAX_PTS:
            raise bad_field(
                f"timestamps go from {first} to {last}", f"allowed are -{MAX_PTS} to {MAX_PTS}"
            )
        later = first + np.cumsum(np.repeat(ticks, counts))
        return (first, *later.tolist())

    def take_chunk_frames(self, frames: int) -> tuple[int, ...]:
        """The frames of every chunk, whose sum is `frames`."""
        counts, sizes = self._take_pairs("frames in a chunk", frames, lambda sizes: sizes)
        if (most := int(sizes.max())) > MAX_CHUNK_FRAMES:
            raise bad_field(f"a chunk has {most} frames", f"allowed are 1 to {MAX_CHUNK_FRAMES}")
        if (chunks := int(counts.sum())) > MAX_CHUNKS:
            raise bad_field(f"there are {chunks} chunks", f"allowed are 1 to {MAX_CHUNKS}")
        return tuple(np.repeat(sizes, counts).tolist())

    def take_runs(self, name: str, total: int) -> tuple[int, ...]:
        """One number for each of so many chunks, in runs."""
        ahead = self._values[self._at : self._at + 2 * total].tolist()
        found: list[int] = []
        at = 0
        while (left := total - len(found)) > 0:
            counted = int(left > 1)
            if at + counted >= len(ahead):
                raise bad_field(self._fault or f"the fields end inside the runs of {name}")
            count, value = ahead[at] if counted else 1, ahead[at + counted]
            if not 1 <= count <= left:
                raise bad_field(f"a run of {count} {name}", f"{left} are left")
            if found and value == found[-1]:
                raise bad_field(f"two runs of {name} are alike")
            found += [value] * count
            at += counted + 1
        self._at += at
        return tuple(found)

    def end(self) -> None:
        """Nothing may follow."""
        if more := len(self._values) - self._at:
            raise bad_field(f"{more} numbers follow the last field")
        if self._fault:
            raise bad_field(self._fault)

    def _take_pairs(self, name: str, total: int, weight: Callable[[I64], I64]) -> tuple[I64, I64]:
        """Runs of a count and a value, both int64 [runs], until count * weight(value) makes `total`
        up; no two neighbours have the same value."""
        if total == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        # No more pairs than units, of which each run has one at least.
        rest = self._values[self._at : self._at + 2 * total]
        counts, values = rest[: len(rest) // 2 * 2 : 2], rest[1::2]
        # Beyond total + 1 a number is too large whatever it is, and sums of these do not wrap.
        units = np.minimum(counts, total + 1) * np.minimum(weight(values), total + 1)
        sums = np.cumsum(units)
        runs = int(np.searchsorted(sums, total)) + 1
        wrong = np.flatnonzero((counts[:runs] < 1) | (values[:runs] < 1))
        if wrong.size:
            at = int(wrong[0])
            raise bad_field(f"a run of {counts[at]} times {values[at]} {name}")
        if runs > len(sums):
            raise bad_field(self._fault or f"the fields end inside the runs of {name}")
        if sums[runs - 1] != total:
            left = total - int(sums[runs - 2] if runs > 1 else 0)
            raise bad_field(
                f"a run of {counts[runs - 1]} times {values[runs - 1]} {name}",
                f"{left} frames are left",
            )
        if np.any(values[1:runs] == values[: runs - 1]):
            raise bad_field(f"two runs of {name} are alike")
        self._at += 2 * runs
        return counts[:runs], values[:runs]


def bad_field(what: str, allowed: str = "") -> BitstreamError:
    return BitstreamError(
        f"a header field is out of range: {what}", allowed, "the file was made by a faulty encoder"
    )


def _read_varints(data: bytes) -> tuple[I64, str]:
    """All varints up to the first that is faulty, int64 [varints], and what is wrong with that."""
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets < 128)
    lengths = np.minimum(np.diff(ends, prepend=-1), MAX_VARINT_BYTES + 1).astype(np.int8)
    # From the last digit, which is the most significant, to the first.
    values = octets[ends].astype(np.int64)
    for place in range(1, min(MAX_VARINT_BYTES, int(lengths.max(initial=0)))):
        has = np.flatnonzero(lengths > place)
        values[has] = values[has] << 7 | octets[ends[has] - place] & 127
    too_long = lengths > MAX_VARINT_BYTES
    wrong = np.flatnonzero(too_long | ((lengths > 1) & (octets[ends] == 0)))
    if not wrong.size:
        left = octets.size - (int(ends[-1]) + 1 if ends.size else 0)
        cut_off = "the last field is cut off" if left else ""
        return values, TOO_LONG if left >= MAX_VARINT_BYTES else cut_off
    first = int(wrong[0])
    fault = TOO_LONG if too_long[first] else not_shortest(int(values[first]))
    return values[:first], fault
