"""Which --bits is best: decoded PSNR against rate, for 5 to 8 bit and every width.

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

from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS
from tcnn_codec.config import PRESETS, make_config
from tcnn_codec.encoding.encoder import encode_source
from tcnn_codec.io import open_source

DEPTHS = (5, 6, 7, 8)


def rate_and_quality(path: Path, width: int, preset: str) -> np.ndarray:
    """(bits per pixel, PSNR in dB) for every depth, float64 [depths, 2]."""
    points = []
    for bits in DEPTHS:
        with open_source(path, max_pixels=DEFAULT_MAX_PIXELS) as source:
            encoded = encode_source(source, make_config(preset=preset, width=width, bits=bits))
        points.append((encoded.bits_per_pixel, encoded.psnr_db))
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
    paths = sorted(options.folder.glob("*.png"))[: options.images]
    if not paths:
        parser.error(f"no .png in '{options.folder}'")
    means = {}
    for width in options.widths:
        found = [rate_and_quality(path, width, options.preset) for path in paths]
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
