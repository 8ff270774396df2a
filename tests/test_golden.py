"""Golden streams decode to the same integers and the same samples on every machine."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

import tcnn_codec
from tcnn_codec.bitstream.header import read_header
from tcnn_codec.bitstream.records import read_chunk
from tcnn_codec.decoding.decoder import decode_networks

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.tcnn"))
#: SHA-256 of all decoded integers, chunk after chunk.
INTEGERS = {
    "v3_colour": "f9da45425320b8c5ed7a0b6485b43573a84e938bbf5ba6b7e4cf06d34400b1d2",
    "v3_coded_video": "7c5249f8bf0f225752fff9b28d2e12964c8867e2cf784bd41cfe44d47995df09",
    "v3_deep": "9fcad2223f1aa7f06aafc8bb9126da9b141e01cc42be423ca5e9989c6f53e4fe",
    "v3_difference_video": "4ddcbfcfa5a61f7fd76f9ccd660e3271f00a5f88ef6d9acb29bd7be3118fdb86",
    "v3_grey": "8e6d8c05a7b559fe4144e6c2e13a71cf8f3558eed00059f349bf46d938069cf8",
    "v3_grey_video": "9d84286bb2e2c9460c1479a00f923bdb77bd9206e0d1059126547e56cd2dd011",
    "v3_rgb": "e72c71e022ed4539d49c59278885c6cee16665a3f69803f19542754e82a56136",
    "v3_rgba": "91307916c8518337093759085c03d2d473928e09aa1b3de1f0fe7e135961d016",
    "v3_rgba_video": "151b87811772498de74ce20737691a0a3b3e0cf61928b21de62bb4a3ad2089b5",
    "v3_video": "7c56fb34c6fa950b5a37fd123f05e386b7e33fcaaf6d3cc4de495e16eba805e9",
    "v3_wide": "d17760243d82b5fddff3c29a066b01f2d0c635adf804343782be0153db6ccc65",
}


def test_all_are_here() -> None:
    assert {path.stem for path in GOLDEN} == set(INTEGERS)


def integers(path: Path) -> str:
    stream = io.BytesIO(path.read_bytes())
    info = read_header(stream)
    digest = hashlib.sha256()
    before = None
    for index, tensors in decode_networks(stream, info, range(info.chunk_count)):
        before = before if info.is_difference(index) else None
        payload = info.family.encode(info.networks[index], tensors, before)
        assert payload == read_chunk(stream, info, index)
        before = tensors
        for tensor in tensors:
            digest.update(tensor.values.astype("<i4").tobytes())
            digest.update(tensor.multiplier.to_bytes(4, "little"))
    return digest.hexdigest()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_integers_are_exact(path: Path) -> None:
    assert integers(path) == INTEGERS[path.stem]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_samples_are_exact(path: Path) -> None:
    expected = np.load(path.with_suffix(".npy"))
    found = tcnn_codec.decode(path.read_bytes())
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


def test_one_chunk_is_readable_without_the_others() -> None:
    path = next(path for path in GOLDEN if path.stem == "v3_video")
    whole = tcnn_codec.decode(path.read_bytes())
    part = tcnn_codec.decode(path.read_bytes(), frames=(3, 5))
    assert np.array_equal(part, whole[3:5])
