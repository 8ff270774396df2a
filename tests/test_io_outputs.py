"""Writing: every output, early refusals, and files that are complete or absent."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from io_samples import (
    LIMIT,
    fails,
    picture,
    psnr,
    read_all,
    run_python,
    sink,
    write_all,
)

from tcnn_codec.io import Frame, atomic_path, check_output, check_sink, open_source
from tcnn_codec.picture import PictureFormat


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(18, 24), (7, 9), (1, 1), (5, 1)])
def test_lossless_video_outputs(tmp_path: Path, channels: int, size: tuple[int, int]) -> None:
    frames = [picture(*size, channels, i) for i in range(5)]
    for name in ("a.mkv", "folder"):
        write_all(tmp_path / name, frames)
        read = [frame.pixels for frame in read_all(tmp_path / name)]
        np.testing.assert_array_equal(np.stack(read), np.stack(frames))
    write_all(tmp_path / "a.npy", frames)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.stack(frames))
    assert sorted(os.listdir(tmp_path / "folder"))[0] == "frame_00000.png"
    assert sorted(os.listdir(tmp_path)) == ["a.mkv", "a.npy", "folder"]


def test_npy_of_an_image(tmp_path: Path) -> None:
    pixels = picture(7, 5, 3)
    write_all(tmp_path / "a.npy", [pixels], kind="image")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_mp4_is_close(tmp_path: Path, channels: int, size: tuple[int, int]) -> None:
    frames = [picture(*size, channels, i) for i in range(5)]
    write_all(tmp_path / "a.mp4", frames)
    for read, pixels in zip(read_all(tmp_path / "a.mp4"), frames, strict=True):
        # A wrong matrix or range between writer and reader would stay below 30 dB.
        assert psnr(read.pixels, np.broadcast_to(pixels, read.pixels.shape)) > 37


@pytest.mark.parametrize("channels", [1, 3])
def test_y4m_is_within_rounding(tmp_path: Path, channels: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (3, 15, 21, channels), dtype=np.uint8)
    write_all(tmp_path / "a.y4m", list(noise))
    with open_source(tmp_path / "a.y4m", max_pixels=LIMIT) as source:
        assert source.format.frame_rate == Fraction(25)
        read = np.stack([frame.pixels for frame in source.frames()])
    assert np.abs(read.astype(int) - noise).max() <= 3


def test_one_frame_of_a_video_may_be_an_image(tmp_path: Path) -> None:
    pixels = picture(7, 5, 3)
    write_all(tmp_path / "a.png", [pixels], kind="video")
    np.testing.assert_array_equal(read_all(tmp_path / "a.png")[0].pixels, pixels)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.npy", "a.mkv", "a.mp4", "a.y4m", "folder"])
def test_an_exception_leaves_nothing(tmp_path: Path, name: str) -> None:
    one = name in ("a.png", "a.webp")
    frames = [picture(8, 8, 3)] * (1 if one else 3)

    def interrupted() -> None:
        with sink(tmp_path / name, frames) as output:
            output.write(Frame(frames[0], 0))
            raise KeyboardInterrupt

    def incomplete() -> None:
        with sink(tmp_path / name, frames):
            pass

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == []
    with pytest.raises(ValueError, match="0 of"):
        incomplete()
    assert os.listdir(tmp_path) == []


def test_an_exception_keeps_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_text("older")
    output = sink(path, [picture(8, 8, 3)] * 2)
    with pytest.raises(ValueError, match="expected uint8"), output:
        output.write(Frame(picture(8, 9, 3), 0))
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["a.npy"]


def test_too_many_frames_are_refused(tmp_path: Path) -> None:
    pixels = picture(8, 8, 3)
    output = sink(tmp_path / "a.npy", [pixels])
    with output:
        output.write(Frame(pixels, 0))
        with pytest.raises(ValueError, match="takes 1 frames"):
            output.write(Frame(pixels, 1))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), pixels[None])


def test_outputs_refused_early(tmp_path: Path) -> None:
    def video(path: Path, frames: int = 3, channels: int = 3) -> None:
        check_sink(path, PictureFormat("video", 8, 8, channels, frames))

    def image(path: Path, width: int = 8) -> None:
        check_sink(path, PictureFormat("image", 8, width, 3))

    fails(lambda: video(tmp_path / "a.png"), "3 frames", ".png holds one", "`frames` N:N+1")
    fails(lambda: video(tmp_path / "a.flv"), "'.flv'", ".mp4 .mkv .y4m .npy", "folder")
    fails(lambda: image(tmp_path / "a.mp4"), "an image", "'.mp4'", ".png .webp .npy")
    fails(lambda: image(tmp_path / "a"), "no extension", ".png .webp .npy")
    fails(lambda: video(tmp_path / "a.mp4", channels=4), "alpha", ".mkv")
    fails(lambda: video(tmp_path / "a.y4m", channels=4), "alpha", ".npy")
    fails(lambda: video(tmp_path / "none" / "a.mp4"), "does not exist", "create it")
    fails(lambda: video(tmp_path / ("n" * 300 + ".mp4")), "too long")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    fails(lambda: video(tmp_path / "full"), "is not empty")
    fails(lambda: image(tmp_path / "full"), "is a folder")
    (tmp_path / "plain").touch()
    fails(lambda: video(tmp_path / "plain"), "is a file")
    fails(lambda: check_output(tmp_path / "full"), "is a folder")
    fails(lambda: check_output(Path("/dev/null")), "no regular file")
    fails(lambda: check_output(tmp_path / "plain" / "a.tcnn"), "is not a folder")
    (tmp_path / "link.tcnn").symlink_to(tmp_path / "plain")
    fails(
        lambda: check_output(tmp_path / "link.tcnn", reads=tmp_path / "plain"),
        "is the input itself",
    )
    fails(lambda: image(tmp_path / "a.webp", 16384), "16383", "16384x8", ".png or .npy")
    image(tmp_path / "a.webp", 16383)
    assert sorted(os.listdir(tmp_path)) == ["full", "link.tcnn", "plain"]


def test_atomic_path_follows_links_and_keeps_permissions_ordinary(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.bin").symlink_to(tmp_path / "real" / "a.bin")
    with atomic_path(tmp_path / "link.bin") as temporary:
        assert temporary.parent == tmp_path / "real"
        temporary.write_bytes(b"data")
    assert (tmp_path / "link.bin").is_symlink()
    assert os.listdir(tmp_path / "real") == ["a.bin"]
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "real" / "a.bin").stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o444])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    """And is private from the start, where it was before."""
    path = tmp_path / "a.npy"
    path.write_text("older")
    path.chmod(mode)
    with atomic_path(path) as temporary:
        assert temporary.stat().st_mode & 0o077 == 0
        temporary.write_text("newer")
    assert path.read_text() == "newer"
    assert path.stat().st_mode & 0o777 == mode
    folder = tmp_path / "frames"
    folder.mkdir()
    folder.chmod(0o700)
    write_all(folder, [picture(8, 8, 3)] * 2)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_deleted_working_folder_is_a_user_error(tmp_path: Path) -> None:
    code = """
        import os
        from pathlib import Path
        from tcnn_codec.errors import CodecError
        from tcnn_codec.io import atomic_path, check_output, open_source
        os.mkdir("gone")
        os.chdir("gone")
        os.rmdir("../gone")
        for call in (check_output, lambda path: atomic_path(path).__enter__()):
            try:
                call(Path("x.tcnn"))
            except CodecError as error:
                print(error)
        try:
            open_source(Path("x.png"), max_pixels=99)
        except CodecError as error:
            print("'x.png' does not exist" in str(error))
    """
    done = run_python(code, tmp_path)
    gone = "cannot write 'x.tcnn': the working folder does not exist any more; choose another"
    assert done.stderr == ""
    assert [line[: len(gone)] for line in done.stdout.splitlines()[:2]] == [gone] * 2
    assert done.stdout.splitlines()[2:] == ["True"]


def test_atomic_path_leaves_other_errors_alone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.bin"):
        (tmp_path / "none").read_bytes()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a.npy", "a.png", "a.mkv", "a.mp4", "a.y4m", "folder"])
def test_a_full_disk_is_a_user_error(tmp_path: Path, name: str) -> None:
    code = f"""
        import resource
        from fractions import Fraction
        from pathlib import Path
        import numpy as np
        from tcnn_codec.errors import CodecError
        from tcnn_codec.io import Frame, open_sink
        from tcnn_codec.picture import PictureFormat
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        count = 1 if {name!r} == "a.png" else 40
        # A file may not grow beyond this: stands in for a disk that fills up.
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
        try:
            format = PictureFormat("video", 64, 64, 3, count, Fraction(1, 25), Fraction(25))
            with open_sink(Path({name!r}), format) as sink:
                for index in range(count):
                    sink.write(Frame(np.roll(noise, 7 * index), index))
        except CodecError as error:
            print(error)
    """
    done = run_python(code, tmp_path)
    assert done.stderr == ""
    assert f"cannot write '{name}'" in done.stdout
    assert "File too large" in done.stdout
    assert os.listdir(tmp_path) == []


def test_importing_loads_no_heavy_library(tmp_path: Path) -> None:
    code = """
        import sys
        import tcnn_codec.io
        print(sorted({"av", "decord", "torch"} & set(sys.modules)))
    """
    done = run_python(code, tmp_path)
    assert (done.stdout, done.stderr) == ("[]\n", "")
