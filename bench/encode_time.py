"""Encode time: the step, the time to equal quality, and whole encodes, against the paper's recipe.

python bench/encode_time.py IMAGE [IMAGE …] [--part step|quality|encode] [--quick] [--threads N]
                            [--json FILE] [--plot FILE]

step     one step of fitting on every pixel of the first image, optimiser included: PyTorch eager
         and compiled, and the cpu backend
quality  on the middle 256x256 of each image: the recipe of bench/paper.py, and the same tuned for
         so few steps, the faster of eager and compiled, for 1,500 steps, quantised to 8 bit and
         entropy-coded; then, for 6, 7 and 8 bit, the fewest steps, of a ladder, whose file
         decodes to that PSNR at no more bytes. Times are of the whole, fitting to file, ours the
         median of five; neither compiling nor the search for the step count is counted
encode   whole images, preset by preset and down a ladder of steps: seconds, bpp, decoded PSNR
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import Table, begin, in_turns, native_backends, parser, ratio, write
from numpy.typing import NDArray
from paper import PaperFit
from PIL import Image

from tcnn_codec.config import PRESETS, make_config
from tcnn_codec.encoding.encoder import Encoded, encode_source
from tcnn_codec.families.siren import payload as payloads
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.families.siren.options import SirenOptions
from tcnn_codec.families.siren.quantise import canonical, quantise
from tcnn_codec.families.siren.renderer import SirenRenderer
from tcnn_codec.families.siren.sizes import choose_spec
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid
from tcnn_codec.io import array_source
from tcnn_codec.metrics import psnr
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.job import Job
from tcnn_codec.training.optimiser import OptimiserState

Pixels = NDArray[np.uint8]
CROP = 256
PAPER_STEPS, PAPER_BITS = 1500, 8
RECIPES = ("paper", "tuned")
DEPTHS = (6, 7, 8)
LADDER = (250, 500, 1000, 2000, 8000)
REPEATS = 5
TICKS = (0.3, 1, 3, 10, 30)


def read(path: Path) -> Pixels:
    return np.asarray(Image.open(path).convert("RGB"))


def middle(picture: Pixels, side: int) -> Pixels:
    side = min(side, *picture.shape[:2])
    top, left = ((size - side) // 2 for size in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + side, left : left + side])


def encode(picture: Pixels, threads: int, **options: Any) -> Encoded:
    return encode_source(array_source(picture), make_config(threads=threads, **options))


def usual_spec(picture: Pixels) -> SirenSpec:
    """The network that `encode` takes when it is asked for no other."""
    return choose_spec(array_source(picture).format, SirenOptions())


def paper_fit(picture: Pixels, *, compiled: bool) -> PaperFit:
    height, width, channels = picture.shape
    grid, target = Grid(width, height), picture.reshape(-1, channels)
    return PaperFit(usual_spec(picture), grid, target, compiled=compiled)


# ---- one step --------------------------------------------------------------------------------


def measure_step(picture: Pixels, threads: int, rounds: int) -> Iterator[dict[str, Any]]:
    height, width, channels = picture.shape
    grid, spec = Grid(width, height), usual_spec(picture)
    everything = np.arange(grid.pixels, dtype=np.uint32)
    job = Job(spec, grid, picture.reshape(-1, channels), everything)
    batch, rate = Batches(((0, 1),), grid.pixels), np.full(1, 1e-4, np.float32)

    def native(backend: CpuBackend) -> Callable[[], object]:
        trainer = backend.trainer(job, OptimiserState.start(initialise(spec, 0)))
        return lambda: trainer.steps(batch, rate)

    runs: dict[str, Callable[[], object]] = {
        "torch eager": paper_fit(picture, compiled=False).step,
        "torch compile": paper_fit(picture, compiled=True).step,
    }
    for name, backend in native_backends(threads).items():
        if name != "scalar":
            runs[name] = native(backend)
    times = in_turns(runs, rounds)
    table = Table("step with optimiser", "ms", "spread", "x eager", "x compile")
    for name, timing in times.items():
        row = {
            "part": "step",
            "contestant": name,
            **timing.report(),
            "times_eager": ratio(times["torch eager"], timing),
            "times_compiled": ratio(times["torch compile"], timing),
        }
        table.row(
            name,
            f"{row['milliseconds']:.1f}",
            f"{timing.spread:.0%}",
            f"{row['times_eager']:.1f}",
            f"{row['times_compiled']:.1f}",
        )
        yield row


# ---- time to equal quality -------------------------------------------------------------------


def measure_quality(
    paths: list[Path], threads: int, side: int, steps: int
) -> Iterator[dict[str, Any]]:
    table = Table("equal quality", "steps", "dB", "bytes", "seconds", "sooner")
    for path in paths:
        crop = middle(read(path), side)
        for recipe in RECIPES:
            paper = run_paper(crop, steps, tuned=recipe == "tuned")
            row = {"part": "quality", "image": path.stem, "side": len(crop), "recipe": recipe}
            row |= {f"paper_{key}": value for key, value in paper.items()}
            table.row(
                f"{path.stem}  torch {recipe}",
                steps,
                f"{paper['psnr_db']:.2f}",
                paper["bytes"],
                f"{paper['seconds']:.1f}",
                "",
            )
            for bits in DEPTHS:
                name = f"{path.stem}  tcnn_codec {bits} bit"
                ours = reach(crop, threads, bits, paper["psnr_db"], paper["bytes"], 8 * steps)
                if ours is None:
                    table.row(name, "", "missed", "", "", "")
                    yield row | {"bits": bits, "reached": False}
                    continue
                options = {"bits": bits, "steps": ours.fit_steps}
                again = [encode(crop, threads, **options) for _ in range(REPEATS)]
                seconds = statistics.median(encoded.encode_seconds for encoded in again)
                found = options | {
                    "reached": True,
                    "psnr_db": ours.psnr_db,
                    "bytes": len(ours.stream),
                    "seconds": seconds,
                    "sooner": paper["seconds"] / seconds,
                }
                table.row(
                    name,
                    ours.fit_steps,
                    f"{ours.psnr_db:.2f}",
                    len(ours.stream),
                    f"{seconds:.2f}",
                    f"{found['sooner']:.0f}",
                )
                yield row | found


def run_paper(crop: Pixels, steps: int, *, tuned: bool) -> dict[str, Any]:
    """From initialisation to entropy-coded bytes, in the faster of PyTorch's forms."""
    forms = {
        "eager": paper_fit(crop, compiled=False),
        "compile": paper_fit(crop, compiled=True),
    }
    trial = in_turns({name: form.gradient for name, form in forms.items()}, rounds=5)
    form = min(forms, key=lambda name: trial[name].median)
    spec = usual_spec(crop)
    start = time.perf_counter()
    forms[form].run(steps, tuned=tuned)
    tensors = canonical(spec, quantise(spec, forms[form].params, PAPER_BITS))
    payload = payloads.encode(spec, tensors)
    seconds = time.perf_counter() - start
    grid = Grid(crop.shape[1], crop.shape[0])
    decoded = SirenRenderer().render(spec, tensors, grid)[0]
    return {
        "form": form,
        "steps": steps,
        "psnr_db": psnr(crop, decoded),
        "bytes": len(payload),
        "seconds": seconds,
    }


