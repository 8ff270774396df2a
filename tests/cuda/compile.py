"""Compiles every CUDA kernel with nvcc for every supported GPU; what each takes of registers.

python tests/cuda/compile.py [--architectures 90 …] [--jobs N] [--table]

Needs no GPU. Fails where nvcc fails or a kernel spills registers. --table prints Markdown for
docs/cuda.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CSRC = Path(__file__).parents[2] / "csrc"
SOURCES = tuple(CSRC / "siren" / "cuda" / name for name in ("engine.cu", "integer.cu"))
#: Turing, Ampere, Ada, Hopper, Blackwell.
ARCHITECTURES = ("75", "80", "86", "89", "90", "100", "120")
ENTRY = re.compile(r"Compiling entry function '(\S+)' for")
SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")
KERNEL = re.compile(
    r"(pack|train|reduce|optimise|fit|evaluate|integer_table|integer_render)_kernel"
    r"(?:ILi(\d+)ELi(\d)E(?:Lb(\d))?)?"
)


def name_of(symbol: str) -> str:
    found = KERNEL.search(symbol)
    assert found, f"no kernel of ours: {symbol}"
    kernel, width, tiles, shared = found.groups()
    words = [kernel.replace("_", " ")]
    if width:
        words.append(width)
    if tiles == "2":
        words.append("two tiles")
    if shared == "0":
        words.append("unshared")
    return " ".join(words)


def compile_for(architecture: str) -> dict[str, tuple[int, int]]:
    """Registers and spilled bytes of every kernel. Raises SystemExit with nvcc's words."""
    found: dict[str, tuple[int, int]] = {}
    for source in SOURCES:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                *("nvcc", "-std=c++17", f"-arch=sm_{architecture}", "-Xptxas=-v", f"-I{CSRC}"),
                *("-Xcompiler=-Wall,-Wextra", "-c", str(source), "-o", f"{folder}/object.o"),
            ]
            done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or "warning" in done.stderr:
            raise SystemExit(f"sm_{architecture}:\n{done.stderr}")
        for part in ENTRY.split(done.stderr)[1:]:
            if " " not in part.strip():
                name = name_of(part)
                continue
            spills, registers = SPILLS.search(part), REGISTERS.search(part)
            assert spills
            assert registers
            found[name] = (int(registers[1]), int(spills[1]) + int(spills[2]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--architectures", nargs="+", default=ARCHITECTURES, metavar="NN")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if shutil.which("nvcc") is None:
        raise SystemExit("error: no nvcc on the PATH; it is part of the CUDA toolkit")
    with ThreadPoolExecutor(options.jobs) as pool:
        results = dict(
            zip(options.architectures, pool.map(compile_for, options.architectures), strict=True)
        )
    first = next(iter(results.values()))
    if options.table:
        print("| kernel | " + " | ".join(f"sm_{a}" for a in results) + " |")
        print("|---|" + "---:|" * len(results))
        for name in sorted(first):
            print(
                f"| {name} | "
                + " | ".join(str(found[name][0]) for found in results.values())
                + " |"
            )
    spilled = [
        f"sm_{architecture}: {name} spills {spills} bytes"
        for architecture, found in results.items()
        for name, (_, spills) in found.items()
        if spills
    ]
    print(*spilled, sep="\n", file=sys.stderr)
    print(f"{len(first)} kernels for {len(results)} architectures, {len(spilled)} that spill")
    raise SystemExit(1 if spilled else 0)


if __name__ == "__main__":
    main()
