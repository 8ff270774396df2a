"""Streams of every released format version decode for ever."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

import tcnn_codec
from tcnn_codec.bitstream.header import VERSION, read_header
from tcnn_codec.bitstream.records import read_chunk
from tcnn_codec.coders import payload as entropy
from tcnn_codec.coders.payload import ASCENDING, BINARISED, MODELS, decode_tensors, encode_tensors

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.tcnn"))
#: SHA-256 of all decoded integers, chunk after chunk: exact on every machine.
INTEGERS = {
    "v1_grey": "3cdb1238595d2e4c3eef4bf2beba1045cba8d3defc62b46e95fc6599208cdfa1",
    "v1_rgb": "de4d25453e8c4ea9532a7f88781ccb0dcd1eaee169e11f0ecc144487392e4114",
    "v1_rgba": "3dca6a0298962cea8654f1f55c130ee0a9f892dc2b09170f09c9722f57ea98b4",
    "v1_video": "2db24b1eff069e985b69e77bce9018220e413119962aad842bab79e9700d1522",
    "v2_grey": "f6af9c63daa84601bd1ae7f2cd7bda122fc5c0d7a87ed39323f6853297a61a68",
    "v2_rgb": "3401d9080ca80a84f22b6e042c831e57c5f839feab26766233e47e5ff9a19da7",
    "v2_rgba": "8dc2250595dc918f75c67ffe4064bb214501313e7f64357f0e1370dbce2b45b0",
    "v2_video": "4b522d8f18019c6187cb8214f235d9d2486f0e456cc3ecae916466a636f3326d",
    "v2_wide": "f77c51484b9c19e2d5034482ba551caa5387d43c6ea787fb69d0ce9333e440e6",
}


def test_all_are_here() -> None:
    assert {path.stem for path in GOLDEN} == set(INTEGERS)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_integers_are_exact(path: Path) -> None:
    stream = io.BytesIO(path.read_bytes())
    info = read_header(stream)
    digest = hashlib.sha256()
    for index in range(info.chunk_count):
        payload = read_chunk(stream, info, index)
        tensors = decode_tensors(info.spec.tensors, payload, info.version)
        if info.version == VERSION:
            assert encode_tensors(info.spec.tensors, tensors) == payload
        for tensor in tensors:
            digest.update(tensor.values.astype("<i4").tobytes())
            digest.update(np.array(tensor.step, "<f4").tobytes())
    assert digest.hexdigest() == INTEGERS[path.stem]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_pixels_are_within_one_level(path: Path) -> None:
    expected = np.load(path.with_suffix(".npy")).astype(int)
    found = tcnn_codec.decode(path.read_bytes())
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1


def test_one_chunk_is_readable_without_the_others() -> None:
    path = next(path for path in GOLDEN if path.stem == "v1_video")
    whole = tcnn_codec.decode(path.read_bytes())
    part = tcnn_codec.decode(path.read_bytes(), frames=(3, 5))
    assert np.array_equal(part, whole[3:5])


def test_every_coder_has_a_stream() -> None:
    models = set()
    for path in GOLDEN:
        stream = io.BytesIO(path.read_bytes())
        info = read_header(stream)
        if info.version == VERSION:
            for index in range(info.chunk_count):
                headers, _ = entropy._read_headers(
                    info.spec.tensors, read_chunk(stream, info, index), MODELS
                )
                models |= {header.model for header in headers}
    assert BINARISED in models
    assert any(ASCENDING <= model < BINARISED for model in models)
    assert any(0 < model < ASCENDING for model in models)
