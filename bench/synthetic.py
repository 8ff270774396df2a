"""Flat and synthetic pictures: is what is decoded ever worse than the simplest alternatives?

python bench/synthetic.py [--quick] [--preset P] [--threads N] [--json FILE]

Forty pictures made here, three widths, three seeds. Each is fitted once; the network that the
encoder makes of the fit is held against the same fit rounded at once with equal bits for every
tensor, and against the best single colour. PSNR in dB; an exact picture counts as 100 dB. A
violation is a decoded picture more than 1 dB below the first, or below the second at all.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import common
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tcnn_codec.config import PRESETS, EncodeConfig, make_config
from tcnn_codec.encoding.chunks import cut
from tcnn_codec.encoding.coding import ROUNDING_SHARE
from tcnn_codec.encoding.jobs import ChunkJob, Tools, do
from tcnn_codec.families import make_fitter
from tcnn_codec.families.contract import USUAL_BITS, Rounding
from tcnn_codec.families.siren.quantise import quantise
from tcnn_codec.io import array_source
from tcnn_codec.metrics import PSNR_CAP, psnr

Pixels = NDArray[np.uint8]

WIDTHS, SEEDS = (4, 16, 32), (0, 1, 2)
QUICK_STEPS = 200
#: dB that rounding with care may be below rounding without.
ALLOWED = 1.0


@dataclass(frozen=True)
class Outcome:
    """PSNR in dB, PSNR_CAP where exact: of the decoded picture, of the same fit rounded at once, of
    the best colour; and the bytes of the payload."""

    decoded: float
    at_once: float
    constant: float
    size: int

    @property
    def violated(self) -> bool:
        return self.decoded < max(self.at_once - ALLOWED, self.constant)


def measure(pixels: Pixels, config: EncodeConfig) -> Outcome:
    """One picture, uint8 [height, width(, 1, 3 or 4)], fitted once and rounded both ways."""
    source = array_source(pixels)
    (chunk,) = cut(source.frames(), (1,))
    tools = Tools.of(make_fitter(config.model, "cpu", config.precision, config.threads))
    spec, rounding_steps = tools.fitter.spec(source.format), config.fit_steps // ROUNDING_SHARE
    job = ChunkJob(
        chunk=chunk,
        spec=spec,
        seed=config.seed,
        fit_steps=config.fit_steps - rounding_steps,
        rounding=Rounding(USUAL_BITS, None, rounding_steps),
    )
    result = do(job, tools, lambda step, psnr_db: None)
    plain = quantise(spec, result.params, USUAL_BITS)
    (original,) = chunk.pixels
    (at_once,) = tools.renderer.render(spec, plain, chunk.grid)
    mean = np.rint(original.mean(axis=(0, 1), dtype=np.float64)).astype(np.uint8)
    found = (
        result.qualities[0],
        psnr(original, at_once),
        psnr(original, np.broadcast_to(mean, original.shape)),
    )
    return Outcome(*(min(quality, PSNR_CAP) for quality in found), len(result.payload))


def pictures() -> dict[str, dict[str, Pixels]]:
    """Forty pictures by kind and name, uint8 [height, width(, 3 or 4)], the same everywhere."""
    return {
        "flat": {
            "black 1x1": _flat((1, 1), 0),
            "white 64x64": _flat((64, 64), 255),
            "colour 17x5": _flat((5, 17), (200, 30, 99)),
            "grey 256x256": _flat((256, 256), 127),
            "clear 40x30": _flat((30, 40), (12, 34, 56, 0)),
        },
        "two-tone": {
            "halves 32x32": _halves(32, 32, (0, 0, 0), (255, 255, 255)),
            "halves 300x200": _halves(200, 300, (30, 60, 200), (250, 200, 10)),
            "dark 128x128": _halves(128, 128, (10, 10, 10), (14, 14, 14)),
            "disc 96x96": _disc(96, 30, (255, 255, 255), (200, 0, 0)),
            "disc 512x512": _disc(512, 170, (0, 0, 0), (0, 255, 0)),
        },
        "text": {
            "8x8": _text(8, 8, "A", 8),
            "64x24": _text(24, 64, "Siren", 16),
            "160x60": _text(60, 160, "The quick brown\nfox jumps over", 18),
            "256x256": _text(256, 256, "\n".join(["Lorem ipsum dolor sit amet"] * 12), 17),
            "512x384": _text(384, 512, "\n".join(["0123456789 sphinx of quartz"] * 9), 34),
        },
        "icon": {f"{side}x{side}": _icon(side) for side in (16, 32, 64, 128, 256)},
        "gradient": {
            "2x1": np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8),
            "across 64x64": _gradient(64, 64, 1, 0),
            "down 128x32": _gradient(32, 128, 0, 1),
            "diagonal 256x256": _gradient(256, 256, 1, 1),
            "slight 512x512": (_gradient(512, 512, 1, 0) // 16 + 100).astype(np.uint8),
        },
        "checkerboard": {
            "2x2 by 1": _checkers(2, 1),
            "32x32 by 1": _checkers(32, 1),
            "64x64 by 8": _checkers(64, 8),
            "200x200 by 25": _checkers(200, 25),
            "512x512 by 4": _checkers(512, 4),
        },
        "noise": {
            "3x3": _noise(3, (3,)),
            "32x32": _noise(32, (3,)),
            "grey 64x64": _noise(64, ()),
            "with alpha 100x100": _noise(100, (4,)),
            "256x256": _noise(256, (3,)),
        },
        "hot pixel": {f"{side}x{side}": _hot(side) for side in (3, 16, 64, 200, 512)},
    }


def _flat(size: tuple[int, int], colour: int | tuple[int, ...]) -> Pixels:
    return np.broadcast_to(np.uint8(colour), (*size, *np.shape(colour))).copy()


def _halves(height: int, width: int, left: tuple[int, ...], right: tuple[int, ...]) -> Pixels:
    found = _flat((height, width), left)
    found[:, width // 2 :] = right
    return found


def _disc(side: int, radius: int, outside: tuple[int, ...], inside: tuple[int, ...]) -> Pixels:
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.where((x**2 + y**2 < radius**2)[..., None], inside, outside).astype(np.uint8)


def _text(height: int, width: int, text: str, size: int) -> Pixels:
    image = Image.new("RGB", (width, height), (255, 255, 255))
    font = ImageFont.load_default(size)
    ImageDraw.Draw(image).multiline_text((2, 1), text, fill=(20, 20, 60), font=font)
    return np.asarray(image)


def _icon(side: int) -> Pixels:
    image = Image.new("RGB", (side, side), (255, 255, 255))
    draw, unit = ImageDraw.Draw(image), side / 16
    draw.rectangle((unit, 2 * unit, 14 * unit, 13 * unit), fill=(20, 90, 220))
    draw.ellipse((5 * unit, 4 * unit, 11 * unit, 10 * unit), fill=(255, 210, 0))
    draw.polygon(
        [(2 * unit, 14 * unit), (8 * unit, 8 * unit), (14 * unit, 14 * unit)], fill=(0, 0, 0)
    )
    draw.line((0, 0, side - 1, side - 1), fill=(230, 0, 40), width=max(1, side // 32))
    return np.asarray(image)


def _gradient(height: int, width: int, across: int, down: int) -> Pixels:
    y, x = np.mgrid[:height, :width]
    ramp = 255 * (across * x + down * y) // (across * (width - 1) + down * (height - 1))
    return np.stack([ramp, 255 - ramp, ramp // 2], axis=-1).astype(np.uint8)


def _checkers(side: int, field: int) -> Pixels:
    y, x = np.mgrid[:side, :side] // field
    return (255 * ((x + y) % 2)).astype(np.uint8)


def _noise(side: int, channels: tuple[int, ...]) -> Pixels:
    return np.random.default_rng(side).integers(0, 256, (side, side, *channels), np.uint8)


def _hot(side: int) -> Pixels:
    found = _flat((side, side), (0, 0, 0))
    found[side // 3, side // 2] = (255, 255, 255)
    return found


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Worst and median of what the decoded pictures are above each alternative, in dB."""
    once = [found.decoded - found.at_once for found in outcomes]
    constant = [found.decoded - found.constant for found in outcomes]
    return {
        "networks": len(outcomes),
        "above_at_once_worst": min(once),
        "above_at_once_median": statistics.median(once),
        "above_constant_worst": min(constant),
        "above_constant_median": statistics.median(constant),
        "violations": sum(found.violated for found in outcomes),
    }


