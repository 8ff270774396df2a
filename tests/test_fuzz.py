"""The fuzz targets in Python hold for their seeds and for what their own mutator makes of them.

`make fuzz` runs them under libFuzzer with sanitizers, and those in C++ besides.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from random import Random

import pytest

sys.path.append(str(Path(__file__).parents[1] / "fuzz"))
from seeds import seeds
from structure import change_bytes, change_header, split, take_apart
from targets import TARGETS

from tcnn_codec.bitstream.header import read_header
from tcnn_codec.errors import CodecError

ROUNDS = {"header": 3000, "payload": 2000, "file": 600}


def read(data: bytes) -> str:
    """What a header is refused for; nothing where it is accepted."""
    try:
        read_header(io.BytesIO(data), max_pixels=2**62)
    except CodecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", TARGETS)
def test_contract_holds_for_mutations(name: str) -> None:
    rng, target = Random(1), TARGETS[name]
    corpus = list(seeds(name))
    for data in corpus:
        target.check(data)
    for _ in range(ROUNDS[name]):
        data = target.mutate(rng, rng.choice(corpus), change_bytes)
        target.check(data)
        # Mutations of mutations, of which the corpus keeps some.
        corpus[rng.randrange(len(corpus))] = data[:4096]


def test_mutations_get_behind_the_checksums() -> None:
    """Most headers that are refused are refused for what they say."""
    rng, corpus = Random(2), list(seeds("header"))
    refusals = [read(change_header(rng, rng.choice(corpus))) for _ in range(1000)]
    assert sum(not refusal for refusal in refusals) > 100
    assert sum("a header field is out of range" in refusal for refusal in refusals) > 300


def test_mutated_payloads_are_decoded() -> None:
    rng, corpus, whole = Random(3), list(seeds("file")), 0
    for _ in range(300):
        whole += split(TARGETS["file"].mutate(rng, rng.choice(corpus), change_bytes)) is not None
    assert whole > 150


def test_fields_are_found_whatever_length_and_checksum_are() -> None:
    for data in seeds("file"):
        fields, records = take_apart(data)
        begin = len(data) - len(records)
        assert data[begin - 4 - len(fields) : begin - 4] == fields
        for cut in range(len(data)):
            take_apart(data[:cut])
