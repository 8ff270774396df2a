"""Errors of every instruction set against float64, as multiples of the float32 reference's own.

python bench/accuracy.py

Root mean square over five seeds of the relative error of the forward output and of the gradient,
for the case list of the tests (tests/test_backends.py holds both below 2).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from cases import CASES
from reference_errors import REFERENCE, forward_error, gradient_error

from tcnn_codec.families.siren.backends.cpu import CpuBackend
from tcnn_codec.native import _cpu


def main() -> None:
    backends = [CpuBackend(isa=isa) for isa in _cpu.available_isas() if isa != "amx"]
    names = "".join(f"{backend.device:>9}" for backend in backends)
    print(f"{'':18}{'forward':>10}{names}{'gradient':>11}{names}")
    for case in CASES:
        row = f"{case.name:18}"
        for error, width in ((forward_error, 10), (gradient_error, 11)):
            reference = error(REFERENCE, case)
            row += f"{reference:{width}.1e}"
            row += "".join(f"{error(backend, case) / reference:9.2f}" for backend in backends)
        print(row, flush=True)


if __name__ == "__main__":
    main()
