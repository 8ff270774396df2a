"""What each stage between the fitted network and the file brings, one after another.

python bench/ablation.py FOLDER [--images N] [--widths 32 64] [--preset P] [--json FILE]

All rows of an image and width start from one fit of 7/8 of the preset's steps, but those that name
a fit of their own. Means over the images. A file is what the encoder writes, but for the rows of
entropy coders. "At equal rate" is the difference in dB to one step per tensor at 6 bit, less what
the difference in rate is worth by the slope between the widths; "won back" is the share of the dB
that the same loses against float32. With --json, images and widths found in the file are not
measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from coders import CODERS, Coder, Tensors, product
from common import Table, commit, machine
from rounding import (
    I32,
    TRAVEL_ROUNDED,
    PenalisedBackend,
    adaround,
    straight_through,
)

from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS, StreamInfo
from tcnn_codec.bitstream.records import write_stream
from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.config import PRESETS, EncodeConfig
from tcnn_codec.dtypes import F32
from tcnn_codec.encoding.coding import ROUNDING_SHARE
from tcnn_codec.families.siren import backends
from tcnn_codec.families.siren.backends.base import Backend
from tcnn_codec.families.siren.backends.cpu import usable_cores
from tcnn_codec.families.siren.fit import fit
from tcnn_codec.families.siren.options import SirenOptions
from tcnn_codec.families.siren.quantise import (
    canonical,
    fold,
    least_multipliers,
    quantise,
    step_sizes,
)
from tcnn_codec.families.siren.renderer import SirenRenderer
from tcnn_codec.families.siren.rounding import balance_steps, round_gradually
from tcnn_codec.families.siren.sizes import choose_spec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.io import open_source
from tcnn_codec.metrics import psnr
from tcnn_codec.training.job import Job

Result = dict[str, Any]
#: bits per pixel, None where there is no file; PSNR in dB of the decoded 8-bit pixels.
Point = tuple[float | None, float]

BITS = 6
#: The paper's.
L1 = 1e-5
#: Of AdaRound's and straight-through training's steps together; the paper's share, about.
ADAROUND_SHARE = 0.75
FLOAT = "float32"


class Subject:
    """One image at one width, as the job that the encoder makes of it."""

    def __init__(self, path: Path, width: int, config: EncodeConfig) -> None:
        with open_source(path, max_pixels=DEFAULT_MAX_PIXELS) as source:
            (frame,) = source.frames()
            picture = source.format
        self.pixels, self.config = frame.pixels, config
        self.spec = choose_spec(picture, SirenOptions(width=width))
        self.info = StreamInfo(
            "image", picture.height, picture.width, picture.channels, (self.spec,)
        )
        self.rounding_steps = config.fit_steps // ROUNDING_SHARE
        self.backend = backends.create("cpu", config.threads, config.precision)
        self.renderer = SirenRenderer(config.threads)
        self.job = Job.of(self.spec, frame.pixels[None], config.seed)

    def rows(self) -> Iterator[tuple[str, Point]]:
        """(name, point) of every row of the table, in its order."""
        params = self.fit()
        yield FLOAT, self.shown(params)
        yield "float32, all steps", self.shown(self.fit(steps=self.config.fit_steps))
        for bits in (8, 7, BITS):
            tensors = quantise(self.spec, params, bits)
            yield plain(bits), self.coded(tensors)
            yield f"{bits} bit: {CODERS[0][0]}", self.coded(tensors, CODERS[0][1])
        balanced = self.balanced(params)
        yield "+ steps by cost", self.coded(balanced)
        for name, l1 in (("without rate term", 0.0), (f"L1 {L1:g} instead", L1)):
            own = self.fit(PenalisedBackend(l1, self.config.threads, self.config.precision))
            yield f"{name}, float32", self.shown(own)
            yield f"{name}, steps by cost", self.coded(self.balanced(own))
            yield f"{name}, + in parts", self.coded(self.in_parts(own))
        yield from self.learnt(params, balanced)
        rounded = self.in_parts(params)
        yield "+ in parts", self.coded(rounded)
        for name, size in CODERS:
            yield f"in parts: {name}", self.coded(rounded, size)

    def learnt(self, params: F32, balanced: Tensors) -> Iterator[tuple[str, Point]]:
        """The rows of AdaRound and of straight-through training, by themselves and in turn."""
        backend, job, steps = self.backend, self.job, self.rounding_steps
        sizes = [tensor.values.size for tensor in balanced]
        step = step_sizes(self.spec, balanced)

        def coded(levels: I32) -> Point:
            parts = np.split(levels, np.cumsum(sizes)[:-1])
            return self.coded(
                [QuantisedTensor(v, t.step) for v, t in zip(parts, balanced, strict=True)]
            )

        yield "+ AdaRound", coded(adaround(backend, job, params, step, steps))
        first = round(ADAROUND_SHARE * steps)
        start = adaround(backend, job, params, step, first).astype(np.float32) * step
        both = straight_through(backend, job, start, step, steps - first, TRAVEL_ROUNDED)
        yield "+ AdaRound, straight-through", coded(both)
        yield "+ straight-through", coded(straight_through(backend, job, params, step, steps))

    def fit(self, backend: Backend | None = None, steps: int | None = None) -> F32:
        steps = steps or self.config.fit_steps - self.rounding_steps
        start = initialise(self.spec, self.job.seed)
        return fold(self.spec, fit(backend or self.backend, self.job, start, steps))

    def balanced(self, params: F32) -> Tensors:
        tensors = quantise(self.spec, params, BITS)
        wanted = least_multipliers(self.spec, params, 2 ** (BITS - 1) - 1)
        return balance_steps(self.backend, self.spec, params, self.job.grid, tensors, wanted)

    def in_parts(self, params: F32) -> Tensors:
        return round_gradually(
            self.backend, self.job, params, self.balanced(params), self.rounding_steps
        )

    def shown(self, params: F32) -> Point:
        rendered = self.backend.render(self.spec, params, self.job.grid)
        return None, psnr(self.pixels, rendered[0])

    def coded(self, tensors: Tensors, size: Coder = product) -> Point:
        """Of the whole file, had it a payload of size(…) bytes."""
        stream = write_stream(self.info, [bytes(size(self.spec, tensors))])
        rate = self.info.bits_per_pixel(len(stream))
        shown = canonical(self.spec, tensors)  # of integers, signs are not symmetric to the bit
        decoded = self.renderer.render(self.spec, shown, self.job.grid)
        return rate, psnr(self.pixels, decoded[0])


def plain(bits: int) -> str:
    return f"one step per tensor, {bits} bit"


def tabulate(measured: Sequence[Result]) -> list[Result]:
    """Means over the images, width after width; keys width, name, bpp, psnr_db, at_equal_rate and
    won_back, of which those are None that have no meaning.
    """
    widths = sorted({result["width"] for result in measured})
    means: dict[int, dict[str, Point]] = {}
    for width in widths:
        images = [result["rows"] for result in measured if result["width"] == width]
        means[width] = {name: _mean([rows[name] for rows in images]) for name in images[0]}
    bases = [means[width][plain(BITS)] for width in widths]
    slopes = [(b[1] - a[1]) / math.log2(b[0] / a[0]) for a, b in pairwise(bases) if a[0] and b[0]]
    table = []
    for index, width in enumerate(widths):
        base_rate, base = bases[index]
        slope = slopes[min(index, len(slopes) - 1)] if slopes else None
        for name, (rate, quality) in means[width].items():
            gain = None
            if rate and base_rate and slope is not None:
                gain = quality - base - slope * math.log2(rate / base_rate)
            table.append(
                {
                    "width": width,
                    "name": name,
                    "bpp": rate,
                    "psnr_db": quality,
                    "at_equal_rate": gain,
                    "won_back": (quality - base) / (means[width][FLOAT][1] - base),
                }
            )
    return table


def _mean(points: Sequence[Point]) -> Point:
    rates = [rate for rate, _ in points if rate is not None]
    return (float(np.mean(rates)) if rates else None), float(np.mean([q for _, q in points]))


def show(table: Sequence[Result]) -> None:
    for width in dict.fromkeys(row["width"] for row in table):
        columns = ("bpp", "PSNR dB", "at equal rate", "won back")
        printed = Table(f"width {width}".ljust(40), *columns)
        for row in table:
            if row["width"] == width:
                printed.row(
                    row["name"],
                    *(
                        "–" if row[key] is None else format(row[key], form)
                        for key, form in (
                            ("bpp", ".4f"),
                            ("psnr_db", ".3f"),
                            ("at_equal_rate", "+.2f"),
                            ("won_back", ".0%"),
                        )
                    ),
                )
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=8, help="the first N of the folder")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--preset", choices=PRESETS, default="fast")
    parser.add_argument("--steps", type=int, help="instead of the preset's")
    parser.add_argument("--threads", type=int, default=usable_cores(), metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="results, and where to go on")
    options = parser.parse_args()
    paths = sorted(options.folder.glob("*.png"))[: options.images]
    if not paths:
        parser.error(f"no .png in '{options.folder}'")
    config = EncodeConfig(preset=options.preset, steps=options.steps, threads=options.threads)
    if config.fit_steps < ROUNDING_SHARE:
        parser.error(f"--steps is {options.steps}; rounding needs {ROUNDING_SHARE} or more")
    settings = {"steps": config.fit_steps, "seed": config.seed, "commit": commit()}
    found: dict[str, Any] = {"environment": machine(), "settings": settings, "measured": []}
    if options.json and options.json.exists():
        known = json.loads(options.json.read_text())
        if known.get("settings") != settings:
            parser.error(f"'{options.json}' is of {known.get('settings')}; name another --json")
        found["measured"] = known["measured"]
    asked = [(path.name, width) for path in paths for width in options.widths]
    done = {(result["image"], result["width"]) for result in found["measured"]}
    for path in paths:
        for width in options.widths:
            if (path.name, width) in done:
                continue
            rows = dict(Subject(path, width, config).rows())
            found["measured"].append({"image": path.name, "width": width, "rows": rows})
            print(f"measured: {path.name}, width {width}", file=sys.stderr)
            write(options.json, found)
    found["table"] = tabulate(
        [result for result in found["measured"] if (result["image"], result["width"]) in asked]
    )
    write(options.json, found)
    show(found["table"])


def write(path: Path | None, found: Result) -> None:
    """As JSON, where a path was given; an interrupt leaves the file as it was."""
    if path:
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(found, indent=1) + "\n")
        partial.replace(path)


if __name__ == "__main__":
    main()
