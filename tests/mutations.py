"""Damages files at random and reads them: the program behind test_mutations.py.

python tests/mutations.py FOLDER COUNT NAME …: COUNT mutations of each file NAME in FOLDER, read as
`encode` and `decode` would. Prints one JSON object: by name, how many gave pixels and how many one
line; what was neither is an entry of "faults", and its file stays in FOLDER.
"""

from __future__ import annotations

import faulthandler
import json
import re
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tcnn_codec.bitstream.header import read_header
from tcnn_codec.decoding.decoder import decode_frames, open_stream
from tcnn_codec.errors import CodecError
from tcnn_codec.io import open_source

#: Of one frame; the originals have some hundreds.
MAX_PIXELS = 100_000
#: Pixels above that are refused before they are decoded, so that no file needs much memory: what
#: the libraries hold and some hundred frames are below this.
MOST_MEGABYTES = 1024
#: A read takes milliseconds; one that takes so long never ends.
MOST_SECONDS = 120

Mutation = Callable[[np.random.Generator, bytearray], bytearray]


def flip_bits(rng: np.random.Generator, data: bytearray) -> bytearray:
    for _ in range(int(rng.integers(1, 5))):
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    return data


def set_extremes(rng: np.random.Generator, data: bytearray) -> bytearray:
    """Bytes, or fields of two to eight, with the values that sizes overflow at."""
    for _ in range(int(rng.integers(1, 4))):
        size = int(rng.choice([1, 2, 4, 8]))
        most, least = b"\x7f" + b"\xff" * (size - 1), b"\x80" + bytes(size - 1)
        values = (bytes(size), b"\xff" * size, most, least)
        at = int(rng.integers(len(data)))
        data[at : at + size] = values[int(rng.integers(4))]
    return data


def cut(rng: np.random.Generator, data: bytearray) -> bytearray:
    return data[: int(rng.integers(len(data)))]


def drop_block(rng: np.random.Generator, data: bytearray) -> bytearray:
    at = int(rng.integers(len(data)))
    del data[at : at + int(rng.integers(1, 65))]
    return data


def repeat_block(rng: np.random.Generator, data: bytearray) -> bytearray:
    start, at = (int(i) for i in rng.integers(len(data), size=2))
    data[at:at] = data[start : start + int(rng.integers(1, 257))]
    return data


def fill_block(rng: np.random.Generator, data: bytearray) -> bytearray:
    at, size = int(rng.integers(len(data))), int(rng.integers(1, 65))
    data[at : at + size] = rng.bytes(size)
    return data


MUTATIONS: tuple[Mutation, ...] = (
    *(flip_bits, set_extremes, set_extremes, cut, drop_block, repeat_block, fill_block),
)


def damage(rng: np.random.Generator, original: bytes) -> bytes:
    """Once or twice, half the times near the start, where headers are."""
    data = bytearray(original)
    for _ in range(int(rng.integers(1, 3))):
        if not data:
            break
        mutation = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        head = 256 if rng.integers(2) else len(data)
        data = mutation(rng, data[:head]) + data[head:]
    return bytes(data)


def mutate(original: bytes, seed: tuple[int, ...]) -> bytes:
    """The same seed, the same file."""
    return damage(np.random.Generator(np.random.PCG64(seed)), original)


def seal_png(data: bytes) -> bytes:
    """Checksums made right again, so that damage reaches what lies behind them."""
    at, fixed = 8, bytearray(data)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            break
        fixed[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(fixed)


def read(path: Path) -> int:
    """How many frames it gives."""
    if path.suffix == ".tcnn":
        with open_stream(path) as stream:
            info = read_header(stream, max_pixels=MAX_PIXELS)
            return sum(1 for _ in decode_frames(stream, info, threads=1, max_pixels=MAX_PIXELS))
    with open_source(path, max_pixels=MAX_PIXELS) as source:
        format = source.format
        shape = (format.height, format.width, format.channels)
        count = 0
        for frame in source.frames():
            assert frame.pixels.shape == shape, f"{frame.pixels.shape} is not {shape}"
            assert frame.pixels.dtype == np.uint8
            count += 1
        assert count == format.frame_count, f"{count} frames, not {format.frame_count}"
    return count


def megabytes() -> int:
    """The most that this process has held so far."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s*(\d+)", status)
    return int(found[1]) // 1024 if found else 0


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    found: dict[str, list[int]] = {}
    faults: list[str] = []
    for name in sys.argv[3:]:
        original = (folder / name).read_bytes()
        tally = found.setdefault(name, [0, 0])
        for index in range(count):
            data = mutate(original, (index, zlib.crc32(name.encode())))
            if name.endswith(".png") and index % 2:
                data = seal_png(data)
            path = folder / f"mutated-{index}-{name}"
            path.write_bytes(data)
            # It ends the process, and says where it hangs.
            faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)
            before, fault = megabytes(), ""
            try:
                read(path)
                tally[0] += 1
            except CodecError as error:
                tally[1] += 1
                fault = "more than a line" if "\n" in str(error) else ""
            except Exception as error:
                fault = f"{type(error).__name__}: {error}"
            if before <= MOST_MEGABYTES < megabytes():
                fault = f"{megabytes()} MB"
            if fault:
                faults.append(f"{path.name}: {fault}")
            else:
                path.unlink()
        faulthandler.cancel_dump_traceback_later()
    print(json.dumps({"counts": found, "faults": faults, "megabytes": megabytes()}))


if __name__ == "__main__":
    faulthandler.enable()
    main()
