"""Rate and distortion over a folder of images, against other codecs and published curves.

python bench/rd.py DIR [--rates 0.1 0.19 0.3] [--preset P] [--images N] [--out FOLDER]
                   [--anchors FILE] [--json FILE] [--plot FILE] [--quick] [--threads N]

Every image is encoded at every rate, decoded from its file and judged: bits per pixel of the file
on disk, RGB PSNR of the decoded 8-bit pixels. Pillow's JPEG, JPEG 2000, WebP and AVIF, as far as
they are there, go down a ladder of qualities beside it, from memory, tuned for PSNR where they can
be. A point of a curve is the mean over the images of rate and of PSNR at one setting, and counts
only where every image has it. Seconds are of encoding.

Each encode becomes a row of FOLDER/rows.csv at once, and a row that is there is not made again: a
run that was killed goes on where it was. One FOLDER is for one DIR. Rows of another commit are
kept; remove the file to measure anew.

Published curves are means over the 24 Kodak images, and come from bench/anchors.json if DIR holds
just those, or from --anchors. BD-rate needs the package bjontegaard.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Table, begin, parser, write
from PIL import Image
from rd_codecs import CODECS, Pixels
from rd_curves import Curve, bjontegaard_means, plot, read_anchors
from rd_rows import Key, Row, Sheet, means

from tcnn_codec.bitstream.header import DEFAULT_MAX_PIXELS, read_header
from tcnn_codec.config import PRESETS, EncodeConfig
from tcnn_codec.decoding.decoder import decode_frames, open_stream
from tcnn_codec.encoding.encoder import encode_file
from tcnn_codec.errors import CodecError
from tcnn_codec.io import open_source
from tcnn_codec.metrics import PSNR_CAP, colour, psnr

#: Makes one file: bytes, PSNR in dB, seconds of encoding.
Job = Callable[[], tuple[int, float, float]]
OURS, PAPER = "tcnn_codec", "strumpler-basic-8bit"
RATES = (0.10, 0.19, 0.30)
SUFFIXES = {
    *(".png", ".webp", ".jpg", ".jpeg", ".avif", ".jp2"),
    *(".tif", ".tiff", ".bmp", ".ppm", ".pgm"),
}
ANCHORS = ROOT / "bench" / "anchors.json"
KODAK = {f"kodim{number:02}" for number in range(1, 25)}
QUICK_CROP, QUICK_RATE, QUICK_STEPS = 128, 0.4, 100
#: Points of a curve that Bjøntegaard's means want.
WANTED_POINTS = 4
#: Characters of a curve's name in a table.
LABEL = 36


# ---- measuring -------------------------------------------------------------------------------


def read(path: Path) -> Pixels:
    """The first and only frame, uint8 [height, width, channels]."""
    with open_source(path, max_pixels=DEFAULT_MAX_PIXELS) as source:
        return next(iter(source.frames())).pixels


def encode_ours(path: Path, stream: Path, config: EncodeConfig) -> tuple[int, float, float]:
    """Bytes on disk, PSNR in dB of what they decode to, seconds. Raises CodecError."""
    stream.parent.mkdir(parents=True, exist_ok=True)
    seconds = encode_file(path, stream, config).encode_seconds
    with open_stream(stream) as file:
        info = read_header(file)
        (frame,) = decode_frames(file, info, threads=config.threads)
    return stream.stat().st_size, min(psnr(read(path), frame.pixels), PSNR_CAP), seconds


def ours_name(rate: float | None) -> str:
    return f"bpp {rate:g}"


def jobs(
    path: Path, pixels: Pixels, configs: list[EncodeConfig], codecs: list[str], streams: Path
) -> Iterator[tuple[Key, Job]]:
    """Every encode of one image, ours first."""
    for config in configs:
        rate = ours_name(config.bpp)
        stream = streams / f"{path.name} {rate} {config.preset}.tcnn"
        yield (path.name, OURS, rate, config.preset), partial(encode_ours, path, stream, config)
    for name in codecs:
        for setting in CODECS[name].settings:
            key = (path.name, name, CODECS[name].name(setting), "")
            yield key, partial(CODECS[name].code, pixels, setting)


def measure(
    paths: list[Path], configs: list[EncodeConfig], codecs: list[str], sheet: Sheet, commit: str
) -> int:
    """Make every row that is not there; returns how many could not be made."""
    failed = 0
    table: Table | None = None
    for path in paths:
        try:
            pixels = colour(read(path))
        except CodecError as error:
            print(f"failed: {error}", flush=True)
            failed += 1
            continue
        area = pixels.shape[0] * pixels.shape[1]
        for key, make in jobs(path, pixels, configs, codecs, sheet.path.parent / "streams"):
            if key in sheet.rows:
                continue
            image, codec, setting, preset = key
            try:
                size, quality, seconds = make()
            except (CodecError, OSError, ValueError) as error:
                print(f"failed: {image}, {codec}, {setting}: {error}", flush=True)
                failed += 1
                continue
            bpp, made = 8 * size / area, commit if codec == OURS else ""
            sheet.add(Row(image, codec, setting, size, bpp, quality, seconds, preset, made))
            if codec == OURS:
                table = table or Table("encoded", "asked", "bpp", "dB", "seconds")
                table.row(image, setting, f"{bpp:.4f}", f"{quality:.2f}", f"{seconds:.1f}")
    if table:
        print()
    return failed


# ---- reporting -------------------------------------------------------------------------------


def report_rates(points: list[dict[str, Any]], paper: Curve | None) -> None:
    table = Table("mean of images", "bpp", "dB", "paper's dB", "difference", "encode s")
    for point in points:
        theirs = paper.at(point["bpp"]) if paper else None
        point["paper_psnr_db"] = theirs
        table.row(
            point["setting"],
            f"{point['bpp']:.4f}",
            f"{point['psnr_db']:.2f}",
            "-" if theirs is None else f"{theirs:.2f}",
            "-" if theirs is None else f"{point['psnr_db'] - theirs:+.2f}",
            f"{point['seconds']:.1f}",
        )
    if paper:
        print(f"paper: {paper.label}, at that rate: linear in log(bpp), at most 3 % past its ends")


def report_bjontegaard(ours: Curve, others: list[Curve]) -> list[dict[str, Any]]:
    if find_spec("bjontegaard") is None:
        print("\nno BD-rate: bjontegaard is not installed; pip install bjontegaard")
        return []
    print()
    if len(ours.bpp) < 2:
        print(f"no BD-rate: too few points, {len(ours.bpp)}; ask for {WANTED_POINTS} --rates")
        return []
    table = Table(
        "Bjøntegaard, ours against".ljust(LABEL), "BD-rate", "   over dB", "BD-PSNR", "  over bpp"
    )
    found = []
    for other in others:
        row = {"against": other.label, **bjontegaard_means(other, ours)}
        found.append(row)
        rate, quality = row["bd_rate_percent"], row["bd_psnr_db"]
        table.row(
            other.label[:LABEL],
            "-" if rate is None else f"{rate:+.1f} %",
            "-" if rate is None else "{:.1f}-{:.1f}".format(*row["psnr_db"]),
            "-" if quality is None else f"{quality:+.2f} dB",
            "-" if quality is None else "{:.2f}-{:.2f}".format(*row["bpp"]),
        )
    print("by pchip, over the range that both curves cover; '-' where there is none")
    if len(ours.bpp) < WANTED_POINTS:
        print(f"{len(ours.bpp)} points of ours; {WANTED_POINTS} are wanted: take it as rough")
    return found


def arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    made = parser(__doc__, quick="a crop of 128 of the first image, one rate, 100 steps")
    made.add_argument("folder", type=Path, metavar="DIR", help="a folder of images")
    made.add_argument("--rates", type=float, nargs="+", default=RATES, metavar="BPP")
    made.add_argument("--preset", choices=PRESETS, default="balanced")
    made.add_argument("--images", type=int, metavar="N", help="the first N of the folder")
    made.add_argument("--out", type=Path, help="default: build/rd/ and DIR's name")
    made.add_argument("--anchors", type=Path, metavar="FILE", help="published curves, as JSON")
    made.add_argument("--plot", type=Path, metavar="FILE", help="draw PSNR over rate")
    options = made.parse_args()
    if not options.folder.is_dir():
        made.error(f"'{options.folder}' is no folder; give one of images")
    if options.images is not None and options.images < 1:
        made.error(f"--images is {options.images}; allowed are 1 and more")
    if options.plot and find_spec("matplotlib") is None:
        made.error("--plot needs matplotlib; pip install matplotlib, or leave it out")
    return made, options


def inputs(folder: Path) -> list[Path]:
    """The folder's images by name. Raises ValueError, one line, where there is none."""
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not paths:
        raise ValueError(f"no image in '{folder}'; known are {' '.join(sorted(SUFFIXES))}")
    return paths


