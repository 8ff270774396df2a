"""What must hold of any bytes that a decoder is given: one function a target, and its mutator.

A target takes bytes, and raises AssertionError, or whatever the code under it raises, where the
contract of SECURITY.md does not hold: only a CodecError of one line may leave the reader, and what
the reader accepts is the one encoding of what it says.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

import numpy as np
from structure import (
    MOST_PARAMETERS,
    MOST_PIXELS,
    ChangeBytes,
    change_file,
    change_header,
    change_payload,
    make_payload,
    make_spec,
)

import tcnn_codec
from tcnn_codec.bitstream.header import read_header, write_header
from tcnn_codec.decoding.info import info_file
from tcnn_codec.errors import CodecError
from tcnn_codec.families.siren import payload as payloads
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.io import Pipe

T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """check: raises where the contract does not hold. mutate: other bytes, like those given."""

    check: Callable[[bytes], None]
    mutate: Callable[[Random, bytes, ChangeBytes], bytes]


def unless_refused(action: Callable[[], T]) -> T | None:
    """What comes of it; None where it is refused in one line that has a remedy."""
    try:
        return action()
    except CodecError as error:
        refusal = error
    assert str(refusal).isprintable(), f"more than a line: {refusal}"
    assert refusal.remedy, f"no remedy: {refusal}"
    return None


def check_header(data: bytes) -> None:
    info = unless_refused(lambda: read_header(io.BytesIO(data)))
    if info is not None:
        assert write_header(info, info.chunk_bytes) == data[: info.header_bytes]


#: Bytes that describe a network, in front of its payload: each of a field, from its least value.
SPEC_BYTES = 9
SCALES, CHANNELS = (1, 500, 1400, 2000, 4000), (1, 3, 4)


def write_spec(spec: SirenSpec) -> bytes:
    scale = SCALES.index(round(1000 * spec.scale))
    sizes = spec.axes - 2, spec.frequencies, scale, spec.hidden_layers, spec.width - 1
    times = spec.axis_frequencies[-1], spec.time_codes, spec.frames - 1
    return bytes([*sizes, CHANNELS.index(spec.out_channels), *times])


def read_spec(data: bytes) -> SirenSpec | None:
    """None where it is none, or one that takes long."""
    if len(data) < SPEC_BYTES:
        return None
    axes, frequencies, scale, hidden, width, channels, times, codes, frames = data[:SPEC_BYTES]
    try:
        spec = SirenSpec(
            axes=2 + axes % 2,
            frequencies=frequencies,
            scale=SCALES[scale % len(SCALES)] / 1000,
            hidden_layers=hidden,
            width=1 + width,
            out_channels=CHANNELS[channels % len(CHANNELS)],
            time_frequencies=times,
            time_codes=codes,
            frames=1 + frames,
        )
    except CodecError:
        return None
    return spec if spec.parameter_count <= MOST_PARAMETERS else None


def check_payload(data: bytes) -> None:
    spec, payload = read_spec(data), data[SPEC_BYTES:]
    if spec is None:
        return
    tensors = unless_refused(lambda: payloads.decode(spec, payload))
    if tensors is None:
        return
    shortest = payloads.encode(spec, tensors)
    assert len(shortest) <= len(payload)
    again = payloads.decode(spec, shortest)
    for found, expected in zip(again, tensors, strict=True):
        assert found.step == expected.step
        assert np.array_equal(found.values, expected.values)


def mutate_payload(rng: Random, data: bytes, change: ChangeBytes) -> bytes:
    """Of the network in front too, with a payload of its own."""
    spec = read_spec(data)
    if spec is None or rng.randrange(16) == 0:
        spec = make_spec(rng, rng.choice((2, 3)), rng.choice(CHANNELS))
        return write_spec(spec) + make_payload(rng, spec)
    return write_spec(spec) + change_payload(rng, spec, data[SPEC_BYTES:], change)


def check_file(data: bytes) -> None:
    """As `inspect`, `info --strict` and `decode` read it."""

    def decode() -> np.ndarray:
        return tcnn_codec.decode(data, threads=1, max_pixels=MOST_PIXELS)

    def facts() -> dict[str, object]:
        pipe = Pipe(io.BytesIO(data), "input")
        return info_file(pipe, strict=True, max_pixels=MOST_PIXELS)

    info = unless_refused(lambda: tcnn_codec.inspect(data, max_pixels=MOST_PIXELS))
    canonical, pixels = unless_refused(facts), unless_refused(decode)
    if info is None:
        assert canonical is None
        assert pixels is None
    if pixels is not None:
        assert info is not None
        shape = (info.height, info.width, info.channels)
        assert pixels.shape == (shape if info.kind == "image" else (info.frames, *shape))
        assert np.array_equal(decode(), pixels)


TARGETS = {
    "header": Target(check_header, change_header),
    "payload": Target(check_payload, mutate_payload),
    "file": Target(check_file, change_file),
}
