"""Clips whose frames or streams are not all alike, empty packets, foreign metadata and codecs."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from io_samples import (
    LIMIT,
    Pixels,
    encode_onto,
    encode_packets,
    make_video,
    mux_packets,
    notes_of,
    picture,
    psnr,
    read_all,
    refuses,
    video_track,
)
from PIL import Image

from tcnn_codec.io import open_source

COLOUR = [picture(48, 64, 3, index) for index in range(3)]


def jpeg(pixels: Pixels, mode: str = "RGB", **options: Any) -> bytes:
    """A packet of MJPEG."""
    data = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(data, "JPEG", quality=98, **options)
    return data.getvalue()


def png(image: Image.Image, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG", **options)
    return data.getvalue()


# All frames count


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mov"])
@pytest.mark.parametrize("grey", [(0,), (1,), (2,), (0, 1)])
def test_colour_in_any_frame_is_kept(tmp_path: Path, name: str, grey: tuple[int, ...]) -> None:
    packets = [jpeg(pixels, "L" if i in grey else "RGB") for i, pixels in enumerate(COLOUR)]
    mux_packets(tmp_path / name, "mjpeg", packets)
    for index, frame in enumerate(read_all(tmp_path / name)):
        if index in grey:
            expected = np.asarray(Image.fromarray(COLOUR[index]).convert("L"))
            expected = np.repeat(expected[..., None], 3, axis=2)
            assert np.ptp(frame.pixels, axis=2).max() == 0
        else:
            expected = COLOUR[index]
        assert psnr(frame.pixels, expected) > 33
    selected = read_all(tmp_path / name, 0, 1)[0]
    assert selected.pixels.shape[2] == (1 if 0 in grey else 3)


def test_changes_of_the_chroma_format(tmp_path: Path) -> None:
    packets = [jpeg(pixels, subsampling=i) for i, pixels in enumerate(COLOUR)]  # 4:4:4 to 4:2:0
    mux_packets(tmp_path / "a.avi", "mjpeg", packets)
    for frame, pixels in zip(read_all(tmp_path / "a.avi"), COLOUR, strict=True):
        assert psnr(frame.pixels, pixels) > 30


def test_png_frames_of_every_kind(tmp_path: Path) -> None:
    """In MOV: the deepest sample and the most channels of any frame count."""
    first = Image.fromarray(COLOUR[0])
    alpha = picture(48, 64, 4)[..., 3]
    rgba = np.dstack([COLOUR[1], alpha])
    palette = first.quantize(16)
    opaque = [png(first), png(first.convert("L")), png(palette)]
    mux_packets(tmp_path / "a.mov", "png", opaque, pixel_format="rgb24")
    assert [frame.pixels.shape[2] for frame in read_all(tmp_path / "a.mov")] == [3, 3, 3]
    for transparent in (png(Image.fromarray(rgba)), png(palette, transparency=3)):
        mux_packets(tmp_path / "a.mov", "png", [*opaque, transparent], pixel_format="rgb24")
        frames = read_all(tmp_path / "a.mov")
        expected = np.asarray(Image.open(io.BytesIO(transparent)).convert("RGBA"))
        np.testing.assert_array_equal(frames[3].pixels, expected)
        np.testing.assert_array_equal(frames[0].pixels[..., :3], COLOUR[0])
        assert all((frame.pixels[..., 3] == 255).all() for frame in frames[:3])
    deep = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
    packets = [png(first), png(Image.fromarray(deep))]
    mux_packets(tmp_path / "a.mov", "png", packets, pixel_format="rgb24")
    assert notes_of(tmp_path / "a.mov") == ("16-bit samples are rounded to 8 bit",)
    assert not read_all(tmp_path / "a.mov", 0, 1)[0].pixels[..., 3:].size


def test_grey_of_both_ranges_among_colour(tmp_path: Path) -> None:
    """swscale takes every grey for full range, whatever it is converted to."""
    from tcnn_codec.io.video import _convert

    av = pytest.importorskip("av")
    levels = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
    expanded = np.rint(((levels - 16.0) * 255 / 219).clip(0, 255))
    for color_range, expected in ((1, expanded), (2, levels), (0, levels)):
        frame = av.VideoFrame.from_ndarray(levels, format="gray")
        frame.color_range = color_range
        for channels in (1, 3, 4):
            pixels = _convert(av.video.reformatter.VideoReformatter(), frame, channels)
            for channel in range(min(3, channels)):
                np.testing.assert_array_equal(pixels[..., channel], expected)
            assert (pixels[..., 3:] == 255).all()


def test_h264_that_changes_its_pixel_format(tmp_path: Path) -> None:
    options = {"bf": "0", "annexb": "1", "x264-params": "repeat-headers=1"}
    packets = encode_packets("libx264", COLOUR, "yuv420p", options)
    packets += encode_packets("libx264", COLOUR, "yuv444p", options)
    (tmp_path / "a.h264").write_bytes(b"".join(packets))
    read = read_all(tmp_path / "a.h264")
    for frame, pixels in zip(read, COLOUR + COLOUR, strict=True):
        assert psnr(frame.pixels, pixels) > 30


# Empty packets


def test_an_empty_packet_shows_the_frame_before_again(tmp_path: Path) -> None:
    packets = encode_packets("ffv1", COLOUR, "bgr0")
    shown = [0, 0, 1, 1, 1, 2, 2]
    series = [packets[0], b"", packets[1], b"", b"", packets[2], b""]
    mux_packets(tmp_path / "a.nut", "ffv1", series, pixel_format="bgr0")
    frames = read_all(tmp_path / "a.nut")
    for frame, index in zip(frames, shown, strict=True):
        np.testing.assert_array_equal(frame.pixels, COLOUR[index])
    with open_source(tmp_path / "a.nut", max_pixels=LIMIT) as source:
        assert source.format.frame_rate == 25
        assert [f.pts * source.format.time_base * 25 for f in frames] == list(range(7))
    part = read_all(tmp_path / "a.nut", 1, 5)
    for frame, index in zip(part, shown[1:5], strict=True):
        np.testing.assert_array_equal(frame.pixels, COLOUR[index])


def test_an_empty_packet_waits_for_the_frames_that_the_decoder_holds(tmp_path: Path) -> None:
    made = [picture(48, 64, 3, 4 * index) for index in range(6)]
    make_video(tmp_path / "a.mp4", frames=6, options={"bf": "2", "qp": "10"})
    import av

    with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(tmp_path / "a.nut"), "w") as sink:
        stream = source.streams.video[0]
        track = sink.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size:
                empty = av.Packet(0)
                empty.pts, empty.time_base = packet.pts, packet.time_base
                empty.dts = packet.dts
                if packet.dts is not None and packet.pts is not None:
                    empty.pts = packet.pts + 256  # half a frame later
                    empty.dts = packet.dts + 256
                packet.stream = empty.stream = track
                sink.mux(packet)
                sink.mux(empty)
    frames = read_all(tmp_path / "a.nut")
    plain = read_all(tmp_path / "a.mp4")
    assert len(frames) == 2 * len(made)
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.pixels, plain[index // 2].pixels)


def test_empty_packets_before_the_first_frame_show_nothing(tmp_path: Path) -> None:
    packets = encode_packets("ffv1", COLOUR, "bgr0")
    mux_packets(tmp_path / "a.nut", "ffv1", [b"", b"", *packets], pixel_format="bgr0")
    assert len(read_all(tmp_path / "a.nut")) == 3
    mux_packets(tmp_path / "b.nut", "ffv1", [b"", b""], pixel_format="bgr0")
    refuses(tmp_path / "b.nut", "b.nut")


# Metadata and codecs


def titled(path: Path, codec: str = "mpeg4") -> None:
    """A clip with a title that is patched to be no UTF-8."""
    import av

    with av.open(str(path), "w") as container:
        container.metadata["title"] = "QQQQQQQQ"
        track = video_track(container, codec, "yuv420p")
        track.metadata["title"] = track.metadata["handler_name"] = "QQQQQQQQ"
        encode_onto(container, track, COLOUR)
    data = path.read_bytes()
    assert b"QQQQQQQQ" in data
    path.write_bytes(data.replace(b"QQQQQQQQ", b"\x83e\x83X\x83g\xff\xfe"))


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mp4", "a.mov", "a.nut", "a.flv"])
def test_titles_in_any_encoding(tmp_path: Path, name: str) -> None:
    titled(tmp_path / name, "flv" if name == "a.flv" else "mpeg4")
    assert len(read_all(tmp_path / name)) == 3


@pytest.mark.parametrize(
    ("name", "codec", "old", "new", "said"),
    [
        ("a.mp4", "libx264", b"avc1\0", b"xyz1\0", "is coded as xyz1,"),
        ("a.mov", "mjpeg", b"jpeg\0", b"\xffyz\n\0", "is coded as ÿyz,"),
        ("a.avi", "mpeg4", b"FMP4", b"XYZ1", "is coded as XYZ1,"),
        (
            "a.mkv",
            "libx264",
            b"V_MPEG4/ISO/AVC",
            b"V_MPEG4/ISO/XYZ",
            "is coded as V_MPEG4/ISO/XYZ,",
        ),
    ],
)
def test_a_codec_without_a_decoder(
    tmp_path: Path, name: str, codec: str, old: bytes, new: bytes, said: str
) -> None:
    path = tmp_path / name
    make_video(path, codec=codec, pixel_format="yuvj420p" if codec == "mjpeg" else "yuv420p")
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    refuses(path, said, "no decoder", "convert it to H.264")


# Streams beside the one that is read


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [
        ("a.mkv", "libx264", "pcm_s16le"),
        ("a.mp4", "libx264", "aac"),
        ("a.mov", "libx264", "pcm_s16le"),
        ("a.avi", "mpeg4", "pcm_s16le"),
        ("a.ts", "libx264", "aac"),
        ("a.flv", "flv", "aac"),
        ("a.ogv", "libvpx", "libopus"),
        ("a.nut", "ffv1", "pcm_s16le"),
    ],
)
def test_audio_is_noted(tmp_path: Path, name: str, codec: str, sound: str) -> None:
    import av

    path = tmp_path / name
    with av.open(str(path), "w") as container:
        video = video_track(container, codec, "yuv420p")
        rate = 48_000 if sound == "libopus" else 44_100
        audio: Any = container.add_stream(sound, rate=rate, layout="mono")
        silence = np.zeros((1, 4096), np.float32 if sound == "aac" else np.int16)
        samples = av.AudioFrame.from_ndarray(
            silence, format="fltp" if sound == "aac" else "s16", layout="mono"
        )
        samples.sample_rate, samples.pts = rate, 0
        container.mux(audio.encode(samples))
        encode_onto(container, video, COLOUR)
        container.mux(audio.encode(None))
    assert notes_of(path) == ("audio is not kept",)
    # An audio codec that nobody knows is noted all the same.
    path.write_bytes(path.read_bytes().replace(b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT"))
    assert notes_of(path) == ("audio is not kept",)
    assert len(read_all(path)) == 3


def with_thumbnail(path: Path, *, frames: int) -> None:
    """A JPEG of `frames` frames as the first stream, then H.264."""
    import av

    with av.open(str(path), "w") as container:
        still = video_track(container, "mjpeg", "yuvj420p", height=16, width=16)
        video = video_track(container, "libx264", "yuv420p")
        for index in range(frames):
            packet = av.Packet(jpeg(picture(16, 16, 3, index)))
            packet.stream, packet.time_base = still, Fraction(1, 25)
            packet.pts = packet.dts = index
            packet.is_keyframe = True
            container.mux(packet)
        encode_onto(container, video, COLOUR)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi"])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_thumbnail_is_not_taken_for_the_video(tmp_path: Path, name: str, frames: int) -> None:
    with_thumbnail(tmp_path / name, frames=frames)
    assert read_all(tmp_path / name)[0].pixels.shape == (48, 64, 3)
    assert "stream 1, one of 2 video streams, is read" in notes_of(tmp_path / name)


def test_a_second_stream_without_a_decoder_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_video(path, streams=2, frames=3)
    data = path.read_bytes()
    last = data.rindex(b"avc1\0")
    path.write_bytes(data[:last] + b"xyz1" + data[last + 4 :])
    assert len(read_all(path)) == 3
    assert "stream 0, one of 2 video streams, is read" in notes_of(path)
    first = data.index(b"avc1\0")
    path.write_bytes(data[:first] + b"xyz1" + data[first + 4 :])
    assert "stream 1, one of 2 video streams, is read" in notes_of(path)


def test_subtitles_and_attachments_are_noted(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        video = video_track(container, "libx264", "yuv420p")
        container.add_attachment("a.ttf", "font/ttf", b"font")
        encode_onto(container, video, COLOUR)
    assert notes_of(path) == ("attachments are not kept",)
    titles = tmp_path / "a.srt"
    titles.write_text("1\n00:00:00,000 --> 00:00:01,000\nwords\n")
    with (
        av.open(str(path)) as source,
        av.open(str(titles)) as text,
        av.open(str(tmp_path / "b.mkv"), "w") as container,
    ):
        pairs: list[tuple[Any, Any]] = [
            (source, source.streams.video[0]),
            (text, text.streams.subtitles[0]),
        ]
        tracks = [container.add_stream_from_template(stream) for _, stream in pairs]
        for (origin, stream), track in zip(pairs, tracks, strict=True):
            for packet in origin.demux(stream):
                if packet.size:
                    packet.stream = track
                    container.mux(packet)
    assert notes_of(tmp_path / "b.mkv") == ("subtitles are not kept",)
