"""Opening an input: an image, an animation, a video or a folder of frames."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tcnn_codec.errors import CodecError
from tcnn_codec.io.frames import Frame, Source
from tcnn_codec.io.images import open_folder, open_image
from tcnn_codec.io.video import open_video


def open_source(path: Path, first: int = 0, last: int | None = None, *, max_pixels: int) -> Source:
    """Open frames first:last, half-open, of an image, a video or a folder of frames.

    The content decides and not the extension: a folder is a video of its images, a file that
    Pillow knows is an image (a video if it is animated), anything else must be a video. `last`
    beyond the end means the end. `max_pixels` limits height times width of a frame.

    Raises CodecError, one line, for a path that is missing, unreadable, empty or no picture at
    all, for damaged content, for a picture above the limit and for an empty selection.
    """
    if first < 0 or (last is not None and last <= first):
        raise CodecError(
            f"frames {first}:{'' if last is None else last} select nothing: "
            "give A:B with 0 <= A < B"
        )
    with _border(path):
        source = _open(path, first, last, max_pixels)

    def read() -> Generator[Frame, None, None]:
        with _border(path):
            yield from source.read()

    return replace(source, read=read)


def _open(path: Path, first: int, last: int | None, max_pixels: int) -> Source:
    if os.path.isdir(path):
        return open_folder(path, first, last, max_pixels=max_pixels)
    _check_readable(path)
    image = open_image(path, first, last, max_pixels=max_pixels)
    return image or open_video(path, first, last, max_pixels=max_pixels)


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
            f"'{path}' cannot be read: it is damaged, or of a kind that the installed libraries do "
            f"not handle ({reason}); re-export it in a usual format, such as PNG or MP4"
        ) from error


def _check_readable(path: Path) -> None:
    if not os.path.lexists(path):
        raise CodecError(f"input '{path}' does not exist; check the path")
    if not os.path.isfile(path):
        raise CodecError(f"input '{path}' is no regular file; give a file or a folder of frames")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise CodecError(f"cannot read '{path}': {error.strerror}; check its rights") from error
    if empty:
        raise CodecError(f"input '{path}' is empty (0 bytes); give an image or a video")
