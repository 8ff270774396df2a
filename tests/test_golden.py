"""Streams of every released format version decode for ever."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

import tcnn_codec
from tcnn_codec.container import VERSION, read_chunk, read_header
from tcnn_codec.entropy import decode_tensors, encode_tensors

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.tcnn"))
#: SHA-256 of all decoded integers, chunk after chunk: exact on every machine.
INTEGERS = {
    "v1_grey": "3cdb1238595d2e4c3eef4bf2beba1045cba8d3defc62b46e95fc6599208cdfa1",
    "v1_rgb": "de4d25453e8c4ea9532a7f88781ccb0dcd1eaee169e11f0ecc144487392e4114",
    "v1_rgba": "3dca6a0298962cea8654f1f55c130ee0a9f892dc2b09170f09c9722f57ea98b4",
    "v1_video": "2db24b1eff069e985b69e77bce9018220e413119962aad842bab79e9700d1522",
    "v2_grey": "9d64f9ee8a4cac223d60f65360ed971bc3775d01fe5eb1354aa8ff3dec2ba773",
    "v2_rgb": "17fb3a0944daa21f0097a8a9c7253cf184f0a543c47fec7a07ee2be5a523069a",
    "v2_rgba": "c8f449a53512b3eb1cb1566bd1fd45b5ebdb454ea3608558768f7d6ae9836093",
    "v2_video": "d2fb8d9295d51fb1aa0db03e804019c47faa2cb40704cce183cd6b59f09c0810",
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
        tensors = decode_tensors(info.spec, payload, info.version)
        if info.version == VERSION:
            assert encode_tensors(info.spec, tensors) == payload
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
