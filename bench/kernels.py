"""Time of a training step, and of decoding, of a 768x512 image, against PyTorch in the same run.

python bench/kernels.py [--quick] [--networks NAME …] [--threads N] [--rounds N] [--json FILE]

A step is forward, loss and backward over every pixel. PyTorch, eager and compiled, has its
positional encoding computed beforehand; the cpu backend builds its tables inside the step. PyTorch
allocates its activations anew in every step: for how much of its time that is, run this with
MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1 MALLOC_TOP_PAD_=536870912 in the environment.

of peak     multiply-adds of hidden and output layers, against what the registers alone do in the
            same run at that precision
hidden      the same for the hidden layers alone, sines and all: the step's time less that of the
            network without them
fit         one step of fitting as encode does it, batch and optimiser included: its time over
            that of the batch's share of a full step
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from common import (
    Table,
    Timing,
    begin,
    in_turns,
    native_backends,
    parser,
    ratio,
    ratio_range,
    write,
)
from paper import PaperFit

from tcnn_codec.dtypes import U8
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.families.siren.spec import SirenSpec
from tcnn_codec.families.siren.start import initialise
from tcnn_codec.grid import Grid
from tcnn_codec.native import _cpu
from tcnn_codec.training.batches import BATCH, Batches
from tcnn_codec.training.job import Job
from tcnn_codec.training.optimiser import OptimiserState

GRID = Grid(width=768, height=512)
PAPER = {f"paper {w}": SirenSpec(width=w) for w in (24, 32, 48, 64, 96, 128)}
COIN = {
    f"coin {layers}x{w}": SirenSpec(frequencies=0, hidden_layers=layers - 1, width=w)
    for layers, w in ((5, 20), (5, 30), (10, 28), (10, 40), (13, 49))
}
QUICK = ("paper 32",)
DECODED = ("paper 32", "paper 64")
#: These have rows of the portable kernels and of PyTorch in bfloat16, too.
DETAILED = ("paper 32", "paper 64")
FIT_STEPS = 100


def random_picture() -> U8:
    return np.random.default_rng(0).integers(0, 256, (GRID.pixels, 3), dtype=np.uint8)


def full_step(backend: CpuBackend, spec: SirenSpec, target: U8) -> Callable[[], object]:
    job, params = Job(spec, GRID, target), initialise(spec, 0)
    return lambda: backend.loss_and_grad(job, params)


def fit_steps(backend: CpuBackend, spec: SirenSpec, target: U8) -> Callable[[], object]:
    """FIT_STEPS steps as the encoder takes them."""
    order = np.random.default_rng(0).permutation(np.arange(GRID.pixels, dtype=np.uint32))
    starts = tuple((BATCH * i % GRID.pixels, 1) for i in range(FIT_STEPS))
    batches, rates = Batches(starts, BATCH), np.full(FIT_STEPS, 1e-4, np.float32)
    job, state = Job(spec, GRID, target, order), OptimiserState.start(initialise(spec, 0))
    trainer = backend.trainer(job, state)
    return lambda: trainer.steps(batches, rates)


def hidden_multiplications(spec: SirenSpec) -> float:
    """1e9 multiply-adds of a step's hidden layers, forward and backward."""
    return 3 * spec.hidden_layers * spec.width**2 * GRID.pixels * 1e-9


def multiplications(spec: SirenSpec) -> float:
    output = 3 * spec.out_channels * spec.width * GRID.pixels * 1e-9
    return hidden_multiplications(spec) + output


def measure_steps(
    name: str, spec: SirenSpec, backends: dict[str, CpuBackend], rounds: int
) -> list[dict[str, Any]]:
    target = random_picture()
    shallow = SirenSpec(frequencies=spec.frequencies, hidden_layers=0, width=spec.width)
    eager = PaperFit(spec, GRID, target, compiled=False)
    compiled = PaperFit(spec, GRID, target, compiled=True)
    runs: dict[str, Callable[[], object]] = {
        "torch eager": eager.gradient,
        "torch compile": compiled.gradient,
    }
    if name in DETAILED:
        both = PaperFit(spec, GRID, target, compiled=True, bfloat16=True)
        runs["torch compile bfloat16"] = both.gradient
    torch_names = tuple(runs)
    for isa, backend in backends.items():
        runs[isa] = full_step(backend, spec, target)
        runs[f"{isa} shallow"] = full_step(backend, shallow, target)
        runs[f"{isa} fit"] = fit_steps(backend, spec, target)
    times = in_turns(runs, rounds)
    rows: list[dict[str, Any]] = []
    for contestant in (*torch_names, *backends):
        timing = times[contestant]
        row = {
            "operation": "step",
            "network": name,
            "contestant": contestant,
            **timing.report(),
            "times_eager": ratio(times["torch eager"], timing),
            "times_eager_range": ratio_range(times["torch eager"], timing),
            "times_compiled": ratio(times["torch compile"], timing),
        }
        if contestant in backends:
            row |= peak_fractions(backends[contestant], spec, times, contestant)
        rows.append(row)
    return rows


