"""HEIC and AVIF, whose pictures are items: depth, grids of tiles, crops and turns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from io_samples import notes_of, picture, psnr, read_still, refuses
from picture_files import (
    clean_aperture,
    coded_item,
    deep_picture,
    make_box,
    rounded,
    write_heif,
)
from PIL import Image

from tcnn_codec.io import pictures
from tcnn_codec.io.heif import HeifFacts, read_heif


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_ten_bit_heic_is_rounded(tmp_path: Path, channels: int) -> None:
    import pillow_heif

    samples = (deep_picture(channels, 10) << 6).astype(np.uint16)
    path = tmp_path / "a.heic"
    mode = {1: "I;16", 3: "RGB;16", 4: "RGBA;16"}[channels]
    image = pillow_heif.from_bytes(mode, samples.shape[1::-1], samples.tobytes())
    image.save(path, quality=-1, chroma="444", matrix_coefficients=0)
    stored = np.asarray(
        pillow_heif.open_heif(path, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    ).reshape(samples.shape)
    assert np.abs(stored.astype(int) - (samples >> 6)).max() <= 1
    np.testing.assert_array_equal(read_still(path), rounded(stored, 10))
    assert "10-bit samples are rounded to 8 bit" in notes_of(path)


def test_ten_bit_and_hdr_avif_are_noted(tmp_path: Path) -> None:
    code = tmp_path / "code.avif"
    Image.fromarray(picture(48, 64, 3)).save(code, quality=90)
    configuration, data = coded_item(code)
    deep = bytearray(configuration)
    deep[10] |= 0x40  # high_bitdepth
    pq = make_box(b"colr", b"nclx\0\x09\0\x10\0\x09\x80")
    path = write_heif(tmp_path / "a.avif", (bytes(deep), data), 48, 64, pq, brand=b"avif")
    assert notes_of(path) == (
        "10-bit samples are reduced to 8 bit",
        "HDR (PQ) is not tone-mapped",
    )


@pytest.fixture(scope="module", params=["heic", "avif"])
def item(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(brand, coded item, its pixels): one picture of 64x64."""
    folder = tmp_path_factory.mktemp("item")
    path = folder / f"a.{request.param}"
    image = Image.fromarray(picture(64, 64, 3))
    if request.param == "heic":
        import pillow_heif

        pillow_heif.from_pillow(image).save(path, quality=95, chroma="444")
    else:
        image.save(path, quality=95, subsampling="4:4:4")
    shown = read_still(path)
    assert psnr(shown, picture(64, 64, 3)) > 35
    return request.param.encode(), coded_item(path), shown


def test_a_grid_is_one_picture(tmp_path: Path, item: Any) -> None:
    brand, code, tile = item
    path = write_heif(tmp_path / "a.heic", code, 64, 64, grid=(2, 3), brand=brand)
    assert notes_of(path) == ()
    np.testing.assert_array_equal(read_still(path), np.tile(tile, (2, 3, 1)))


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("mirror", [None, 0, 1])
def test_crop_and_orientation_of_an_item(
    tmp_path: Path, item: Any, turn: int, mirror: int | None
) -> None:
    brand, code, shown = item
    properties = [clean_aperture(48, 32, 2, -3)]
    expected = shown[13:45, 10:58]  # the centre, 8 and 16 inside, moved by 2 and -3
    if turn:
        properties.append(make_box(b"irot", bytes([turn])))
        expected = np.rot90(expected, turn)
    if mirror is not None:
        properties.append(make_box(b"imir", bytes([mirror])))
        expected = expected[::-1] if mirror == 0 else expected[:, ::-1]
    path = write_heif(tmp_path / "a.heif", code, 64, 64, *properties, brand=brand)
    np.testing.assert_array_equal(read_still(path), expected)


def test_an_item_without_its_library_is_refused(
    tmp_path: Path, item: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A demuxer would show one tile."""
    brand, code, _ = item
    path = write_heif(tmp_path / "a.bin", code, 64, 64, grid=(2, 2), brand=brand)
    if brand == b"heic":
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        refuses(path, "a HEIC image", "pip install pillow-heif")
    else:
        Image.init()
        monkeypatch.delitem(Image.OPEN, "AVIF")
        refuses(path, "an AVIF image", "upgrade Pillow")


def test_boxes_are_walked_once(tmp_path: Path, item: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    brand, code, _ = item
    path = write_heif(tmp_path / "a.heif", code, 64, 64, clean_aperture(48, 32), brand=brand)
    walked: list[Path] = []

    def counting(path: Path) -> HeifFacts | None:
        walked.append(path)
        return read_heif(path)

    monkeypatch.setattr(pictures, "read_heif", counting)
    assert read_still(path).shape == (32, 48, 3)
    assert walked == [path]
