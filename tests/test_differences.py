"""Chunks as differences: lossless, cheap where chunks are alike, decoded from the key chunk on."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

import tcnn_codec
from tcnn_codec.bitstream.header import DIFFERENCE, KEY_CHUNK, StreamInfo, read_header
from tcnn_codec.bitstream.records import write_stream
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.decoding.decoder import decode_networks
from tcnn_codec.decoding.info import info_file
from tcnn_codec.dtypes import U8
from tcnn_codec.errors import BitstreamError, CodecError
from tcnn_codec.families.contract import Rounding, Tensors
from tcnn_codec.families.siren import payload as payloads
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.families.siren.difference import differ
from tcnn_codec.families.siren.fitter import SirenFitter
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.io import Pipe
from tcnn_codec.training.job import Job

SPEC = SirenSpec(axes=3, frequencies=3, width=6, hidden_layers=1, time_codes=2)
OPTIONS = {"width": 12, "frequencies": 6, "steps": 400, "threads": 1, "chunk_frames": 3}


def clip(frames: int = 12, size: int = 32) -> U8:
    """A camera that moves slowly over a smooth picture."""
    y, x = np.mgrid[:size, : size + 2 * frames]
    levels = [
        128 + 60 * np.sin(x / a + y / b) + 40 * np.cos(x / b) for a, b in ((5, 9), (7, 6), (9, 5))
    ]
    picture = np.stack(levels, axis=-1)
    return np.stack([picture[:, n : n + size] for n in range(frames)]).clip(0, 255).astype(np.uint8)


def network(seed: int, frames: int = 3, most: int = 31) -> Tensors:
    """Any integers, the same steps for every seed."""
    rng = np.random.default_rng(seed)
    found = []
    for index, place in enumerate(SPEC.of(frames).tensors):
        values = rng.integers(-most, most + 1, place.size).astype(np.int32)
        found.append(QuantisedTensor(values, 80 if place.name == "codes" else 70 + index))
    return tuple(found)


def same(a: Tensors, b: Tensors) -> bool:
    return all(
        x.step == y.step and np.array_equal(x.values, y.values) for x, y in zip(a, b, strict=True)
    )


def test_payloads_round_trip() -> None:
    for seed in range(20):
        before, now = network(seed), network(seed + 100, frames=1 + seed % 5)
        spec = SPEC.of(1 + seed % 5)
        payload = payloads.encode(spec, now, before)
        assert same(payloads.decode(spec, payload, before), now)


def test_a_difference_of_nothing_takes_nothing() -> None:
    before = canonical(network(1))
    still = (*before[:-1], QuantisedTensor(0 * before[-1].values, 80))
    size = len(payloads.encode(SPEC.of(3), still))
    assert len(payloads.encode(SPEC.of(3), still, before)) < 0.1 * size


def test_a_difference_has_the_steps_of_the_chunk_before() -> None:
    before, now = network(1), list(network(2))
    now[0] = QuantisedTensor(now[0].values, 99)
    with pytest.raises(ValueError, match="has the steps of the chunk before"):
        payloads.encode(SPEC.of(3), now, before)


def test_sums_beyond_the_largest_level_are_refused() -> None:
    far = [
        QuantisedTensor(np.full_like(t.values, 1500 if t.step < 80 else 0), t.step)
        for t in network(1)
    ]
    zero = [QuantisedTensor(0 * t.values, t.step) for t in far]
    payload = payloads.encode(SPEC.of(3), far, zero)
    assert same(payloads.decode(SPEC.of(3), payload, tuple(zero)), tuple(far))
    with pytest.raises(BitstreamError, match="weight0 has 3000; allowed is at most 2047"):
        payloads.decode(SPEC.of(3), payload, tuple(far))


def test_the_decoder_begins_at_the_key_chunk() -> None:
    networks = [network(seed, frames) for seed, frames in enumerate((3, 2, 3, 1, 2))]
    kinds = (KEY_CHUNK, DIFFERENCE, DIFFERENCE, KEY_CHUNK, DIFFERENCE)
    lengths = (3, 2, 3, 1, 2)
    specs = tuple(SPEC.of(frames) for frames in lengths)
    info = StreamInfo(
        "video", 4, 5, 3, specs, lengths, kinds, timestamps=tuple(range(sum(lengths)))
    )
    befores = [None if k == KEY_CHUNK else networks[i - 1] for i, k in enumerate(kinds)]
    keys = [
        canonical(tensors) if b is None else tensors
        for tensors, b in zip(networks, befores, strict=True)
    ]
    befores = [None if k == KEY_CHUNK else keys[i - 1] for i, k in enumerate(kinds)]
    stream = write_stream(
        info, [payloads.encode(s, t, b) for s, t, b in zip(specs, keys, befores, strict=True)]
    )
    read = read_header(io.BytesIO(stream))
    assert read.chunk_kinds == kinds
    assert [read.key_of(index) for index in range(5)] == [0, 0, 0, 3, 3]
    for first in range(5):
        for stop in range(first + 1, 6):
            found = dict(decode_networks(io.BytesIO(stream), read, range(first, stop)))
            assert list(found) == list(range(first, stop))
            assert all(same(found[index], keys[index]) for index in found)
    whole = tcnn_codec.decode(stream)
    for first, stop in ((0, 1), (4, 5), (5, 9), (7, 8), (10, 11)):
        assert np.array_equal(tcnn_codec.decode(stream, frames=(first, stop)), whole[first:stop])
    facts = info_file(Pipe(io.BytesIO(stream), "<bytes>"), strict=True)
    assert [chunk["kind"] for chunk in facts["index"]] == [
        *("key", "difference", "difference", "key", "difference")
    ]


def canonical(tensors: Tensors) -> Tensors:
    """With biases of sine layers as key chunks have them."""
    found = list(tensors)
    for index in (1, 3):
        found[index] = QuantisedTensor(np.sort(np.abs(found[index].values)), found[index].step)
    return tuple(found)


def test_what_no_file_may_have() -> None:
    video = StreamInfo("video", 4, 5, 3, (SPEC.of(1),) * 3, (1, 1, 1), timestamps=(0, 1, 2))
    for kinds, text in (
        ((1, 0, 0), "kind of the first chunk is 1"),
        ((0, 2, 0), "kind of a chunk is 2"),
        ((0, 1), "number of chunk kinds is 2"),
    ):
        with pytest.raises(CodecError, match=text):
            replace(video, chunk_kinds=kinds)
    other = (SPEC.of(1), replace(SPEC, width=7).of(1), SPEC.of(1))
    with pytest.raises(CodecError, match="chunk 1 is a difference to one of another network"):
        replace(video, networks=other, chunk_kinds=(0, 1, 0))


def test_short_chunks_are_differences_by_themselves_and_save_bytes() -> None:
    pixels = clip()
    streams = {n: tcnn_codec.encode(pixels, key_interval=n, **OPTIONS) for n in (1, 2)}
    streams[0] = tcnn_codec.encode(pixels, **OPTIONS)
    kinds = {n: tcnn_codec.inspect(stream).chunk_kinds for n, stream in streams.items()}
    assert kinds == {1: (), 2: (0, 1, 0, 1), 0: (0, 1, 1, 1)}
    assert len(streams[0]) < len(streams[2]) < len(streams[1])
    assert len(streams[0]) < 0.9 * len(streams[1])
    errors = {
        n: np.square(tcnn_codec.decode(s).astype(int) - pixels).mean() for n, s in streams.items()
    }
    assert max(errors.values()) < 2 * min(errors.values())


def test_a_cut_between_chunks_is_a_key_chunk() -> None:
    pixels = np.concatenate([clip(6), 255 - clip(6).transpose(0, 2, 1, 3)])
    info = tcnn_codec.inspect(tcnn_codec.encode(pixels, **OPTIONS))
    assert info.chunk_kinds == (0, 1, 0, 1)


def test_the_last_chunk_may_be_shorter() -> None:
    pixels = clip(8)
    stream = tcnn_codec.encode(pixels, **OPTIONS)
    info = tcnn_codec.inspect(stream)
    assert (info.chunk_frames, info.chunk_kinds) == ((3, 3, 2), (0, 1, 1))
    assert tcnn_codec.decode(stream).shape == pixels.shape


def test_targets_hold_with_differences() -> None:
    pixels = clip()
    options = {k: v for k, v in OPTIONS.items() if k != "width"}
    stream = tcnn_codec.encode(pixels, bytes=2500, **options)
    assert 0.97 * 2500 <= len(stream) <= 2500
    assert tcnn_codec.inspect(stream).chunk_kinds == (0, 1, 1, 1)


def test_a_network_that_shows_nothing_of_the_chunk_is_no_start() -> None:
    pixels, backend = clip(3), CpuBackend(1)
    spec = SirenSpec(axes=3, frequencies=6, width=12, hidden_layers=2)
    fitter = SirenFitter(threads=1)
    job = Job.of(spec, pixels, 0)
    params = fitter.fit(job, fitter.start(spec, 0), 300, None)
    (before, *_) = fitter.round(job, params, Rounding(6, None, 0), None)
    other = Job.of(spec, (255 - pixels).transpose(0, 2, 1, 3).copy(), 0)
    assert differ(backend, other, before, 20, 5) is None
    found = differ(backend, job, before, 20, 5)
    assert found is not None
    assert [t.step for t in found] == [t.step for t in before]
