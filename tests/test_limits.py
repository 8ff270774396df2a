"""What a hostile file can cost: it is refused before the work begins, and memory is bounded."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_files import ENDLESS, LARGEST, file_of, image, longest_header, video

import tcnn_codec
from tcnn_codec import _coders
from tcnn_codec.bitstream.header import read_header
from tcnn_codec.bitstream.limits import MAX_CHUNKS, MAX_FRAMES, MAX_NETWORKS
from tcnn_codec.decoding import info as info_module
from tcnn_codec.decoding.decoder import BYTE_PARAMETERS, decode_frames
from tcnn_codec.decoding.info import info_file
from tcnn_codec.errors import BitstreamError, CodecError
from tcnn_codec.families.siren import renderer
from tcnn_codec.families.siren.family import SirenFamily
from tcnn_codec.families.siren.payload import decode, encode
from tcnn_codec.families.siren.quantise import constant
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.io import Pipe

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.tcnn"))
MEGABYTE = 1 << 20


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a payload nor a pixel may be decoded."""

    def fail(*_: Any) -> None:
        raise AssertionError("the file was not refused before the work began")

    monkeypatch.setattr(SirenFamily, "decode", fail)
    monkeypatch.setattr(renderer.SirenRenderer, "render", fail)


def peak(action: Callable[[], Any]) -> int:
    """Bytes allocated at most, those of numpy's arrays included."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def strict(data: bytes) -> dict[str, Any]:
    return info_file(Pipe(io.BytesIO(data), "input"), strict=True)


WORK = r"decoding takes .* multiply-adds, of \d+ bytes; the limit is .*; .*`max_pixels`"
PIXELS = r"a chunk of .* is \d+ pixels; the limit is 268435456; .*`max_pixels`"
PARAMETERS = r"\d+ parameters are in \d+ bytes; the limit is \d+, which grows .*; .*`frames`"
#: Files, most of a few hundred bytes, that ask for hours: what they have, and the refusal.
COSTLY: dict[str, tuple[bytes, str]] = {
    "large picture": (image(2**14, 2**14, LARGEST, bytes(range(250))), WORK),
    "larger picture": (image(2**16, 2**16, (16, 1400, 3, 32), bytes(range(250))), PIXELS),
    "large network": (image(4096, 4096, LARGEST, ENDLESS), WORK),
    "many frames": (video(4096, 40, (16, 1400, 5, 128), b"\1", side=128), WORK),
    "many frames of a pixel": (video(4096, 256, LARGEST, b""), PARAMETERS),
    "long chunk": (video(4096, 1, (16, 1400, 3, 32), side=2**16), PIXELS),
    "many chunks": (video(1, 60, LARGEST, ENDLESS, channels=4), PARAMETERS),
    "most chunks": (video(1, MAX_CHUNKS, LARGEST, ENDLESS, channels=4), PARAMETERS),
}


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("name", COSTLY)
def test_costly_files_are_refused_before_the_work(name: str) -> None:
    data, text = COSTLY[name]
    assert len(data) < 2000 or name == "most chunks"
    with pytest.raises(CodecError, match=f"^{text}") as caught:
        tcnn_codec.decode(data)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_work")
def test_strict_refuses_more_parameters_than_bytes_hold() -> None:
    """Of 65,536 chunks of six bytes, each is a network of half a million integers."""
    with pytest.raises(CodecError, match=f"^{PARAMETERS}"):
        strict(COSTLY["most chunks"][0])


def test_a_code_that_goes_on_behind_its_end_is_within_the_limit_alone() -> None:
    spec = SirenSpec(axes=3, frequencies=32, scale=1.0, hidden_layers=32, width=128, out_channels=4)
    tensors = decode(spec, ENDLESS)
    assert sum(tensor.values.size for tensor in tensors) == spec.parameter_count > 500_000
    assert strict(video(1, 2, LARGEST, ENDLESS, channels=4))["canonical"]


@pytest.mark.parametrize("layers", [0, 3, 32])
@pytest.mark.parametrize("width", [1, 32, 128])
def test_honest_codes_are_within_the_limit(layers: int, width: int) -> None:
    """One colour is what the fewest bytes can say."""
    spec = SirenSpec(axes=3, hidden_layers=layers, width=width)
    payload = encode(spec, constant(spec, np.array([255, 0, 77], np.uint8)))
    assert spec.parameter_count < BYTE_PARAMETERS * len(payload)


def test_no_code_of_zeros_holds_as_many_in_a_byte() -> None:
    encoder = _coders.Encoder()
    encoder.add(np.zeros((4096, 256), np.int32), True)
    assert 1300 < 4096 * 256 / len(encoder.finish()) < BYTE_PARAMETERS


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_files_pass_with_the_pixels_they_have(path: Path) -> None:
    data = path.read_bytes()
    info = tcnn_codec.inspect(data)
    pixels = info.height * info.width * max(info.chunk_frames)
    stream = io.BytesIO(data)
    limited = read_header(stream, max_pixels=pixels)
    frames = list(decode_frames(stream, limited, max_pixels=pixels, threads=1))
    assert len(frames) == info.frames
    assert strict(data)["canonical"]


# Headers.


def test_the_longest_header_is_read_in_bounded_memory() -> None:
    data = longest_header()
    assert 3 * MEGABYTE < len(data) < 4 * MEGABYTE
    info = tcnn_codec.inspect(data)
    assert (info.frames, info.chunk_count) == (MAX_FRAMES, MAX_CHUNKS)
    assert len(info.network_places) == MAX_NETWORKS
    assert peak(lambda: tcnn_codec.inspect(data)) < 60 * len(data)


@pytest.mark.parametrize(
    ("frames", "chunks"), [(1, MAX_CHUNKS), (4096, 256), (1, 1), (4096, 1), (16, MAX_CHUNKS)]
)
def test_frames_and_chunks_take_memory_once(frames: int, chunks: int) -> None:
    """That of all frames is bounded, whatever few bytes they come from."""
    data = video(frames, chunks)
    assert (len(data) < 2000) == (chunks <= 256)
    found: list[int] = []
    assert peak(lambda: found.append(tcnn_codec.inspect(data).frames)) < 100 * MEGABYTE
    assert found == [frames * chunks]


def test_lengths_are_not_believed() -> None:
    """Neither that of the fields, nor a number of frames, nor the length of a chunk."""
    lies = [
        b"\x89TCN\x03" + b"\xff" * 8 + b"\x7f" + bytes(90),
        file_of([1, 1, 1, 1, MAX_FRAMES, 1, 25, 25, 1, 0]),
        file_of([0, 4, 4, 1, 0, 0, 1000, 0, 1, 2**62]),
        file_of([0, 4, 4, 1, 0, 0, 1000, 0, 1, 2**62], [b"a"]),
    ]
    for data in lies:

        def refuse(data: bytes = data) -> None:
            with pytest.raises(BitstreamError):
                tcnn_codec.decode(data)

        assert peak(refuse) < MEGABYTE


# Payloads.


def test_chunks_without_a_byte_are_refused_at_the_first_integer() -> None:
    """Zeros without end are a magnitude beyond all bounds."""
    data = video(16, MAX_CHUNKS)
    with pytest.raises(BitstreamError, match="the code of the steps is impossible"):
        tcnn_codec.decode(data, frames=(0, 16))
    with pytest.raises(BitstreamError, match="the code of the steps is impossible"):
        strict(data)


def test_a_payload_that_ends_inside_its_matrices_is_followed_by_zeros_alone() -> None:
    """Every cut of an honest payload has other integers, or is refused."""
    data = next(path for path in GOLDEN if path.stem == "v3_rgb").read_bytes()
    info = tcnn_codec.inspect(data)
    spec, payload = info.networks[0], data[info.header_bytes : -4]
    assert isinstance(spec, SirenSpec)
    for size in range(len(payload)):
        try:
            tensors = decode(spec, payload[:size])
        except BitstreamError:
            continue
        assert len(encode(spec, tensors)) <= size


def test_a_payload_that_goes_on_behind_its_matrices_is_refused() -> None:
    spec = SirenSpec(frequencies=0, hidden_layers=0, width=1, out_channels=1)
    payload = encode(spec, constant(spec, np.array([77], np.uint8)))
    with pytest.raises(BitstreamError, match="its code ends within"):
        decode(spec, payload + bytes(MEGABYTE) + b"\1")


def test_strict_decodes_nothing_of_a_header_that_is_not_canonical(
    monkeypatch: pytest.MonkeyPatch, no_work: None
) -> None:
    data = GOLDEN[0].read_bytes()
    monkeypatch.setattr(info_module, "write_header", lambda *_: b"another")
    with pytest.raises(BitstreamError, match="not the canonical one"):
        strict(data)
