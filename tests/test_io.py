"""Readers of images, animations and folders of frames, and what is refused as input."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Generator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from io_samples import (
    LIMIT,
    fails,
    make_video,
    notes_of,
    picture,
    psnr,
    read_all,
    refuses,
    write_all,
)
from PIL import Image

from tcnn_codec.io import Frame, open_source, readers
from tcnn_codec.picture import PictureFormat

# Still images


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_image_round_trip(tmp_path: Path, channels: int, suffix: str) -> None:
    pixels = picture(13, 17, channels)
    write_all(tmp_path / f"a{suffix}", [pixels], kind="image")
    with open_source(tmp_path / f"a{suffix}", max_pixels=LIMIT) as source:
        assert (source.format.kind, source.format.frame_count) == ("image", 1)
        assert source.format.time_base == source.format.frame_rate == Fraction(1)
        assert source.notes == ()
        (frame,) = source.frames()
    assert frame.pts == 0
    # WebP has no grey.
    np.testing.assert_array_equal(frame.pixels, np.broadcast_to(pixels, frame.pixels.shape))
    assert frame.pixels.shape[2] == (3 if (suffix, channels) == (".webp", 1) else channels)


def test_webp_keeps_the_colour_of_transparent_pixels(tmp_path: Path) -> None:
    pixels = picture(9, 9, 4)
    pixels[..., 3] = 0
    write_all(tmp_path / "a.webp", [pixels], kind="image")
    np.testing.assert_array_equal(read_all(tmp_path / "a.webp")[0].pixels, pixels)


def test_sixteen_bit_grey_is_rounded(tmp_path: Path) -> None:
    deep = np.array([[0, 128, 129, 257, 32767, 65535]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    Image.fromarray(deep.astype(np.int32)).save(tmp_path / "b.tiff")
    for name in ("a.png", "b.tiff"):
        assert read_all(tmp_path / name)[0].pixels[0, :, 0].tolist() == [0, 0, 1, 1, 127, 255]
        assert notes_of(tmp_path / name) == ("16-bit samples are rounded to 8 bit",)


def test_modes_are_converted_and_noted(tmp_path: Path) -> None:
    rgb = Image.fromarray(picture(8, 10, 3))
    rgba = Image.fromarray(picture(8, 10, 4))
    cases = [
        ("p.png", rgb.quantize(16), 3, "palette pixels are converted to RGB"),
        ("pa.png", rgba.quantize(16, Image.Quantize.FASTOCTREE), 4, "palette pixels"),
        ("la.png", rgba.convert("LA"), 4, "LA pixels are converted to RGBA"),
        ("one.png", rgb.convert("1"), 1, "1-bit pixels are converted to 8-bit grey"),
        ("cmyk.jpg", rgb.convert("CMYK"), 3, "CMYK pixels are converted to RGB"),
    ]
    for name, image, channels, note in cases:
        image.save(tmp_path / name)
        with Image.open(tmp_path / name) as stored:
            expected = np.asarray(stored.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]))
        pixels = read_all(tmp_path / name)[0].pixels
        assert pixels.shape[2] == channels
        np.testing.assert_array_equal(pixels.reshape(expected.shape), expected)
        (found,) = notes_of(tmp_path / name)
        assert note in found


def test_float_samples(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0.5, 1]], dtype=np.float32)).save(tmp_path / "a.tiff")
    assert read_all(tmp_path / "a.tiff")[0].pixels[0, :, 0].tolist() == [0, 128, 255]
    assert "float samples" in notes_of(tmp_path / "a.tiff")[0]
    for index, bad in enumerate((1.5, -0.1, np.nan)):
        path = tmp_path / f"bad{index}.tiff"
        Image.fromarray(np.array([[0, bad]], dtype=np.float32)).save(path)
        refuses(path, "samples from", "0..1")


def test_sixteen_bit_colour_is_noted(tmp_path: Path) -> None:
    # Pillow cannot write it: a binary PPM with a maximum of 65535.
    (tmp_path / "a.ppm").write_bytes(b"P6 2 1 65535\n" + bytes(range(12)))
    assert read_all(tmp_path / "a.ppm")[0].pixels.shape == (1, 2, 3)
    make_video(tmp_path / "deep.png", codec="png", pixel_format="rgb48be", frames=1)
    for name in ("a.ppm", "deep.png"):
        assert notes_of(tmp_path / name) == ("16-bit samples are rounded to 8 bit",)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tiff", ".webp"])
def test_exif_orientation_is_honoured(tmp_path: Path, suffix: str) -> None:
    upright = picture(10, 16, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned a quarter to the left; shown turned to the right
    path = tmp_path / "frames" / f"a{suffix}"
    path.parent.mkdir()
    Image.fromarray(np.rot90(upright)).save(path, exif=exif, quality=100)
    for source in (path, path.parent):
        (frame,) = read_all(source)
        assert frame.pixels.shape == upright.shape
        assert psnr(frame.pixels, upright) > 30


def test_colour_profile_is_noted_unless_srgb(tmp_path: Path) -> None:
    image = Image.fromarray(picture(4, 4, 3))
    image.save(tmp_path / "p3.png", icc_profile=b"Display P3")
    image.save(tmp_path / "srgb.png", icc_profile="sRGB".encode("utf-16-be"))
    assert "colour profile" in notes_of(tmp_path / "p3.png")[0]
    assert notes_of(tmp_path / "srgb.png") == ()


def test_pages_beyond_the_first_are_noted(tmp_path: Path) -> None:
    pages = [Image.fromarray(picture(6, 6, 3, i)) for i in range(3)]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    assert notes_of(tmp_path / "a.tiff") == ("only the first of 3 pages is read",)


def test_pixel_limit_is_checked_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(path)
    header = bytearray(path.read_bytes())
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    path.write_bytes(header)
    refuses(path, "60000x60000", str(LIMIT), "`max_pixels`")
    assert Image.MAX_IMAGE_PIXELS is not None


# Animations


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animation_is_a_video_with_its_times(tmp_path: Path, suffix: str) -> None:
    flat = [np.full((6, 8, 3), 40 * i, np.uint8) for i in range(4)]
    images = [Image.fromarray(pixels) for pixels in flat]
    path = tmp_path / f"a{suffix}"
    images[0].save(
        path,
        save_all=True,
        append_images=images[1:],
        duration=[40, 100, 60, 200],
        lossless=True,
    )
    with open_source(path, max_pixels=LIMIT) as source:
        format = PictureFormat("video", 6, 8, 3, 4, Fraction(1, 1000), Fraction(10))
        assert source.format == format
        frames = list(source.frames())
    assert [frame.pts for frame in frames] == [0, 40, 140, 200]
    np.testing.assert_array_equal(np.stack([frame.pixels for frame in frames]), np.stack(flat))
    assert [frame.pts for frame in read_all(path, 1, 3)] == [40, 140]


@pytest.mark.parametrize("rate", [Fraction(60), Fraction(30), Fraction(24000, 1001)])
def test_times_of_an_animated_png_do_not_drift(tmp_path: Path, rate: Fraction) -> None:
    images = [Image.fromarray(picture(6, 8, 3, 9 * i)) for i in range(120)]
    path = tmp_path / "a.png"
    options = {"save_all": True, "append_images": images[1:]}
    images[0].save(path, duration=float(1000 / rate), **options)
    with open_source(path, max_pixels=LIMIT) as source:
        assert source.format.frame_rate == rate
        for index, frame in enumerate(source.frames()):
            assert abs(frame.pts * source.format.time_base - index / rate) <= Fraction(1, 2000)


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_times_in_milliseconds_are_summed_before_they_are_rounded(
    tmp_path: Path, suffix: str
) -> None:
    """Files of 30 frames per second, of which each is 33 or 34 ms long."""
    images = [Image.fromarray(picture(16, 16, 3, 9 * i)) for i in range(9)]
    durations = [33, 34, 33] * 3
    path = tmp_path / f"a{suffix}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations)
    with open_source(path, max_pixels=LIMIT) as source:
        assert source.format.frame_rate == 30
        assert [f.pts for f in source.frames()] == [0, 33, 67, 100, 133, 167, 200, 233, 267]


def place_second_frame(path: Path, place: bytes) -> None:
    """Give the second frame of a GIF of 20x20 another place: left, top, width, height."""
    start = b"," + struct.pack("<HHHH", 0, 0, 20, 20)
    first, second, *others = path.read_bytes().split(start)
    path.write_bytes(first + start + second + b"," + place + start.join(others))


def test_gif_frames_are_cut_to_its_screen(tmp_path: Path) -> None:
    """As players do; Pillow makes the picture larger."""
    path = tmp_path / "a.gif"
    flat = [Image.fromarray(np.full((20, 20), 40 * i, np.uint8)) for i in range(1, 4)]
    flat[0].save(path, save_all=True, append_images=flat[1:], duration=100)
    place_second_frame(path, struct.pack("<HHHH", 10, 10, 20, 20))
    frames = [frame.pixels for frame in read_all(path)]
    assert [frame.shape for frame in frames] == [(20, 20, 3)] * 3
    assert frames[1][9, 9, 0] == 40
    assert frames[1][10, 10, 0] == 80


def test_a_gif_frame_far_larger_than_its_screen_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    flat = [Image.fromarray(np.full((20, 20), 40 * i, np.uint8)) for i in range(1, 4)]
    flat[0].save(path, save_all=True, append_images=flat[1:], duration=100)
    place_second_frame(path, struct.pack("<HHHH", 0, 0, 65535, 65535))
    refuses(path, "65535x65535", str(LIMIT), "`max_pixels`")


def test_animation_with_transparency_is_rgba(tmp_path: Path) -> None:
    frames = [picture(6, 8, 4, i) for i in range(3)]
    images = [Image.fromarray(pixels) for pixels in frames]
    images[0].save(
        tmp_path / "a.webp", save_all=True, append_images=images[1:], lossless=True, exact=True
    )
    assert [f.pixels.shape for f in read_all(tmp_path / "a.webp")] == [(6, 8, 4)] * 3


def test_damaged_animation_says_how_much_is_left(tmp_path: Path) -> None:
    images = [Image.fromarray(picture(32, 32, 3, 9 * i)) for i in range(6)]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:])
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) * 2 // 3])
    message = refuses(tmp_path / "a.png", "damaged", "can be read")
    readable = int(re.findall(r"`frames` 0:(\d+)", message)[0])
    assert 0 < readable < 6
    assert len(read_all(tmp_path / "a.png", 0, readable)) == readable


# Folders of frames


def test_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for number in (1, 2, 10, 9):
        value = np.full((4, 6), number, np.uint8)
        Image.fromarray(value).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    (tmp_path / ".hidden.png").write_text("no frame")
    with open_source(tmp_path, max_pixels=LIMIT) as source:
        format = PictureFormat("video", 4, 6, 1, 4, Fraction(1, 25), Fraction(25))
        assert source.format == format
        assert "25 per second" in source.notes[-1]
        found = [(int(frame.pixels[0, 0, 0]), frame.pts) for frame in source.frames()]
    assert found == [(1, 0), (2, 1), (9, 2), (10, 3)]
    assert [f.pts for f in read_all(tmp_path, 1, 3)] == [1, 2]


def test_folder_of_grey_colour_and_alpha(tmp_path: Path) -> None:
    """The first frame does not decide for the others."""
    frames = [picture(4, 6, channels, channels) for channels in (1, 3, 4)]
    for count in (2, 3):
        Image.fromarray(frames[0][..., 0]).save(tmp_path / "0.png")
        for index in range(1, count):
            Image.fromarray(frames[index]).save(tmp_path / f"{index}.png")
        grey, colour, *alpha = (frame.pixels for frame in read_all(tmp_path))
        np.testing.assert_array_equal(grey[..., :3], np.repeat(frames[0], 3, axis=2))
        np.testing.assert_array_equal(colour[..., :3], frames[1])
        assert (grey.shape[2], len(alpha)) == ((3, 0) if count == 2 else (4, 1))
        assert not alpha or bool((grey[..., 3] == 255).all())


def test_folder_notes_are_those_of_all_frames(tmp_path: Path) -> None:
    Image.fromarray(picture(4, 6, 3)).save(tmp_path / "0.png")
    for name in ("1.png", "2.png"):
        Image.fromarray(picture(4, 6, 3)).quantize(16).save(tmp_path / name)
    assert notes_of(tmp_path) == (
        "palette pixels are converted to RGB",
        "a folder of frames has no frame rate: 25 per second assumed",
    )


def test_digits_that_are_no_decimals_are_text(tmp_path: Path) -> None:
    for index, name in enumerate(("2.png", "²1.png", "²10.png", "①.png", "٣.png")):
        Image.fromarray(np.full((4, 6), index, np.uint8)).save(tmp_path / name)
    found = [int(frame.pixels[0, 0, 0]) for frame in read_all(tmp_path)]
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert found.index(1) < found.index(2)


def test_bad_folders(tmp_path: Path) -> None:
    refuses(tmp_path, str(tmp_path), "has no frames", ".png")
    Image.fromarray(picture(4, 6, 3)).save(tmp_path / "a.png")
    Image.fromarray(picture(4, 7, 3)).save(tmp_path / "b.png")
    refuses(tmp_path, "b.png", "7x4", "a.png", "6x4", "convert or remove")
    (tmp_path / "b.png").write_text("no image at all")
    refuses(tmp_path, "b.png", "not an image")
    assert len(read_all(tmp_path, 0, 1)) == 1


# Bad input


@pytest.mark.parametrize(
    "error", [KeyError("a\nb"), AttributeError("x"), UnicodeDecodeError("utf-8", b"", 0, 1, "bad")]
)
def test_whatever_a_library_throws_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """While the file is opened, and while its frames are read."""
    path = tmp_path / "a.png"
    Image.fromarray(picture(4, 4, 3)).save(path)
    opened = open_source(path, max_pixels=LIMIT)

    class Broken:
        def frames(self) -> Generator[Frame, None, None]:
            raise error
            yield

    broken = replace(opened, reader=Broken())
    monkeypatch.setattr(readers, "open_image", lambda *arguments, **options: broken)
    refuses(path, "'" + str(path), type(error).__name__, "re-export it")
    fault = Broken().frames()
    monkeypatch.setattr(readers, "open_image", lambda *arguments, **options: next(fault))
    refuses(path, "'" + str(path), type(error).__name__, "re-export it")


def test_running_out_of_memory_is_not_the_file_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*arguments: object, **options: object) -> None:
        raise MemoryError

    Image.fromarray(picture(4, 4, 3)).save(tmp_path / "a.png")
    monkeypatch.setattr(readers, "open_image", fault)
    with pytest.raises(MemoryError):
        open_source(tmp_path / "a.png", max_pixels=LIMIT)


def test_bad_selections(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", frames=5)
    Image.fromarray(picture(4, 4, 3)).save(tmp_path / "a.png")
    for name, first, stop in (
        ("a.mp4", 5, None),
        ("a.mp4", 9, 12),
        ("a.mp4", 2, 2),
        ("a.mp4", 3, 1),
        ("a.mp4", -1, 3),
        ("a.png", 1, 2),
    ):
        path = tmp_path / name
        fails(partial(read_all, path, first, stop), f"{first}:", "select nothing")


def test_bad_files(tmp_path: Path) -> None:
    refuses(tmp_path / "none.png", "none.png", "does not exist")
    refuses(Path("/dev/null"), "no regular file")
    (tmp_path / "empty.mp4").touch()
    refuses(tmp_path / "empty.mp4", "is empty", "0 bytes")
    (tmp_path / "text.png").write_text("this is a text\n" * 50)
    refuses(tmp_path / "text.png", "neither an image nor a video")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    refuses(tmp_path / "list.m3u8", "neither an image nor a video")


def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.symlink_to(path)  # a loop: refused for every user, root too
    refuses(path, "a.png", "no regular file")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_truncated_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(picture(64, 64, 3)).save(path)
    whole = path.read_bytes()
    for part in (len(whole) // 2, len(whole) * 3 // 4):
        path.write_bytes(whole[:part])
        refuses(path, path.name, "damaged")


def test_image_without_pixels(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"GIF89a" + bytes(7) + b"\x3b")
    refuses(tmp_path / "a.gif", "a.gif")
    (tmp_path / "a.bmp").write_bytes(b"BM" + bytes(12) + (40).to_bytes(4, "little") + bytes(36))
    refuses(tmp_path / "a.bmp", "a.bmp")
