"""What every benchmark shares: contestants in turns, medians and spread, and who measured."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tcnn_codec import __version__
from tcnn_codec.families.siren.backends.cpu import CpuBackend, usable_cores
from tcnn_codec.native import _cpu

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Timing:
    """Seconds of one contestant, one entry a round."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """(slowest - fastest) / median."""
        return (max(self.samples) - min(self.samples)) / self.median

    def report(self) -> dict[str, float]:
        return {
            "milliseconds": 1e3 * self.median,
            "fastest": 1e3 * min(self.samples),
            "slowest": 1e3 * max(self.samples),
            "spread": self.spread,
        }


def native_backends(threads: int) -> dict[str, CpuBackend]:
    """Every way of the cpu backend to train here, by name."""
    isas = _cpu.available_isas()
    # In float32 amx is avx512.
    found = {isa: CpuBackend(threads, isa) for isa in isas if isa != "amx"}
    for isa in filter(_cpu.has_bfloat16, isas):
        found[f"{isa} bfloat16"] = CpuBackend(threads, isa, "bfloat16")
    return found


def in_turns(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Every contestant once unmeasured, then once a round, one after another."""
    for run in contestants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(samples)) for name, samples in seconds.items()}


def ratios(slow: Timing, fast: Timing) -> list[float]:
    """How many times faster, each round against itself."""
    return [s / f for s, f in zip(slow.samples, fast.samples, strict=True)]


def ratio(slow: Timing, fast: Timing) -> float:
    """How many times faster: the median over rounds."""
    return statistics.median(ratios(slow, fast))


def ratio_range(slow: Timing, fast: Timing) -> tuple[float, float]:
    """Least and greatest of the same, over the rounds."""
    found = ratios(slow, fast)
    return min(found), max(found)


def parser(documentation: str, quick: str) -> argparse.ArgumentParser:
    """Options of every benchmark; `quick` says what --quick leaves out."""
    made = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help=quick)
    made.add_argument("--threads", type=int, default=usable_cores(), metavar="N")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return made


def begin(options: argparse.Namespace) -> dict[str, Any]:
    """Give PyTorch the same threads, and print and return who measures."""
    torch.set_num_threads(options.threads)
    facts = {
        "command": shlex.join(["python", f"bench/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        **machine(),
        "threads": options.threads,
        "malloc": [f"{k}={v}" for k, v in os.environ.items() if k.startswith("MALLOC_")],
    }
    for name, value in facts.items():
        print(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
    print()
    return facts


def machine() -> dict[str, Any]:
    """Processor, instruction sets, versions and commit."""
    return {
        "processor": processor(),
        "isas": _cpu.available_isas(),
        "bfloat16": _cpu.has_bfloat16("avx512"),
        "tcnn_codec": __version__,
        "commit": commit(),
        "compiler": _cpu.compiler,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }


def commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        found = {name.strip(): value.strip() for name, value in fields.items()}
        names = ("model name", "cpu family", "model")
        return f"{found[names[0]]} (family {found[names[1]]}, model {found[names[2]]})"
    except (OSError, KeyError):
        return platform.processor() or platform.machine()


def write(path: Path | None, facts: dict[str, Any], rows: Iterable[dict[str, Any]]) -> None:
    """{"environment": facts, "rows": rows} as JSON, where a path was given."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"environment": facts, "rows": list(rows)}, indent=1)
        path.write_text(text + "\n")
        print(f"\nwritten: {path}")


class Table:
    """Prints rows under one header, aligned, as they come."""

    def __init__(self, *columns: str) -> None:
        self._widths = [max(9, len(name) + 2) for name in columns]
        self._widths[0] = max(26, self._widths[0])
        self.row(*columns)

    def row(self, *cells: object) -> None:
        first, *others = (str(cell) for cell in cells)
        widths = self._widths[1:]
        aligned = "".join(cell.rjust(width) for cell, width in zip(others, widths, strict=True))
        print(first.ljust(self._widths[0]) + aligned, flush=True)
