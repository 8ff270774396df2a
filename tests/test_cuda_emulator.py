"""The CUDA kernels on the CPU without Python: sanitizers, schedules, and barriers left out."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

BUILDS = ("", "_address", "_thread")


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(program), *arguments]
    # ThreadSanitizer's shadow memory does not stand every randomised address space.
    if program.name.endswith("_thread") and shutil.which("setarch"):
        command = ["setarch", platform.machine(), "-R", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("build", BUILDS, ids=["plain", "address", "thread"])
@pytest.mark.parametrize(("program", "arguments"), [("test_emulator", ()), ("driver", ("check",))])
def test_sanitizers_find_nothing(
    build_emulated: Callable[[str], Path], program: str, arguments: tuple[str, ...], build: str
) -> None:
    target = program + build
    done = run(build_emulated(target) / target, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]


def test_every_barrier_is_needed(build_emulated: Callable[[str], Path]) -> None:
    done = run(build_emulated("driver") / "driver", "mutate")
    lines = done.stdout.splitlines()
    assert len(lines) > 15
    assert [line for line in lines if not line.endswith(": noticed")] == []
    assert done.returncode == 0, done.stderr