def main() -> None:
    parser = common.parser(__doc__, "two pictures of each kind, few steps, one seed")
    parser.add_argument("--preset", choices=PRESETS, default="fast")
    options = parser.parse_args()
    facts = common.begin(options)
    steps = QUICK_STEPS if options.quick else None
    rows: list[dict[str, Any]] = []
    columns = ("networks", "once: worst", "median", "colour: worst", "median", "violations")
    table = common.Table("kind", *columns)

    def show(name: str, outcomes: list[Outcome]) -> None:
        found = summary(outcomes)
        rows.append({"part": "summary", "kind": name, **found})
        table.row(name, *(f"{v:+.2f}" if isinstance(v, float) else v for v in found.values()))

    everything: list[Outcome] = []
    for kind, named in pictures().items():
        outcomes = []
        for name in list(named)[: 2 if options.quick else None]:
            for width in WIDTHS[: 2 if options.quick else None]:
                for seed in SEEDS[: 1 if options.quick else None]:
                    config = make_config(
                        width=width,
                        seed=seed,
                        preset=options.preset,
                        steps=steps,
                        threads=options.threads,
                    )
                    found = measure(named[name], config)
                    outcomes.append(found)
                    place = {"kind": kind, "picture": name, "width": width, "seed": seed}
                    rows.append({"part": "network", **place, **vars(found)})
        show(kind, outcomes)
        everything += outcomes
    show("all", everything)
    common.write(options.json, facts, rows)


if __name__ == "__main__":
    main()