def crop_middle(path: Path, folder: Path) -> Path:
    """A file of the image's middle, QUICK_CROP a side. Raises CodecError."""
    pixels = colour(read(path))
    side = min(QUICK_CROP, *pixels.shape[:2])
    top, left = ((size - side) // 2 for size in pixels.shape[:2])
    crop = folder / f"{path.stem}-middle{side}.png"
    picture = Image.fromarray(np.repeat(pixels, 3 // pixels.shape[-1], axis=-1))
    picture.crop((left, top, left + side, top + side)).save(crop)
    return crop


def is_kodak(paths: list[Path]) -> bool:
    return len(paths) == len(KODAK) and {path.stem for path in paths} == KODAK


def main() -> None:
    made, options = arguments()
    rates, preset, steps = sorted(set(options.rates)), options.preset, None
    if options.quick:
        rates, preset, steps = [QUICK_RATE], "fast", QUICK_STEPS
    out = options.out or ROOT / "build" / "rd" / options.folder.resolve().name
    try:
        configs = [
            EncodeConfig(bpp=rate, preset=preset, steps=steps, threads=options.threads)
            for rate in rates
        ]
        paths = inputs(options.folder)[: options.images]
        anchors_file = options.anchors or (ANCHORS if is_kodak(paths) else None)
        anchors = read_anchors(anchors_file) if anchors_file else {}
        sheet = Sheet(out / "rows.csv")
        if options.quick:
            paths = [crop_middle(paths[0], out)]
    except (CodecError, ValueError, OSError) as error:
        made.error(str(error))
    facts = begin(options)
    codecs = [name for name, codec in CODECS.items() if codec.works()]
    if missing := [name for name in CODECS if name not in codecs]:
        print(f"this Pillow has no {', '.join(missing)}")
    used = [row for row in sheet.rows.values() if row.codec == OURS and row.preset == preset]
    if older := sum(row.commit != facts["commit"] for row in used):
        print(f"{older} rows of other commits are kept: {sheet.path}")
    if not is_kodak(paths):
        print("not the 24 Kodak images: published curves are of others, and wait for --anchors")
    failed = measure(paths, configs, codecs, sheet, facts["commit"])

    images = [path.name for path in paths]
    points = means(sheet, images, OURS, [ours_name(rate) for rate in rates], preset)
    report_rates(points, anchors.get(PAPER))
    ours = Curve.through(f"tcnn_codec, {preset}", "ours", pairs(points))
    rows, others = points, list(anchors.values())
    for name in codecs:
        settings = [CODECS[name].name(setting) for setting in CODECS[name].settings]
        theirs = means(sheet, images, name, settings)
        rows = rows + theirs
        others.append(Curve.through(f"{name}, Pillow", "measured", pairs(theirs)))
    rows = [{"part": "mean", "images": len(images), **row} for row in rows]
    rows += [{"part": "bjontegaard", **row} for row in report_bjontegaard(ours, others)]
    if options.plot and points:
        title = f"{options.folder.resolve().name}, {len(images)} image{'s' * (len(images) > 1)}"
        foreign = anchors and not is_kodak(paths)
        plot(ours, others, title + "; published curves: other images" * bool(foreign), options.plot)
    write(options.json, facts, rows)
    if failed:
        made.exit(1, f"error: {failed} encodes failed; their settings are in no mean\n")


def pairs(points: list[dict[str, Any]]) -> list[tuple[float, float]]:
    return [(point["bpp"], point["psnr_db"]) for point in points]


if __name__ == "__main__":
    main()
