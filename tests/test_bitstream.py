"""The file: small, read chunk by chunk, and every fault found and told apart."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcnn_codec import _coders, _cpu, config
from tcnn_codec.bitstream import limits
from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS, StreamInfo, _header_fields, read_header
from tcnn_codec.bitstream.records import read_chunk, write_stream
from tcnn_codec.bitstream.varint import write_varint
from tcnn_codec.errors import BitstreamError, CodecError
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.grid import Grid

IMAGE = StreamInfo("image", height=512, width=768, channels=3, spec=SirenSpec())
VIDEO = StreamInfo(
    "video",
    height=9,
    width=16,
    channels=1,
    spec=SirenSpec(axes=3, frequencies=2, width=8, out_channels=1, scale=1.25, w0=17.5),
    frames=5,
    chunk_frames=3,
    time_base=Fraction(1, 24000),
    frame_rate=Fraction(24000, 1001),
    timestamps=(-1001, 0, 1001, 2002, 4004),
)
PAYLOADS = (b"first chunk", b"2nd")


def write_video() -> bytes:
    return write_stream(VIDEO, PAYLOADS)


def read_all(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[StreamInfo, list[bytes]]:
    stream = io.BytesIO(data)
    info = read_header(stream, max_pixels=max_pixels)
    return info, [read_chunk(stream, info, index) for index in range(info.chunk_count)]


def content(info: StreamInfo) -> StreamInfo:
    """`info` as before it was written."""
    return replace(info, chunk_bytes=(), header_bytes=0)


def assemble(fields: bytes, records: bytes = b"") -> bytes:
    """A stream with valid checksums around any header fields."""
    header = b"\x89TCN\x02" + write_varint(len(fields)) + fields
    return header + zlib.crc32(header).to_bytes(4, "little") + records


def header_numbers(info: StreamInfo = VIDEO, lengths: Sequence[int] = (11, 3)) -> list[int]:
    return list(_header_fields(info, lengths))


def patched(position: int, *values: int, cut: int = 1) -> bytes:
    """The video's stream with header numbers replaced from `position` on."""
    numbers = header_numbers()
    numbers[position : position + cut] = values
    records = write_video()[read_all(write_video())[0].header_bytes :]
    return assemble(b"".join(map(write_varint, numbers)), records)


# Round trips.


def test_image_round_trip() -> None:
    payload = bytes(range(256)) * 16
    data = write_stream(IMAGE, [payload])
    info, payloads = read_all(data)
    assert content(info) == IMAGE
    assert payloads == [payload]
    assert info.chunk_bytes == (4096,)
    assert len(data) - len(payload) == 30
    assert info.record_offsets == (info.header_bytes, len(data))
    assert (info.chunk_count, info.chunk_range(0), info.grid(0)) == (1, (0, 1), Grid(768, 512))


def test_video_round_trip() -> None:
    info, payloads = read_all(write_video())
    assert content(info) == VIDEO
    assert payloads == list(PAYLOADS)
    assert info.chunk_bytes == (11, 3)
    assert [info.chunk_range(i) for i in range(info.chunk_count)] == [(0, 3), (3, 5)]
    assert [info.grid(i) for i in range(2)] == [Grid(16, 9, 3), Grid(16, 9, 2)]


def test_bytes_of_a_version_never_change() -> None:
    """Versions differ in their number and in what a payload may hold."""
    assert [
        write_stream(replace(IMAGE, version=version), [b"abc"]).hex() for version in (1, 2)
    ] == [
        "8954434e010f008004800603100320f80ab0ea0103a389e751616263ae470957",
        "8954434e020f008004800603100320f80ab0ea010327d27d02616263ae470957",
    ]
    video = replace(VIDEO, version=1)
    assert write_stream(video, PAYLOADS).hex() == (
        "8954434e012101091001050301c0bb01c0bb01e907d10f03e90701d20f020308e209dc88010b034b"
        "db7b126669727374206368756e6b3b7a65f2326e645c0655ad"
    )
    assert read_all(write_stream(video, PAYLOADS))[0].version == 1


