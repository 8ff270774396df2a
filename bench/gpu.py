"""Time of a training step, and of encoding, on a GPU, against PyTorch and tinycudann there.

python bench/gpu.py [IMAGE …] [--quick] [--networks NAME …] [--rounds N] [--json FILE]

A step of ours is one of training, optimiser included, over every pixel of a 768x512 image, or over
a batch as encoding takes it; its time is the difference of two calls of unlike length, so that
copies to and from the GPU do not count. PyTorch's is forward, loss, backward and Adam, eager and
compiled with CUDA graphs, products in float32, TensorFloat-32 or bfloat16; tinycudann's the same
through its CutlassMLP with sine (no biases, and its own float16), where it is installed. Images are
encoded as `encode` does it, wall clock. Networks are rendered in integers, samples copied back, by
the GPU and by the processor beside it.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ROOT, Table, begin, parser, write
from kernels import DECODED, random_tensors
from paper import PaperFit, full_image

from tcnn_codec.config import make_config
from tcnn_codec.dtypes import U8
from tcnn_codec.encoding.encoder import encode_file
from tcnn_codec.families.siren.backends.cuda import Choices, CudaBackend
from tcnn_codec.families.siren.backends.tinycudann import cutlass_mlp
from tcnn_codec.families.siren.renderer import SirenRenderer
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid
from tcnn_codec.training.batches import BATCH, Batches
from tcnn_codec.training.job import Job
from tcnn_codec.training.optimiser import OptimiserState

GRID = Grid(width=768, height=512)
NETWORKS = {f"paper {width}": SirenSpec(width=width) for width in (32, 64, 128)}
#: Steps of the two calls, by how long one takes: others', ours, those of small batches.
SHORT, LONG_OF_OTHERS, LONG, LONG_OF_BATCHES = 20, 80, 220, 2020
#: Ways to launch that are tried; 0 is the backend's own choice.
GROUPS, BLOCKS, TILES = (0, 132, 264), (4, 8), (1, 2)
NETWORKS_SIDE_BY_SIDE = 24
#: Of the paper's network of width 32 and 8 bit, random initialisation.
PAPER_BPP = 0.0996
COMPILED = "torch compile, CUDA graphs, float32"
Run = Callable[[int], object]


def seconds(run: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def per_step(run: Run, rounds: int, long: int) -> list[float]:
    """Seconds of one step, one entry a round, of what `run` does as many times as it is told."""
    for steps in (SHORT, long):
        run(steps)
    return [
        (seconds(lambda: run(long)) - seconds(lambda: run(SHORT))) / (long - SHORT)
        for _ in range(rounds)
    ]


def ours(backend: CudaBackend, spec: SirenSpec, target: U8, count: int, networks: int = 1) -> Run:
    """Steps of `count` pixels each, of as many networks side by side."""
    order = np.random.default_rng(0).permutation(np.arange(GRID.pixels, dtype=np.uint32))
    job = Job(spec, GRID, target, order)
    trainers = [
        backend.trainer(job, OptimiserState.start(initialise(spec, seed)))
        for seed in range(networks)
    ]

    def run(steps: int) -> None:
        starts = tuple((count * i % GRID.pixels, 1) for i in range(steps))
        batches, rates = Batches(starts, count), np.full(steps, 1e-4, np.float32)
        backend.steps_together(trainers, [batches] * networks, rates)

    return run


def repeat(step: Callable[[], object]) -> Run:
    def run(steps: int) -> None:
        for _ in range(steps):
            step()

    return run


def pytorch(spec: SirenSpec, target: U8, *, compiled: bool, precision: str) -> Run:
    """precision: float32, TF32 or bfloat16."""
    torch.set_float32_matmul_precision("high" if precision == "TF32" else "highest")
    bfloat16 = precision == "bfloat16"
    fit = PaperFit(spec, GRID, target, compiled=compiled, bfloat16=bfloat16, device="cuda")
    return repeat(fit.step)


def tinycudann(spec: SirenSpec, target: U8) -> Run:
    """Its network of the same shape less the biases, on encoded coordinates."""
    import tinycudann as tcnn  # type: ignore[import-not-found]

    inputs, wanted = full_image(spec, GRID, target, "cuda")
    network = cutlass_mlp(tcnn, spec, inputs.shape[1], spec.width)
    adam = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        adam.zero_grad()
        (network(inputs).float() - wanted).square().mean().backward()
        adam.step()

    return repeat(step)


def target_of(spec: SirenSpec) -> U8:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (GRID.pixels, spec.out_channels), dtype=np.uint8)


def usual(spec: SirenSpec) -> dict[str, Callable[[], Run]]:
    target, runs = target_of(spec), {}
    for label, graph in (("one launch", False), ("a graph", True)):
        backend = CudaBackend(choices=Choices(graph=graph))
        for what, count in (("all pixels", GRID.pixels), (f"{BATCH} pixels", BATCH)):
            runs[f"ours, {what}, {label}"] = partial(ours, backend, spec, target, count)
    runs[f"ours, {BATCH} pixels, {NETWORKS_SIDE_BY_SIDE} networks"] = partial(
        ours, CudaBackend(), spec, target, BATCH, NETWORKS_SIDE_BY_SIDE
    )
    return runs


def contestants(spec: SirenSpec) -> dict[str, Callable[[], Run]]:
    target = target_of(spec)
    runs = {COMPILED: partial(pytorch, spec, target, compiled=True, precision="float32")}
    if find_spec("tinycudann"):
        runs["tinycudann CutlassMLP"] = partial(tinycudann, spec, target)
    return runs


def others(spec: SirenSpec) -> dict[str, Callable[[], Run]]:
    """PyTorch at other precisions, and other ways to launch."""
    target = target_of(spec)
    runs = {"torch eager": partial(pytorch, spec, target, compiled=False, precision="float32")}
    for precision in ("TF32", "bfloat16"):
        runs[f"torch compile, CUDA graphs, {precision}"] = partial(
            pytorch, spec, target, compiled=True, precision=precision
        )
    for group, block, tiles in itertools.product(GROUPS, BLOCKS, TILES):
        if tiles == 2 and spec.width > 32:
            continue
        backend = CudaBackend(choices=Choices(group=group, block=block, tiles=tiles))
        label = f"group {group}, block {block}, tiles {tiles}"
        runs[label] = partial(ours, backend, spec, target, GRID.pixels)
    return runs


def measure_step(
    name: str, contestant: str, make: Callable[[], Run], rounds: int
) -> dict[str, Any] | None:
    long = LONG_OF_OTHERS if contestant.startswith(("torch", "tinycudann")) else LONG
    if f"{BATCH} pixels" in contestant:
        long = LONG_OF_BATCHES
    try:
        times = per_step(make(), rounds, long)
    except Exception as error:  # a contestant that cannot run here is a row, not the end
        reason = (str(error) or repr(error)).splitlines()[0]
        print(f"{name}, {contestant}: not measured: {reason}", flush=True)
        return None
    return {
        "operation": "step",
        "network": name,
        "contestant": contestant,
        "microseconds": 1e6 * statistics.median(times),
        "fastest": 1e6 * min(times),
        "slowest": 1e6 * max(times),
    }


def print_ratios(rows: list[dict[str, Any]]) -> None:
    """Of one step over all pixels, others' time over ours."""
    print()
    table = Table("times ours, all pixels, one launch".ljust(52), "ratio")
    found = {
        (row["network"], row["contestant"]): row["microseconds"]
        for row in rows
        if row["operation"] == "step"
    }
    for (network, contestant), microseconds in found.items():
        mine = found.get((network, "ours, all pixels, one launch"))
        if mine and contestant.startswith(("torch", "tinycudann")):
            table.row(f"{network}, {contestant}", f"{microseconds / mine:.1f}x")


