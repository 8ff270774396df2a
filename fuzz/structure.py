"""Damage to .tcnn files that gets deep: lengths and checksums are mended, integers stay well coded.

Bytes changed at random mostly meet a checksum, and a changed payload decodes to noise. What is
changed here is the numbers of the header, the bytes of a payload, or the integers in it, and the
file around them is written anew. Every function takes what is random from `rng`.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from random import Random

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from mutations import damage
from plain_coders import payload_shapes

from tcnn_codec.bitstream import limits
from tcnn_codec.bitstream.header import MAGIC, VERSION, StreamInfo, crc, read_header
from tcnn_codec.bitstream.records import read_chunk, write_stream
from tcnn_codec.bitstream.varint import read_varint, write_varint
from tcnn_codec.errors import CodecError
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.native import _coders

#: Changes bytes; under Atheris it is the fuzzer's own.
ChangeBytes = Callable[[Random, bytes], bytes]

#: Where formats of this kind go wrong.
EDGES = (0, 1, 2, 127, 128, 255, 256, 2**16, 2**20, 2**31 - 1, 2**31, 2**62, 2**63 - 1)
#: Of a network, so that thousands are coded in a second.
MOST_PARAMETERS = 800
#: Of a chunk that is decoded: a larger one is refused or accepted for the same reasons.
MOST_PIXELS = 2048


def change_bytes(rng: Random, data: bytes) -> bytes:
    """Where no fuzzer has a better idea."""
    return damage(np.random.Generator(np.random.PCG64(rng.getrandbits(64))), data)


def numbers_of(fields: bytes) -> list[int]:
    """All varints up to the first that is faulty."""
    numbers, at = [], 0
    while at < len(fields):
        try:
            number, at = read_varint(fields, at)
        except (IndexError, ValueError):
            break
        numbers.append(number)
    return numbers


def assemble(fields: bytes, records: bytes = b"") -> bytes:
    """A file whose header has these fields, with its length and checksum right."""
    header = MAGIC + bytes([VERSION]) + write_varint(len(fields)) + fields
    return header + crc(header) + records


def take_apart(data: bytes) -> tuple[bytes, bytes]:
    """The inverse of `assemble`, whatever length and checksum are: fields and records."""
    try:
        length, begin = read_varint(data, len(MAGIC) + 1)
    except (IndexError, ValueError):
        length, begin = len(data), len(MAGIC) + 2
    fields = data[begin : begin + length]
    return fields, data[begin + length + len(crc(b"")) :]


@dataclass
class File:
    """A file that is whole: what its header says, and its payloads."""

    info: StreamInfo
    payloads: list[bytes]

    def write(self) -> bytes:
        return write_stream(self.info, self.payloads)


def split(data: bytes) -> File | None:
    """None for a file that is not whole."""
    stream = io.BytesIO(data)
    try:
        info = read_header(stream, max_pixels=2**62)
        payloads = [read_chunk(stream, info, index) for index in range(info.chunk_count)]
    except CodecError:
        return None
    return File(info, payloads)


# Made up.


def _pick(rng: Random, least: int, most: int) -> int:
    """Mostly small, now and then any, now and then the end of the range."""
    span = rng.choice((0, 3, 3, 3, 12, most - least))
    return least + min(rng.randint(0, span), most - least) if span else most


def make_spec(rng: Random, axes: int, channels: int) -> SirenSpec:
    """A network that is quick to code, of every shape that there is."""
    while True:
        try:
            spec = SirenSpec(
                axes=axes,
                frequencies=_pick(rng, 0, limits.MAX_FREQUENCIES),
                scale=rng.choice((1, 500, 1400, 2000, 4000)) / 1000,
                hidden_layers=_pick(rng, 0, limits.MAX_HIDDEN_LAYERS),
                width=_pick(rng, 1, limits.MAX_WIDTH),
                out_channels=channels,
                time_frequencies=_pick(rng, 0, limits.MAX_FREQUENCIES),
                time_codes=_pick(rng, 0, limits.MAX_TIME_CODES) if rng.randrange(2) else 0,
            )
        except CodecError:  # its frequencies grow too high
            continue
        if spec.parameter_count <= MOST_PARAMETERS:
            return spec


def make_info(rng: Random) -> StreamInfo:
    channels = rng.choice((1, 3, 4))
    height, width = _pick(rng, 1, limits.MAX_SIDE), _pick(rng, 1, limits.MAX_SIDE)
    if rng.randrange(3) == 0:
        return StreamInfo("image", height, width, channels, (make_spec(rng, 2, channels),))
    count = rng.randint(1, 4)
    specs = [make_spec(rng, 3, channels) for _ in range(count)]
    chunk_frames = tuple(rng.randint(1, 3) for _ in range(count))
    places = [rng.randint(0, i) for i in range(count)]
    pairs = zip(places, [-1, *places[:-1]], strict=True)
    kinds = tuple(int(place == before and rng.randrange(2) > 0) for place, before in pairs)
    ticks = [rng.choice((1, 1, 1001, 2**40)) for _ in range(sum(chunk_frames) - 1)]
    return StreamInfo(
        "video",
        height,
        width,
        channels,
        networks=tuple(
            specs[place].of(frames) for place, frames in zip(places, chunk_frames, strict=True)
        ),
        chunk_frames=chunk_frames,
        chunk_kinds=kinds if any(kinds) else (),
        time_base=Fraction(1, _pick(rng, 1, limits.MAX_RATIONAL)),
        frame_rate=Fraction(_pick(rng, 1, limits.MAX_RATIONAL), 1001),
        timestamps=tuple(accumulate(ticks, initial=_pick(rng, -5, 2**61))),
    )


def make_payload(rng: Random, spec: SirenSpec, difference: bool = False) -> bytes:
    """Integers of one scale a matrix, well coded; seldom beyond what a network may have."""
    numbers = np.random.Generator(np.random.PCG64(rng.getrandbits(64)))
    matrices = []
    shapes = payload_shapes(spec, difference)
    for index, (rows, columns, has_signs) in enumerate(shapes):
        bound = rng.choice((0, 1, 7, 40, 400 if difference else 2047))
        if index == 0 and not difference:
            bound = 3
        if spec.time_codes and index == len(shapes) - 1:
            bound = min(bound, limits.MAX_CODE // rows)
        if not has_signs:
            # Differences, whose sum is limited.
            bound = min(bound, limits.MAX_LEVEL // columns)
        least = -bound if has_signs else 0
        matrices.append(numbers.integers(least, bound + 1, (rows, columns), np.int32))
    return _encode(shapes, matrices)


def _encode(shapes: list[tuple[int, int, bool]], matrices: list[np.ndarray]) -> bytes:
    encoder = _coders.Encoder()
    for values, (_, _, has_signs) in zip(matrices, shapes, strict=True):
        encoder.add(values, has_signs)
    return encoder.finish()


def make_file(rng: Random) -> File:
    info = make_info(rng)
    payloads = [
        make_payload(rng, spec, info.is_difference(index))
        for index, spec in enumerate(info.networks)
    ]
    return File(info, payloads)


# Changed.


def change_numbers(rng: Random, fields: bytes) -> bytes:
    """One to three numbers of a header replaced, dropped, doubled or changed places."""
    numbers = numbers_of(fields) or [0]
    for _ in range(rng.randint(1, 3)):
        at, other = rng.randrange(len(numbers)), rng.randrange(len(numbers))
        match rng.randrange(8):
            case 0 | 1:
                numbers[at] += rng.randint(-2, 2)
            case 2:
                numbers[at] = rng.randrange(40)
            case 3:
                numbers[at] = rng.choice((rng.choice(EDGES), numbers[other]))
            case 4:
                numbers[at] ^= 1 << rng.randrange(63)
            case 5 if len(numbers) > 1:
                del numbers[at]
            case 6:
                numbers[other:other] = numbers[at : at + rng.randint(1, 4)]
            case _:
                numbers[at], numbers[other] = numbers[other], numbers[at]
    return b"".join(write_varint(min(max(number, 0), 2**63 - 1)) for number in numbers)


def change_integers(
    rng: Random, spec: SirenSpec, payload: bytes, difference: bool = False
) -> bytes:
    """One to four integers of a payload changed, where it has any."""
    decoder = _coders.Decoder(payload)
    shapes = payload_shapes(spec, difference)
    try:
        matrices = [decoder.take(*shape) for shape in shapes]
    except ValueError:
        return make_payload(rng, spec, difference)
    for _ in range(rng.randint(1, 4)):
        # Steps and biases are few, and have rules of their own.
        index = rng.choice((0, rng.randrange(len(shapes)), len(shapes) - 1))
        values, least = matrices[index].reshape(-1), -limits.MAX_LEVEL if shapes[index][2] else 0
        at = rng.randrange(values.size)
        near, small = int(values[at]) + rng.randint(-2, 2), rng.randint(-90, 90)
        new = rng.choice((near, near, small, 0, least, limits.MAX_LEVEL))
        end = at + rng.choice((1, 1, 1, values.size))
        values[at:end] = min(max(new, least), limits.MAX_LEVEL)
    return _encode(shapes, matrices)


def change_payload(
    rng: Random, spec: SirenSpec, payload: bytes, change: ChangeBytes, difference: bool = False
) -> bytes:
    if rng.randrange(2):
        return change(rng, payload)
    return change_integers(rng, spec, payload, difference)


def change_header(rng: Random, data: bytes, change: ChangeBytes = change_bytes) -> bytes:
    """A file with another header in front, of the right length and checksum."""
    fields, records = take_apart(data)
    match rng.randrange(8):
        case 0:
            return change(rng, data)
        case 1:
            return make_file(rng).write()
        case 2:
            return assemble(change(rng, fields), records)
        case _:
            return assemble(change_numbers(rng, fields), records)


def change_file(rng: Random, data: bytes, change: ChangeBytes = change_bytes) -> bytes:
    """A file like `data`, or another where nothing can be made of that."""
    file = split(data)
    if file is None or rng.randrange(32) == 0:
        return change_header(rng, data, change) if rng.randrange(2) else make_file(rng).write()
    info, payloads = file.info, file.payloads
    at = rng.randrange(len(payloads))
    spec = info.networks[at]
    match rng.randrange(6):
        case 0:
            return change_header(rng, data, change)
        case 1:
            file.info = replace(info, height=_pick(rng, 1, 12), width=_pick(rng, 1, 12))
        case 2:
            # A network of another shape in this chunk alone, and no difference any more.
            networks = list(info.networks)
            networks[at] = make_spec(rng, spec.axes, info.channels).of(info.chunk_frames[at])
            payloads[at] = make_payload(rng, networks[at])
            file.info = replace(info, networks=tuple(networks), chunk_kinds=())
        case _ if isinstance(spec, SirenSpec) and spec.parameter_count <= 4 * MOST_PARAMETERS:
            payloads[at] = change_payload(rng, spec, payloads[at], change, info.is_difference(at))
    return file.write()
