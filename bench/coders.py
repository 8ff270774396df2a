"""Bytes of the same integers by one entropy coder and another.

python bench/coders.py FILE.tcnn … [--nncodec PYTHON] [--json FILE]

Takes the networks of .tcnn files, and sums over them. --nncodec names an interpreter that has the
package nncodec (Fraunhofer's NNC, DeepCABAC), since it wants a numpy of its own: the same integers,
neurons sorted, are coded there without loss, with its parameters optimised and names of one letter,
as one bitstream per network. Ours are the payloads, the steps of tensors included; static models
have two bytes for a tensor's step and their own parameter.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from common import Table, machine
from rounding import I32

from tcnn_codec.bitstream.header import read_header
from tcnn_codec.bitstream.records import read_chunk
from tcnn_codec.bitstream.varint import write_varint
from tcnn_codec.coders.payload import Matrices, encode_tensors
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.families.siren import payload as payloads
from tcnn_codec.families.siren.quantise import canonical
from tcnn_codec.families.siren.spec import SirenSpec

Tensors = Sequence[QuantisedTensor]
Coder = Callable[[SirenSpec, Tensors], int]

#: Of Laplace distributions, in quantisation steps.
SCALES = np.geomspace(0.1, 2000, 256).tolist()

#: Run by another interpreter: the size of nncodec's bitstream for every archive named.
NNCODEC = """
import contextlib, os, sys
import numpy
from nncodec.nnc.compression import compress
for name in sys.argv[1:]:
    with numpy.load(name) as archive:
        tensors = {key: archive[key] for key in archive.files}
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        code = compress(
            tensors, bitstream_path=name + ".nnc", return_bitstream=True, param_opt=True,
            use_dq=False, verbose=False,
        )
    print(len(code))
"""


def order_0(spec: SirenSpec, tensors: Tensors) -> int:
    """As the paper: one static model of order 0 for all tensors, at its ideal length."""
    del spec
    return _ideal_bytes(np.concatenate([t.values for t in tensors])) + 2 * len(tensors)


def order_0_each(spec: SirenSpec, tensors: Tensors) -> int:
    """The same with a model for each tensor."""
    del spec
    return sum(_ideal_bytes(tensor.values) + 2 for tensor in tensors)


def _ideal_bytes(values: I32) -> int:
    """Bytes of the histogram, from its least to its greatest value, and of the values under it."""
    least = int(values.min())
    counts = np.bincount(values - least)
    table = write_varint(abs(least)) + b"".join(write_varint(int(count)) for count in counts)
    seen = counts[counts > 0]
    return len(table) + math.ceil(float(seen @ np.log2(values.size / seen)) / 8)


def laplace(spec: SirenSpec, tensors: Tensors) -> int:
    """A Laplace distribution for each tensor, of the best of 256 scales, at its ideal length."""
    del spec
    bits = sum(min(_laplace_bits(t.values, scale) for scale in SCALES) for t in tensors)
    return math.ceil(bits / 8) + 2 * len(tensors)


def _laplace_bits(values: I32, scale: float) -> float:
    """Ideal length under P(v) proportional to exp(-|v| / scale), over all whole numbers."""
    decay = math.exp(-1 / scale)
    log_zero = math.log2((1 - decay) / (1 + decay))
    return float(np.abs(values).sum()) / scale / math.log(2) - values.size * log_zero


def unsorted(spec: SirenSpec, tensors: Tensors) -> int:
    """The product's contexts, with neurons in the order of the fit."""
    return len(encode_tensors(Matrices(spec.tensors, kinds=2), tensors))


def product(spec: SirenSpec, tensors: Tensors) -> int:
    """The product's: the same after sorting the neurons."""
    return len(payloads.encode(spec, canonical(spec, tensors)))


#: Bytes of a payload, by coder; all code the integers of the product's rounding.
CODERS: tuple[tuple[str, Coder], ...] = (
    ("order 0, one table", order_0),
    ("order 0, table per tensor", order_0_each),
    ("Laplace, scale per tensor", laplace),
    ("adaptive contexts", unsorted),
    ("+ neurons sorted", product),
)


def networks(paths: Sequence[Path]) -> list[tuple[SirenSpec, Tensors]]:
    """Every chunk's network of every file."""
    found = []
    for path in paths:
        with open(path, "rb") as stream:
            info = read_header(stream)
            for index, spec in enumerate(info.networks):
                assert isinstance(spec, SirenSpec)  # of whose neurons `canonical` knows
                found.append((spec, payloads.decode(spec, read_chunk(stream, info, index))))
    return found


def nncodec_sizes(python: str, subjects: Sequence[tuple[SirenSpec, Tensors]]) -> list[int]:
    """Bytes of nncodec's bitstreams; tensors are matrices where they are."""
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for number, (spec, tensors) in enumerate(subjects):
            names.append(f"{folder}/{number}.npz")
            named = zip(spec.tensors, tensors, strict=True)
            np.savez(
                names[-1],
                **{
                    chr(ord("a") + i): tensor.values.reshape(place.shape)
                    for i, (place, tensor) in enumerate(named)
                },
            )
        command = [python, "-c", NNCODEC, *names]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.tcnn")
    parser.add_argument("--nncodec", metavar="PYTHON", help="an interpreter that has nncodec")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    options = parser.parse_args()
    subjects = networks(options.files)
    totals = {name: sum(size(*subject) for subject in subjects) for name, size in CODERS}
    if options.nncodec:
        totals["nncodec"] = sum(nncodec_sizes(options.nncodec, subjects))
    ours = totals[CODERS[-1][0]]
    print(f"{len(subjects)} networks")
    table = Table("coder".ljust(32), "bytes", "ours / it")
    for name, total in totals.items():
        table.row(name, total, f"{ours / total:.3f}")
    if options.json:
        found = {"environment": machine(), "networks": len(subjects), "bytes": totals}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
