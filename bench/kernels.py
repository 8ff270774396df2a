"""Time of one training step (forward, loss, backward) of a 768x512 image, against PyTorch.

python bench/kernels.py [--quick] [--threads N] [--rounds N] [--json FILE]

The reference is PyTorch eager with the positional encoding computed beforehand; the cpu backend
builds its encoding tables inside the timed step. Contestants take turns in every round; times
are medians, spread is (slowest - fastest) / median. "of peak" sets the multiplications of the
hidden and output layers alone against what the machine's registers do in the same run.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tcnn_codec import _cpu
from tcnn_codec.backends.cpu import CpuBackend, usable_cores
from tcnn_codec.backends.reference import forward
from tcnn_codec.siren import F32, Grid, SirenSpec, encode_axis, initialise

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from cases import CASES

GRID = Grid(width=768, height=512)
SPECS = {case.spec.width: case.spec for case in CASES if case.name.startswith("paper-")}
QUICK_WIDTHS = (32, 64)


def eager_step(spec: SirenSpec, params: F32, target: np.ndarray) -> Callable[[], None]:
    """One step of PyTorch eager on every pixel of GRID."""
    x, y = (torch.from_numpy(encode_axis(spec, size)) for size in GRID.axis_sizes(2))
    shape = (GRID.height, GRID.width, spec.features_per_axis)
    encoded = torch.cat([x[None].expand(shape), y[:, None].expand(shape)], dim=-1)
    encoded = encoded.reshape(GRID.pixels, -1).contiguous()
    wanted = torch.from_numpy(target) * (2 / 255) - 1
    flat = torch.from_numpy(params.copy()).requires_grad_()

    def step() -> None:
        flat.grad = None
        (forward(spec, flat, encoded) - wanted).square().mean().backward()

    return step


def native_step(
    spec: SirenSpec, params: F32, target: np.ndarray, isa: str, threads: int
) -> Callable[[], None]:
    backend = CpuBackend(threads, isa)

    def step() -> None:
        backend.loss_and_grad(spec, params, GRID, target)

    return step


def multiplications(spec: SirenSpec) -> float:
    """1e9 fused multiply-adds of a step's products, forward and backward, input layer excluded."""
    inner = spec.hidden_layers * spec.width**2 + spec.out_channels * spec.width
    return 3 * inner * GRID.pixels * 1e-9


def time_in_turns(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    return times


def measure(spec: SirenSpec, isas: list[str], threads: int, rounds: int) -> list[dict[str, object]]:
    params = initialise(spec, 0)
    rng = np.random.default_rng(0)
    target = rng.integers(0, 256, (GRID.pixels, 3), dtype=np.uint8)
    steps = {"torch eager": eager_step(spec, params, target)}
    steps |= {f"cpu {isa}": native_step(spec, params, target, isa, threads) for isa in isas}
    peaks = {f"cpu {isa}": _cpu.fma_peak(isa, 0.2) * threads for isa in isas}
    times = time_in_turns(steps, rounds)
    eager = statistics.median(times["torch eager"])
    rows: list[dict[str, object]] = []
    for name, samples in times.items():
        median = statistics.median(samples)
        rows.append(
            {
                "width": spec.width,
                "contestant": name,
                "milliseconds": 1e3 * median,
                "spread": (max(samples) - min(samples)) / median,
                "times_eager": eager / median,
                "of_peak": multiplications(spec) / median / peaks[name] if name in peaks else None,
            }
        )
    return rows


def environment(threads: int) -> dict[str, object]:
    root = Path(__file__).parents[1]
    commit = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return {
        "processor": processor(),
        "isas": _cpu.available_isas(),
        "threads": threads,
        "compiler": _cpu.compiler,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit.stdout.strip() or "unknown",
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        found = {name.strip(): value.strip() for name, value in fields.items()}
        names = ("model name", "cpu family", "model")
        return f"{found[names[0]]} (family {found[names[1]]}, model {found[names[2]]})"
    except (OSError, KeyError):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="widths 32 and 64, three rounds")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=0, help="default 9, or 3 with --quick")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    facts = environment(options.threads)
    print("  ".join(f"{name}: {value}" for name, value in facts.items()))
    widths = QUICK_WIDTHS if options.quick else sorted(SPECS)
    rounds = options.rounds or (3 if options.quick else 9)
    isas = [isa for isa in _cpu.available_isas() if isa != "scalar" or not options.quick]
    print(f"\n{'width':>5}  {'contestant':12}{'ms':>9}{'spread':>8}{'x eager':>9}{'of peak':>9}")
    rows = []
    for width in widths:
        for row in measure(SPECS[width], isas, options.threads, rounds):
            rows.append(row)
            peak = "" if row["of_peak"] is None else f"{row['of_peak']:.0%}"
            print(
                f"{row['width']:5}  {row['contestant']:12}{row['milliseconds']:9.1f}"
                f"{row['spread']:8.0%}{row['times_eager']:9.1f}{peak:>9}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps({"environment": facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
