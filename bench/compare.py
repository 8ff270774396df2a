"""Did it get slower? Two result files, or a git revision against the working tree.

python bench/compare.py OLD.json NEW.json [--fail] [--json FILE]
python bench/compare.py REVISION [--quick] [--fail] [--threads N] [--json FILE]

Files are those of bench/kernels.py; rows of one name are compared by their ratio to PyTorch eager
of the same run, since times do not travel. A revision, 72df872 or a later one, is built in a
temporary folder, and both trees take turns in one run: a full step, FIT_STEPS steps of fitting,
decoding, and `start`, the process that decodes a tiny file, from its start to its end. Instruction
sets and precisions that the old one lacks are left out. A row is a REGRESSION where it is slower by
more than 5 % and its fastest round is slower than the old one's slowest; with --fail the exit
status is 1 then.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import ROOT, Table, Timing, begin, native_backends, parser, ratio, write

SLOWER = 1.05
FIT_STEPS = 40
#: Runs in each tree's own interpreter, for as long as it is told cases. Names are those of the
#: working tree; a tree without them has those of 72df872, the oldest revision that it serves.
WORKER = """
import subprocess, sys, tempfile, time
from functools import cache
from pathlib import Path
import numpy as np
import tcnn_codec
from tcnn_codec.training.batches import Batches
from tcnn_codec.training.optimiser import OptimiserState
try:
    from tcnn_codec.families.siren.backends.cpu import CpuBackend
    from tcnn_codec.families.siren.spec import SirenSpec
    from tcnn_codec.families.siren.start import initialise
    from tcnn_codec.grid import Grid
    from tcnn_codec.training.job import Job
except ImportError:
    from tcnn_codec.backends.cpu import CpuBackend
    from tcnn_codec.siren import Grid, SirenSpec, initialise
    Job = None
threads, fit_steps = int(sys.argv[1]), int(sys.argv[2])
folder = tempfile.TemporaryDirectory()
grid = Grid(768, 512)
rng = np.random.default_rng(0)
target = rng.integers(0, 256, (grid.pixels, 3), dtype=np.uint8)
order = rng.permutation(np.arange(grid.pixels, dtype=np.uint32))
starts = tuple((8192 * i, 1) for i in range(fit_steps))
rates = np.full(fit_steps, 1e-4, np.float32)

@cache
def tiny_file():
    path = Path(folder.name) / "tiny.tcnn"
    path.write_bytes(tcnn_codec.encode(target[:256].reshape(16, 16, 3), width=8, steps=10))
    return path

def decoding_process():
    tiny = tiny_file()
    command = [sys.executable, "-m", "tcnn_codec", "decode", tiny, tiny.with_suffix(".png")]
    command += ["--threads", str(threads)]
    apart = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}  # ours carry the cases
    return lambda: subprocess.run(command, check=True, **apart)

def fitting(backend, spec):
    state = OptimiserState.start(initialise(spec, 0))
    if Job is None:
        batches = Batches(order, starts, 8192)
        return lambda: backend.fit_steps(spec, state, grid, target, batches, rates)
    trainer = backend.trainer(Job(spec, grid, target, order), state)
    return lambda: trainer.steps(Batches(starts, 8192), rates)

def full_step(backend, spec, params):
    if Job is None:
        return lambda: backend.loss_and_grad(spec, params, grid, target)
    return lambda: backend.loss_and_grad(Job(spec, grid, target), params)

def run_of(operation, isa="", precision="", width=""):
    if operation == "start":
        return decoding_process()
    spec, backend = SirenSpec(width=int(width)), CpuBackend(threads, isa, precision)
    params = initialise(spec, 0)
    if operation == "fit":
        return fitting(backend, spec)
    if operation == "decode":
        return lambda: backend.render(spec, params, grid)
    return full_step(backend, spec, params)

for line in sys.stdin:
    try:
        run = run_of(*line.split())
    except tcnn_codec.BackendUnavailable:
        print("nan", flush=True)
        continue
    run()
    start = time.perf_counter()
    run()
    print(time.perf_counter() - start, flush=True)
