"""The file: small, read chunk by chunk, and every fault found and told apart."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcnn_codec import _coders, _cpu, config
from tcnn_codec.bitstream import limits
from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS, StreamInfo, _header_fields, read_header
from tcnn_codec.bitstream.records import read_chunk, write_stream
from tcnn_codec.bitstream.varint import write_varint
from tcnn_codec.coders.quantised import multiplier
from tcnn_codec.errors import BitstreamError, CodecError
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.grid import Grid

IMAGE = StreamInfo("image", height=512, width=768, channels=3, networks=(SirenSpec(),))
SMALL = SirenSpec(axes=3, frequencies=2, width=8, out_channels=1, scale=1.25)
VIDEO = StreamInfo(
    "video",
    height=9,
    width=16,
    channels=1,
    networks=(SMALL, replace(SMALL, width=5)),
    chunk_frames=(3, 2),
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
    header = b"\x89TCN\x03" + write_varint(len(fields)) + fields
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
    assert len(data) - len(payload) == 28
    assert info.record_offsets == (info.header_bytes, len(data))
    assert (info.chunk_count, info.chunk_range(0), info.grid(0)) == (1, (0, 1), Grid(768, 512))


def test_video_round_trip() -> None:
    info, payloads = read_all(write_video())
    assert content(info) == VIDEO
    assert payloads == list(PAYLOADS)
    assert info.chunk_bytes == (11, 3)
    assert [info.chunk_range(i) for i in range(info.chunk_count)] == [(0, 3), (3, 5)]
    assert [info.grid(i) for i in range(2)] == [Grid(16, 9, 3), Grid(16, 9, 2)]


def test_bytes_of_the_version() -> None:
    """They change only with a line in the changelog."""
    assert write_stream(IMAGE, [b"abc"]).hex() == (
        "8954434e030d0080048006030010f80a032003b70a1176616263ae470957"
    )
    assert write_stream(VIDEO, PAYLOADS).hex() == (
        "8954434e0330010910010501c0bb01c0bb01e907d10f03e90701d20f00010301020202e209030802"
        "0002e20903050200010001000b03dca74eba6669727374206368756e6b3b7a65f2326e645c0655ad"
    )


def any_network(channels: int) -> st.SearchStrategy[SirenSpec]:
    return st.builds(
        SirenSpec,
        axes=st.just(3),
        frequencies=st.integers(0, 16),
        scale=st.sampled_from([0.001, 0.5, 1.4, 1.999]),
        hidden_layers=st.sampled_from([0, 3, 32]),
        width=st.sampled_from([1, 32, 128]),
        out_channels=st.just(channels),
        time_frequencies=st.integers(0, 16),
        time_codes=st.sampled_from([0, 1, 8, 64]),
    )


@settings(deadline=None)
@given(st.data())
def test_any_video_round_trips(data: st.DataObject) -> None:
    steps = data.draw(st.lists(st.integers(1, 2**40), max_size=20))
    stamps = [data.draw(st.integers(-(2**61), 2**61))]
    for step in steps:
        stamps.append(stamps[-1] + step)
    lengths, left = [], len(stamps)
    while left:
        lengths.append(data.draw(st.integers(1, left)))
        left -= lengths[-1]
    positive = st.integers(1, 2**31 - 1)
    channels = data.draw(st.sampled_from([1, 3, 4]))
    info = StreamInfo(
        "video",
        height=data.draw(st.integers(1, 2**16)),
        width=data.draw(st.integers(1, 2**16)),
        channels=channels,
        networks=tuple(data.draw(any_network(channels)).of(frames) for frames in lengths),
        chunk_frames=tuple(lengths),
        time_base=Fraction(data.draw(positive), data.draw(positive)),
        frame_rate=Fraction(data.draw(positive), data.draw(positive)),
        timestamps=tuple(stamps),
    )
    payloads = [data.draw(st.binary(max_size=200)) for _ in range(info.chunk_count)]
    found, read = read_all(write_stream(info, payloads), max_pixels=2**60)
    assert content(found) == info
    assert read == payloads


def test_a_constant_frame_rate_takes_a_few_bytes() -> None:
    one = replace(VIDEO, networks=(SMALL,), chunk_frames=(2,), timestamps=(0, 1001))
    long = replace(one, chunk_frames=(4000,), timestamps=tuple(range(0, 4004000, 1001)))
    assert len(write_stream(long, [b""])) - len(write_stream(one, [b""])) == 3


def test_chunks_that_are_alike_take_a_few_bytes() -> None:
    """Besides what each has in the index and its checksum."""
    few, many = 2, 60
    files = []
    for count in (few, many):
        info = replace(
            VIDEO,
            networks=(SMALL,) * count,
            chunk_frames=(25,) * count,
            timestamps=tuple(range(25 * count)),
        )
        files.append(write_stream(info, [b""] * count))
    assert len(files[1]) - len(files[0]) <= 5 * (many - few) + 5


def test_long_videos_have_long_headers() -> None:
    """An index beyond 64 KiB."""
    count = 40_000
    info = replace(
        VIDEO,
        networks=(SMALL,) * count,
        chunk_frames=(1,) * count,
        timestamps=tuple(range(count)),
    )
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
        ({"timestamps": ()}, "frames is 0; allowed is 1 to 1048576"),
        ({"timestamps": (0,) * (2**20 + 1)}, "frames is 1048577"),
        ({"chunk_frames": ()}, "number of chunks is 0; allowed is 1 to 65536"),
        ({"chunk_frames": (1,) * 65537}, "number of chunks is 65537"),
        ({"chunk_frames": (5, 0)}, "chunk frames is 0; allowed is 1 to 4096"),
        ({"chunk_frames": (4097, 1)}, "chunk frames is 4097; allowed is 1 to 4096"),
        ({"chunk_frames": (3, 3)}, "frames in all chunks is 6; allowed is only 5"),
        ({"networks": (SMALL,)}, "number of networks is 1; allowed is only 2"),
        ({"time_base": Fraction(0)}, "time base numerator is 0"),
        ({"frame_rate": Fraction(1, 2**31)}, "frame rate denominator is 2147483648"),
        ({"timestamps": (0, 1)}, "frames in all chunks is 5; allowed is only 2"),
        ({"timestamps": (0, 1, 2, 2, 3)}, "timestamps do not increase"),
        ({"timestamps": (0, 2**80, 2, 3, 4)}, "timestamps do not increase"),
        ({"timestamps": (-(2**62), 1, 2, 3, 4)}, "first timestamp is -4611686018427387904"),
        ({"timestamps": (0, 1, 2, 3, 2**62)}, "last timestamp is 4611686018427387904"),
        (
            {"networks": (SMALL, SirenSpec(axes=2, out_channels=1))},
            "a network has 2 axes and 1 outputs",
        ),
        ({"channels": 3}, "a network has 3 axes and 1 outputs"),
        ({"kind": "image"}, "an image has several frames or a time"),
    ],
)
def test_values_out_of_range_are_not_written(change: dict[str, object], text: str) -> None:
    with pytest.raises(CodecError) as caught:
        replace(VIDEO, **change)  # type: ignore[arg-type]
    assert str(caught.value).startswith(text)
    assert ";" in str(caught.value)


# One file per named fault. Positions of the video's header numbers: 0 kind, 1 height, 2 width,
# 3 channels, 4 frames, 5-6 time base, 7-8 frame rate, 9 first timestamp, 10-13 two runs, 14 family,
# 15-18 two runs of chunk frames, 19 number of networks, 20-25 the first one's frequencies, scale,
# hidden layers, width, frequencies of t and codes, 26-31 those of the second, 32-34 two runs of
# chunk networks, the last one without a count, 35 the kind of chunk 1, 36-37 index.


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
    "no_length": (b"\x89TCN\x03", "the file ends inside its header, after 5 bytes; "),
    "half_length": (b"\x89TCN\x03\x80", "the file ends inside its header, after 6 bytes; "),
    "huge_length": (
        b"\x89TCN\x03" + b"\xff" * 8 + b"\x7f" + bytes(90),
        "the file ends inside its header, after 104 bytes; ",
    ),
    "half_header": (write_video()[:20], "the file ends inside its header, after 20 bytes; "),
    "newer": (
        b"\x89TCN\x04" + bytes(30),
        "the stream has format version 4; this program reads version 3; upgrade tcnn_codec",
    ),
    "older": (
        b"\x89TCN\x02" + bytes(30),
        "the stream has format version 2; this program reads version 3; encode the source again",
    ),
    "length_too_long": (
        b"\x89TCN\x03\x81\x00" + bytes(30),
        f"{FIELD}a varint of value 1 is longer than need be; ",
    ),
    "length_beyond_63_bits": (
        b"\x89TCN\x03" + b"\xff" * 12 + bytes(30),
        f"{FIELD}a varint is longer than 9 bytes; ",
    ),
    "header_crc": (flip(write_video(), 8), r"the header's checksum \(CRC-32\) does not match; "),
    "no_fields": (assemble(b""), f"{FIELD}the fields end before kind; "),
    "kind": (patched(0, 2), f"{FIELD}kind is 2; allowed are 0 .*; "),
    "height": (patched(1, 0), f"{FIELD}height is 0; allowed is 1 to 65536; "),
    "width": (patched(2, 65537), f"{FIELD}width is 65537; allowed is 1 to 65536; "),
    "channels": (patched(3, 2), f"{FIELD}out_channels is 2; allowed are 1 .*; "),
    "no_frames": (patched(4, 0), f"{FIELD}frames is 0; allowed is 1 to 1048576; "),
    "frames": (patched(4, 10**9), f"{FIELD}frames is 1000000000; allowed is 1 to 1048576; "),
    "time_base_zero": (patched(6, 0), f"{FIELD}time base is 1/0; "),
    "time_base_terms": (patched(5, 2), f"{FIELD}time base is 2/24000, not in lowest terms; "),
    "time_base_range": (patched(5, 2**31 + 11), f"{FIELD}time base numerator is 2147483659; "),
    "frame_rate_zero": (patched(8, 0), f"{FIELD}frame rate is 24000/0; "),
    "first_timestamp": (patched(9, 2**63 - 1), f"{FIELD}timestamps go from -46116860184.*; "),
    "last_timestamp": (patched(13, 2**63 - 1), f"{FIELD}timestamps go .* to 92233720368.*; "),
    "run_count": (patched(10, 5), f"{FIELD}a run of 5 times 1001 ticks; 4 frames are left; "),
    "run_empty": (patched(10, 0), f"{FIELD}a run of 0 times 1001 ticks; "),
    "run_still": (patched(11, 0), f"{FIELD}a run of 3 times 0 ticks; "),
    "run_split": (patched(13, 1001), f"{FIELD}two runs of ticks are alike; "),
    "runs_end": (
        assemble(b"".join(map(write_varint, header_numbers()[:12]))),
        f"{FIELD}the fields end inside the runs of ticks; ",
    ),
    "family": (patched(14, 7), "the stream has model family 7; this program knows .*; upgrade"),
    "no_chunk_frames": (patched(16, 0), f"{FIELD}a run of 1 times 0 frames in a chunk; "),
    "chunk_frames": (
        patched(18, 3),
        f"{FIELD}a run of 1 times 3 frames in a chunk; 2 frames are left; ",
    ),
    "chunk_frames_split": (
        patched(15, 1, 2, 1, 2, 1, 1, cut=4),
        f"{FIELD}two runs of frames in a chunk are alike; ",
    ),
    "frequencies": (patched(20, 33), f"{FIELD}frequencies is 33; allowed are 0 to 32; "),
    "scale": (patched(21, 4001), f"{FIELD}scale is 4.001; allowed are 0.001 to 4; "),
    "frequency_range": (
        patched(20, 10, 4000, cut=2),
        rf"{FIELD}10 frequencies with scale 4 reach 2\*\*18 half-turns; allowed is less than ",
    ),
    "hidden_layers": (patched(22, 33), f"{FIELD}hidden_layers is 33; allowed are 0 to 32; "),
    "time_frequencies": (patched(24, 33), f"{FIELD}time_frequencies is 33; allowed are 0 to 32; "),
    "time_codes": (patched(25, 65), f"{FIELD}time_codes is 65; allowed are 0 to 64; "),
    "time_frequency_range": (
        patched(21, 4000, 1, 8, 10, cut=4),
        rf"{FIELD}10 frequencies with scale 4 reach 2\*\*18 half-turns; allowed is less than ",
    ),
    "network_width": (patched(23, 0), f"{FIELD}width is 0; allowed are 1 to 128; "),
    "networks": (patched(19, 3), f"{FIELD}number of networks is 3; allowed is 1 to 2; "),
    "no_networks": (patched(19, 0), f"{FIELD}number of networks is 0; allowed is 1 to 2; "),
    "networks_alike": (patched(29, 8), f"{FIELD}two networks are alike; "),
    "network_run": (patched(32, 3), f"{FIELD}a run of 3 chunk networks; 2 are left; "),
    "network_run_empty": (patched(32, 0), f"{FIELD}a run of 0 chunk networks; 2 are left; "),
    "network_run_split": (patched(34, 0), f"{FIELD}two runs of chunk networks are alike; "),
    "network_order": (patched(33, 1, 0, cut=2), f"{FIELD}a chunk has network 1; .* is 0; "),
    "network_unknown": (patched(34, 2), f"{FIELD}a chunk has network 2; .* is 1; "),
    "network_unused": (patched(32, 2, 0, cut=3), f"{FIELD}network 1 of 2 is not used; "),
    "chunk_kind": (patched(35, 2), f"{FIELD}kind of a chunk is 2; allowed is 0 to 1; "),
    "difference_to_another": (
        patched(35, 1),
        f"{FIELD}chunk 1 is a difference to one of another network; both must have the same; ",
    ),
    "no_index": (patched(36, cut=2), f"{FIELD}the fields end before chunk length; "),
    "index_ends": (patched(36, 2**60, cut=2), f"{FIELD}the fields end before chunk length; "),
    "more_fields": (patched(37, 3, 1), f"{FIELD}1 numbers follow the last field; "),
    "half_a_number": (
        assemble(b"".join(map(write_varint, header_numbers())) + b"\x80"),
        f"{FIELD}the last field is cut off; ",
    ),
    "field_too_long": (
        assemble(b"\x01\x89\x00" + bytes(30)),
        f"{FIELD}a varint of value 9 is longer than need be; ",
    ),
    "field_beyond_63_bits": (
        assemble(b"\x01" + b"\xff" * 12 + bytes(30)),
        f"{FIELD}a varint is longer than 9 bytes; ",
    ),
    "record_missing": (
        write_video()[:-7],
        r"chunk 1 \(frames 3:5\) is cut off, 7 of its 7 bytes are missing; .*`frames`",
    ),
    "record_cut_off": (
        write_video()[:-9],
        r"chunk 0 \(frames 0:3\) is cut off, 2 of its 15 bytes are missing; .*`frames`",
    ),
    "index_beyond_file": (
        patched(37, 2**60),
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
    assert multiplier(limits.MAX_STEP) < 2**24 <= multiplier(limits.MAX_STEP + 1)