def peak_fractions(
    backend: CpuBackend, spec: SirenSpec, times: dict[str, Timing], contestant: str
) -> dict[str, float]:
    bfloat16 = backend.precision == "bfloat16"
    peak = _cpu.fma_peak(backend.device, 0.2, bfloat16) * backend.threads
    step = times[contestant].median
    hidden = step - times[f"{contestant} shallow"].median
    share = step * BATCH / GRID.pixels
    return {
        "of_peak": multiplications(spec) / step / peak,
        "hidden_of_peak": hidden_multiplications(spec) / hidden / peak,
        "fit_step_milliseconds": 1e3 * times[f"{contestant} fit"].median / FIT_STEPS,
        "fit_step_over_share": times[f"{contestant} fit"].median / FIT_STEPS / share,
    }


def measure_decoding(isas: list[str], threads: int, rounds: int) -> list[dict[str, Any]]:
    runs: dict[str, Callable[[], object]] = {}
    rows: list[dict[str, Any]] = []
    for name in DECODED:
        params = initialise(PAPER[name], 0)
        for isa in isas:
            for count in sorted({1, threads}):
                backend, run = CpuBackend(count, isa), f"{name} {isa} {count}"
                runs[run] = lambda b=backend, n=name, p=params: b.render(PAPER[n], p, GRID)
                row = {"operation": "decode", "network": name, "contestant": isa, "threads": count}
                rows.append(row)
    times = in_turns(runs, rounds)
    return [row | timing.report() for row, timing in zip(rows, times.values(), strict=True)]


def percent(row: dict[str, Any], key: str) -> str:
    return f"{row[key]:.0%}" if key in row else ""


def main() -> None:
    made = parser(__doc__, quick="width 32 only, three rounds")
    made.add_argument("--networks", nargs="+", choices=PAPER | COIN, metavar="NAME")
    made.add_argument("--rounds", type=int, default=0, help="default 7, or 3 with --quick")
    options: argparse.Namespace = made.parse_args()
    facts = begin(options)
    rounds = options.rounds or (3 if options.quick else 7)
    every = native_backends(options.threads)
    vector = {name: backend for name, backend in every.items() if name != "scalar"} or every
    rows: list[dict[str, Any]] = []
    table = Table("step", "ms", "spread", "x eager", "x compile", "of peak", "hidden", "fit")
    for name, spec in (PAPER | COIN).items():
        if name not in (options.networks or (QUICK if options.quick else PAPER | COIN)):
            continue
        backends = every if name in DETAILED and not options.quick else vector
        for row in measure_steps(name, spec, backends, rounds):
            rows.append(row)
            over = row.get("fit_step_over_share")
            table.row(
                f"{name}  {row['contestant']}",
                f"{row['milliseconds']:.1f}",
                f"{row['spread']:.0%}",
                f"{row['times_eager']:.1f}",
                f"{row['times_compiled']:.1f}",
                percent(row, "of_peak"),
                percent(row, "hidden_of_peak"),
                f"{over:.2f}" if over else "",
            )
    print()
    table = Table("decode", "threads", "ms", "spread")
    isas = [isa for isa in _cpu.available_isas() if isa != "scalar" or not options.quick]
    for row in measure_decoding(isas, options.threads, 3 * rounds):
        rows.append(row)
        table.row(
            f"{row['network']}  {row['contestant']}",
            row["threads"],
            f"{row['milliseconds']:.1f}",
            f"{row['spread']:.0%}",
        )
    write(options.json, facts, rows)


if __name__ == "__main__":
    main()