@settings(deadline=None)
@given(st.data())
def test_any_video_round_trips(data: st.DataObject) -> None:
    steps = data.draw(st.lists(st.integers(1, 2**40), max_size=20))
    stamps = [data.draw(st.integers(-(2**61), 2**61))]
    for step in steps:
        stamps.append(stamps[-1] + step)
    chunk_frames = data.draw(st.integers(1, len(stamps)))
    positive = st.integers(1, 2**31 - 1)
    channels = data.draw(st.sampled_from([1, 3, 4]))
    info = StreamInfo(
        "video",
        height=data.draw(st.integers(1, 2**16)),
        width=data.draw(st.integers(1, 2**16)),
        channels=channels,
        spec=SirenSpec(
            axes=3,
            frequencies=data.draw(st.integers(0, 32)),
            scale=data.draw(st.integers(1, 4000)) / 1000,
            hidden_layers=data.draw(st.integers(0, 32)),
            width=data.draw(st.integers(1, 128)),
            out_channels=channels,
            w0=data.draw(st.integers(1, 10**6)) / 1000,
        ),
        frames=len(stamps),
        chunk_frames=chunk_frames,
        time_base=Fraction(data.draw(positive), data.draw(positive)),
        frame_rate=Fraction(data.draw(positive), data.draw(positive)),
        timestamps=tuple(stamps),
    )
    payloads = [data.draw(st.binary(max_size=200)) for _ in range(info.chunk_count)]
    found, read = read_all(write_stream(info, payloads), max_pixels=2**60)
    assert content(found) == info
    assert read == payloads


def test_a_constant_frame_rate_takes_a_few_bytes() -> None:
    long = replace(VIDEO, frames=4000, chunk_frames=4000, timestamps=tuple(range(0, 4004000, 1001)))
    short = replace(VIDEO, frames=2, chunk_frames=2, timestamps=(0, 1001))
    assert len(write_stream(long, [b""])) - len(write_stream(short, [b""])) == 3


def test_long_videos_have_long_headers() -> None:
    """An index beyond 64 KiB."""
    count = 40_000
    info = replace(VIDEO, frames=count, chunk_frames=1, timestamps=tuple(range(count)))
    found, payloads = read_all(write_stream(info, [bytes(200)] * count))
    assert found.header_bytes > 2**16
    assert content(found) == info
    assert payloads == [bytes(200)] * count


def test_a_chunk_is_read_without_the_others() -> None:
    data = write_video()
    info = read_header(io.BytesIO(data), max_pixels=DEFAULT_MAX_PIXELS)
    begin, end = info.record_offsets[1:]
    lonely = bytes(begin) + data[begin:end]
    assert read_chunk(io.BytesIO(lonely), info, 1) == PAYLOADS[1]
    cut = io.BytesIO(data[:begin])
    assert read_chunk(cut, read_header(cut, max_pixels=DEFAULT_MAX_PIXELS), 0) == PAYLOADS[0]
    for index in (-1, 2):
        with pytest.raises(IndexError):
            read_chunk(io.BytesIO(data), info, index)


def test_payloads_must_match_the_chunks() -> None:
    with pytest.raises(ValueError, match="1 payloads for 2 chunks"):
        write_stream(VIDEO, [b""])


# What a writer is refused.


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"height": 0}, "height is 0; allowed is 1 to 65536"),
        ({"width": 65537}, "width is 65537; allowed is 1 to 65536"),
        ({"frames": 0}, "frames is 0; allowed is 1 to 1048576"),
        ({"frames": 2**20 + 1}, "frames is 1048577"),
        ({"chunk_frames": 6}, "chunk_frames is 6; allowed is 1 to 5"),
        ({"time_base": Fraction(0)}, "time_base numerator is 0"),
        ({"frame_rate": Fraction(1, 2**31)}, "frame_rate denominator is 2147483648"),
        ({"timestamps": (0, 1)}, "number of timestamps is 2; allowed is only 5"),
        ({"timestamps": (0, 1, 2, 2, 3)}, "timestamps do not increase"),
        ({"timestamps": (-(2**62), 1, 2, 3, 4)}, "first timestamp is -4611686018427387904"),
        ({"timestamps": (0, 1, 2, 3, 2**62)}, "last timestamp is 4611686018427387904"),
        ({"spec": SirenSpec(axes=2, out_channels=1)}, "the network has 2 axes and 1 outputs"),
        ({"channels": 3}, "the network has 3 axes and 1 outputs"),
        ({"kind": "image"}, "an image has several frames or a time"),
    ],
)
def test_values_out_of_range_are_not_written(change: dict[str, object], text: str) -> None:
    with pytest.raises(CodecError) as caught:
        replace(VIDEO, **change)  # type: ignore[arg-type]
    assert str(caught.value).startswith(text)
    assert ";" in str(caught.value)


# One file per named fault. Positions of the video's header numbers: 0 kind, 1 height, 2 width,
# 3 channels, 4 frames, 5 chunk_frames, 6-7 time base, 8-9 frame rate, 10 first timestamp,
# 11-14 two runs, 15 frequencies, 16 hidden layers, 17 width, 18 scale, 19 w0, 20-21 index.


def flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def swap_records() -> bytes:
    """Two chunks of one length whose records changed places."""
    data = write_stream(VIDEO, [b"one", b"two"])
    offsets = read_header(io.BytesIO(data), max_pixels=DEFAULT_MAX_PIXELS).record_offsets
    begin, middle, end = offsets
    return data[:begin] + data[middle:end] + data[begin:middle]


