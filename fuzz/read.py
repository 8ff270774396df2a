"""One of the targets in Python, under libFuzzer by way of Atheris.

python fuzz/read.py TARGET CODERS [options of libFuzzer] [corpus …]: CODERS is the module _coders
to use, which fuzz/run.py builds with sanitizers.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from random import Random

import atheris


def load_coders(path: str) -> None:
    """Takes the place of the module in the package."""
    spec = importlib.util.spec_from_file_location("tcnn_codec._coders", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["tcnn_codec._coders"] = module


def main() -> None:
    name, coders, *options = sys.argv[1:]
    load_coders(coders)
    with atheris.instrument_imports(include=["tcnn_codec"]):
        from targets import TARGETS
    target, worst = TARGETS[name], 0.0

    def check(data: bytes) -> None:
        nonlocal worst
        begin = time.process_time()
        target.check(data)
        if (seconds := time.process_time() - begin) > worst:
            # Now, because libFuzzer ends the process without Python's leave.
            worst = seconds
            print(f"slowest input: {worst:.6f} s", file=sys.stderr)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        def change(_: Random, some: bytes) -> bytes:
            return bytes(atheris.Mutate(some, max(most, len(some))))

        return target.mutate(Random(seed), bytes(data), change)[:most]

    atheris.Setup([sys.argv[0], *options], check, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