def measure_encodes(images: list[Path]) -> list[dict[str, Any]]:
    """Whole files: at the paper's rate, and of width 32."""
    print()
    table = Table("encode".ljust(40), "seconds", "bpp", "dB")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        stream = Path(folder) / "image.tcnn"
        # Loads what is loaded once in a process.
        encode_file(images[0], stream, make_config(width=32, steps=10, backend="cuda"))
        for name, config in (
            (f"{PAPER_BPP} bpp, fast", make_config(bpp=PAPER_BPP, preset="fast", backend="cuda")),
            ("width 32, fast", make_config(width=32, preset="fast", backend="cuda")),
            ("width 32, balanced", make_config(width=32, preset="balanced", backend="cuda")),
        ):
            of_config = []
            for image in images:
                start = time.perf_counter()
                encoded = encode_file(image, stream, config)
                took = time.perf_counter() - start
                bpp = 8 * stream.stat().st_size / (encoded.info.width * encoded.info.height)
                of_config.append((took, bpp, encoded.psnr_db))
                rows.append(
                    {
                        "operation": "encode",
                        "image": image.name,
                        "config": name,
                        "seconds": took,
                        "bpp": bpp,
                        "psnr_db": encoded.psnr_db,
                    }
                )
            took, bpp, psnr = (statistics.mean(column) for column in zip(*of_config, strict=True))
            table.row(f"{name}, mean of {len(images)}", f"{took:.2f}", f"{bpp:.4f}", f"{psnr:.2f}")
            total = sum(row[0] for row in of_config)
            table.row(f"{name}, all", f"{total:.2f}", "", "")
    return rows