"""


@contextmanager
def built(revision: str) -> Iterator[Path]:
    """The package of a revision with its native module, in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", revision], capture_output=True)
        if archive.returncode:
            reason = archive.stderr.decode().strip().splitlines()[0]
            sys.exit(f"error: '{revision}' is neither a file nor a revision ({reason})")
        subprocess.run(["tar", "-x", "-C", name], input=archive.stdout, check=True)
        import pybind11

        print(f"building {revision} …", file=sys.stderr)
        places = (str(Path(sys.executable).parent), os.environ["PATH"])
        cmake = shutil.which("cmake", path=os.pathsep.join(places)) or "cmake"
        quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL}
        subprocess.run(
            [
                cmake,
                *("-S", name, "-B", f"{name}/build", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"),
                f"-DPython_EXECUTABLE={sys.executable}",
                f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={name}/tcnn_codec",
            ],
            **quiet,
        )
        subprocess.run([cmake, "--build", f"{name}/build", "--parallel"], **quiet)
        yield tree


class Worker:
    """An interpreter that imports the package of one tree."""

    def __init__(self, tree: Path, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(threads), str(FIT_STEPS)],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def time(self, case: str) -> float:
        """Seconds of one call, or nan where the tree lacks the instruction set or precision."""
        assert self._process.stdin
        assert self._process.stdout
        print(case, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"error: a tree under comparison failed at '{case}'; its message is above")
        return float(answer)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def compare_trees(
    old: Path, threads: int, kinds: list[str], widths: tuple[int, ...], rounds: int, most: int
) -> Iterator[dict[str, Any]]:
    """kinds: 'ISA PRECISION', of which the first `most` that the old tree has are taken."""
    workers = Worker(old, threads), Worker(ROOT, threads)
    lacking = [k for k in kinds if math.isnan(workers[0].time(f"step {k} {widths[0]}"))]
    for kind in lacking:
        print(f"{kind}: not in the old one")
    kinds = [kind for kind in kinds if kind not in lacking][:most]
    cases = [f"{op} {kind} {w}" for op in ("step", "fit") for kind in kinds for w in widths]
    isas = dict.fromkeys(kind.split()[0] for kind in kinds)
    cases += [f"decode {isa} float32 {w}" for isa in isas for w in widths]
    for case in (*cases, "start"):
        samples: tuple[list[float], list[float]] = [], []
        for _ in range(rounds):
            for worker, seconds in zip(workers, samples, strict=True):
                seconds.append(worker.time(case))
        before, after = (Timing(tuple(seconds)) for seconds in samples)
        apart = min(after.samples) > max(before.samples)
        yield judged(case, ratio(after, before), apart=apart) | {
            "old_milliseconds": 1e3 * before.median,
            "new_milliseconds": 1e3 * after.median,
        }
    for worker in workers:
        worker.close()


def range_of(row: dict[str, Any]) -> tuple[float, float]:
    """Least and greatest ratio to eager; by its own times alone in a file that lacks them."""
    if "times_eager_range" in row:
        least, greatest = row["times_eager_range"]
        return least, greatest
    eager = row["times_eager"] * row["milliseconds"]
    return eager / row["slowest"], eager / row["fastest"]


def compare_files(old: Path, new: Path) -> Iterator[dict[str, Any]]:
    def ratios(path: Path) -> dict[str, tuple[float, float, float]]:
        """Median, least and greatest ratio to eager."""
        try:
            return {
                f"{row['network']}  {row['contestant']}": (row["times_eager"], *range_of(row))
                for row in json.loads(path.read_text())["rows"]
                if row["operation"] == "step" and not row["contestant"].startswith("torch")
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            sys.exit(f"error: '{path}' is no result of bench/kernels.py ({error!r})")

    before, after = ratios(old), ratios(new)
    for name, (was, least, _) in before.items():
        if name in after:
            now, _, greatest = after[name]
            yield judged(name, was / now, apart=greatest < least) | {
                "old_times_eager": was,
                "new_times_eager": now,
            }


def judged(name: str, slower: float, *, apart: bool) -> dict[str, Any]:
    return {"name": name, "new_over_old": slower, "regression": slower > SLOWER and apart}


def main() -> None:
    made = parser(
        __doc__, quick="width 32 on the best instruction set and precision only, three rounds"
    )
    made.add_argument("old", metavar="OLD", help="a result file, or a git revision")
    made.add_argument("new", nargs="?", type=Path, metavar="NEW.json", help="with a result file")
    made.add_argument("--fail", action="store_true", help="exit 1 where there is a regression")
    options: argparse.Namespace = made.parse_args()
    facts = begin(options)
    key, unit = ("times_eager", "x eager") if options.new else ("milliseconds", "ms")
    table = Table("case", f"old {unit}", f"new {unit}", "new/old", "")
    rows = []

    def show(found: Iterator[dict[str, Any]]) -> None:
        for row in found:
            rows.append(row)
            table.row(
                row["name"],
                f"{row[f'old_{key}']:.1f}",
                f"{row[f'new_{key}']:.1f}",
                f"{row['new_over_old']:.2f}",
                "  REGRESSION" if row["regression"] else "",
            )

    if options.new:
        show(compare_files(Path(options.old), options.new))
    else:
        ways = native_backends(options.threads).values()
        kinds = [f"{way.device} {way.precision}" for way in ways if way.device != "scalar"]
        kinds = sorted(kinds, key=lambda kind: "bfloat16" not in kind) or ["scalar float32"]
        widths, rounds, most = ((32,), 3, 1) if options.quick else ((32, 64, 128), 9, len(kinds))
        with built(options.old) as tree:
            show(compare_trees(tree, options.threads, kinds, widths, rounds, most))
    if not rows:
        sys.exit("error: the two have nothing in common; allowed are results of the same networks")
    write(options.json, facts, rows)
    if options.fail and any(row["regression"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
