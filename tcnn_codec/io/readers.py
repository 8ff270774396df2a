"""Opening an input: an image, an animation, a video or a folder of frames."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tcnn_codec.errors import CodecError
from tcnn_codec.io.frames import Frame, Reader, Source
from tcnn_codec.io.images import open_folder, open_image
from tcnn_codec.io.video import open_video


@dataclass(frozen=True)
class BorderedReader:
    """Gives the frames of another reader of `path`, and one line for whatever it throws."""

    path: Path
    inner: Reader

    def frames(self) -> Generator[Frame, None, None]:
        with _border(self.path):
            yield from self.inner.frames()


def open_source(path: Path, first: int = 0, stop: int | None = None, *, max_pixels: int) -> Source:
    """Open frames first:stop, half-open, of an image, a video or a folder of frames.

    The content decides and not the extension: a folder is a video of its images, a file that
    Pillow knows is an image (a video if it is animated), anything else must be a video. `stop`
    beyond the end means the end. `max_pixels` limits height times width of a frame.

    Raises CodecError, one line, for a path that is missing, unreadable, empty or no picture at
    all, for damaged content, for a picture above the limit and for an empty selection.
    """
    if first < 0 or (stop is not None and stop <= first):
        raise CodecError(
            f"`frames` {first}:{('' if stop is None else stop)} select nothing",
            "a range holds at least one frame",
            "give A:B with 0 <= A < B",
        )
    with _border(path):
        source = _open(path, first, stop, max_pixels)
    return replace(source, reader=BorderedReader(path, source.reader))


def _open(path: Path, first: int, stop: int | None, max_pixels: int) -> Source:
    if os.path.isdir(path):
        return open_folder(path, first, stop, max_pixels=max_pixels)
    _check_readable(path)
    image = open_image(path, first, stop, max_pixels=max_pixels)
    return image or open_video(path, first, stop, max_pixels=max_pixels)


@contextmanager
def _border(path: Path) -> Iterator[None]:
    """Turn what the libraries throw beside their documented errors into one line for the user.

    The readers explain what they know the cause of; this is for all the rest.
    """
    try:
        yield
    except (CodecError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise CodecError(
            f"'{path}' cannot be read: it is damaged, or of a kind that the installed libraries "
            f"do not handle ({reason})",
            remedy="re-export it in a usual format, such as PNG or MP4",
        ) from error


def _check_readable(path: Path) -> None:
    if not os.path.lexists(path):
        raise CodecError(f"input '{path}' does not exist", remedy="check the path")
    if not os.path.isfile(path):
        raise CodecError(
            f"input '{path}' is no regular file", remedy="give a file or a folder of frames"
        )
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise CodecError(
            f"cannot read '{path}': {error.strerror}", remedy="check its rights"
        ) from error
    if empty:
        raise CodecError(f"input '{path}' is empty (0 bytes)", remedy="give an image or a video")
