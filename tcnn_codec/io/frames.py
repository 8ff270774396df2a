"""What readers produce and writers take: one frame, and a source of frames."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from tcnn_codec.errors import CodecError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["image", "video"]


@dataclass(frozen=True)
class Frame:
    """One picture.

    `pixels` is uint8 [height, width, channels], C-contiguous; channels is 1 (grey), 3 (RGB) or
    4 (RGBA, alpha not premultiplied). `pts` is the presentation time in units of the source's
    `time_base`; 0 for an image.
    """

    pixels: NDArray[np.uint8]
    pts: int


@dataclass(frozen=True)
class Source:
    """An opened image or video, read in order and with bounded memory.

    A context manager: leaving it closes whatever a reader still holds open.

    `height`, `width` in pixels, upright; `channels` 1, 3 or 4, the same for all frames.
    `time_base` is seconds per pts unit (1 for an image), `frame_rate` the nominal or average
    frames per second (1 for an image). `frame_count` counts the selected frames.
    `notes` has one line for each conversion that loses something.
    """

    kind: Kind
    height: int
    width: int
    channels: int
    time_base: Fraction
    frame_rate: Fraction
    frame_count: int
    notes: tuple[str, ...]
    read: Callable[[], Generator[Frame, None, None]] = field(repr=False)
    _live: list[Generator[Frame, None, None]] = field(default_factory=list, repr=False)

    def frames(self) -> Iterator[Frame]:
        """The selected frames in presentation order, pts strictly increasing.

        Each call starts again at the first selected frame. Raises CodecError where the file
        turns out to be damaged.
        """
        reading = self.read()
        self._live.append(reading)
        return reading

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._live:
            self._live.pop().close()


def check_size(path: Path, height: int, width: int, max_pixels: int) -> None:
    """Raise CodecError unless height x width is at least 1 and at most max_pixels."""
    if height < 1 or width < 1:
        raise CodecError(f"'{path}' has no pixels: {width}x{height}; at least 1x1 is needed")
    if height * width > max_pixels:
        raise CodecError(
            f"'{path}' is {width}x{height} = {height * width} pixels; the limit is {max_pixels}; "
            "raise it with --max-pixels, or scale the picture down"
        )


def check_selection(path: Path, first: int, last: int | None, count: int) -> None:
    """Raise CodecError unless frames first:last, half-open, hold one of the `count` frames."""
    if first < 0 or (last is not None and last <= first) or first >= count:
        chosen = f"{first}:{'' if last is None else last}"
        raise CodecError(
            f"frames {chosen} select nothing from '{path}': "
            f"give A:B with 0 <= A < B and A below {count}, its number of frames"
        )


def broken_at(path: Path, readable: int, reason: object) -> CodecError:
    """The error for a clip of which only the first `readable` frames can be decoded."""
    detail = " ".join(str(reason).split())[:160]
    if readable == 0:
        return CodecError(f"no frame of '{path}' can be decoded: damaged or cut short ({detail})")
    return CodecError(
        f"'{path}' is damaged or cut short: {readable} of its frames can be read ({detail}); "
        f"--frames 0:{readable} takes those"
    )


@dataclass(frozen=True)
class SinkSpec:
    """What a sink is told before the first frame; units as in `Source`.

    `path` is the final name, for messages.
    """

    path: Path
    kind: Kind
    height: int
    width: int
    channels: int
    frame_count: int
    time_base: Fraction
    frame_rate: Fraction
