"""Rate and distortion of video clips, and seconds, against x264, x265 and SVT-AV1.

python bench/video.py CLIP [CLIP …] [--bpp 0.02 …] [--presets fast balanced] [--frames A:B]
                      [--codecs x264 …] [--json FILE] [--plot FILE] [--quick] [--threads N]
python bench/video.py CLIP --structure [--bpp R | --width W] [--presets P] …
python bench/video.py --from RESULT.json [RESULT.json …] --plot FILE

Every clip is encoded at every rate by every preset, in turns, decoded from its file and judged:
bits per pixel of all frames, mean over the frames of their RGB PSNR, seconds per frame of encoding
and decoding, from RGB in memory and back to it. The other codecs, of which bench/video_codecs.py
says how they are run, go down a ladder of rate factors on the same frames, until both the highest
rate asked for and our highest PSNR are passed. BD-rate is by pchip over the PSNR that both curves
cover. Threads are two for everybody, because their number changes the bytes of x264, which are not
always the same in two runs either, by half a percent. Each time is that of one run.

--structure takes one clip and one rate, or one width of network instead, and the first preset, and
cuts the clip into chunks of 5 to 50 frames or as the encoder chooses, with and without differences
between chunks and codes of time. --from draws results measured before, and measures nothing.
"""

from __future__ import annotations

import argparse
import json
from bisect import insort
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import pairwise, product, zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any

import av
from common import Table, begin, parser, write
from rd_curves import OUR_COLOUR, Curve, bjontegaard_means
from video_codecs import CODECS, Clip, Measured, frame_range, measure_ours, middle, read

from tcnn_codec.config import PRESETS, EncodeConfig
from tcnn_codec.errors import CodecError

Row = dict[str, Any]
#: Rows by clip and curve.
Curves = dict[str, dict[str, list[Row]]]
OURS = "tcnn_codec"
IDENTITY = ("part", "clip", "codec", "preset", "settings")
RATES = (0.02, 0.05, 0.1, 0.2)
THREADS = 2
QUICK_RATE, QUICK_STEPS, QUICK_RUNGS = 0.2, 100, 3
CHUNK_FRAMES = (5, 10, 25, 50)
#: What turns the option off, and what leaves it to the encoder.
DIFFERENCES, TIME_CODES = {"no": 1, "auto": None}, {"no": 0, "auto": None}
LABEL = 50
COLUMNS = ("bytes", "bpp", "dB", "encode s/frame", "decode s/frame", "chunks")
COLOURS = (*("#f08030", OUR_COLOUR, "#701010"), *("#1f5fa8", "#58a6dd", "#2e8b57", "#7b3fa0"))
#: Colour of each curve, in the order of the legend.
CURVES = dict(zip([*(f"{OURS} {preset}" for preset in PRESETS), *CODECS], COLOURS, strict=True))


# ---- measuring -------------------------------------------------------------------------------


def row(clip: Clip, part: str, found: Measured | str, **names: Any) -> Row:
    """found: or the reason why there is no measurement."""
    frames, height, width, _ = clip.pixels.shape
    facts = {"part": part, "clip": clip.name, **names}
    facts |= {"frames": frames, "height": height, "width": width, "frame_rate": float(clip.rate)}
    if isinstance(found, str):
        return {**facts, "not_measured": found}
    return {
        **facts,
        "bytes": found.bytes,
        "bpp": 8 * found.bytes / clip.area,
        "psnr_db": found.psnr_db,
        "seconds_per_frame": found.encode_seconds / frames,
        "decode_seconds_per_frame": found.decode_seconds / frames,
        "chunks": found.chunks,
    }


def ours(clip: Clip, part: str, options: dict[str, Any], **names: Any) -> Row:
    try:
        found: Measured | str = measure_ours(clip, options)
    except CodecError as error:
        found = str(error)
    return row(clip, part, found, codec=OURS, preset=options["preset"], **names)


def theirs(clip: Clip, name: str, crf: int, threads: int) -> Row:
    codec = CODECS[name]
    try:
        found: Measured | str = codec.measure(clip, crf, threads)
    except (av.FFmpegError, ValueError) as error:
        found = f"failed: {error}"
    return row(clip, "rate", found, codec=name, settings=f"{codec.settings}, crf {crf}")