def reach(
    crop: Pixels, threads: int, bits: int, psnr_db: float, most_bytes: int, most_steps: int
) -> Encoded | None:
    """The file of fewest steps, 20 and up by quarters, that is as good and no larger."""
    steps = 20
    while steps <= most_steps:
        encoded = encode(crop, threads, bits=bits, steps=steps)
        if encoded.psnr_db >= psnr_db and len(encoded.stream) <= most_bytes:
            return encoded
        steps = -(-steps * 5 // 4)
    return None


# ---- whole encodes ---------------------------------------------------------------------------


def measure_encodes(
    paths: list[Path], threads: int, presets: list[str], ladder: list[int]
) -> Iterator[dict[str, Any]]:
    """Means over the images; seconds are the median."""
    table = Table("encode, mean of images", "steps", "seconds", "bpp", "dB", "least dB")
    pictures = [read(path) for path in paths]
    points: dict[str, dict[str, Any]] = {name: {"preset": name} for name in presets}
    points |= {f"{steps} steps": {"steps": steps} for steps in ladder}
    found: dict[str, list[Encoded]] = {name: [] for name in points}
    for picture in pictures:
        for name, options in points.items():
            found[name].append(encode(picture, threads, **options))
    for name, files in found.items():
        row = {
            "part": "encode",
            "point": name,
            "steps": files[0].fit_steps,
            "images": [path.stem for path in paths],
            "seconds": statistics.median(file.encode_seconds for file in files),
            "slowest": max(file.encode_seconds for file in files),
            "bits_per_pixel": statistics.mean(file.bits_per_pixel for file in files),
            "psnr_db": statistics.mean(file.psnr_db for file in files),
            "each_psnr_db": [file.psnr_db for file in files],
            "precision": files[0].precision,
        }
        table.row(
            name,
            row["steps"],
            f"{row['seconds']:.2f}",
            f"{row['bits_per_pixel']:.4f}",
            f"{row['psnr_db']:.2f}",
            f"{min(row['each_psnr_db']):.2f}",
        )
        yield row


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Decoded PSNR over encode time, the presets named, with the rate of theirs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = sorted((row for row in rows if row["part"] == "encode"), key=lambda row: row["seconds"])
    figure, axes = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    axes.plot(
        [row["seconds"] for row in rows], [row["psnr_db"] for row in rows], "o-", color="#4878a8"
    )
    for row in rows:
        if row["point"] in PRESETS:
            place = row["seconds"], row["psnr_db"]
            axes.plot(*place, "o", color="#c04030", markersize=9)
            label = f"{row['point']}\n{row['bits_per_pixel']:.4f} bpp"
            axes.annotate(label, place, xytext=(0, -30), textcoords="offset points", ha="center")
    axes.set(xscale="log", xlabel="encode time, s", ylabel="PSNR of the decoded file, dB")
    axes.set_xticks(TICKS, [f"{seconds:g}" for seconds in TICKS])
    axes.minorticks_off()
    axes.margins(0.1)
    axes.set_title(f"Mean of {len(rows[0]['images'])} images, one network of width 32")
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"\nwritten: {path}")


def main() -> None:
    made = parser(__doc__, quick="a crop of 128, 100 paper steps, a short ladder")
    made.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    made.add_argument("--part", choices=("step", "quality", "encode"), help="default: all three")
    made.add_argument("--plot", type=Path, metavar="FILE", help="draw PSNR over encode time")
    options: argparse.Namespace = made.parse_args()
    facts = begin(options)
    quick, threads, rows = options.quick, options.threads, []
    if options.part in (None, "step"):
        rows += measure_step(read(options.images[0]), threads, rounds=3 if quick else 7)
        print()
    if options.part in (None, "quality"):
        side, steps = (128, 100) if quick else (CROP, PAPER_STEPS)
        rows += measure_quality(options.images, threads, side, steps)
        print()
    if options.part in (None, "encode"):
        presets = ["fast"] if quick else list(PRESETS)
        rows += measure_encodes(options.images, threads, presets, list(LADDER[: 2 if quick else 5]))
        if options.plot:
            plot(rows, options.plot)
    write(options.json, facts, rows)


if __name__ == "__main__":
    main()