FIELD = "a header field is out of range: "
FAULTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is empty; "),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(30), "the file begins with 89 50 4e 47, .*a PNG image"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(30), "the file begins with ff d8 .*a JPEG image"),
    "mp4": (b"\0\0\0\x20ftypisom" + bytes(30), "the file begins with 00 00 .*an MP4 video"),
    "text": (b"hello, world", "the file begins with 68 65 6c 6c, .*something else"),
    "short_text": (b"?", "the file begins with 3f, .*something else"),
    "seven_bit": (b"\x09" + write_video()[1:], "the file begins with 09 54 43 4e, "),
    "half_magic": (b"\x89TC", "the file ends inside its header, after 3 bytes; "),
    "magic_only": (b"\x89TCN", "the file ends inside its header, after 4 bytes; "),
    "no_length": (b"\x89TCN\x02", "the file ends inside its header, after 5 bytes; "),
    "half_length": (b"\x89TCN\x02\x80", "the file ends inside its header, after 6 bytes; "),
    "huge_length": (
        b"\x89TCN\x02" + b"\xff" * 8 + b"\x7f" + bytes(90),
        "the file ends inside its header, after 104 bytes; ",
    ),
    "half_header": (write_video()[:20], "the file ends inside its header, after 20 bytes; "),
    "newer": (
        b"\x89TCN\x03" + bytes(30),
        "the stream has format version 3; this program reads versions 1 to 2; upgrade tcnn_codec",
    ),
    "older": (b"\x89TCN\x00" + bytes(30), "the stream has format version 0; the first .* is 1; "),
    "length_too_long": (
        b"\x89TCN\x02\x81\x00" + bytes(30),
        f"{FIELD}a varint of value 1 is longer than need be; ",
    ),
    "length_beyond_63_bits": (
        b"\x89TCN\x02" + b"\xff" * 12 + bytes(30),
        f"{FIELD}a varint is longer than 9 bytes; ",
    ),
    "header_crc": (flip(write_video(), 8), r"the header's checksum \(CRC-32\) does not match; "),
    "no_fields": (assemble(b""), f"{FIELD}the fields end before kind; "),
    "kind": (patched(0, 2), f"{FIELD}kind is 2, allowed are 0 .*; "),
    "height": (patched(1, 0), f"{FIELD}height is 0; allowed is 1 to 65536; "),
    "width": (patched(2, 65537), f"{FIELD}width is 65537; allowed is 1 to 65536; "),
    "channels": (patched(3, 2), f"{FIELD}out_channels is 2; allowed are 1 .*; "),
    "no_frames": (patched(4, 0), f"{FIELD}frames is 0; allowed is 1 to 1048576; "),
    "frames": (patched(4, 10**9), f"{FIELD}frames is 1000000000; allowed is 1 to 1048576; "),
    "chunk_frames": (patched(5, 6), f"{FIELD}chunk_frames is 6; allowed is 1 to 5; "),
    "no_chunk_frames": (patched(5, 0), f"{FIELD}chunk_frames is 0; allowed is 1 to 5; "),
    "time_base_zero": (patched(7, 0), f"{FIELD}time_base is 1/0; "),
    "time_base_terms": (patched(6, 2), f"{FIELD}time_base is 2/24000, not in lowest terms; "),
    "time_base_range": (patched(6, 2**31 + 11), f"{FIELD}time_base numerator is 2147483659; "),
    "frame_rate_zero": (patched(9, 0), f"{FIELD}frame_rate is 24000/0; "),
    "first_timestamp": (patched(10, 2**63 - 1), f"{FIELD}first timestamp is -46116860184"),
    "last_timestamp": (patched(14, 2**63 - 1), f"{FIELD}last timestamp is 92233720368"),
    "run_count": (patched(11, 5), f"{FIELD}a run of 5 frames, 4 are left; "),
    "run_empty": (patched(11, 0), f"{FIELD}a run of 0 frames, 4 are left; "),
    "run_still": (patched(12, 0), f"{FIELD}a run of 0 ticks after one of 0; "),
    "run_split": (patched(14, 1001), f"{FIELD}a run of 1001 ticks after one of 1001; "),
    "frequencies": (patched(15, 33), f"{FIELD}frequencies is 33; allowed are 0 to 32; "),
    "hidden_layers": (patched(16, 33), f"{FIELD}hidden_layers is 33; allowed are 0 to 32; "),
    "network_width": (patched(17, 0), f"{FIELD}width is 0; allowed are 1 to 128; "),
    "scale": (patched(18, 4001), f"{FIELD}scale is 4.001; allowed are 0.001 to 4; "),
    "w0": (patched(19, 0), f"{FIELD}w0 is 0.0; allowed are 0.001 to 1000; "),
    "no_index": (patched(20, cut=2), f"{FIELD}index bytes is 0; allowed is 2 to 18; "),
    "index_ends": (
        patched(20, 2**60, cut=2),
        f"{FIELD}the fields end before chunk length; ",
    ),
    "more_fields": (patched(21, 3, 1), f"{FIELD}1 bytes follow the last field; "),
    "record_missing": (
        write_video()[:-7],
        r"chunk 1 \(frames 3:5\) is cut off, 7 of its 7 bytes are missing; .*`frames`",
    ),
    "record_cut_off": (
        write_video()[:-9],
        r"chunk 0 \(frames 0:3\) is cut off, 2 of its 15 bytes are missing; .*`frames`",
    ),
    "index_beyond_file": (
        patched(21, 2**60),
        r"chunk 1 \(frames 3:5\) is cut off, 1152921504606846973 of its .* are missing; ",
    ),
    "record_crc": (
        flip(write_video(), len(write_video()) - 6),
        r"the checksum \(CRC-32\) of chunk 1 \(frames 3:5\) does not match; .*`frames`",
    ),
    "swapped": (
        swap_records(),
        r"the checksum \(CRC-32\) of chunk 0 \(frames 0:3\) does not match; .*`frames`",
    ),
    "trailing": (write_video() + b"?", "1 bytes follow the last chunk; .*; cut the rest off"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_own_text(fault: str) -> None:
    data, text = FAULTS[fault]
    with pytest.raises(BitstreamError, match=f"^{text}") as caught:
        read_all(data)
    assert "\n" not in str(caught.value)


def test_too_many_pixels_is_no_damage_but_a_limit() -> None:
    data = write_video()
    assert read_all(data, max_pixels=16 * 9 * 3)[1] == list(PAYLOADS)
    with pytest.raises(CodecError, match=r"is 432 pixels; the limit is 431; .*`max_pixels`") as e:
        read_all(data, max_pixels=431)
    assert not isinstance(e.value, BitstreamError)


# Damage of every kind.


def test_every_truncation_is_found() -> None:
    data = write_video()
    for length in range(len(data)):
        with pytest.raises(BitstreamError):
            read_all(data[:length])


def test_every_damaged_byte_is_found() -> None:
    data = write_video()
    for position, byte in enumerate(data):
        for mask in range(1, 256):
            damaged = data[:position] + bytes([byte ^ mask]) + data[position + 1 :]
            with pytest.raises(BitstreamError):
                read_all(damaged)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=100), st.binary(max_size=50))
