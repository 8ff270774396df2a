"""Time of a training step, and of decoding, of a 768x512 image, against PyTorch in the same run.

python bench/kernels.py [--quick] [--networks NAME …] [--decoding] [--threads N] [--rounds N]
                        [--json FILE]

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
from functools import partial
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

from tcnn_codec.coders.quantised import QuantisedTensor
from tcnn_codec.dtypes import U8
from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.families.siren.renderer import SirenRenderer
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
DECODED = {
    "paper 32": PAPER["paper 32"],
    "paper 64": PAPER["paper 64"],
    "five 69": SirenSpec(hidden_layers=5, width=69),
}
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


def forward_multiplications(spec: SirenSpec) -> float:
    """1e9 multiply-adds of hidden and output layers over every pixel."""
    each = spec.hidden_layers * spec.width**2 + spec.out_channels * spec.width
    return each * GRID.pixels * 1e-9


def random_tensors(spec: SirenSpec) -> list[QuantisedTensor]:
    rng = np.random.default_rng(0)
    sizes = [tensor.size for tensor in spec.tensors]
    return [QuantisedTensor(rng.integers(-31, 32, n).astype(np.int32), 76) for n in sizes]


def float_of(isa: str) -> str:
    """The instruction set in float that a processor with that one for integers would take."""
    names = _cpu.available_isas()
    return next((name for name in names if isa.startswith(name)), names[-1])


def measure_decoding(isas: list[str], threads: int, rounds: int) -> list[dict[str, Any]]:
    """In integers, which is how files are decoded, and in float32."""
    runs: dict[str, Callable[[], object]] = {}
    rows: list[dict[str, Any]] = []

    def enter(name: str, contestant: str, count: int, run: Callable[[], object]) -> None:
        runs[f"{name} {contestant} {count}"] = run
        row = {"operation": "decode", "network": name, "contestant": contestant, "threads": count}
        rows.append(row)

    for name, spec in DECODED.items():
        params, tensors = initialise(spec, 0), random_tensors(spec)
        for count in sorted({1, threads}):
            for isa in sorted({float_of(isa) for isa in isas}):
                run = partial(CpuBackend(count, isa).render, spec, params, GRID)
                enter(name, f"{isa} float32", count, run)
            for isa in isas:
                run = partial(SirenRenderer(count, isa).render, spec, tensors, GRID)
                enter(name, f"{isa} integers", count, run)
    times = in_turns(runs, rounds)
    for row in rows:
        name, (isa, kind), count = row["network"], row["contestant"].split(), row["threads"]
        timing = times[f"{name} {row['contestant']} {count}"]
        row |= timing.report()
        if kind == "integers":
            in_float = times[f"{name} {float_of(isa)} float32 {count}"]
            row["times_float"] = ratio(in_float, timing)
            row["times_float_range"] = ratio_range(in_float, timing)
            if isa != "scalar":
                peak = _cpu.integer_peak(isa, 0.2) * count
                row["of_peak"] = forward_multiplications(DECODED[name]) / timing.median / peak
    return rows


def percent(row: dict[str, Any], key: str) -> str:
    return f"{row[key]:.0%}" if key in row else ""


def show_steps(options: argparse.Namespace, rounds: int) -> list[dict[str, Any]]:
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
    return rows


def show_decoding(options: argparse.Namespace, rounds: int) -> list[dict[str, Any]]:
    table = Table("decode".ljust(32), "threads", "ms", "spread", "x float", "of peak")
    isas = [isa for isa in _cpu.integer_isas() if isa != "scalar" or not options.quick]
    rows = measure_decoding(isas, options.threads, rounds)
    for row in rows:
        table.row(
            f"{row['network']}  {row['contestant']}",
            row["threads"],
            f"{row['milliseconds']:.1f}",
            f"{row['spread']:.0%}",
            f"{row['times_float']:.2f}" if "times_float" in row else "",
            percent(row, "of_peak"),
        )
    return rows


def main() -> None:
    made = parser(__doc__, quick="width 32 only, three rounds")
    made.add_argument("--networks", nargs="+", choices=PAPER | COIN, metavar="NAME")
    made.add_argument("--rounds", type=int, default=0, help="default 7, or 3 with --quick")
    made.add_argument("--decoding", action="store_true", help="no steps of training")
    options: argparse.Namespace = made.parse_args()
    facts = begin(options)
    rounds = options.rounds or (3 if options.quick else 7)
    rows = [] if options.decoding else show_steps(options, rounds)
    write(options.json, facts, rows + show_decoding(options, 3 * rounds))


if __name__ == "__main__":
    main()