def measure_rates(
    clip: Clip, asked: list[dict[str, Any]], codecs: list[str], rungs: int | None
) -> Iterator[Row]:
    """Ours, as asked, and then the codecs, rung by rung of their ladders.

    asked: options of encode. rungs: the first of each ladder, None for all.
    """
    best, most, threads = 0.0, max(options["bpp"] for options in asked), asked[0]["threads"]
    for options in asked:
        made = ours(clip, "rate", options, settings=f"bpp {options['bpp']:g}")
        best = max(best, made.get("psnr_db", 0.0))
        yield made
    climbing = [name for name in codecs if CODECS[name].available()]
    for name in codecs:
        if name not in climbing:
            reason, settings = "not available in this PyAV", CODECS[name].settings
            yield row(clip, "rate", reason, codec=name, settings=settings)
    passed = set()
    for crfs in zip_longest(*(CODECS[name].crfs[:rungs] for name in climbing)):
        for name, crf in zip(climbing, crfs, strict=True):
            if crf is None or name in passed:
                continue
            made = theirs(clip, name, crf, threads)
            if made.get("bpp", 0.0) > most and made["psnr_db"] > best:
                passed.add(name)
            yield made


def measure_structure(clip: Clip, options: dict[str, Any]) -> Iterator[Row]:
    """Every way to cut the clip; a length of chunk beyond the first that holds all is left out."""
    lengths = [n for less, n in pairwise((0, *CHUNK_FRAMES)) if less < len(clip.pixels)]
    size = next(f"{name} {options[name]:g}" for name in ("bpp", "width") if name in options)
    for chunk, key, codes in product([*lengths, "auto"], DIFFERENCES, TIME_CODES):
        way = dict(chunk_frames=chunk, key_interval=DIFFERENCES[key], time_codes=TIME_CODES[codes])
        settings = f"{size}, chunk_frames {chunk}, differences {key}, time codes {codes}"
        yield ours(clip, "structure", {**options, **way}, settings=settings, **way)


# ---- reporting -------------------------------------------------------------------------------


def show(lines: Table, made: Row) -> None:
    *before, last = made["settings"].split(", ")
    names = made["clip"][:14], made["codec"], made.get("preset", ""), last
    structure = ", ".join([*before[1:], last])
    label = structure if made["part"] == "structure" else " ".join(filter(None, names))
    if "not_measured" in made:
        print(f"{label:<{LABEL}}  not measured: {made['not_measured']}", flush=True)
        return
    lines.row(
        label.ljust(LABEL),
        made["bytes"],
        f"{made['bpp']:.4f}",
        f"{made['psnr_db']:.2f}",
        f"{made['seconds_per_frame']:.4f}",
        f"{made['decode_seconds_per_frame']:.4f}",
        "-" if made["chunks"] is None else made["chunks"],
    )


