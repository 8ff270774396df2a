"""Which --bits is best: decoded PSNR against rate for one fit per image and width.

python bench/bits.py FOLDER [--preset P] [--widths 32 64] [--images N]

Prints the mean over the images of bpp and PSNR for each bit depth, and how much better or worse
each is than 8 bit at equal rate: the difference in dB less what the difference in rate is worth,
taken from the slope between the widths at 8 bit.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from math import log2
from pathlib import Path

import numpy as np

from tcnn_codec import backends
from tcnn_codec.backends.base import Backend
from tcnn_codec.config import PRESETS
from tcnn_codec.container import DEFAULT_MAX_PIXELS
from tcnn_codec.entropy import encode_tensors
from tcnn_codec.fit import fit
from tcnn_codec.io import open_source
from tcnn_codec.metrics import psnr
from tcnn_codec.quantise import dequantise, quantise
from tcnn_codec.refine import balance_steps
from tcnn_codec.siren import Grid, SirenSpec

DEPTHS = (5, 6, 7, 8)


def rate_and_quality(backend: Backend, path: Path, width: int, steps: int) -> np.ndarray:
    """(bits per pixel, PSNR in dB) for every depth, float64 [depths, 2]."""
    with open_source(path, max_pixels=DEFAULT_MAX_PIXELS) as source:
        pixels = next(iter(source.frames())).pixels
    height, columns, channels = pixels.shape
    grid, spec = Grid(columns, height), SirenSpec(width=width, out_channels=channels)
    params = fit(backend, spec, grid, pixels.reshape(-1, channels), steps=steps, seed=0)
    points = []
    for bits in DEPTHS:
        tensors = balance_steps(backend, spec, params, grid, quantise(spec, params, bits))
        decoded = backend.render(spec, dequantise(spec, tensors), grid)[0]
        rate = 8 * len(encode_tensors(tensors)) / grid.pixels
        points.append((rate, psnr(pixels, decoded)))
    return np.array(points)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="fast")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--images", type=int, default=8, help="the first N of the folder")
    options = parser.parse_args()
    if len(options.widths) < 2:
        parser.error("--widths needs two or more, for the slope between them")
    backend = backends.create(precision="auto")
    paths = sorted(options.folder.glob("*.png"))[: options.images]
    if not paths:
        parser.error(f"no .png in '{options.folder}'")
    means = {}
    for width in options.widths:
        found = [rate_and_quality(backend, p, width, PRESETS[options.preset]) for p in paths]
        means[width] = np.mean(found, axis=0)
    eight = DEPTHS.index(8)
    points = [means[width][eight] for width in options.widths]
    slopes = [(b[1] - a[1]) / log2(b[0] / a[0]) for a, b in pairwise(points)]
    print(f"{len(paths)} images, preset {options.preset}, {slopes[0]:.2f} dB per doubling of rate")
    print(f"{'width':>5}{'bits':>6}{'bpp':>9}{'PSNR dB':>9}{'at equal rate':>15}")
    for index, width in enumerate(options.widths):
        slope = slopes[min(index, len(slopes) - 1)]
        for bits, (rate, quality) in zip(DEPTHS, means[width], strict=True):
            worth = slope * log2(rate / points[index][0])
            gain = quality - points[index][1] - worth
            print(f"{width:5}{bits:6}{rate:9.4f}{quality:9.2f}{gain:+15.2f}")


if __name__ == "__main__":
    main()
