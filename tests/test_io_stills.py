"""Stills whose meaning is in the file and not in Pillow's mode: depth, white, alpha, turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from io_samples import LIMIT, Pixels, notes_of, picture, psnr, read_all, read_still, refuses
from numpy.typing import NDArray
from picture_files import deep_picture, png_chunk, rounded, write_png, write_tiff
from PIL import Image, ImageOps

from tcnn_codec.io import open_source
from tcnn_codec.io.geometry import Geometry, orientation_of_matrix, then
from tcnn_codec.io.structure import jpeg_end


def as_rgba(pixels: Pixels) -> Pixels:
    """Grey with alpha, as RGBA."""
    return np.concatenate([np.repeat(pixels[..., :1], 3, axis=2), pixels[..., 1:]], axis=2)


def write_jpeg2000(path: Path, samples: NDArray[Any], bits: int) -> Path:
    """Lossless: grey as gray.., three channels as gbrp.., uint16 [height, width, channels]."""
    import av

    height, width, channels = samples.shape
    name = {(1, 16): "gray16le", (3, 16): "rgb48le"}.get((channels, bits))
    name = name or f"{'gray' if channels == 1 else 'gbrp'}{bits}le"
    with av.open(str(path), "w", format="image2") as container:
        stream: Any = container.add_stream("jpeg2000", options={"pred": "dwt53", "format": "jp2"})
        stream.width, stream.height, stream.pix_fmt = width, height, name
        frame = av.VideoFrame(width, height, name)
        planes = [samples] if len(frame.planes) == 1 else np.moveaxis(samples, 2, 0)[[1, 2, 0]]
        for plane, values in zip(frame.planes, planes, strict=True):
            row = np.zeros((height, plane.line_size // 2), "<u2")
            row[:, : values[0].size] = values.reshape(height, -1)
            plane.update(row.tobytes())
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


# Depth


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_is_rounded(tmp_path: Path, channels: int) -> None:
    samples = deep_picture(channels, 16)
    path = write_png(tmp_path / "a.png", samples)
    expected = rounded(samples, 16)
    np.testing.assert_array_equal(
        read_still(path), as_rgba(expected) if channels == 2 else expected
    )
    assert "16-bit samples are rounded to 8 bit" in notes_of(path)


@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour_tiff_is_rounded(
    tmp_path: Path, channels: int, order: str, separate: bool, tile: int
) -> None:
    samples = deep_picture(channels, 16)
    path = write_tiff(tmp_path / "a.tif", samples, 16, order=order, separate=separate, tile=tile)
    if separate and tile:
        refuses(path, "tiles, and channels kept apart", "save it as PNG")
        return
    np.testing.assert_array_equal(read_still(path), rounded(samples, 16))
    assert notes_of(path) == ("16-bit samples are rounded to 8 bit",)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("bits", [8, 16])
def test_orientation_of_a_tiff(tmp_path: Path, orientation: int, bits: int) -> None:
    samples = deep_picture(3, 16) if bits == 16 else picture(24, 40, 3)
    if bits == 16:
        path = write_tiff(tmp_path / "a.tif", samples, 16, tags={274: orientation})
    else:
        exif = Image.Exif()
        exif[274] = orientation
        path = tmp_path / "a.tif"
        Image.fromarray(samples).save(path, exif=exif)
    expected = Geometry(orientation).apply(rounded(samples, bits))
    np.testing.assert_array_equal(read_still(path), expected)
    np.testing.assert_array_equal(read_still(tmp_path), expected)


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_deep_jpeg_2000(tmp_path: Path, channels: int, bits: int) -> None:
    samples = deep_picture(channels, bits)
    path = write_jpeg2000(tmp_path / "a.jp2", samples, bits)
    np.testing.assert_array_equal(read_still(path), rounded(samples, bits))
    assert notes_of(path) == (f"{bits}-bit samples are rounded to 8 bit",)


def test_shallow_jpeg_2000_has_white(tmp_path: Path) -> None:
    path = tmp_path / "a.jp2"
    Image.fromarray(np.arange(16, dtype=np.uint8).repeat(16).reshape(16, 16) * 17).save(path)
    data = bytearray(path.read_bytes())
    depth = data.index(b"\xff\x4f\xff\x51") + 42
    assert data[depth] == 7
    data[depth] = 3  # as if each sample had 4 bits; the code then says something else, but is read
    path.write_bytes(data)
    with Image.open(path) as image:
        stored = np.asarray(image) >> 4
    np.testing.assert_array_equal(read_still(path)[..., 0], rounded(stored, 4))


def test_odd_jpeg_2000_is_refused(tmp_path: Path) -> None:
    path = write_jpeg2000(tmp_path / "a.jp2", deep_picture(3, 12), 12)
    data = bytearray(path.read_bytes())
    depth = data.index(b"\xff\x4f\xff\x51") + 42
    for value, words in ((0x80 | 11, "12, 12 signed"), (17, "12, 18 bits")):
        data[depth] = value
        path.write_bytes(data)
        refuses(path, words, "allowed are 1 to 16", "save it as PNG")


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
def test_grey_tiff_of_any_depth(tmp_path: Path, bits: int, white_is_zero: bool) -> None:
    samples = deep_picture(1, bits)
    path = write_tiff(tmp_path / "a.tif", samples, bits, white_is_zero=white_is_zero)
    if bits == 12 and white_is_zero:
        refuses(path, "a TIFF image", "Pillow cannot read", "give a PNG")
        return
    levels = rounded(samples, bits)
    np.testing.assert_array_equal(read_still(path), 255 - levels if white_is_zero else levels)
    deep = (f"{bits}-bit samples are rounded to 8 bit",) if bits > 8 else ()
    assert notes_of(path) == (("1-bit pixels are converted to 8-bit grey",) if bits == 1 else deep)


def test_float_tiff_with_white_at_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    Image.fromarray(np.array([[0, 0.5, 1]], dtype=np.float32)).save(path)
    data = bytearray(path.read_bytes())
    entry = data.index(b"\x06\x01\x03\x00\x01\x00\x00\x00\x01")  # photometric, one short: 1
    data[entry + 8] = 0
    path.write_bytes(data)
    assert read_still(path)[0, :, 0].tolist() == [255, 128, 0]


def test_signed_samples_are_refused(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", deep_picture(1, 16), 16, tags={339: 2})
    refuses(path, "signed samples", "0..65535", "unsigned")


def test_premultiplied_colour_is_divided(tmp_path: Path) -> None:
    samples = (
        np.array([[[100, 50, 0, 200], [65535] * 4, [0, 0, 0, 0]]]) * [[[100] * 4], [[1] * 4]][0]
    )
    samples = np.array([[[10000, 5000, 0, 20000], [65535] * 4, [0] * 4]])
    path = write_tiff(tmp_path / "a.tif", samples, 16, tags={338: 1})
    assert read_still(path)[0].tolist() == [[128, 64, 0, 78], [255] * 4, [0] * 4]


@pytest.mark.parametrize("maximum", [1, 100, 255, 1000, 65535])
@pytest.mark.parametrize("channels", [1, 3])
def test_netpbm_of_any_maximum(tmp_path: Path, channels: int, maximum: int) -> None:
    samples = np.linspace(0, maximum, 12).round().astype(int).reshape(2, -1, channels)
    kind, order = (5 if channels == 1 else 6), (">u2" if maximum > 255 else "u1")
    head = f"P{kind}\n# a comment\n{samples.shape[1]} 2\n{maximum}\n".encode()
    path = tmp_path / "a.pnm"
    path.write_bytes(head + samples.astype(order).tobytes())
    # Pillow rounds grey to 16 bits first.
    between = (
        np.rint(samples * (65535 / maximum)) / 257 if channels == 1 and maximum > 255 else None
    )
    expected = np.rint(samples * (255 / maximum) if between is None else between)
    np.testing.assert_array_equal(read_still(path), expected)
    deep = ("16-bit samples are rounded to 8 bit",) if maximum > 255 else ()
    assert notes_of(path) == deep


def test_hdr_png_is_noted(tmp_path: Path) -> None:
    hlg = png_chunk(b"cICP", bytes([9, 18, 0, 1]))
    path = write_png(tmp_path / "a.png", deep_picture(3, 8), 8, hlg)
    assert notes_of(path) == ("HDR (HLG) is not tone-mapped",)


# Alpha


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_transparent_level_of_a_grey_png(tmp_path: Path, bits: int) -> None:
    samples = deep_picture(1, bits)
    level = int(samples[3, 5, 0])
    path = write_png(
        tmp_path / "a.png", samples, bits, png_chunk(b"tRNS", level.to_bytes(2, "big"))
    )
    alpha = np.where(samples == level, 0, 255).astype(np.uint8)
    expected = as_rgba(np.concatenate([rounded(samples, bits), alpha], axis=2))
    np.testing.assert_array_equal(read_still(path), expected)
    assert "converted to RGBA" in notes_of(path)[-1]
    with open_source(tmp_path, max_pixels=LIMIT) as source:
        assert source.format.channels == 4


@pytest.mark.parametrize("bits", [8, 16])
def test_transparent_colour_of_a_png(tmp_path: Path, bits: int) -> None:
    samples = deep_picture(3, bits)
    samples[4] = samples[3, 5]
    colour = png_chunk(b"tRNS", b"".join(int(v).to_bytes(2, "big") for v in samples[3, 5]))
    path = write_png(tmp_path / "a.png", samples, bits, colour)
    alpha = np.where((samples == samples[3, 5]).all(axis=2, keepdims=True), 0, 255)
    expected = np.concatenate([rounded(samples, bits), alpha.astype(np.uint8)], axis=2)
    np.testing.assert_array_equal(read_still(path), expected)


# Geometry


def test_orientations_are_those_of_exif() -> None:
    stored = picture(3, 5, 3)
    for orientation in range(1, 9):
        image = Image.fromarray(stored)
        image.getexif()[274] = orientation
        shown = Geometry(orientation).apply(stored)
        np.testing.assert_array_equal(shown, np.asarray(ImageOps.exif_transpose(image)))
        assert Geometry(orientation).shown_size(3, 5) == shown.shape[:2]
        for second in range(1, 9):
            both = Geometry(then(orientation, second)).apply(stored)
            np.testing.assert_array_equal(both, Geometry(second).apply(shown))
    cropped = Geometry(6, left=1, top=0, right=2, bottom=1)
    np.testing.assert_array_equal(cropped.apply(stored), np.rot90(stored[:2, 1:3], -1))
    assert cropped.shown_size(3, 5) == (2, 2)
    with pytest.raises(ValueError, match="leaves 0x3"):
        Geometry(1, left=2, right=3).shown_size(3, 5)
    assert orientation_of_matrix(0, 0, 0, 0) == 1
    assert orientation_of_matrix(0.9, -0.4, 0.4, 0.9) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_xmp_orientation_counts(tmp_path: Path, suffix: str, orientation: int) -> None:
    """Alone, as some programs write it; in a PNG it may stand behind the pixels."""
    upright = picture(10, 16, 3)
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
        'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation='
        f'"{orientation}"/></rdf:RDF></x:xmpmeta>'
    ).encode()
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        Image.fromarray(upright).save(path)
        text = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
        data = path.read_bytes()
        path.write_bytes(data[:-12] + text + data[-12:])
    else:
        Image.fromarray(upright).save(path, xmp=xmp, quality=100, lossless=True)
    expected = Geometry(orientation).apply(upright)
    for source in (path, tmp_path):
        found = read_still(source)
        assert found.shape == expected.shape
        assert psnr(found, expected) > 30


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_orientation_of_an_animation(tmp_path: Path, suffix: str) -> None:
    frames = [picture(10, 16, 3, index) for index in range(3)]
    exif = Image.Exif()
    exif[274] = 8
    images = [Image.fromarray(pixels) for pixels in frames]
    path = tmp_path / f"a{suffix}"
    images[0].save(path, save_all=True, append_images=images[1:], exif=exif, lossless=True)
    for frame, pixels in zip(read_all(path), frames, strict=True):
        np.testing.assert_array_equal(frame.pixels, Geometry(8).apply(pixels))


# What is left out


def test_pictures_behind_the_first_are_noted(tmp_path: Path) -> None:
    note = ("only the first of several pictures in the file is read",)
    exif = Image.Exif()
    exif[0x0112] = 1
    for name, options in (
        ("a.jpg", {"exif": exif}),
        ("b.jpg", {"progressive": True}),
        ("c.png", {}),
        ("d.ppm", {}),
    ):
        path = tmp_path / name
        Image.fromarray(picture(20, 30, 3)).save(path, **options)
        single = path.read_bytes()
        for padding in (b"", b"\0" * 5, b"trailing text"):
            path.write_bytes(single + padding)
            assert notes_of(path) == ()
        path.write_bytes(single + single)
        assert notes_of(path) == note, name
        path.write_bytes(single + b"\0\0\0\x18ftypmp42" + bytes(20))
        assert notes_of(path) == ("the video behind the picture is not read",)


def test_the_end_of_a_jpeg(tmp_path: Path) -> None:
    """Wherever it lies in the blocks that are read, and no block more than it takes."""
    path = tmp_path / "a.jpg"
    for size in range(4080, 4110):
        code = b"\xff\x00\xff\xd3" + b"x" * size
        whole = b"\xff\xd8\xff\xe0\0\4\xff\xd9\xff\xda\0\2" + code + b"\xff\xd9"
        path.write_bytes(whole + bytes(20_000) + b"\xff\xd9")
        with path.open("rb") as file:
            assert jpeg_end(file) == len(whole)
            assert file.tell() < len(whole) + 5000
        path.write_bytes(whole[:-1])
        with path.open("rb") as file:
            assert jpeg_end(file) is None


def test_damaged_images_are_called_by_their_name(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(picture(20, 30, 3)).save(path)
    whole = path.read_bytes()
    text = bytearray(png_chunk(b"tEXt", b"Title\0nothing"))
    text[-1] ^= 1
    path.write_bytes(whole[:33] + text + whole[33:])
    refuses(path, "a PNG image", "tEXt", "re-export it")
    path.write_bytes(b"GIF89a")
    refuses(path, "a GIF image", "re-export it")
    path.write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF")
    refuses(path, "damaged or truncated", "re-export it")
