"""Reading videos: decord and PyAV, times, damage, memory."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from io_samples import (
    LIMIT,
    fails,
    make_video,
    need_decord,
    notes_of,
    overwrite,
    packet_places,
    picture,
    psnr,
    read_all,
    refuses,
    run_python,
    sink,
)

from tcnn_codec.io import Frame, open_sink, open_source
from tcnn_codec.io.endings import is_cut_short
from tcnn_codec.io.geometry import Geometry
from tcnn_codec.io.video import StreamFacts, choose_decoder
from tcnn_codec.picture import PictureFormat


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mov", "libx264", "yuv444p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.y4m", "rawvideo", "yuv444p"),
        ("a.ts", "mpeg2video", "yuv420p"),
        ("a.mkv", "ffv1", "bgr0"),
        ("renamed.png", "libx264", "yuv420p"),
    ],
)
def test_video_kinds(tmp_path: Path, name: str, codec: str, pixel_format: str) -> None:
    path = tmp_path / ("a.mp4" if name == "renamed.png" else name)
    # The default rate of the MPEG encoders is too low to tell one frame from the next.
    fine = {"qmax": "2"} if "mpeg" in codec else {}
    frames = make_video(path, codec=codec, pixel_format=pixel_format, options=fine)
    path = path.rename(tmp_path / name)
    # Each frame is more like its own original than like any other.
    likeness = [[psnr(frame.pixels, pixels) for pixels in frames] for frame in read_all(path)]
    assert np.argmax(likeness, axis=1).tolist() == list(range(len(frames)))


@pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9"])
@pytest.mark.parametrize("color_range", [0, 2])
def test_decord_and_pyav_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, color_range: int
) -> None:
    need_decord()
    path = tmp_path / "a.mkv"
    make_video(path, codec=codec, frames=40, height=54, width=98, color_range=color_range)

    def unwanted(*arguments: object) -> None:
        raise AssertionError("PyAV had to take over")

    with monkeypatch.context() as patch:
        patch.setattr("tcnn_codec.io.video._pyav_frames", unwanted)
        by_decord = read_all(path, 3, 33)
    monkeypatch.setattr("tcnn_codec.io.video.choose_decoder", lambda facts: "pyav")
    by_pyav = read_all(path, 3, 33)
    assert len(by_decord) == len(by_pyav) == 30
    for a, b in zip(by_decord, by_pyav, strict=True):
        assert a.pts == b.pts
        np.testing.assert_array_equal(a.pixels, b.pixels)


def test_pyav_takes_over_where_decord_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp4"
    frames = make_video(path)

    class Broken:
        def __init__(self, *args: object, **kwargs: object) -> None:
            raise RuntimeError("native failure\nin two lines")

    need_decord()
    monkeypatch.setattr("decord.VideoReader", Broken)
    assert len(read_all(path)) == len(frames)


def test_the_rule_for_decord() -> None:
    good = StreamFacts(
        demuxer="mov,mp4,m4a,3gp,3g2,mj2",
        codec="h264",
        bits=8,
        channels=3,
        video_streams=1,
        geometry=Geometry(),
        interlaced=False,
        uniform=True,
        orderly=True,
        decord_installed=True,
    )
    assert choose_decoder(good) == "decord"
    assert choose_decoder(replace(good, demuxer="matroska,webm", codec="vp9")) == "decord"
    for change in (
        {"decord_installed": False},
        {"demuxer": "yuv4mpegpipe"},
        {"demuxer": "mpegts"},
        {"codec": "libdav1d"},
        {"codec": "ffv1"},
        {"bits": 10},
        {"channels": 1},
        {"channels": 4},
        {"video_streams": 2},
        *({"geometry": Geometry(orientation)} for orientation in range(2, 9)),
        {"geometry": Geometry(1, bottom=8)},
        {"interlaced": True},
        {"uniform": False},
        {"orderly": False},
    ):
        assert choose_decoder(replace(good, **change)) == "pyav", change


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_timestamps_survive(tmp_path: Path, name: str) -> None:
    pts = [200, 233, 300, 301, 420, 500, 640, 655, 700, 900]
    time_base = Fraction(1, 1000)
    make_video(tmp_path / "in.mkv", frames=10, pts=pts, time_base=time_base)
    with open_source(tmp_path / "in.mkv", max_pixels=LIMIT) as source:
        assert [frame.pts * source.format.time_base * 1000 for frame in source.frames()] == pts
        with open_sink(tmp_path / name, source.format) as output:
            for frame in source.frames():
                output.write(frame)
    with open_source(tmp_path / name, max_pixels=LIMIT) as again:
        assert [frame.pts * again.format.time_base * 1000 for frame in again.frames()] == pts


def test_mp4_keeps_times_finer_than_a_millisecond(tmp_path: Path) -> None:
    pts = [4507, 7511, 10523, 10999, 18001]
    format = PictureFormat("video", 16, 16, 3, 5, Fraction(1, 90000), Fraction(30000, 1001))
    with open_sink(tmp_path / "a.mp4", format) as output:
        for index, time in enumerate(pts):
            output.write(Frame(picture(16, 16, 3, index), time))
    with open_source(tmp_path / "a.mp4", max_pixels=LIMIT) as source:
        assert [frame.pts * source.format.time_base * 90000 for frame in source.frames()] == pts


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_negative_start_is_moved_to_zero(tmp_path: Path, name: str) -> None:
    frames = [picture(16, 16, 3, i) for i in range(4)]
    with sink(tmp_path / name, frames) as output:
        for index, pixels in enumerate(frames):
            output.write(Frame(pixels, 2 * index - 3))
    with open_source(tmp_path / name, max_pixels=LIMIT) as source:
        times = [frame.pts * source.format.time_base for frame in source.frames()]
    assert times == [Fraction(2 * index, 25) for index in range(4)]


def test_selection_reads_from_the_start_and_drops(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", frames=20)
    whole = read_all(tmp_path / "a.mp4")
    part = read_all(tmp_path / "a.mp4", 7, 12)
    assert [f.pts for f in part] == [f.pts for f in whole[7:12]]
    for a, b in zip(part, whole[7:12], strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)
    assert len(read_all(tmp_path / "a.mp4", 15, 99)) == 5


def test_source_can_be_read_again_and_closed_early(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4")
    with open_source(tmp_path / "a.mp4", max_pixels=LIMIT) as source:
        reading = source.frames()
        first = next(reading)
        np.testing.assert_array_equal(next(source.frames()).pixels, first.pixels)
    assert list(reading) == []


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_honoured(tmp_path: Path, degrees: int) -> None:
    frames = make_video(tmp_path / "a.mp4", frames=3, rotation=degrees)
    read = read_all(tmp_path / "a.mp4")
    assert psnr(read[0].pixels, np.rot90(frames[0], degrees // 90)) > 35


def test_ten_bit_is_read_right_and_noted(tmp_path: Path) -> None:
    frames = make_video(tmp_path / "a.mp4", pixel_format="yuv420p10le", frames=3)
    assert psnr(read_all(tmp_path / "a.mp4")[1].pixels, frames[1]) > 35
    assert notes_of(tmp_path / "a.mp4") == ("10-bit samples are rounded to 8 bit",)


# MP4 marks the first as default, AVI marks none.
@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
def test_the_first_of_two_video_streams_is_read(tmp_path: Path, name: str) -> None:
    frames = make_video(tmp_path / name, streams=2, frames=3)
    assert psnr(read_all(tmp_path / name)[1].pixels, frames[1]) > 30
    assert "one of 2 video streams" in notes_of(tmp_path / name)[0]


def test_limited_range_grey_is_expanded(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mkv", codec="ffv1", pixel_format="gray", frames=1, color_range=1)
    make_video(tmp_path / "b.mkv", codec="ffv1", pixel_format="gray", frames=1, color_range=2)
    limited = read_all(tmp_path / "a.mkv")[0].pixels
    stored = read_all(tmp_path / "b.mkv")[0].pixels.astype(float)
    expected = np.rint(((stored - 16) * 255 / 219).clip(0, 255))
    assert limited.shape == (48, 64, 1)
    np.testing.assert_array_equal(limited, expected)


def test_video_without_frames(tmp_path: Path) -> None:
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W16 H16 F25:1 C444\n")
    refuses(tmp_path / "a.y4m", "no video frame")


def test_sound_alone(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = np.zeros((1, 800), np.int16)
        frame = av.AudioFrame.from_ndarray(sound, format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    refuses(tmp_path / "a.mkv", "no video stream")


def test_pixel_limit_of_videos(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", frames=2)
    fails(lambda: open_source(tmp_path / "a.mp4", max_pixels=3071), "3072 pixels", "`max_pixels`")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_truncated_video_says_how_much_is_left(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    codec = "mpeg4" if name == "a.avi" else "libx264"
    make_video(
        path,
        codec=codec,
        frames=30,
        options={"g": "5"},
        muxing={"movflags": "faststart"} if name == "a.mp4" else {},
    )
    assert not is_cut_short(path)
    place, size = packet_places(path)[20]
    path.write_bytes(path.read_bytes()[: place + size // 2])
    assert is_cut_short(path)
    message = refuses(path, "cut short", "can be read")
    readable = int(re.findall(r"`frames` 0:(\d+)", message)[0])
    assert 0 < readable <= 20
    assert len(read_all(path, 0, readable)) == readable


def test_truncated_between_two_packets(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_video(path, frames=20, muxing={"movflags": "faststart"}, options={"bf": "0"})
    place, _ = packet_places(path)[12]
    path.write_bytes(path.read_bytes()[:place])
    refuses(path, "12 of its frames", "`frames` 0:12")


def test_damage_inside_a_frame_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_video(path, frames=20, width=160, height=128, options={"bf": "0", "crf": "5"})
    place, size = packet_places(path)[8]
    overwrite(path, place + size // 2, bytes(size // 4))
    message = refuses(path, "damaged", "can be read")
    readable = int(re.findall(r"`frames` 0:(\d+)", message)[0])
    assert 0 < readable <= 8
    assert len(read_all(path, 0, readable)) == readable


def test_nothing_readable_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_video(path, frames=20, muxing={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: packet_places(path)[0][0] + 20])
    refuses(path, "no frame", "damaged or cut short")


def test_native_libraries_are_silent(tmp_path: Path) -> None:
    make_video(tmp_path / "good.mp4")
    make_video(tmp_path / "bad.mp4", frames=30, muxing={"movflags": "faststart"})
    data = (tmp_path / "bad.mp4").read_bytes()
    (tmp_path / "bad.mp4").write_bytes(data[: len(data) * 6 // 10])
    code = """
        from pathlib import Path
        from tcnn_codec.errors import CodecError
        from tcnn_codec.io import open_sink, open_source
        with (
            open_source(Path("good.mp4"), max_pixels=10**6) as source,
            open_sink(Path("out.mp4"), source.format) as sink,
        ):
            for frame in source.frames():
                sink.write(frame)
        try:
            open_source(Path("bad.mp4"), max_pixels=10**6)
        except CodecError:
            print("refused")
    """
    done = run_python(code, tmp_path)
    assert (done.stdout, done.stderr) == ("refused\n", "")


def test_reading_holds_no_clip(tmp_path: Path) -> None:
    make_video(
        tmp_path / "a.mp4", height=360, width=640, frames=150, options={"preset": "ultrafast"}
    )
    code = """
        import re
        from pathlib import Path
        from tcnn_codec.io import open_source
        with open_source(Path("a.mp4"), 0, {stop}, max_pixels=10**6) as source:
            for frame in source.frames():
                pass
        # Not ru_maxrss: that one starts from the size of the process that forked this one.
        print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
    """
    peaks = [int(run_python(code.format(stop=stop), tmp_path).stdout) for stop in (50, None)]
    assert peaks[1] <= 1.15 * peaks[0]
