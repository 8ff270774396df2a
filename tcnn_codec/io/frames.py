"""What readers produce and writers take: one frame, and a source of frames."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from tcnn_codec.errors import CodecError
from tcnn_codec.picture import PictureFormat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """One picture.

    `pixels` is uint8 [height, width, channels], C-contiguous; channels is 1 (grey), 3 (RGB) or
    4 (RGBA, alpha not premultiplied). `pts` is the presentation time in units of the source's
    `time_base`; 0 for an image.
    """

    pixels: NDArray[np.uint8]
    pts: int


class Reader(Protocol):
    """Reads the selected frames of one input, each time from the first of them.

    Plain data, so that it can be pickled and read in another process.
    """

    def frames(self) -> Generator[Frame, None, None]:
        """The frames in presentation order; closing the generator closes the input.

        Raises CodecError where the input turns out to be damaged.
        """
        ...


@dataclass(frozen=True)
class Source:
    """An opened image or video, read in order and with bounded memory.

    A context manager: leaving it closes whatever a reader still holds open. It can be pickled: the
    copy gives the same frames, in any process for which the path, if relative, names the same file.

    `format` is that of all frames. `notes` has one line for each conversion that loses something.
    """

    format: PictureFormat
    notes: tuple[str, ...]
    reader: Reader = field(repr=False)
    #: Readings that may be unfinished; they belong to this process and object.
    _live: list[Generator[Frame, None, None]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def frames(self) -> Iterator[Frame]:
        """The selected frames in presentation order, pts strictly increasing.

        Each call starts again at the first selected frame. Raises CodecError where the file
        turns out to be damaged.
        """
        reading = self.reader.frames()
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

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_live": []}


def check_size(path: Path, height: int, width: int, max_pixels: int) -> None:
    """Raise CodecError unless height x width is at least 1 and at most max_pixels."""
    if height < 1 or width < 1:
        raise CodecError(f"'{path}' has no pixels: {width}x{height}", "at least 1x1 is needed")
    if height * width > max_pixels:
        raise CodecError(
            f"'{path}' is {width}x{height} = {height * width} pixels",
            f"the limit is {max_pixels}",
            "raise it with `max_pixels`, or scale the picture down",
        )


def check_selection(path: Path | str, first: int, stop: int | None, count: int) -> None:
    """Raise CodecError unless frames first:stop, half-open, hold one of the `count` frames."""
    if first < 0 or (stop is not None and stop <= first) or first >= count:
        chosen = f"{first}:{'' if stop is None else stop}"
        raise CodecError(
            f"`frames` {chosen} select nothing from '{path}'",
            f"it has frames 0:{count}",
            f"give A:B with 0 <= A < B and A below {count}",
        )


def broken_at(path: Path, readable: int, reason: object) -> CodecError:
    """The error for a clip of which only the first `readable` frames can be decoded."""
    detail = " ".join(str(reason).split())[:160]
    if readable == 0:
        return CodecError(
            f"no frame of '{path}' can be decoded: damaged or cut short ({detail})",
            remedy="fetch it again, or re-export it",
        )
    return CodecError(
        f"'{path}' is damaged or cut short: {readable} of its frames can be read ({detail})",
        remedy=f"`frames` 0:{readable} takes those",
    )


@dataclass(frozen=True)
class SinkSpec:
    """What a sink is told before the first frame.

    `path` is the final name, for messages. `format` is that of all frames.
    """

    path: Path
    format: PictureFormat
