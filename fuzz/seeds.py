"""The corpora that fuzzing begins with, made from the golden files and from nothing else.

`write_seeds` adds them to those that are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

import numpy as np
from structure import make_file, payload_shapes, split
from targets import CHANNELS, read_spec, write_spec

from tcnn_codec.families.siren import payload as payloads
from tcnn_codec.families.siren.spec import SirenSpec

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
#: So many files that the mutator makes up: every kind of header, and networks of every depth.
MADE_UP = 40
#: Of a network, of which the targets in C++ take no more.
MOST_VALUES = 600


def files() -> Iterator[bytes]:
    yield from (path.read_bytes() for path in sorted(GOLDEN.glob("*.tcnn")))
    rng = Random(0)
    yield from (make_file(rng).write() for _ in range(MADE_UP))


def networks() -> Iterator[tuple[SirenSpec, bytes]]:
    for data in files():
        file = split(data)
        assert file is not None
        for index, (spec, payload) in enumerate(
            zip(file.info.networks, file.payloads, strict=True)
        ):
            assert isinstance(spec, SirenSpec)
            if not file.info.is_difference(index):
                yield spec, payload


def with_numbers(data: bytes, numbers: Iterable[int]) -> bytes:
    """As FuzzedDataProvider takes them: bytes from the front, numbers one by one from the end."""
    return data + bytes(numbers)[::-1]


def matrices_input(spec: SirenSpec, data: bytes) -> bytes:
    """What `take_shapes` of matrices.h takes these shapes from, as far as it goes."""
    shapes = payload_shapes(spec)[:16]
    numbers = [len(shapes) - 1]
    for rows, columns, has_signs in shapes:
        numbers += [(columns - 1) % 128, (rows - 1) % 128, has_signs]
    return with_numbers(data, numbers)


def network_input(spec: SirenSpec, steps: Iterable[int], data: bytes) -> bytes:
    """What render_integers.cpp takes this network from, and the sizes of a grid from its steps."""
    channels = CHANNELS.index(spec.out_channels)
    times = [spec.axis_features[2]] if spec.axes == 3 else []
    shape = spec.axes - 2, channels, spec.frequencies, *times, spec.width - 1, spec.hidden_layers
    return with_numbers(data, [0, *shape, *steps])


def seeds(target: str) -> Iterator[bytes]:
    if target in ("header", "file"):
        yield from files()
        return
    for spec, code in networks():
        tensors = payloads.decode(spec, code)[: len(spec.layer_tensors)]
        values = np.concatenate([tensor.values for tensor in tensors]).astype(np.int8)
        match target:
            case "payload":
                if read_spec(write_spec(spec) + code) == spec:
                    yield write_spec(spec) + code
            case "decode_matrices":
                yield matrices_input(spec, code)
            case "encode_matrices":
                yield matrices_input(spec, values.tobytes()[:MOST_VALUES])
            case _:
                steps = [tensor.step for tensor in tensors]
                yield network_input(spec, steps, values.tobytes()[:MOST_VALUES])


def write_seeds(folder: Path, target: str) -> None:
    """Into FOLDER/TARGET, numbered."""
    (folder / target).mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(seeds(target)):
        (folder / target / f"seed-{index}").write_bytes(seed)
