"""Opened sources are data: they can be pickled, sent to another process and read there."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from io_samples import LIMIT, fails, make_video, overwrite, picture, run_python, write_all
from PIL import Image

from tcnn_codec.io import Source, array_source, open_source

FRAMES = [picture(12, 18, 3, 9 * index) for index in range(5)]
KINDS = ("image", "folder", "animation", "video", "array")


def opened(kind: str, folder: Path) -> Source:
    """An input of every kind, frames 1:4 of those that have several."""
    match kind:
        case "image":
            write_all(folder / "a.png", FRAMES[:1], kind="image")
            return open_source(folder / "a.png", max_pixels=LIMIT)
        case "folder":
            write_all(folder / "frames", FRAMES)
            return open_source(folder / "frames", 1, 4, max_pixels=LIMIT)
        case "animation":
            first, *others = (Image.fromarray(pixels) for pixels in FRAMES)
            first.save(folder / "b.png", save_all=True, append_images=others, duration=40)
            return open_source(folder / "b.png", 1, 4, max_pixels=LIMIT)
        case "video":
            make_video(folder / "a.mp4")
            return open_source(folder / "a.mp4", 1, 4, max_pixels=LIMIT)
        case _:
            return array_source(np.stack(FRAMES), 30)


def digests(source: Source) -> Iterator[str]:
    for frame in source.frames():
        yield f"{frame.pts} {frame.pixels.shape} {hashlib.sha256(frame.pixels.data).hexdigest()}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickled_source_gives_the_same_frames(tmp_path: Path, kind: str) -> None:
    with opened(kind, tmp_path) as source:
        next(source.frames())  # a reading under way is left behind
        again = pickle.loads(pickle.dumps(source))
        assert (again.format, again.notes) == (source.format, source.notes)
        expected = list(source.frames())
        with again:
            for frame, copy in zip(expected, again.frames(), strict=True):
                assert frame.pts == copy.pts
                np.testing.assert_array_equal(frame.pixels, copy.pixels)
    assert len(expected) == source.format.frame_count == {"image": 1, "array": 5}.get(kind, 3)


def test_another_process_reads_the_same_frames(tmp_path: Path) -> None:
    sources = [opened(kind, tmp_path) for kind in KINDS]
    (tmp_path / "sources").write_bytes(pickle.dumps(sources))
    code = """
        import hashlib
        import pickle
        from pathlib import Path
        for source in pickle.loads(Path("sources").read_bytes()):
            for frame in source.frames():
                digest = hashlib.sha256(frame.pixels.data).hexdigest()
                print(frame.pts, frame.pixels.shape, digest)
    """
    done = run_python(code, tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [line for source in sources for line in digests(source)]


def test_the_copy_s_failures_are_one_line_too(tmp_path: Path) -> None:
    source = opened("folder", tmp_path)
    copy = pickle.loads(pickle.dumps(source))
    overwrite(tmp_path / "frames" / "frame_00002.png", 45, bytes(40))
    fails(lambda: list(copy.frames()), "frame_00002.png", "damaged")
