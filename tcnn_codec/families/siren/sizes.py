"""The sizes of SIREN that the encoder chooses from, and what is known of their rate and quality."""

from __future__ import annotations

import math
from dataclasses import replace

from tcnn_codec.bitstream.limits import MAX_WIDTH
from tcnn_codec.families.contract import USUAL_BITS, Ladder, RateLaw
from tcnn_codec.families.siren.options import SirenOptions
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.grid import Grid
from tcnn_codec.picture import PictureFormat

LOW_RESOLUTION = 256
USUAL_WIDTH, USUAL_LAYERS = 32, 3
KODAK_PIXELS, MOST_EFFORT = 768 * 512, 2.5
#: Where width is chosen for a target: at equal rate deeper and narrower is 0.1 to 0.2 dB better,
#: but networks narrower than DEEP_WIDTH do not learn when they are deep.
DEEP_LAYERS, SHALLOW_LAYERS, DEEP_WIDTH = 5, 2, 6
#: Codes of a frame of a video, and the frequencies of t that remain beside them (docs/log.md).
USUAL_CODES, TIME_FREQUENCIES = 8, 6

#: Measured on the 24 Kodak images, where networks never do badly, and on text, which gains 14 dB
#: over a pilot where photographs gain less than one.
LAW = RateLaw(
    least_bits=4.0,
    usual_bits=float(USUAL_BITS),
    most_bits=10.0,
    coded_bits=4.03,
    overhead=40,
    growth=(1.0, 1.0),
    db_per_doubling=1.6,
    db_per_bit=0.5,
    pilot_gain=0.45,
    most_growth=2.0,
    most_surprise=3.0,
    most_loss=6.0,
    least_gain=0.5,
)
#: Of videos, on carphone, foreman and bikes; those of images stay within what a search allows.
VIDEO_LAW = replace(LAW, growth=(1.005, 1.02))


def choose_spec(
    picture: PictureFormat, options: SirenOptions, width: int | None = None
) -> SirenSpec:
    """The network for every chunk of a picture. width: the one chosen for a target."""
    low = max(picture.height, picture.width) <= LOW_RESOLUTION
    layers, codes = USUAL_LAYERS, 0
    if picture.kind == "video":
        codes = USUAL_CODES if options.time_codes is None else options.time_codes
    if width is not None:
        layers = DEEP_LAYERS if width >= DEEP_WIDTH else SHALLOW_LAYERS
    return SirenSpec(
        axes=3 if picture.kind == "video" else 2,
        frequencies=options.frequencies if options.frequencies is not None else 12 if low else 16,
        hidden_layers=options.hidden_layers if options.hidden_layers is not None else layers,
        width=width or options.width or USUAL_WIDTH,
        out_channels=picture.channels,
        time_frequencies=TIME_FREQUENCIES if codes else None,
        time_codes=codes,
    )


def effort(spec: SirenSpec, grid: Grid) -> float:
    """How many times the steps of a preset, which are for the images of Kodak, a network wants.

    Wide networks on many pixels learn from steps that narrow ones, or few pixels, do not. Measured
    on carphone and foreman at widths 32 to 100: 3,000 steps are 1.2 dB short of 12,000 at width 60,
    and 0.2 dB at width 32.
    """
    pixels = max(1.0, grid.pixels / KODAK_PIXELS)
    by_width: float = max(1.0, spec.width / USUAL_WIDTH) ** min(0.5, math.log2(pixels) / 6)
    return float(min(MOST_EFFORT, by_width * pixels ** (1 / 16)))


def choose_ladder(picture: PictureFormat, options: SirenOptions) -> Ladder[SirenSpec]:
    """Size n is the network of width n. The other ladder has the depth of the paper."""
    other = None
    if options.hidden_layers is None:
        other = choose_ladder(picture, replace(options, hidden_layers=USUAL_LAYERS))
    return Ladder(
        spec=lambda width: choose_spec(picture, options, width),
        count=MAX_WIDTH,
        first=USUAL_WIDTH,
        law=VIDEO_LAW if picture.kind == "video" else LAW,
        by_hand="`width` and `bits`",
        smallest="`width` 1",
        other=other,
    )
