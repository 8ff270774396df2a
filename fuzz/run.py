"""Builds the fuzz targets with sanitizers and runs each of them for a while, as many at a time as
there are cores.

python fuzz/run.py [--seconds 30] [--runs N] [TARGET …]: prints a line for each target, and exits 1
where one of them found something, which then lies in build/fuzz/findings. What made new paths stays
in build/fuzz/corpus, and the next run begins with it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from seeds import write_seeds

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "fuzz"
NATIVE = ("decode_matrices", "encode_matrices", "render_integers")
PYTHON = ("header", "payload", "file")
#: What one input may take, of which nothing comes near: seconds, megabytes of the process, and
#: megabytes at once.
MOST_SECONDS, MOST_MEGABYTES, MOST_AT_ONCE = 20, 1024, 256
#: Bytes of an input. Headers of megabytes are for tests/test_limits.py.
MOST_BYTES = {"header": 2048, "file": 4096}
USUAL_BYTES = 1024
#: A small quarantine and no stacks of allocations make Python several times as fast.
ASAN = "detect_leaks=0:quarantine_size_mb=4:malloc_context_size=1:allocator_may_return_null=1"
UBSAN = "print_stacktrace=1"


def tool(name: str) -> str:
    """Of the environment that this runs in, where it has it."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    found = shutil.which(name, path=path)
    if found is None:
        sys.exit(f"error: there is no {name}; fuzzing needs it; install clang and the dev extra")
    return found


def build() -> None:
    import pybind11

    options = [
        f"-DCMAKE_CXX_COMPILER={tool('clang++')}",
        f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}",
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        "--log-level=WARNING",
    ]
    cmake = tool("cmake")
    for command in (
        [cmake, "-S", str(ROOT / "fuzz"), "-B", str(BUILD), "-G", "Ninja", *options],
        [cmake, "--build", str(BUILD)],
    ):
        subprocess.run(command, check=True)


def run(target: str, seconds: int, runs: int) -> bool:
    """Prints what came of it; whether nothing was found."""
    write_seeds(BUILD / "corpus", target)
    (BUILD / "findings").mkdir(exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-runs={runs}",
        f"-max_len={MOST_BYTES.get(target, USUAL_BYTES)}",
        f"-timeout={MOST_SECONDS}",
        f"-rss_limit_mb={MOST_MEGABYTES}",
        f"-malloc_limit_mb={MOST_AT_ONCE}",
        "-print_final_stats=1",
        f"-artifact_prefix={BUILD / 'findings'}/{target}-",
        str(BUILD / "corpus" / target),
    ]
    environment = {**os.environ, "ASAN_OPTIONS": ASAN, "UBSAN_OPTIONS": UBSAN}
    if target in NATIVE:
        command = [str(BUILD / target)]
    else:
        import atheris

        coders = BUILD / f"_coders{sysconfig.get_config_var('EXT_SUFFIX')}"
        command = [sys.executable, str(ROOT / "fuzz" / "read.py"), target, str(coders)]
        # The mutator too: libFuzzer looks for one when it is loaded, and only then.
        mutator = importlib.util.find_spec("atheris.custom_mutator")
        assert mutator is not None
        environment["LD_PRELOAD"] = f"{atheris.path()}/asan_with_fuzzer.so {mutator.origin}"
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment)

    def figure(name: str) -> str:
        found = re.findall(rf"{name}:\s*([\d.]+)", done.stderr)
        return found[-1] if found else "?"

    print(
        f"{target:16} {figure('number_of_executed_units'):>9} executions, "
        f"{figure('average_exec_per_sec'):>6} a second, slowest {figure('slowest input')} s, "
        f"peak {figure('peak_rss_mb')} MB{'' if done.returncode == 0 else ', FOUND SOMETHING'}",
        flush=True,
    )
    if done.returncode != 0:
        print(done.stderr[-6000:])
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all unless named")
    parser.add_argument("--seconds", type=int, default=30, help="of each; 0: until --runs")
    parser.add_argument("--runs", type=int, default=-1, help="of each; -1: until --seconds")
    options = parser.parse_args()
    if unknown := set(options.targets) - {*NATIVE, *PYTHON}:
        parser.error(f"there are no targets {sorted(unknown)}; there are {[*NATIVE, *PYTHON]}")
    if importlib.util.find_spec("atheris") is None:
        sys.exit("error: there is no Atheris; the dev extra has it for x86-64")
    build()
    targets = options.targets or [*NATIVE, *PYTHON]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as cores:
        sound = list(cores.map(lambda name: run(name, options.seconds, options.runs), targets))
    if not all(sound):
        sys.exit(1)


if __name__ == "__main__":
    main()