def read_results(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """The environment and the rows of a result. Raises ValueError, one line, for another file."""
    try:
        file = json.loads(path.read_text())
        environment, rows = file["environment"], [row for row in file["rows"] if row["clip"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"'{path}' is no result of bench/video.py ({error!r})") from None
    return environment, rows


def curves(rows: list[Row]) -> Curves:
    """The measured rows of each clip by the curve that they belong to, in order of rate."""
    found: Curves = {}
    for made in rows:
        if made["part"] == "rate" and "bpp" in made:
            name = f"{made['codec']} {made.get('preset', '')}".strip()
            points = found.setdefault(made["clip"], {}).setdefault(name, [])
            insort(points, made, key=itemgetter("bpp"))
    return found


def report_bjontegaard(drawn: Curves) -> list[Row]:
    """Each of our presets against each codec, clip by clip."""
    if find_spec("bjontegaard") is None:
        print("\nno BD-rate: bjontegaard is not installed; pip install bjontegaard")
        return []
    print()
    lines, found = Table("BD-rate of ours against".ljust(LABEL), "BD-rate", "     over dB"), []
    for clip, named in drawn.items():
        through = {
            name: Curve.through(name, "measured", [(r["bpp"], r["psnr_db"]) for r in points])
            for name, points in named.items()
        }
        mine = [name for name in CURVES if name in through and name.startswith(OURS)]
        for name, other in product(mine, [name for name in CODECS if name in through]):
            means = bjontegaard_means(through[other], through[name])
            names = {"part": "bjontegaard", "clip": clip, "ours": name, "against": other}
            found.append({**names, **means})
            rate = means["bd_rate_percent"]
            why = "one point" if min(means["points"]) < 2 else "no overlap"
            lines.row(
                f"{clip[:16]} {name}, {other}".ljust(LABEL),
                why if rate is None else f"{rate:+.1f} %",
                "-" if rate is None else "{:.1f}-{:.1f}".format(*means["psnr_db"]),
            )
    return found


def plot(drawn: Curves, path: Path) -> None:
    """For each clip PSNR over rate, and below it PSNR over seconds of encoding a frame."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

    figure, grid = pyplot.subplots(
        2, len(drawn), figsize=(1.4 + 4.6 * len(drawn), 8), layout="constrained", squeeze=False
    )
    handles: dict[str, Any] = {}
    for (clip, named), column in zip(drawn.items(), grid.T, strict=True):
        for name in (name for name in CURVES if name in named):
            mine = name.startswith(OURS)
            style = {"color": CURVES[name], "marker": "o" if mine else ".", "zorder": 2 + mine}
            for axes, key in zip(column, ("bpp", "seconds_per_frame"), strict=True):
                x, y = ([point[what] for point in named[name]] for what in (key, "psnr_db"))
                (handles[name],) = axes.plot(x, y, linewidth=1.3 + mine, label=name, **style)
        texts = ("bits per pixel", (1, 2, 5)), ("encode time, s per frame", (1, 3))
        for axes, (label, subs) in zip(column, texts, strict=True):
            axes.set(xscale="log", xlabel=label, ylabel="PSNR, dB")
            axes.xaxis.set_major_locator(LogLocator(subs=subs))
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.minorticks_off()
            axes.grid(alpha=0.3)
        column[0].set_title(clip)
    figure.legend(handles=list(handles.values()), loc="outside lower center", ncols=3, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"\nwritten: {path}")


def arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    quick = "a crop of 96 in 8 frames, one rate, 100 steps of preset fast, 3 rungs of each ladder"
    made = parser(__doc__, quick=quick)
    made.set_defaults(threads=THREADS)
    made.add_argument("clips", nargs="*", type=Path, metavar="CLIP", help="a video")
    made.add_argument("--bpp", type=float, nargs="+", metavar="BPP", help=f"default: {RATES}")
    made.add_argument("--presets", nargs="+", choices=PRESETS, default=["fast", "balanced"])
    made.add_argument("--codecs", nargs="*", choices=CODECS, default=list(CODECS))
    made.add_argument("--frames", type=frame_range, default=(0, None), metavar="A:B")
    made.add_argument("--structure", action="store_true", help="compare ways to cut into chunks")
    made.add_argument("--width", type=int, metavar="W", help="of the network, for --structure")
    made.add_argument("--from", type=Path, nargs="+", dest="results", metavar="FILE")
    made.add_argument("--plot", type=Path, metavar="FILE", help="draw PSNR over rate and time")
    options = made.parse_args()
    if bool(options.clips) == bool(options.results):
        made.error("give clips, or results with --from")
    if options.structure and (len(options.clips) != 1 or len(options.bpp or RATES[:1]) != 1):
        made.error("--structure takes one clip and one --bpp, or --width")
    if options.width and (options.bpp or not options.structure):
        made.error("--width is for --structure, and takes the place of --bpp")
    if options.plot and (options.structure or find_spec("matplotlib") is None):
        made.error("--plot is of rates, not of --structure, and needs matplotlib")
    return made, options


def measure(options: argparse.Namespace, clips: list[Clip], rates: list[float]) -> Iterator[Row]:
    how: dict[str, Any] = {"threads": options.threads}
    presets, rungs = list(dict.fromkeys(options.presets)), None
    if options.quick:
        how["steps"], presets, rungs = QUICK_STEPS, ["fast"], QUICK_RUNGS
        clips = [middle(clip) for clip in clips]
    size = {"width": options.width} if options.width else {"bpp": rates[0]}
    points = [{"bpp": rate, "preset": preset, **how} for rate, preset in product(rates, presets)]
    for clip in clips:
        if options.structure:
            yield from measure_structure(clip, {**size, "preset": presets[0], **how})
        else:
            yield from measure_rates(clip, points, options.codecs, rungs)


def main() -> None:
    made, options = arguments()
    rates = [QUICK_RATE] if options.quick else sorted(set(options.bpp or RATES))
    try:
        files = [read_results(path) for path in options.results or ()]
        # Of a measurement that is there twice, the later counts.
        known = {(*map(row.get, IDENTITY),): row for _, rows in files for row in rows}
        found: Iterable[Row] = known.values()
        for rate in rates:
            EncodeConfig(bpp=rate, threads=options.threads)
        clips = [read(path, *options.frames) for path in options.clips]
    except (CodecError, OSError, ValueError) as error:
        made.error(str(error))
    facts: dict[str, Any] = {"of": [environment for environment, _ in files]}
    if clips:
        facts = {**begin(options), "av": av.__version__, "ffmpeg": av.ffmpeg_version_info}
        found = measure(options, clips, rates)
    lines, rows = Table("clip, codec, setting".ljust(LABEL), *COLUMNS), []
    for one in found:
        if one["part"] != "bjontegaard":
            show(lines, one)
            rows.append(one)
    if drawn := curves(rows):
        rows += report_bjontegaard(drawn)
        if options.plot:
            plot(drawn, options.plot)
    write(options.json, facts, rows)


if __name__ == "__main__":
    main()