def test_any_fields_are_read_exactly_or_refused(fields: bytes, records: bytes) -> None:
    assert_canonical_or_refused(assemble(fields, records))


@settings(deadline=None, max_examples=500)
@given(st.data())
def test_mutated_fields_are_read_exactly_or_refused(data: st.DataObject) -> None:
    numbers = header_numbers(*data.draw(st.sampled_from([(VIDEO, (11, 3)), (IMAGE, (3,))])))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(numbers) - 1))
        edges = [0, 1, 2, 127, 128, 2**16, 2**20, 2**31, 2**62, 2**63 - 1]
        value = data.draw(st.one_of(st.integers(0, 300), st.sampled_from(edges)))
        numbers[place : place + data.draw(st.integers(0, 1))] = [value]
    assert_canonical_or_refused(assemble(b"".join(map(write_varint, numbers))))


def assert_canonical_or_refused(data: bytes) -> None:
    """A header that is accepted is the one header that says what was read from it."""
    try:
        info = read_header(io.BytesIO(data), max_pixels=DEFAULT_MAX_PIXELS)
    except CodecError as error:
        info, refusal = None, str(error)
    if info is None:
        assert "\n" not in refusal
    else:
        fields = b"".join(map(write_varint, _header_fields(info, info.chunk_bytes)))
        assert data[: info.header_bytes] == assemble(fields)


def test_the_limits_are_those_of_the_native_code_and_hold_every_option() -> None:
    assert _coders.LARGEST_MAGNITUDE == limits.MAX_LEVEL
    assert _cpu.MAX_WIDTH == limits.MAX_WIDTH
    assert 2 ** (config.MAX_BITS - 1) - 1 <= limits.MAX_LEVEL
    # A product of a level and a step is exact in float32, and finite.
    assert limits.MAX_LEVEL.bit_length() + 8 <= 24
    assert float(np.finfo(np.float32).max) > limits.MAX_LEVEL * limits.MAX_STEP
    assert float(np.finfo(np.float32).tiny) <= limits.MIN_STEP
