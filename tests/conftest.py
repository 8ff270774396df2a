"""What tests may require of the machine, where a skip for a missing thing can be made an error; and
fixtures that several files share.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pybind11
import pytest

from tcnn_codec import _cpu
from tcnn_codec.families.siren.backends.cpu import CpuBackend

ROOT = Path(__file__).parents[1]

#: Comma-separated names, such as avx512: a test that would skip for want of one fails instead.
REQUIRE_VARIABLE = "TCNN_CODEC_REQUIRE"
KNOWN = (
    *("amx", "avx512_vnni", "avx512", "bfloat16", "avx2", "sse41", "neon", "scalar"),
    *("aarch64", "cuda"),
    *("node", "chromium"),
    "clang",  # of .ci/run, for fuzzing
)
ISAS = ("avx512", "avx2", "scalar")
#: Those that train in bfloat16; the last runs everywhere.
BFLOAT16_ISAS = ("avx512", "amx", "amx_emulated")


@pytest.fixture(scope="session")
def need() -> Callable[[str, bool], None]:
    """need(name, present) skips, or fails where the environment requires `name`."""
    required = set(filter(None, os.environ.get(REQUIRE_VARIABLE, "").split(",")))
    unknown = required - set(KNOWN)
    assert not unknown, f"{REQUIRE_VARIABLE} names {sorted(unknown)}; known are {KNOWN}"

    def check(name: str, present: bool) -> None:
        if present:
            return
        message = f"this machine has no {name}"
        if name in required:
            pytest.fail(f"{message}, and {REQUIRE_VARIABLE} requires it")
        pytest.skip(message)

    return check


@pytest.fixture(scope="module", params=ISAS)
def native(request: pytest.FixtureRequest, need: Callable[[str, bool], None]) -> CpuBackend:
    """The cpu backend with every instruction set, one after the other, in float32."""
    need(request.param, request.param in _cpu.available_isas())
    return CpuBackend(threads=2, isa=request.param)


def bfloat16_backend(isa: str, need: Callable[[str, bool], None]) -> CpuBackend:
    need("bfloat16" if isa == "avx512" else isa, _cpu.has_bfloat16(isa))
    return CpuBackend(threads=2, isa=isa, precision="bfloat16")


WAYS = [(isa, "float32") for isa in ISAS] + [(isa, "bfloat16") for isa in BFLOAT16_ISAS]


@pytest.fixture(scope="module", params=WAYS, ids=[" ".join(way) for way in WAYS])
def trainer(request: pytest.FixtureRequest, need: Callable[[str, bool], None]) -> CpuBackend:
    """Every way to train: those of `native`, and products in bfloat16."""
    isa, precision = request.param
    if precision == "bfloat16":
        return bfloat16_backend(isa, need)
    need(isa, isa in _cpu.available_isas())
    return CpuBackend(threads=2, isa=isa)


@pytest.fixture(scope="session")
def build_with_cmake() -> Callable[..., Path]:
    """build(project, name, *options, target): tests/project, up to date, in the folder it returns.

    name: of the folder in build/. target: all of them, unless it is given.
    """
    # Of the environment that the tests run in, where it has them.
    tools = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    cmake, ninja = (shutil.which(name, path=tools) for name in ("cmake", "ninja"))
    assert cmake, "no cmake; install the dev extra"
    assert ninja, "no ninja; install the dev extra"

    def build(project: str, name: str, *options: str, target: str = "all") -> Path:
        folder = ROOT / "build" / name
        source = str(ROOT / "tests" / project)
        configure = [*(cmake, "-S", source, "-B", str(folder), "-G", "Ninja"), *options]
        configure.append(f"-DCMAKE_MAKE_PROGRAM={ninja}")
        for command in (configure, [cmake, "--build", str(folder), "--target", target]):
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        return folder

    return build


@pytest.fixture(scope="session")
def build_emulated(build_with_cmake: Callable[..., Path]) -> Callable[[str], Path]:
    """build(target): a target of tests/cuda/CMakeLists.txt, up to date; the folder it is in."""
    options = f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"

    def build(target: str) -> Path:
        return build_with_cmake("cuda", "emulated", *options, target=target)

    return build


@pytest.fixture(scope="session")
def cuda_emulated(build_emulated: Callable[[str], Path]) -> ModuleType:
    """The module _cuda with its kernels run on the CPU."""
    name = "_cuda_emulated"
    path = build_emulated(name) / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