def measure_renders(rounds: int) -> list[dict[str, Any]]:
    """A 768x512 picture from its integers; the samples of both must be the same."""
    print()
    table = Table("render in integers".ljust(52), "ms")
    rows = []
    for name, spec in DECODED.items():
        tensors = random_tensors(spec)
        renderers = {"CUDA": CudaBackend().renderer(), "CPU": SirenRenderer()}
        first, second = (r.render(spec, tensors, GRID) for r in renderers.values())
        if not np.array_equal(first, second):
            raise SystemExit(f"{name}: the GPU and the processor render other samples")
        for contestant, renderer in renderers.items():
            run = partial(renderer.render, spec, tensors, GRID)
            milliseconds = 1e3 * statistics.median(seconds(run) for _ in range(rounds))
            row = {"operation": "render", "network": name, "contestant": contestant}
            rows.append(row | {"milliseconds": milliseconds})
            table.row(f"{name}, {contestant}", f"{milliseconds:.2f}")
    return rows


def main() -> None:
    made = parser(__doc__, quick="one network, one round, no ways to launch but the usual")
    made.add_argument("images", type=Path, nargs="*", metavar="IMAGE")
    made.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    made.add_argument("--rounds", type=int, default=5)
    options: argparse.Namespace = made.parse_args()
    facts = begin(options)
    facts["gpu"] = CudaBackend().device
    facts["cuda"] = torch.version.cuda
    print(f"gpu: {facts['gpu']}\n")
    rows: list[dict[str, Any]] = []
    networks = options.networks[:1] if options.quick else options.networks
    rounds = 1 if options.quick else options.rounds
    for group in (usual, contestants) if options.quick else (usual, contestants, others):
        table = Table("step of a 768x512 image".ljust(52), "us")
        for name in networks:
            for contestant, make in group(NETWORKS[name]).items():
                row = measure_step(name, contestant, make, rounds)
                if row:
                    rows.append(row)
                    table.row(f"{name}, {contestant}", f"{row['microseconds']:.1f}")
        if group is usual:
            rows += measure_renders(4 * rounds)
            rows += measure_encodes(options.images or [ROOT / "demo" / "photo.png"])
        else:
            print_ratios(rows)
        write(options.json, facts, rows)  # what is there, should the rest fail
    if not find_spec("tinycudann"):
        print("\ntinycudann: not measured: not installed")


if __name__ == "__main__":
    main()
